"""One series in memory, asked for a moment.

What is known at a moment is what had closed by then. A candle that was still open is given to those who ask for it, and
is marked: its numbers are those it had in the end.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TypedDict

import attrs
import polars as pl

from collector.core.candle import DAY_MS, Series
from collector.core.rows import LATEST_MS
from collector.core.spans import Span, Spans
from collector.feeder.alignment import SHAPE, with_times
from collector.feeder.columns import NAMES, Columns, between, to_dataframe
from collector.feeder.reader import FileSnapshot

_SHORTEST_MONTH_MS = 28 * DAY_MS
_AFTER_MS = LATEST_MS + 31 * DAY_MS  # every candle has closed; the calendar of months ends soon after


class Candle(TypedDict):
    """When a candle opens, and the six numbers of the file.

    Also when it is complete, which is when the next one opens; and whether it is. Times are epoch milliseconds: to make
    a `datetime` costs a fifth of a look-up.
    """

    timestamp_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float
    close_time_ms: int
    is_closed: bool


class ReplayedCandle(Candle):
    """A closed candle, and whose it is."""

    symbol: str
    timeframe: str


@attrs.define(eq=False)
class LoadedSeries:
    """A series, or the part of it that was asked for, as its file was when it was loaded."""

    series: Series
    snapshot: FileSnapshot
    _step_ms: int | None = attrs.field(init=False)
    _starts_ms: list[int] = attrs.field(init=False)  # when the first row of each block opens

    def __attrs_post_init__(self) -> None:
        self._step_ms = self.series.timeframe.step_ms
        self._starts_ms = [block.times[0] for block in self.snapshot.blocks]

    def at(self, ms: int, *, closed_only: bool) -> Candle | None:
        """The last candle that had opened, or only one that had closed, at the moment; None before the first."""
        step = self._step_ms
        latest_ms = ms
        if closed_only:  # what closed at the moment opened a step before it; a month, before the month it is in
            latest_ms = ms - step if step else self.series.timeframe.floor(min(max(ms, 0), _AFTER_MS)) - 1
        number = bisect_right(self._starts_ms, latest_ms) - 1
        if number < 0:
            return None
        block = self.snapshot.blocks[number]
        return self._candle(block, block.before(latest_ms, step or _SHORTEST_MONTH_MS), ms)

    def _candle(self, block: Columns, place: int, ms: int) -> Candle:
        opened_ms = block.times[place]
        closes_ms = opened_ms + self._step_ms if self._step_ms else self.series.timeframe.close(opened_ms)
        opens, highs, lows, closes, volumes, turnovers = block.values
        return {
            "timestamp_ms": opened_ms,
            "open": opens[place],
            "high": highs[place],
            "low": lows[place],
            "close": closes[place],
            "volume": volumes[place],
            "turnover": turnovers[place],
            "close_time_ms": closes_ms,
            "is_closed": closes_ms <= ms,
        }

    def lazy(self, span: tuple[int, int] | None = None, names: Sequence[str] = SHAPE) -> pl.LazyFrame:
        """The candles that open in a span, or all, with their open and close times; of them, these columns."""
        stored = [name for name in NAMES if name == "timestamp" or name in names]
        return with_times(self.series.timeframe, to_dataframe(self.blocks(span), stored), names)

    def replay(self, span: tuple[int, int] | None = None) -> Iterator[ReplayedCandle]:
        """The same one by one, oldest first."""
        symbol, timeframe = self.series.symbol, self.series.timeframe.name
        for block in self.blocks(span):
            for place, opened_ms in enumerate(block.times):
                candle = self._candle(block, place, self.series.timeframe.close(opened_ms))
                yield {"symbol": symbol, "timeframe": timeframe, **candle}

    def blocks(self, span: tuple[int, int] | None) -> tuple[Columns, ...]:
        """The rows that open in a span, or all."""
        return self.snapshot.blocks if span is None else between(self.snapshot.blocks, *span)

    @property
    def gaps(self) -> Spans:
        """The holes between the first candle and the last."""
        times = self.lazy(names=("open_time", "close_time")).select(start=pl.col("close_time").shift(), end="open_time")
        holes = times.filter(pl.col("start") < pl.col("end")).select(pl.all().to_physical()).collect()
        return Spans(tuple(Span(start, end) for start, end in holes.rows()))
