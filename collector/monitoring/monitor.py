"""The monitor: looks at the collector once a second and judges how it is.

It only reads what the stations count. A change of the verdict is one line in the log. One verdict has a consequence: a
disk that is nearly full closes the gate of the history pool.
"""

from collections.abc import Callable, Collection, Sequence

import attrs
import trio

from collector.bybit.clock import Clock
from collector.bybit.exchange_state import RestState, StreamState
from collector.core.candle import Series
from collector.core.counters import Counters, Work
from collector.core.coverage import CoverageIndex
from collector.core.maintenance import Maintenance
from collector.logs import get_logger
from collector.machine.clock import LocalClock
from collector.monitoring.disk_gate import DiskGate
from collector.monitoring.health import HEALTHY, NEARLY, Health, Signs, Tolerance, judge
from collector.monitoring.lag import Late, Survey, Walk
from collector.monitoring.probes import Probes
from collector.monitoring.progress_check import Pulse
from collector.monitoring.rates import Rates, Tally
from collector.settings.settings import Settings

log = get_logger(__name__)

_LOOK_EVERY_S = 1.0
_ERRORS_OVER_S = 60.0
_SLICE = 200  # series of a survey between two moments in which others may run: 1.5 ms
_SURVEY_SHARE = 0.01  # of a core for surveys, so that thousands of series (40 ms) are looked at every few seconds
_MB = 1_000_000


@attrs.define(eq=False)
class Watched:
    """What is looked at. All of it changes meanwhile, and the settings are others after a reload."""

    settings: Settings
    counters: Counters
    coverage: CoverageIndex
    clock: Clock
    every_series: Sequence[Series]
    probes: Probes
    local: LocalClock
    work: Callable[[], Work] = lambda: Work(0, 0)  # the writer's
    refused_topics: Collection[str] = ()
    rest: RestState = attrs.field(factory=RestState)
    stream: StreamState = attrs.field(factory=StreamState)
    disk_trouble: Callable[[], str] = lambda: ""  # what the disk refuses at the start

    def apply(self, settings: Settings) -> None:
        """Other settings are in force from now on."""
        self.settings = settings


