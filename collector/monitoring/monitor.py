"""The monitor: reads the collector's counters once a second and evaluates its health.

It reads only. A change of health is one log line; a ban has lines of its own, of the throttle and the milestones. One
problem has an effect: a nearly full disk closes the gate of the history pool.
"""

from collections.abc import Callable, Collection

import attrs
import trio

from collector.bybit.clock import Clock
from collector.bybit.exchange_state import RestState, StreamState
from collector.core.candle import Series
from collector.core.counters import Counters, Work
from collector.core.coverage import CoverageIndex
from collector.core.maintenance import Maintenance
from collector.core.missing import State
from collector.logs import get_logger
from collector.machine.clock import LocalClock
from collector.monitoring.alert_policy import Away, GapCounts, Sight
from collector.monitoring.disk_gate import DiskGate
from collector.monitoring.health import BAN, HEALTHY, NEARLY, Health, Readings, Thresholds, evaluate, events
from collector.monitoring.lag import LagScan, LagSummary, Late
from collector.monitoring.milestones import Milestones, Reading
from collector.monitoring.probes import Probes
from collector.monitoring.progress_check import ProgressWatchdog
from collector.monitoring.rates import Rates, Tally
from collector.monitoring.report import Mirroring
from collector.settings.settings import Settings

log = get_logger(__name__)

_INTERVAL_S = 1.0
_ERRORS_OVER_S = 60.0
_BATCH = 200  # series per batch: 1.5 ms
_SCAN_SHARE = 0.01  # of a core: thousands of series (40 ms) are scanned every few seconds
_MB = 1_000_000


@attrs.define(eq=False)
class MonitorInputs:
    """The objects that are read, all of them live.

    A reload replaces the settings.
    """

    settings: Settings
    counters: Counters
    coverage: CoverageIndex
    clock: Clock
    every_series: Collection[Series]
    probes: Probes
    local: LocalClock
    work: Callable[[], Work] = lambda: Work(0, 0)  # the writer's
    refused_topics: Collection[str] = ()
    rest: RestState = attrs.field(factory=RestState)
    stream: StreamState = attrs.field(factory=StreamState)
    disk_trouble: Callable[[], str] = lambda: ""  # what the disk refuses during startup
    reconciled: Callable[[], bool] = lambda: True  # whether the files have been read
    settled: Callable[[], bool] = lambda: False  # whether all that is missing was asked for and answered
    mirror: Callable[[], Mirroring] = Mirroring

    def apply(self, settings: Settings) -> None:
        """Replaces the settings after a reload."""
        self.settings = settings


