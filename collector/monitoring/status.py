"""The reporter: puts together what a running collector says of itself, whenever somebody asks.

Counters are read at that moment; what takes a walk over all series comes from the monitor's last survey. So a report
costs the same however many series there are and however often it is asked for. It only reads.
"""

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import attrs
import trio

from collector.core.pacing import WINDOW_S, request_interval_s
from collector.core.rate_limit import Demand
from collector.monitoring.health import unconnected_text, unserved_text
from collector.monitoring.monitor import Monitor, Watched
from collector.monitoring.rates import Tally
from collector.monitoring.report import Announced, Doing, GapCount, Lag, Machine, Report, Requests, Streaming, Writing

_RATES_OVER_S = 10.0
_WAITS_S = 5.0
_MB = 1_000_000


def _version() -> str:
    try:
        return version("collector")
    except PackageNotFoundError:  # a checkout that was never installed
        return "unknown"


@attrs.define(eq=False)
class Reporter:
    """Reports. `run` tells this run of a collector from all others."""

    _monitor: Monitor
    _looked: Callable[[], bool]  # whether it is known what is missing
    run: str
    queued_answers: Callable[[], int] = lambda: 0
    url: str = ""  # of the TCP port at which it is served, if it is
    port_trouble: str = ""  # why it is not
    _version: str = attrs.field(factory=_version)
    _started_ms: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._started_ms = self._watched.local.now_ms()

    @property
    def _watched(self) -> Watched:
        return self._monitor.watched

    def report(self) -> Report:
        watched, settings, health = self._watched, self._watched.settings, self._monitor.health
        now = Tally.of(watched.counters, trio.current_time())
        lately = self._monitor.rates.last(_RATES_OVER_S, now)
        return Report(
            run=self.run,
            pid=os.getpid(),
            version=self._version,
            state=health.state,
            reasons=health.reasons,
            doing=self._doing,
            exchange=settings.exchange,
            category=settings.category,
            mode=settings.mode,
            symbols=len({series.symbol for series in watched.every_series}),
            series=len(watched.every_series),
            candles_to_fetch=watched.coverage.candles_in_flight,
            started_ms=self._started_ms,
            now_ms=watched.local.now_ms(),
            exchange_ms=watched.clock.now_ms,
            survey_ms=self._monitor.surveyed_ms,
            requests=self._requests(now, lately),
            stream=self._stream(lately),
            writing=self._writing(lately),
            lags=self._lags(),
            gaps=self._gaps(),
            machine=self._machine(),
            unserved=unserved_text(self._monitor.signs) if self._waits else "",
            url=self.url,
            port_trouble=self.port_trouble,
            maintenance=tuple(Announced(each.title, each.begin_ms, each.end_ms) for each in self._monitor.announced),
        )

    @property
    def _doing(self) -> Doing:
        if not (self._monitor.surveyed.series and self._looked()):
            return "starting"
        if self._waits or self._monitor.banned_until_ms:
            return "waiting for the exchange"
        return "up to date" if self._watched.coverage.idle else "catching up"

    @property
    def _waits(self) -> bool:
        """Whether the exchange has given no good answer for some time; a question is asked again after a second."""
        return self._monitor.signs.unserved_s >= _WAITS_S

    def _requests(self, now: Tally, lately: Tally) -> Requests:
        counters, settings = self._watched.counters, self._watched.settings
        demand = Demand.of(settings.bulk_batch_size, settings.address_share)
        budget = int(WINDOW_S / request_interval_s(settings.bulk_request_delay_ms, demand.in_flight, demand.allowed))
        return Requests(
            begun=counters.requests,
            under_way=counters.requests - sum(counters.outcomes.values()),
            outcomes=dict(counters.outcomes),
            retries=counters.retries,
            given_up=counters.failed,
            per_s=lately.per_s(lately.requests),
            budget=budget,
            budget_left=max(0, budget - self._monitor.rates.last(WINDOW_S, now).requests),
            bans=counters.bans,
            banned_until_ms=self._monitor.banned_until_ms,
        )

    def _stream(self, lately: Tally) -> Streaming:
        counters = self._watched.counters
        return Streaming(
            connections=counters.connections,
            connects=counters.connects,
            reconnects=counters.lost,
            messages=counters.messages,
            messages_per_s=lately.per_s(lately.messages),
            confirmed=counters.confirmed,
            confirm_lags=counters.confirm_lags,
            confirm_lag_s=round(counters.confirm_lag_s, 3),
            malformed=counters.malformed,
            unknown=counters.unknown,
            refused_topics=tuple(sorted(self._watched.refused_topics)),
            unconnected=unconnected_text(self._monitor.signs),
        )

    def _writing(self, lately: Tally) -> Writing:
        counters = self._watched.counters
        return Writing(
            candles=counters.rows,
            appended=counters.rows - counters.staged - counters.rewritten,
            staged=counters.staged,
            rewritten=counters.rewritten,
            per_s=lately.per_s(lately.rows),
            revisions=counters.revisions,
            queued_candles=counters.queued,
            queued_answers=self.queued_answers(),
            flushes=counters.flushes,
            flush_s=round(counters.flush_s, 6),
            flush_wait_s=round(counters.flush_wait_s, 3),
        )

    def _lags(self) -> tuple[Lag, ...]:
        found = self._monitor.surveyed
        late = ((frame, series, found.late[frame]) for frame, series in found.series.items())
        return tuple(Lag(frame, series, each.slowest, each.overdue_ms / 1000) for frame, series, each in late)

    def _gaps(self) -> tuple[GapCount, ...]:
        missing = self._monitor.surveyed.missing
        return tuple(GapCount(state, each.spans, each.candles) for state, each in missing.items())

    def _machine(self) -> Machine:
        return Machine(
            memory_bytes=self._watched.probes.memory_bytes(),
            memory_limit_bytes=self._watched.settings.memory_limit_mb * _MB,
            disk_free_bytes=self._watched.probes.disk_free_bytes(),
            low_disk_bytes=self._watched.settings.low_disk_mb * _MB,
        )
