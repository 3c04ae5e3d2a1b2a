"""The coverage index: what is known of every series.

Coverage flows back from the writer to the reconciler through it. It lives in memory and is pure; the ledger keeps a
copy on disk. What happens to one series is that series' own affair (`series_coverage.py`). Here is what takes more than
one: which symbols are delisted, whose files are left alone, and whether anything is still in flight.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import attrs

from collector.core.candle import Series
from collector.core.missing import Gap, InvalidRow
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import NOTHING, Span, Spans
from collector.core.verification import RECHECK_AFTER_LOSS_MS


@attrs.define
class CoverageIndex:
    """The coverage of every series."""

    records: dict[Series, SeriesCoverage] = attrs.field(factory=dict)
    delisted: set[str] = attrs.field(factory=set)  # symbols that trade no more
    skipped: dict[Series, str] = attrs.field(factory=dict)  # whose files are not written, and why
    candles_in_flight: int = 0
    candles_answered: int = 0  # of those that were in flight: the exchange answered, or they were given up
    answered_before: int = 0  # of them: before anything of now was in flight
    outdated: set[Series] = attrs.field(factory=set)  # of which the ledger may want more than is wanted now
    _in_flight: set[Series] = attrs.field(factory=set)
    _on_idle: list[Callable[[], None]] = attrs.field(factory=list)

    def __getitem__(self, series: Series) -> SeriesCoverage:
        record = self.records.get(series)
        if record is None:
            record = self.records[series] = SeriesCoverage(series.timeframe)
        return record

    def __iter__(self) -> Iterator[tuple[Series, SeriesCoverage]]:
        return iter(self.records.items())

    # What is wanted.

    def want(self, series: Series, span: Spans) -> None:
        """Wants exactly these candles.

        Of an ended series, what is beyond its end stays unwanted.
        """
        if self[series].want(span):
            self.outdated.add(series)

    def want_also(self, series: Series, span: Spans) -> None:
        """Wants these candles beside what is wanted already."""
        self[series].want_also(span)

    def want_nothing(self, every_series: Iterable[Series]) -> None:
        """Wants only what the stream brings, and quarantined spans."""
        for series in every_series:
            self.want(series, NOTHING)

    def want_quarantined(self, series: Series, spans: Spans) -> None:
        """Wants the span of quarantined rows, whatever else is wanted."""
        record = self[series]
        record.quarantined = spans
        self.want(series, record.wanted)

    def stop_wanting(self, series: Series, before_ms: int) -> None:
        """Drops what opens before an instant.

        Under the limit, newer candles have taken its place.
        """
        record = self[series]
        if record.wanted and record.want_within(before_ms, record.wanted.bounds.end_ms):
            self.outdated.add(series)

    def skip(self, series: Series, why: str) -> None:
        """Stops fetching a series whose file is unwritable.

        What is wanted of it stays missing.
        """
        self.skipped[series] = why
        self.cancel_fetch(series, self[series].in_flight)

    # What is missing.

    def due(self, series: Series, now_ms: int) -> Spans:
        """What to fetch of the series now."""
        return NOTHING if series in self.skipped else self[series].due(now_ms)

    def missing(self, series: Series) -> tuple[Gap, ...]:
        """Every wanted candle that is absent from the file, with its state.

        This is the contract's ledger of missing spans.
        """
        return self[series].missing(self.skipped.get(series, ""))

    # What is in flight.

    @property
    def idle(self) -> bool:
        """Whether every span in flight has landed."""
        return not self._in_flight

    def when_idle(self, call: Callable[[], None]) -> None:
        """Calls once, when nothing is in flight: at once, or when the last span has landed."""
        if self.idle:
            call()
        else:
            self._on_idle.append(call)

    @property
    def series_in_flight(self) -> int:
        """How many series have something in flight."""
        return len(self._in_flight)

    def ask(self, series: Series, spans: Spans) -> None:
        """Marks spans as handed to the history pool."""
        if self.idle:
            self.answered_before = self.candles_answered
        self.candles_in_flight += self[series].start_fetch(spans)
        self._in_flight.add(series)

    def cancel_fetch(self, series: Series, spans: Spans) -> None:
        """Takes spans out of flight that left the queue unasked."""
        answered = self.candles_answered
        self._landed(series, spans)
        self.candles_answered = answered

    def answer(
        self, series: Series, asked: Span, covered: Spans, now_ms: int, invalid_rows: Sequence[InvalidRow] = ()
    ) -> None:
        """Takes an answer whose rows are written (see `SeriesCoverage.answer`)."""
        record, span = self[series], Spans((asked,))
        record.answer(span, covered, now_ms, invalid_rows)
        if series.symbol in self.delisted:
            record.end_series()
        self._landed(series, span)

    def take_copied(self, series: Series, covered: Spans, unverified: Spans) -> None:
        """Takes written rows of another copy, of which REST has yet to confirm some."""
        record = self[series]
        record.mark_unverified(unverified)
        if series.symbol in self.delisted:
            record.end_series()
        self._landed(series, covered)

    def take_gaps(self, series: Series, gaps: tuple[Gap, ...]) -> None:
        """Takes what the earlier collector of the series has on record that the exchange lacks."""
        record = self[series]
        record.take_gaps(gaps)
        if series.symbol not in self.delisted:
            record.reopen_series()
        self._landed(series, Spans.of(*(gap.span for gap in gaps)))

    def fail(self, series: Series, asked: Span, why: str, now_ms: int) -> None:
        """Takes a request that failed for good."""
        self[series].fail(Spans((asked,)), why, now_ms)
        self._landed(series, Spans((asked,)))

    def _landed(self, series: Series, spans: Spans) -> None:
        record = self[series]
        ended = record.end_fetch(spans)
        self.candles_in_flight -= ended
        self.candles_answered += ended
        if not record.in_flight:
            self._in_flight.discard(series)
            if not self._in_flight:
                waiting, self._on_idle = self._on_idle, []
                for call in waiting:
                    call()

    # What concerns many series.

    def recheck_after_loss(self, every_series: Iterable[Series], now_ms: int) -> None:
        """Has what the stream confirmed last verified at once.

        A lost connection may have missed a correction.
        """
        for series in every_series:
            self[series].recheck(now_ms - RECHECK_AFTER_LOSS_MS)

    def recheck_all(self, every_series: Iterable[Series]) -> None:
        """Has everything unverified verified at once."""
        for series in every_series:
            self[series].recheck(0)

    def delist(self, symbols: Collection[str]) -> None:
        """Ends the series of symbols that have stopped trading."""
        symbols = frozenset(symbols)
        self.delisted |= symbols
        for series, record in self.records.items():
            if series.symbol in symbols:
                record.end_series()

    def relist(self, symbols: Collection[str]) -> None:
        """Makes the series of symbols that trade, perhaps again, open-ended."""
        symbols = frozenset(symbols)
        self.delisted -= symbols
        for series, record in self.records.items():
            if series.symbol in symbols and record.gaps:
                record.reopen_series()

    def reset_attempts(self) -> None:
        """Has what failed before tried at once."""
        for record in self.records.values():
            record.reset_attempts()

    def expire_claims(self, every_series: Iterable[Series]) -> None:
        """Has what the exchange lacked asked for at once."""
        for series in every_series:
            self[series].expire_claims()

    def drop_future_timestamps(self, series: Series, now_ms: int) -> None:
        """Makes gaps dated later than now due, and stops wanting what closes later: the clock was wrong then.

        It concerns every series on record: the latest candle wanted of any tells a reader what time it was.
        """
        if self[series].drop_future_timestamps(now_ms):
            self.outdated.add(series)
