"""Builds the report of a running collector on request.

Counters are read at that moment; results of the lag scan come from the monitor. So a report costs the same for any
number of series and requests. It reads only.
"""

import os
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

import attrs

from collector.core.candle import Timeframe
from collector.core.pacing import WINDOW_S, request_interval_s
from collector.core.rate_limit import Demand
from collector.monitoring.alerts import Alerts
from collector.monitoring.health import unconnected_text, unserved_text
from collector.monitoring.monitor import Monitor, MonitorInputs
from collector.monitoring.rates import Tally
from collector.monitoring.report import (
    Alerting,
    Announced,
    Clustered,
    Doing,
    Fetching,
    GapCount,
    Lag,
    Machine,
    Report,
    Requests,
    Streaming,
    Writing,
)

_RATES_OVER_S = 10.0
_PACE_OVER_S = 30.0  # by which the time left is judged: a ban or two slow answers make no new forecast
_WAITING_AFTER_S = 5.0
_MB = 1_000_000


def collector_version() -> str:
    """Return the version that is installed."""
    try:
        return version("collector")
    except PackageNotFoundError:  # run from a bare checkout
        return "unknown"


def next_close_ms(timeframes: Iterable[Timeframe], exchange_ms: int) -> int:
    """When the next candle closes; 0 while the exchange's time is unknown."""
    if not exchange_ms:
        return 0
    return min((each.close(each.floor(exchange_ms)) for each in timeframes), default=0)


