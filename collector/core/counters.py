"""What the collector did so far, in numbers.

The parts of the pipeline count; monitoring only reads.
"""

import attrs

from collector.core.candle import Series

CONNECTION_LOST = "connection lost"


@attrs.frozen
class Work:
    """The writer's load: what waits, what is done, what is being done."""

    waiting: int
    done: int
    at: str = ""


@attrs.define
class Counters:
    """Counters since the start of the process, and its state."""

    requests: int = 0  # begun
    outcomes: dict[str, int] = attrs.field(factory=dict)  # what became of them; those under way are in no outcome yet
    retries: int = 0
    bans: int = 0
    failed: int = 0
    landed: int = 0  # answers to the history pool that the writer has dealt with, and spans that were given up
    files: int = 0  # to be read at the start, and when series are added
    files_read: int = 0
    rows: int = 0
    staged: int = 0  # of the rows: those that waited for what lay before them
    streamed: int = 0  # of the rows: those that came over the stream first
    rewritten: int = 0  # of the rows: those that were put before the end of a file
    revisions: int = 0
    listings: int = 0  # series whose first candle the exchange named
    reached_ms: int = 0  # up to where the series written last reaches
    series: Series | None = None  # the series written last
    connections: int = 0  # to the stream, open now
    connects: int = 0
    subscriptions: int = 0  # connections that got all they subscribed to, so far
    messages: int = 0
    confirmed: int = 0
    confirm_lags: int = 0  # how often the lag was looked at: once for every batch that is handed on
    confirm_lag_s: float = 0.0  # from the close of a candle to its confirmation by the exchange; the sum of them
    taken: int = 0  # of the confirmed: those the writer has dealt with
    dropped: int = 0  # of the confirmed: those that could not be handed on when a connection ended
    flushes: int = 0
    flush_s: float = 0.0  # spent in syncing files
    flush_wait_s: float = 0.0  # how long the first candle of the last flush had waited when it was safe on the disk
    malformed: int = 0
    unknown: int = 0
    troubles: dict[str, int] = attrs.field(factory=dict)  # how often each kind of trouble was met

    @property
    def history(self) -> int:
        """Of the rows: those that came over REST."""
        return self.rows - self.streamed

    @property
    def lost(self) -> int:
        """Connections to the stream that were lost; each is reopened."""
        return self.troubles.get(CONNECTION_LOST, 0)

    @property
    def queued(self) -> int:
        """Candles that the stream confirmed and are yet to be written."""
        return self.confirmed - self.taken - self.dropped

    def ended(self, outcome: str) -> None:
        """Counts a request by its outcome."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def flushed(self, seconds: float, waited_s: float) -> None:
        self.flushes += 1
        self.flush_s += seconds
        self.flush_wait_s = waited_s

    def appended(self, series: Series, rows: int, reached_ms: int, staged: int = 0) -> None:
        self.staged += staged
        self._wrote(series, rows, reached_ms)

    def rewrote(self, series: Series, rows: int, reached_ms: int, revisions: int) -> None:
        self.rewritten += rows
        self.revisions += revisions
        self._wrote(series, rows, reached_ms)

    def _wrote(self, series: Series, rows: int, reached_ms: int) -> None:
        self.series, self.reached_ms = series, reached_ms
        self.rows += rows

    def trouble(self, kind: str) -> None:
        self.troubles[kind] = self.troubles.get(kind, 0) + 1
