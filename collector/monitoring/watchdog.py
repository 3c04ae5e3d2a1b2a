"""Keeps systemd informed while we run: ready, how we are, alive. It only reads, and decides nothing for others.

The watchdog is fed while the writer gets on, and not because a timer fired: when work has waited for a whole interval
and none was done it starves, and systemd starts us again. A trio loop that hangs starves it by itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import trio

from collector.core.counters import Work
from collector.logs import get_logger
from collector.monitoring.progress_check import Pulse
from collector.monitoring.sd_notify import Notify

log = get_logger(__name__)

_LOOK_EVERY_S = 1.0
# A start takes as long as the exchange does to answer; a process that hangs at it is given up after this.
_START_S = 60.0


@attrs.define(eq=False)
class Supervisor:
    """What systemd is told, from looks at whether data flows, at the writer's work, and at a line on how we are."""

    _notify: Notify
    _flows: Callable[[], bool]
    _work: Callable[[], Work]
    _line: Callable[[], str]
    _ready: bool = False
    _said: str = ""
    _fed_s: float = 0.0
    _pulse: Pulse | None = None
    _stuck: bool = False

    async def supervise(self) -> None:
        """Looks again and again until cancelled, which means that we are stopping: systemd is told."""
        if not self._notify.address:
            return
        try:
            while True:
                self.look(trio.current_time())
                await trio.sleep(min(_LOOK_EVERY_S, self._limit_s / 4))
        finally:
            self._notify.stopping()

    def look(self, now_s: float) -> None:
        """One look, and what it gives occasion to say."""
        work = self._work()
        self._pulse = pulse = self._pulse.felt(work, now_s) if self._pulse else Pulse(work, now_s)
        stuck_s = pulse.stuck_s(now_s)
        self._note(stuck_s >= self._limit_s, pulse)
        if not self._ready and self._flows():
            self._ready = self._notify.ready()
        if not self._stuck:
            self._feed(now_s)
        self._say(f"the writer is stuck: {pulse.words} for {stuck_s:.0f} s" if self._stuck else "")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While the settings are changed. Before we are ready nobody waits for it."""
        if self._ready:
            self._notify.reloading()
        yield
        if self._ready:
            self._notify.ready()

    @property
    def _limit_s(self) -> float:
        return self._notify.watchdog_s or _START_S

    def _note(self, stuck: bool, pulse: Pulse) -> None:
        if stuck and not self._stuck:
            log.error("the writer is stuck", at=pulse.words, for_s=round(self._limit_s, 1))
        elif self._stuck and not stuck:
            log.info("the writer gets on again")
        self._stuck = stuck

    def _feed(self, now_s: float) -> None:
        if not self._ready:
            self._notify.starting(_START_S)
        elif self._notify.watchdog_s and now_s - self._fed_s >= self._notify.watchdog_s / 2:
            self._fed_s = now_s
            self._notify.alive()

    def _say(self, trouble: str) -> None:
        line = trouble or ("" if self._ready else "starting: ") + self._line()
        if line != self._said and self._notify.status(line):
            self._said = line