@attrs.define(eq=False)
class Monitor:
    """The latest readings, lag scan and health, updated while `watch` runs."""

    inputs: MonitorInputs
    gate: DiskGate = attrs.field(factory=DiskGate)
    alert: Callable[[Sight], None] = lambda _: None
    health: Health = HEALTHY
    rates: Rates = attrs.field(factory=Rates)
    scan: LagSummary = attrs.field(factory=LagSummary)
    scanned_ms: int = 0  # local time
    readings: Readings = attrs.field(factory=Readings)
    _scan_due_s: float = 0.0
    _fetchable_since_ms: int = 0  # exchange time since which requests are possible
    _last_response_s: float = attrs.field(factory=trio.current_time)
    _last_landed_s: float = attrs.field(factory=trio.current_time)
    _last_connected_s: float = attrs.field(factory=trio.current_time)
    _degraded_s: float = attrs.field(factory=trio.current_time)
    _told_degraded: bool = False
    _told_s: float = 0.0
    _events: frozenset[str] = frozenset()
    _progress: ProgressWatchdog | None = None
    _scans_all: bool = False  # whether the last scan began after all files had been read
    _settled: bool = False  # during all of the last scan
    milestones: Milestones = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.milestones = Milestones(Reading(trio.current_time()))

    async def watch(self) -> None:
        """Updates every second until cancelled."""
        while True:
            if trio.current_time() >= self._scan_due_s:
                await self._scan()
            self.look()
            await trio.sleep(_INTERVAL_S)

    async def finish(self) -> None:
        """Looks once more, at the end of a collection that is done."""
        await self._scan()
        self.look()

    def tally(self) -> Tally:
        """The counters at this moment."""
        return Tally.of(self.inputs.counters, trio.current_time(), self.inputs.coverage.candles_answered)

    def look(self) -> None:
        """Takes readings, evaluates them, and logs a change of health and what was reached."""
        tally = self.tally()
        self._update_liveness(tally.at_s, self.rates.add(tally))
        self.readings = self._readings(tally)
        self.health = evaluate(self.readings, _thresholds(self.inputs.settings), self.health)
        self._log_change(self.health, tally.at_s)
        self.gate.update(low_disk=self.health.low_disk)
        self.alert(self._sight(tally.at_s))
        for each in self.milestones.observe(self._reading(tally.at_s)):
            log.info(each.event, **each.facts, sentence=each.sentence)

    async def _scan(self) -> None:
        """Scans all series, in batches between which other tasks run."""
        self._scans_all, reconciled = False, self.inputs.reconciled()
        began_s, now_ms = self.inputs.local.elapsed_s(), self.inputs.clock.now_ms
        self._fetchable_since_ms = min(
            self._fetchable_since_ms or now_ms, now_ms
        )  # the clock may have been corrected backwards
        nearly_stale_ms = self.inputs.settings.stale_after_s * 1000 * NEARLY
        settled = self.inputs.settled()
        scan = LagScan(self.inputs.coverage, now_ms, self._fetchable_since_ms, nearly_stale_ms)
        every_series = tuple(self.inputs.every_series)
        for at in range(0, len(every_series), _BATCH):
            scan.add(every_series[at : at + _BATCH])
            await trio.lowlevel.checkpoint()
        self.scan, self.scanned_ms = scan.summary(), self.inputs.local.now_ms()
        self._scans_all = reconciled
        self._settled = settled and self.inputs.settled()
        took_s = self.inputs.local.elapsed_s() - began_s
        self._scan_due_s = trio.current_time() + took_s / _SCAN_SHARE

    def _update_liveness(self, now_s: float, news: Tally) -> None:
        """Records when the exchange last responded, an answer was last processed, a stream was last open.

        A ban counts as a response, since requests wait for its end. No stream is missed where none is to be open.
        """
        if news.landed:
            self._last_landed_s = now_s
        if news.answers or news.messages:
            self._last_response_s = now_s
        counters = self.inputs.counters
        if counters.connections or not counters.connects or not self.inputs.stream.wanted:
            self._last_connected_s = now_s
        if self.banned_until_ms:
            self._fetchable_since_ms = self.inputs.clock.now_ms
            self._last_landed_s = self._last_response_s = now_s

    def _readings(self, now: Tally) -> Readings:
        late, errors = self._late(now.at_s), self.rates.last(_ERRORS_OVER_S, now)
        fetchable_for_ms = self.inputs.clock.now_ms - self._fetchable_since_ms
        work, probes, counters = self.inputs.work(), self.inputs.probes, self.inputs.counters
        rest, stream, mirror = self.inputs.rest, self.inputs.stream, self.inputs.mirror()
        self._progress = progress = (
            self._progress.observe(work, now.at_s) if self._progress else ProgressWatchdog(work, now.at_s)
        )
        return Readings(
            overdue_s=min(late.overdue_ms, fetchable_for_ms) / 1000,
            slowest=late.slowest,
            stale=late.stale,
            silent_s=now.at_s - self._last_response_s,
            disconnected_s=now.at_s - self._last_connected_s,
            errors=errors.errors,
            worst_error=next((kind for kind, _ in errors.errors_by_kind.most_common(1)), ""),
            queued=counters.queued,
            stuck_s=progress.stuck_s(now.at_s),
            stuck_at=progress.waiting_on,
            disk_free_mb=probes.disk_free_bytes() / _MB,
            disk_trouble=self.inputs.disk_trouble(),
            disk_unresponsive_s=probes.disk_unresponsive_s(),
            memory_mb=probes.memory_bytes() / _MB,
            skipped=tuple(self.inputs.coverage.skipped.values()),
            banned_until_ms=self.banned_until_ms,
            unserved_s=0.0 if rest.unserved_since_s is None else now.at_s - rest.unserved_since_s,
            unserved_why=rest.unserved_why,
            next_try_s=rest.next_try_s - now.at_s,
            disconnect_reason=stream.lost_why,
            next_connect_s=stream.next_connect_s - now.at_s,
            banned_why=rest.ban.why if rest.ban else "",
            stream_refused_s=max(0.0, stream.refused_until_s - now.at_s),
            now_ms=self.inputs.local.now_ms(),
            maintenance_until_ms=self._maintenance_until_ms,
            mirror_refused=mirror.trouble if mirror.refused else "",
        )

    def _sight(self, now_s: float) -> Sight:
        """What the alerts are decided by."""
        missing = self.scan.missing
        gaps = GapCounts(self.scan.failing, missing[State.ABSENT] + missing[State.INVALID]) if self._scans_all else None
        inputs = self.inputs
        mirror = inputs.mirror()
        away = Away(mirror.place, mirror.away_s, mirror.trouble) if mirror.away_s and not mirror.refused else None
        now_ms, bans = inputs.local.now_ms(), inputs.counters.bans
        return Sight(now_s, now_ms, self.health, bans, gaps, inputs.coverage.idle, away)

    def _reading(self, now_s: float) -> Reading:
        """What the milestones are decided by."""
        settled = self._settled and self.inputs.settled()
        pending = self.scan.missing[State.PENDING].candles
        return _reading(self.inputs, now_s, pending, settled=settled, banned=bool(self.banned_until_ms))

    def _late(self, now_s: float) -> Late:
        """The lag that counts: series being fetched are excused while answers reach the files."""
        gets_on = now_s - self._last_landed_s <= self.inputs.settings.stale_after_s
        return self.scan.unasked if gets_on else self.scan.unasked | self.scan.asked

    @property
    def banned_until_ms(self) -> int:
        """The local time at which the rate ban or block ends; 0 outside of one."""
        ban = self.inputs.rest.ban
        return ban.until_ms if ban and trio.current_time() < ban.until_s else 0

    @property
    def announced(self) -> tuple[Maintenance, ...]:
        """Announced maintenance that is still to end, by the exchange's time.

        By local time until the exchange's is known.
        """
        now_ms = self.inputs.clock.now_ms or self.inputs.local.now_ms()
        return tuple(each for each in self.inputs.rest.maintenance if now_ms < each.end_ms)

    @property
    def _maintenance_until_ms(self) -> int:
        now_ms = self.inputs.clock.now_ms or self.inputs.local.now_ms()
        return max((each.end_ms for each in self.announced if each.begin_ms <= now_ms), default=0)

    def _log_change(self, health: Health, now_s: float) -> None:
        """Logs what is new or over; a ban has lines of its own."""
        before, self._events = self._events, events(frozenset(health.kinds), self._events, now_s - self._told_s)
        changed = self._events ^ before
        if not (changed - {BAN} or (changed and self._told_degraded and not health.problems)):
            return
        if not self._told_degraded:
            self._degraded_s = now_s
        self._told_degraded, self._told_s = bool(health.problems), now_s
        if health.problems:
            log.warning("degraded", why="; ".join(health.reasons))
        else:
            log.info("healthy again", degraded_for_s=round(now_s - self._degraded_s))


def _thresholds(settings: Settings) -> Thresholds:
    return Thresholds(
        settings.stale_after_s,
        settings.errors_per_minute,
        settings.queue_limit,
        settings.low_disk_mb,
        settings.memory_limit_mb,
    )


def _reading(inputs: MonitorInputs, now_s: float, given_up: int, *, settled: bool, banned: bool) -> Reading:
    counters, stream, unserved_since_s = inputs.counters, inputs.stream, inputs.rest.unserved_since_s
    has_history = inputs.settings.mode != "live"
    return Reading(
        now_s,
        settled=settled,
        scope=(len(inputs.every_series), inputs.settings.days_to_fetch) if has_history else None,
        history=counters.history,
        requests=counters.requests,
        given_up=given_up,
        listings=counters.listings,
        series=stream.series,
        connections=stream.subscribed,
        connections_wanted=stream.wanted,
        lost=counters.lost,
        unserved_s=0.0 if unserved_since_s is None else now_s - unserved_since_s,
        banned=banned,
    )
