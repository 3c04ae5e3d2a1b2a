"""Stored candles as polars tables: series, panels, aligned timeframes, coarser candles, and their replay."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from typing import TYPE_CHECKING

import polars as pl

from collector.core.candle import TIMEFRAMES, timeframe
from collector.core.rows import NUMBERS
from collector.feeder import alignment
from collector.feeder.loaded_series import ReplayedCandle
from collector.feeder.loader import Loader
from collector.feeder.pandas_frame import to_pandas
from collector.feeder.panel import side_by_side
from collector.feeder.timestamps import Moment, span_ms

if TYPE_CHECKING:
    import pandas

Names = str | Iterable[str]

_RANKS = {each: rank for rank, each in enumerate(TIMEFRAMES.values())}


class Tables:
    """The methods of a `DataFeeder` that give many candles at once."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def frame(
        self,
        symbol: str,
        timeframe: str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        fill: bool = False,
    ) -> pl.DataFrame:
        """The candles of a series in a span.

        With `fill`, each missing candle in between becomes a flat one at the last close, marked in the column `filled`.

        Returns:
            A row per candle, by time. Columns: `open_time` and `close_time` (Datetime in ms, UTC); `open`, `high`,
            `low`, `close`, `volume` and `turnover` (Float64); with `fill`, `filled` (Boolean).
        """
        loaded, span = self._loader.get(symbol, timeframe), span_of(start, end)
        if fill:
            return _within(alignment.filled(loaded.series.timeframe, loaded.lazy().collect()), span)
        return loaded.lazy(span).collect()

    def lazy(
        self,
        symbol: str,
        timeframe: str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        fill: bool = False,
    ) -> pl.LazyFrame:
        """The same for a query of polars."""
        return self.frame(symbol, timeframe, start=start, end=end, fill=fill).lazy()

    def to_pandas(
        self,
        symbol: str,
        timeframe: str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        fill: bool = False,
        unit: str = "ns",
    ) -> "pandas.DataFrame":
        """The same for pandas, by open time.

        `unit` is that of its times: ns, us, ms or s. The index is the open time and `close_time` a column (both
        datetime64 of that unit, UTC); the six numbers are float64, and `filled` is bool.

        Raises `ImportError` where pandas is not installed.
        """
        return to_pandas(self.frame(symbol, timeframe, start=start, end=end, fill=fill), unit)

    def panel(
        self,
        symbols: Names,
        timeframe: str,
        column: str = "close",
        *,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> pl.DataFrame:
        """One number of many symbols side by side: `open_time`, and a column per symbol, null where it has no candle.

        A row's numbers but `open` are known when the candle closes, one timeframe after its `open_time` (Datetime in
        ms, UTC). The other columns are Float64 and carry the names of the symbols, in the order given.
        """
        _check_names([column], NUMBERS)
        span = span_of(start, end)
        names = dict.fromkeys(each_of(symbols))
        return side_by_side(((name, self._loader.get(name, timeframe).blocks(span)) for name in names), column)

    def aligned(
        self,
        symbol: str,
        base: str,
        others: Names,
        *,
        columns: Names = alignment.SHAPE,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> pl.DataFrame:
        """One row per candle of the base timeframe, beside it what was known of the others when it closed.

        That is the last candle of each that had closed by then, the same instant included; never a later one, and never
        one that was open. Its columns carry its timeframe, `close_60`, and are null before its first candle has closed.
        With `columns` they are only these, in this order: `close` alone takes a fraction of the time and memory. The
        base has all of its own. The span is that of the base. Times are Datetime in ms, UTC; numbers are Float64.

        Raises `ValueError` for a column that candles do not have.
        """
        columns = list(dict.fromkeys(each_of(columns)))
        _check_names(columns, alignment.SHAPE)
        needed = list(dict.fromkeys(["close_time", *columns]))
        others_loaded = {
            loaded.series: loaded for loaded in (self._loader.get(symbol, name) for name in each_of(others))
        }
        tables = [(series.timeframe, loaded.lazy(names=needed)) for series, loaded in others_loaded.items()]
        return alignment.aligned(self.frame(symbol, base, start=start, end=end), tables, columns)

    def resample(
        self,
        symbol: str,
        source: str,
        target: str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        fill: bool = False,
    ) -> pl.DataFrame:
        """Candles of a coarser timeframe made from a finer one; `complete` says whether none of those was missing.

        The columns are those of `frame`, and `complete` (Boolean). The span is that of the coarser ones. Raises
        `ValueError` where they are not made of whole candles, as months are not of weeks.
        """
        loaded, coarse, span = self._loader.get(symbol, source), timeframe(target), span_of(start, end)
        made = alignment.resampled(loaded.series.timeframe, coarse, loaded.lazy())
        return _within(alignment.filled(coarse, made) if fill else made, span)

    def replay(
        self, symbols: Names, timeframes: Names, *, start: Moment | None = None, end: Moment | None = None
    ) -> Iterator[ReplayedCandle]:
        """The closed candles of all these series in the order in which they closed.

        Of those that close together the coarser comes first, so that what is known then is complete when the finest
        arrives. The series are held until the end of the replay.
        """
        span = span_of(start, end)
        every_loaded = (self._loader.get(symbol, name) for symbol in each_of(symbols) for name in each_of(timeframes))
        chosen = {loaded.series: loaded for loaded in every_loaded}  # `1440` and `D` are two names of one
        ordered = sorted(chosen.values(), key=lambda loaded: (-_RANKS[loaded.series.timeframe], loaded.series.symbol))
        return merge(*(loaded.replay(span) for loaded in ordered), key=lambda candle: candle["close_time_ms"])


def span_of(start: Moment | None, end: Moment | None) -> tuple[int, int] | None:
    return None if start is None and end is None else span_ms(start, end)


def _within(candles: pl.DataFrame, span: tuple[int, int] | None) -> pl.DataFrame:
    return candles if span is None else alignment.within(candles, *span)


def _check_names(names: Iterable[str], there_is: Sequence[str]) -> None:
    for name in names:
        if name not in there_is:
            raise ValueError(f"{name!r} is not one of {', '.join(there_is)}")


def each_of(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
