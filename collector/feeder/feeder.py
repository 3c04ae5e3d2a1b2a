"""Stored candles for research scripts: look-ups, tables and replay.

The files are only read, also while a collector writes them, and a feeder sees them as they were when they were loaded.
A number counts as known from its candle's close on: see `closed_only` and `aligned`.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import polars as pl
import psutil

from collector.core.candle import TIMEFRAMES, timeframe
from collector.core.rows import LATEST_MS, OLDEST_MS
from collector.core.spans import Spans
from collector.feeder import alignment
from collector.feeder.catalogue import Catalogue
from collector.feeder.loaded_series import Candle, ReplayedCandle
from collector.feeder.loader import Loader
from collector.feeder.lru_cache import Limit, LruCache, Memory
from collector.feeder.pandas_frame import to_pandas
from collector.feeder.timestamps import Moment, span_ms, to_epoch_ms
from collector.machine.disk import THIS_DISK, Disk

if TYPE_CHECKING:
    import pandas

_RANKS = {each: rank for rank, each in enumerate(TIMEFRAMES.values())}

Names = str | Iterable[str]


@attrs.frozen
class Metadata:
    """A loaded series: first and last open time, rows, file, bytes in memory, gaps."""

    first_ms: int | None
    last_ms: int | None
    rows: int
    path: Path
    bytes: int
    gaps: Spans


class DataFeeder:
    """The candles in a data directory, loaded when they are first asked for.

    Moments are whole epoch milliseconds, datetimes, dates or ISO text; without a zone they are UTC. Those of numpy and
    pandas are understood. A number that is no milliseconds of a time the exchange existed, such as one of seconds, is a
    `ValueError`. A span has what opens at its start or later and before its end; None is without a bound, and so is 0
    as a start; a date without a time as an end means that whole day. Timeframes are the exchange's names, and `1440`
    for `D`. A feeder belongs to one thread. Handed to another process, it loads there what it is asked for, in the
    spans that `load_data` was told here.

    Args:
        data_dir: where the CSV files are.
        memory_limit_percent: the share of the machine's memory that may be in use, others' included.
        memory_limit_bytes: how much the feeder may hold besides. What was not used for longest gives way.
        closed_only: whether look-ups give only candles that had closed at the moment asked about. A backtest wants
            that: the numbers of an open candle are those it had in the end, and to know them is to look ahead.
        memory: tells the machine's memory.
        disk: opens and reads the files.

    All methods that need candles raise `NoSuchSeries` for what is not stored, `NotReadable` for a file that is none of
    ours, and `DoesNotFit` for a series that alone is beyond the limit; and `ValueError` for what is not a moment. But
    of what is not stored the two look-ups give None, and `load_data` answers False to all three. Why, and what there is
    instead, is in a `DataWarning`, once per series until it is there.
    """

    def __init__(
        self,
        data_dir: str | Path = "data",
        memory_limit_percent: float = 90,
        *,
        memory_limit_bytes: int | None = None,
        closed_only: bool = False,
        memory: Callable[[], Memory] = psutil.virtual_memory,
        disk: Disk = THIS_DISK,
    ) -> None:
        self._catalogue = Catalogue(disk, Path(data_dir).expanduser())
        self._closed_only = closed_only
        self._cache = LruCache(Limit(memory_limit_percent, memory_limit_bytes, memory))
        self._loader = Loader(disk, self._catalogue, self._cache)

    def __getstate__(self) -> dict[str, object]:
        """All but the candles in memory, which are views that cannot be handed on."""
        cache = LruCache(self._cache.limit)
        return self.__dict__ | {"_cache": cache, "_loader": self._loader.with_cache(cache)}

    def load_data(
        self,
        symbols: Names,
        timeframes: Names,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> bool:
        """Loads every one of the symbols in every one of the timeframes, or what has come to them since.

        Args:
            start_date: the first moment wanted, None: from the first candle.
            end_date: the first moment not wanted any more, or the last day wanted; None: to the last candle.

        With either, the series are what opens in that span from now on, also where they have to be loaded again.

        Returns:
            Whether everything asked for is there. What is not stored, is not readable or alone is beyond the limit
            does not keep the rest from being loaded; the reason is in a warning.

        Raises:
            ValueError: one of them is not a moment, or the end lies before the start.
        """
        span = _span(start_date, end_date)
        loaded = [
            self._loader.try_to_load(symbol, name, span) for symbol in _each(symbols) for name in _each(timeframes)
        ]
        return all(loaded)

    def get_data_at_timestamp(
        self, symbol: str, timeframe: str, timestamp: Moment, *, closed_only: bool | None = None
    ) -> Candle | None:
        """The candle that opened last at or before the moment, None before the first and where none are stored.

        Its keys are `timestamp_ms` (when it opened, in epoch milliseconds), the numbers of the file as `open`, `high`,
        `low`, `close`, `volume` and `turnover`, `close_time_ms` and `is_closed`. The latter says whether it was
        complete at the moment. Where it was not, its high, low, close, volume and turnover were not known yet. With
        `closed_only` it is the last candle that was complete at the moment.
        """
        # Most are numbers that are right, and a call would cost a fifth of a look-up.
        ms = timestamp if type(timestamp) is int and OLDEST_MS <= timestamp <= LATEST_MS else to_epoch_ms(timestamp)
        loaded = self._cache.find(symbol, timeframe) or self._loader.get_if_stored(symbol, timeframe)
        if loaded is None:
            return None
        return loaded.at(ms, closed_only=self._closed_only if closed_only is None else closed_only)

    def get_multi_timeframe_data(
        self, symbol: str, timeframes: Names, timestamp: Moment, *, closed_only: bool | None = None
    ) -> dict[str, Candle] | None:
        """The same in several timeframes, by their names as given; None when no timeframe has anything.

        A timeframe that has nothing is left out, be it that it is not stored or that its first candle comes later.
        """
        ms = to_epoch_ms(timestamp)
        found: dict[str, Candle] = {}
        for name in _each(timeframes):
            candle = self.get_data_at_timestamp(symbol, name, ms, closed_only=closed_only)
            if candle is not None:
                found[name] = candle
        return found or None

    def frame(
        self,
        symbol: str,
        timeframe: str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        fill: bool = False,
    ) -> pl.DataFrame:
        """The candles of a series in a span: `open_time` and `close_time` in UTC, and the six numbers.

        With `fill`, each missing candle in between becomes a flat one at the last close, marked in the column `filled`.
        """
        loaded, span = self._loader.get(symbol, timeframe), _span(start, end)
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

        `unit` is that of its times: ns, us, ms or s.

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

        A row's numbers but `open` are known when the candle closes, one timeframe after its `open_time`.
        """
        if column not in alignment.NUMBERS:
            raise ValueError(f"{column!r} is not one of {', '.join(alignment.NUMBERS)}")
        span = _span(start, end)
        return alignment.side_by_side(
            {symbol: self._loader.get(symbol, timeframe).column(column, span) for symbol in _each(symbols)}
        )

    def aligned(
        self, symbol: str, base: str, others: Names, *, start: Moment | None = None, end: Moment | None = None
    ) -> pl.DataFrame:
        """One row per candle of the base timeframe, beside it what was known of the others when it closed.

        That is the last candle of each that had closed by then, the same instant included; never a later one, and never
        one that was open. Its columns carry its timeframe, `close_60`, and are null before its first candle has closed.
        The span is that of the base.
        """
        others_loaded = {loaded.series: loaded for loaded in (self._loader.get(symbol, name) for name in _each(others))}
        tables = [(series.timeframe, loaded.lazy()) for series, loaded in others_loaded.items()]
        return alignment.aligned(self.frame(symbol, base, start=start, end=end), tables)

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

        The span is that of the coarser ones. Raises `ValueError` where they are not made of whole candles, as months
        are not of weeks.
        """
        loaded, coarse, span = self._loader.get(symbol, source), timeframe(target), _span(start, end)
        made = alignment.resampled(loaded.series.timeframe, coarse, loaded.lazy())
        return _within(alignment.filled(coarse, made) if fill else made, span)

    def replay(
        self, symbols: Names, timeframes: Names, *, start: Moment | None = None, end: Moment | None = None
    ) -> Iterator[ReplayedCandle]:
        """The closed candles of all these series in the order in which they closed.

        Of those that close together the coarser comes first, so that what is known then is complete when the finest
        arrives. The series are held until the end of the replay.
        """
        span = _span(start, end)
        every_loaded = (self._loader.get(symbol, name) for symbol in _each(symbols) for name in _each(timeframes))
        chosen = {loaded.series: loaded for loaded in every_loaded}  # `1440` and `D` are two names of one
        ordered = sorted(chosen.values(), key=lambda loaded: (-_RANKS[loaded.series.timeframe], loaded.series.symbol))
        return merge(*(loaded.replay(span) for loaded in ordered), key=lambda candle: candle["close_time_ms"])

    def metadata(self, symbol: str, timeframe: str) -> Metadata:
        """What there is of a series."""
        loaded = self._loader.get(symbol, timeframe)
        blocks = loaded.snapshot.blocks
        first_ms, last_ms = (blocks[0].times[0], blocks[-1].times[-1]) if blocks else (None, None)
        path = self._catalogue.path(loaded.series)
        return Metadata(first_ms, last_ms, len(loaded.snapshot), path, loaded.snapshot.bytes, loaded.gaps)

    @property
    def memory_bytes(self) -> int:
        """What all series that are held take."""
        return self._cache.bytes

    def symbols(self) -> list[str]:
        """The symbols that are stored."""
        return self._catalogue.symbols()

    def timeframes(self, symbol: str) -> list[str]:
        """The timeframes in which a symbol is stored, the finest first."""
        return self._catalogue.timeframes(symbol)


def _span(start: Moment | None, end: Moment | None) -> tuple[int, int] | None:
    return None if start is None and end is None else span_ms(start, end)


def _within(candles: pl.DataFrame, span: tuple[int, int] | None) -> pl.DataFrame:
    return candles if span is None else alignment.within(candles, *span)


def _each(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