@attrs.define(eq=False)
class Monitor:
    """Looks while `watch` runs."""

    watched: Watched
    gate: DiskGate = attrs.field(factory=DiskGate)
    health: Health = HEALTHY  # the last verdict
    rates: Rates = attrs.field(factory=Rates)
    surveyed: Survey = attrs.field(factory=Survey)
    surveyed_ms: int = 0  # when; local time
    signs: Signs = attrs.field(factory=Signs)  # of the last look
    _survey_due_s: float = 0.0
    _able_since_ms: int = 0  # by the exchange's clock: since then candles could be fetched
    _heard_s: float = attrs.field(factory=trio.current_time)
    _landed_s: float = attrs.field(factory=trio.current_time)
    _connected_s: float = attrs.field(factory=trio.current_time)
    _degraded_s: float = attrs.field(factory=trio.current_time)
    _pulse: Pulse | None = None

    async def watch(self) -> None:
        """Looks every second, until cancelled."""
        while True:
            if trio.current_time() >= self._survey_due_s:
                await self._survey()
            self.look()
            await trio.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """Takes the numbers of this moment, judges them, and says so if the verdict is another."""
        tally, before = Tally.of(self.watched.counters, trio.current_time()), self.health
        self._note_life(tally.at_s, self.rates.add(tally))
        self.signs = self._signs(tally)
        self.health = health = judge(self.signs, _tolerance(self.watched.settings), before)
        if health.kinds != before.kinds:
            self._tell(before, health, tally.at_s)
        self.gate.follow(low_disk=health.low_disk)

    async def _survey(self) -> None:
        """Looks at every series, in slices between which others run."""
        began_s, now_ms = self.watched.local.elapsed_s(), self.watched.clock.now_ms
        self._able_since_ms = min(self._able_since_ms or now_ms, now_ms)  # the clock may have been wrong
        nearly_stale_ms = self.watched.settings.stale_after_s * 1000 * NEARLY
        walk = Walk(self.watched.coverage, now_ms, self._able_since_ms, nearly_stale_ms)
        every_series = tuple(self.watched.every_series)
        for at in range(0, len(every_series), _SLICE):
            walk.look_at(every_series[at : at + _SLICE])
            await trio.lowlevel.checkpoint()
        self.surveyed, self.surveyed_ms = walk.found(), self.watched.local.now_ms()
        took_s = self.watched.local.elapsed_s() - began_s
        self._survey_due_s = trio.current_time() + took_s / _SURVEY_SHARE

    def _note_life(self, now_s: float, news: Tally) -> None:
        """When the exchange last said something, when an answer was last dealt with, and when none could be had."""
        if news.landed:
            self._landed_s = now_s
        if news.answers or news.messages:
            self._heard_s = now_s
        if self.watched.counters.connections or not self.watched.counters.connects:
            self._connected_s = now_s
        if self.banned_until_ms:
            self._able_since_ms = self.watched.clock.now_ms
            self._landed_s = self._heard_s = now_s

    def _signs(self, now: Tally) -> Signs:
        late, errors = self._late(now.at_s), self.rates.last(_ERRORS_OVER_S, now)
        able_for_ms = self.watched.clock.now_ms - self._able_since_ms
        work, probes, counters = self.watched.work(), self.watched.probes, self.watched.counters
        rest, stream = self.watched.rest, self.watched.stream
        self._pulse = pulse = self._pulse.felt(work, now.at_s) if self._pulse else Pulse(work, now.at_s)
        return Signs(
            overdue_s=min(late.overdue_ms, able_for_ms) / 1000,
            slowest=late.slowest,
            stale=late.stale,
            silent_s=now.at_s - self._heard_s,
            unstreamed_s=now.at_s - self._connected_s,
            errors=errors.errors,
            worst_error=next((kind for kind, _ in errors.troubles.most_common(1)), ""),
            queued=counters.queued,
            stuck_s=pulse.stuck_s(now.at_s),
            stuck_at=pulse.words,
            disk_free_mb=probes.disk_free_bytes() / _MB,
            disk_trouble=self.watched.disk_trouble(),
            deaf_s=probes.disk_deaf_s(),
            memory_mb=probes.memory_bytes() / _MB,
            left_alone=tuple(self.watched.coverage.left_alone.values()),
            banned_until_ms=self.banned_until_ms,
            unserved_s=0.0 if rest.unserved_since_s is None else now.at_s - rest.unserved_since_s,
            unserved_why=rest.unserved_why,
            next_try_s=rest.next_try_s - now.at_s,
            unstreamed_why=stream.lost_why,
            next_connect_s=stream.next_connect_s - now.at_s,
            banned_why=rest.ban.why if rest.ban else "",
            stream_refused_s=max(0.0, stream.refused_until_s - now.at_s),
            now_ms=self.watched.local.now_ms(),
            maintenance_until_ms=self._maintenance_until_ms,
        )

    def _late(self, now_s: float) -> Late:
        """The series that are late without excuse. Those that are being fetched have one, as long as what is fetched
        gets into the files."""
        gets_on = now_s - self._landed_s <= self.watched.settings.stale_after_s
        return self.surveyed.unasked if gets_on else self.surveyed.unasked | self.surveyed.asked

    @property
    def banned_until_ms(self) -> int:
        """The local time at which the rate ban or block ends; 0 while none is on."""
        ban = self.watched.rest.ban
        return ban.until_ms if ban and trio.current_time() < ban.until_s else 0

    @property
    def announced(self) -> tuple[Maintenance, ...]:
        """The maintenance that is announced and not over, by the exchange's time; by ours, while that is not known."""
        now_ms = self.watched.clock.now_ms or self.watched.local.now_ms()
        return tuple(each for each in self.watched.rest.maintenance if now_ms < each.end_ms)

    @property
    def _maintenance_until_ms(self) -> int:
        now_ms = self.watched.clock.now_ms or self.watched.local.now_ms()
        return max((each.end_ms for each in self.announced if each.begin_ms <= now_ms), default=0)

    def _tell(self, before: Health, health: Health, now_s: float) -> None:
        if not before.troubles:
            self._degraded_s = now_s
        if health.troubles:
            log.warning("degraded", why="; ".join(health.reasons))
        else:
            log.info("healthy again", degraded_for_s=round(now_s - self._degraded_s))


def _tolerance(settings: Settings) -> Tolerance:
    return Tolerance(
        settings.stale_after_s,
        settings.errors_per_minute,
        settings.queue_limit,
        settings.low_disk_mb,
        settings.memory_limit_mb,
    )