@attrs.define(eq=False)
class Reporter:
    """Builds reports; `run` identifies this run of the collector."""

    _monitor: Monitor
    _reconciled: Callable[[], bool]  # true once the files have been read
    run: str
    _queued_answers: Callable[[], int] = lambda: 0
    _alerts: Alerts | None = None
    _cluster: Callable[[], Clustered] = Clustered
    _url: str = ""  # of the TCP port, while it is served
    _port_trouble: str = ""  # why it is unavailable
    _version: str = attrs.field(factory=collector_version)
    _started_ms: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._started_ms = self._inputs.local.now_ms()

    @property
    def _inputs(self) -> MonitorInputs:
        return self._monitor.inputs

    def port_bound(self, url: str) -> None:
        """The TCP port serves at this URL from now on."""
        self._url, self._port_trouble = url, ""

    def port_failed(self, why: str) -> None:
        """The TCP port is unavailable; it is tried again."""
        self._port_trouble = why

    def report(self) -> Report:
        inputs, settings, health = self._inputs, self._inputs.settings, self._monitor.health
        now = self._monitor.tally()
        recent = self._monitor.rates.last(_RATES_OVER_S, now)
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
            shard=str(settings.shard),
            cluster=self._cluster(),
            symbols=len({series.symbol for series in inputs.every_series}),
            series=len(inputs.every_series),
            candles_to_fetch=inputs.coverage.candles_in_flight,
            fetching=self._fetching(now),
            files=inputs.counters.files,
            files_read=inputs.counters.files_read,
            next_close_ms=next_close_ms(settings.timeframes, inputs.clock.now_ms),
            started_ms=self._started_ms,
            now_ms=inputs.local.now_ms(),
            exchange_ms=inputs.clock.now_ms,
            survey_ms=self._monitor.scanned_ms,
            requests=self._requests(now, recent),
            stream=self._stream(recent),
            writing=self._writing(recent),
            lags=self._lags(),
            gaps=self._gaps(),
            machine=self._machine(),
            unserved=unserved_text(self._monitor.readings) if self._waiting else "",
            url=self._url,
            port_trouble=self._port_trouble,
            alerts=self._alerting(),
            mirror=inputs.mirror(),
            maintenance=tuple(Announced(each.title, each.begin_ms, each.end_ms) for each in self._monitor.announced),
        )

    @property
    def _doing(self) -> Doing:
        if not (self._monitor.scan.series and self._reconciled()):
            return "starting"
        if self._waiting or self._monitor.banned_until_ms:
            return "waiting for the exchange"
        return "up to date" if self._inputs.coverage.idle else "catching up"

    @property
    def _waiting(self) -> bool:
        """True when all requests have failed for 5 s, beyond a first retry."""
        return self._monitor.readings.unserved_s >= _WAITING_AFTER_S

    def _fetching(self, now: Tally) -> Fetching:
        counters, coverage = self._inputs.counters, self._inputs.coverage
        recent = self._monitor.rates.last(_PACE_OVER_S, now)
        per_s, to_fetch = recent.per_s(recent.fetched), coverage.candles_in_flight
        return Fetching(
            candles=coverage.candles_answered - coverage.answered_before if to_fetch else 0,
            to_fetch=to_fetch,
            series=coverage.series_in_flight,
            per_s=per_s,
            left_s=to_fetch / per_s if per_s else None if to_fetch else 0.0,
            reached=counters.series.name if counters.series else "",
            reached_ms=counters.reached_ms,
        )

    def _requests(self, now: Tally, recent: Tally) -> Requests:
        counters, settings = self._inputs.counters, self._inputs.settings
        demand = Demand.of(settings.bulk_batch_size, settings.address_share)
        budget = int(WINDOW_S / request_interval_s(settings.bulk_request_delay_ms, demand.in_flight, demand.allowed))
        return Requests(
            begun=counters.requests,
            under_way=counters.requests - sum(counters.outcomes.values()),
            outcomes=dict(counters.outcomes),
            retries=counters.retries,
            given_up=counters.failed,
            per_s=recent.per_s(recent.requests),
            budget=budget,
            budget_left=max(0, budget - self._monitor.rates.last(WINDOW_S, now).requests),
            bans=counters.bans,
            banned_until_ms=self._monitor.banned_until_ms,
        )

    def _stream(self, recent: Tally) -> Streaming:
        counters = self._inputs.counters
        return Streaming(
            connections=counters.connections,
            connects=counters.connects,
            reconnects=counters.lost,
            messages=counters.messages,
            messages_per_s=recent.per_s(recent.messages),
            confirmed=counters.confirmed,
            confirm_lags=counters.confirm_lags,
            confirm_lag_s=round(counters.confirm_lag_s, 3),
            malformed=counters.malformed,
            unknown=counters.unknown,
            refused_topics=tuple(sorted(self._inputs.refused_topics)),
            wanted=self._inputs.stream.wanted,
            subscribed=self._inputs.stream.subscribed,
            series=self._inputs.stream.series,
            unconnected=unconnected_text(self._monitor.readings),
        )

    def _writing(self, recent: Tally) -> Writing:
        counters = self._inputs.counters
        return Writing(
            candles=counters.rows,
            appended=counters.rows - counters.staged - counters.rewritten,
            staged=counters.staged,
            rewritten=counters.rewritten,
            per_s=recent.per_s(recent.rows),
            revisions=counters.revisions,
            queued_candles=counters.queued,
            queued_answers=self._queued_answers(),
            flushes=counters.flushes,
            flush_s=round(counters.flush_s, 6),
            flush_wait_s=round(counters.flush_wait_s, 3),
        )

    def _lags(self) -> tuple[Lag, ...]:
        found = self._monitor.scan
        late = ((frame, series, found.late[frame]) for frame, series in found.series.items())
        return tuple(Lag(frame, series, each.slowest, each.overdue_ms / 1000) for frame, series, each in late)

    def _gaps(self) -> tuple[GapCount, ...]:
        missing = self._monitor.scan.missing
        return tuple(GapCount(state, each.spans, each.candles) for state, each in missing.items())

    def _alerting(self) -> Alerting:
        of = self._alerts
        return Alerting(of.host, of.sent, of.failed, of.waiting, of.trouble) if of else Alerting()

    def _machine(self) -> Machine:
        return Machine(
            memory_bytes=self._inputs.probes.memory_bytes(),
            memory_limit_bytes=self._inputs.settings.memory_limit_mb * _MB,
            disk_free_bytes=self._inputs.probes.disk_free_bytes(),
            low_disk_bytes=self._inputs.settings.low_disk_mb * _MB,
        )
