"""The lag scan: how late each series' newest candle is, and what is missing.

Pure, and divided into batches, since a market has thousands of series: the caller lets other tasks run between two
batches. It reads the coverage index only.
"""

from collections import Counter
from collections.abc import Iterable

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.missing import SETTLED, State, gaps_met
from collector.core.rows import LATEST_MS, candles_in
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import Spans


@attrs.frozen
class Late:
    """The worst lag of some series, and the number beyond the threshold."""

    overdue_ms: int = 0
    slowest: str = ""
    stale: int = 0

    def __or__(self, other: "Late") -> "Late":
        """The lag of both sets of series."""
        worse = max(self, other, key=lambda late: late.overdue_ms)
        return attrs.evolve(worse, stale=self.stale + other.stale)


@attrs.frozen
class MissingCount:
    """Spans and candles missing in one state."""

    spans: int = 0
    candles: int = 0

    def __add__(self, other: "MissingCount") -> "MissingCount":
        return MissingCount(self.spans + other.spans, self.candles + other.candles)


@attrs.frozen
class LagSummary:
    """The result of a scan, by timeframe and by state.

    `asked` covers the series whose newest candle is being fetched, `unasked` the others.
    """

    series: dict[str, int] = attrs.field(factory=dict)
    late: dict[str, Late] = attrs.field(factory=dict)
    missing: dict[State, MissingCount] = attrs.field(factory=lambda: dict.fromkeys(State, MissingCount()))
    failing: MissingCount = MissingCount()  # of the pending: those whose requests have failed for an hour
    asked: Late = Late()
    unasked: Late = Late()


@attrs.define(eq=False)
class LagScan:
    """A scan in progress.

    Args:
        now_ms: the exchange's time.
        began_ms: the exchange's time from which candles are wanted.
    """

    _coverage: CoverageIndex
    _now_ms: int
    _began_ms: int
    _stale_after_ms: float
    _series: Counter[str] = attrs.field(factory=Counter)
    _late: dict[str, Late] = attrs.field(factory=dict)
    _spans: Counter[State] = attrs.field(factory=Counter)
    _candles: Counter[State] = attrs.field(factory=Counter)
    _failing: MissingCount = MissingCount()
    _asked: Late = Late()
    _unasked: Late = Late()

    def add(self, every_series: Iterable[Series]) -> None:
        for series in every_series:
            record, frame = self._coverage[series], series.timeframe.name
            self._series[frame] += 1
            late, asked = self._lateness(series, record)
            if late.overdue_ms:
                self._late[frame] = self._late.get(frame, _IN_TIME) | late
                if asked:
                    self._asked |= late
                else:
                    self._unasked |= late
            if record.gaps or record.wanted != record.held:
                self._count_missing(series, record)

    def summary(self) -> LagSummary:
        missing = {state: MissingCount(self._spans[state], self._candles[state]) for state in State}
        late = {frame: self._late.get(frame, _IN_TIME) for frame in self._series}
        return LagSummary(dict(self._series), late, missing, self._failing, self._asked, self._unasked)

    def _lateness(self, series: Series, record: SeriesCoverage) -> tuple[Late, bool]:
        """How late the series is, and whether its next candle is being fetched."""
        next_ms = next_open_ms(series, record, self._began_ms)
        over = series.symbol in self._coverage.delisted and next_ms is not None and next_ms not in record.wanted
        if next_ms is None or over or series in self._coverage.skipped:
            return _IN_TIME, False
        overdue_ms = max(0, self._now_ms - series.timeframe.close(next_ms))
        if not overdue_ms:
            return _IN_TIME, False
        return Late(overdue_ms, series.name, int(overdue_ms > self._stale_after_ms)), next_ms in record.in_flight

    def _count_missing(self, series: Series, record: SeriesCoverage) -> None:
        if record.gaps:
            index = record.gap_index
            for state, (spans, candles) in index.counts.items():
                self._spans[state] += spans
                self._candles[state] += candles
            self._failing += MissingCount(*index.failing)
        if never_asked := record.never_asked:
            self._spans[State.PENDING] += len(never_asked)
            self._candles[State.PENDING] += candles_in(series.timeframe, never_asked)


_IN_TIME = Late()


def next_open_ms(series: Series, record: SeriesCoverage, began_ms: int) -> int | None:
    """The open of the next candle of the series.

    That is the first after all held candles and settled gaps; with history off, the first since the collector began.
    None for a series that is still without any wanted or held candle.
    """
    if not (record.wanted or record.held):
        return None
    held_ms = record.held.end_ms
    open_ms = max(held_ms, record.wanted[0].start_ms if record.wanted else series.timeframe.ceil(began_ms))
    if not record.gaps or record.gaps[-1].span.end_ms <= open_ms:
        return open_ms
    for gap in gaps_met(record.gaps, Spans.between(open_ms, LATEST_MS)):
        if open_ms in gap.span and gap.state in SETTLED:
            open_ms = gap.span.end_ms
    return open_ms
