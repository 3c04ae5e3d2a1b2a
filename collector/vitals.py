"""What the collector did so far, in numbers. The stations count; whoever watches only reads."""

import attrs

from collector.candle import Series


@attrs.define
class Vitals:
    """Counters since the start of the process, and what is under way."""

    requests: int = 0
    retries: int = 0
    bans: int = 0
    failed: int = 0
    rows: int = 0
    appends: int = 0
    rewrites: int = 0
    revisions: int = 0
    reached_ms: int = 0  # up to where the series written last reaches
    series: Series | None = None  # the series written last
    connections: int = 0  # to the stream, open now
    connects: int = 0
    subscriptions: int = 0  # connections that got all they subscribed to, so far
    messages: int = 0
    confirmed: int = 0
    malformed: int = 0
    unknown: int = 0
    refused: set[str] = attrs.field(factory=set)  # topics the stream does not have
    quiet_until_ms: int = 0  # local time at which a rate ban ends; 0: none
    troubles: dict[str, int] = attrs.field(factory=dict)  # how often each kind of trouble was met

    def appended(self, series: Series, rows: int, reached_ms: int) -> None:
        self.appends += 1
        self._wrote(series, rows, reached_ms)

    def rewrote(self, series: Series, rows: int, reached_ms: int, revisions: int) -> None:
        self.rewrites += 1
        self.revisions += revisions
        self._wrote(series, rows, reached_ms)

    def _wrote(self, series: Series, rows: int, reached_ms: int) -> None:
        self.series, self.reached_ms = series, reached_ms
        self.rows += rows

    def trouble(self, kind: str) -> None:
        self.troubles[kind] = self.troubles.get(kind, 0) + 1
