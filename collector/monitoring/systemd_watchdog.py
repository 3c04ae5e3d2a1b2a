"""Reports to systemd: ready, status line, watchdog, end. It reads only.

The watchdog is fed while the writer makes progress, rather than by a timer: if work has waited for a whole interval
and none was done, feeding stops and systemd restarts the service. A hanging trio loop has the same effect.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio

from collector.core.counters import Work
from collector.logs import get_logger
from collector.monitoring.progress_check import ProgressWatchdog
from collector.monitoring.sd_notify import NotifySocket

log = get_logger(__name__)

_INTERVAL_S = 1.0
# The start lasts until the exchange answers; systemd gives up a process that hangs during it after this time.
_START_TIMEOUT_S = 60.0
_END_WITHIN_S, _END_AGAIN_S = 1.0, 0.05  # a manager whose socket is gone holds up no end


@asynccontextmanager
async def telling_end(socket: NotifySocket, stop: trio.Event) -> AsyncIterator[None]:
    """Tells systemd that the service stops: as soon as that is asked for, and at the latest when the body ends.

    A manager that is busy may have a full socket, which refuses; then it is told again.
    """
    if not socket.address:
        yield
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell_end, socket, stop)
        yield
        nursery.cancel_scope.cancel()


async def _tell_end(socket: NotifySocket, stop: trio.Event) -> None:
    try:
        await stop.wait()
    finally:
        with trio.move_on_after(_END_WITHIN_S, shield=True):
            await _until_told(socket)


async def _until_told(socket: NotifySocket) -> None:
    while True:
        if socket.stopping():
            return
        await trio.sleep(_END_AGAIN_S)


@attrs.define(eq=False)
class SystemdNotifier:
    """Sends readiness, the status line and watchdog signals.

    Args:
        socket: the service manager's.
        flows: true once data arrives.
        work: the writer's work, waiting and done.
        line: the status line.
    """

    _socket: NotifySocket
    _flows: Callable[[], bool]
    _work: Callable[[], Work]
    _line: Callable[[], str]
    _ready: bool = False
    _sent: str = ""
    _fed_s: float = 0.0
    _progress: ProgressWatchdog | None = None
    _stuck: bool = False

    async def run(self) -> None:
        """Updates until cancelled."""
        while self._socket.address:
            self.update(trio.current_time())
            await trio.sleep(min(_INTERVAL_S, self._limit_s / 4))

    def update(self, now_s: float) -> None:
        """Sends what has changed."""
        work = self._work()
        self._progress = progress = (
            self._progress.observe(work, now_s) if self._progress else ProgressWatchdog(work, now_s)
        )
        stuck_s = progress.stuck_s(now_s)
        self._log_change(stuck_s >= self._limit_s, progress)
        if not self._ready and self._flows():
            self._ready = self._socket.ready()
        if not self._stuck:
            self._feed_watchdog(now_s)
        self._send_status(f"the writer is stuck: {progress.waiting_on} for {stuck_s:.0f} s" if self._stuck else "")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Marks a reload of the settings; skipped before readiness."""
        if self._ready:
            self._socket.reloading()
        yield
        if self._ready:
            self._socket.ready()

    @property
    def _limit_s(self) -> float:
        return self._socket.watchdog_s or _START_TIMEOUT_S

    def _log_change(self, stuck: bool, progress: ProgressWatchdog) -> None:
        if stuck and not self._stuck:
            log.error("the writer is stuck", at=progress.waiting_on, for_s=round(self._limit_s, 1))
        elif self._stuck and not stuck:
            log.info("the writer gets on again")
        self._stuck = stuck

    def _feed_watchdog(self, now_s: float) -> None:
        if not self._ready:
            self._socket.starting(_START_TIMEOUT_S)
        elif self._socket.watchdog_s and now_s - self._fed_s >= self._socket.watchdog_s / 2:
            self._fed_s = now_s
            self._socket.alive()

    def _send_status(self, problem: str) -> None:
        line = problem or ("" if self._ready else "starting: ") + self._line()
        if line != self._sent and self._socket.status(line):
            self._sent = line
