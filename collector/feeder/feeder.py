"""Stored candles for research scripts: look-ups, tables and replay.

The files are only read, also while a collector writes them, and a feeder sees them as they were when they were loaded.
A number counts as known from its candle's close on: see `closed_only` and `aligned`.
"""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Self

import attrs

from collector.core.candle import Series
from collector.core.rows import LATEST_MS, OLDEST_MS
from collector.core.spans import Spans
from collector.core.text import counted, moment_text, size_text
from collector.feeder.catalogue import Catalogue
from collector.feeder.loaded_series import Candle
from collector.feeder.loader import Loader
from collector.feeder.lru_cache import Limit, LruCache, Memory, machine_memory
from collector.feeder.notebook import html_table
from collector.feeder.places import open_source
from collector.feeder.tables import Names, Tables, each_of, span_of
from collector.feeder.timestamps import Moment, to_epoch_ms
from collector.machine.disk import THIS_DISK, Disk

_SHOWN = 20  # symbols in a notebook


@attrs.frozen(repr=False)
class Metadata:
    """What there is of a loaded series.

    Args:
        first_ms: when the first candle opens, in epoch milliseconds; None where there is none.
        last_ms: when the last one opens.
        rows: how many there are.
        path: the file, or another place.
        bytes: in memory.
        gaps: the spans without candles between the first and the last.
    """

    first_ms: int | None
    last_ms: int | None
    rows: int
    path: Path | str
    bytes: int
    gaps: Spans

    def __repr__(self) -> str:
        return f"<Metadata {', '.join(f'{name}: {text}' for name, text in self._told())}>"

    def _repr_html_(self) -> str:
        """For a notebook."""
        return html_table(("", ""), self._told())

    def _told(self) -> list[tuple[str, str]]:
        first, last = ("none" if ms is None else f"{moment_text(ms)} UTC" for ms in (self.first_ms, self.last_ms))
        gaps = counted(len(self.gaps), "gap")
        held = size_text(self.bytes)
        return [
            ("first", first),
            ("last", last),
            ("rows", f"{self.rows:,}"),
            ("gaps", gaps),
            ("memory", held),
            ("path", str(self.path)),
        ]


class DataFeeder(Tables):
    """The candles in a data directory, loaded when they are first asked for.

    Moments are whole epoch milliseconds, datetimes, dates or ISO text; without a zone they are UTC. Those of numpy and
    pandas are understood. A number that is no milliseconds of a time the exchange existed, such as one of seconds, is a
    `ValueError`. A span has what opens at its start or later and before its end; None is without a bound, and so is 0
    as a start; a date without a time as an end means that whole day. Timeframes are the exchange's names, and `1440`
    for `D`. A feeder belongs to one thread. Handed to another process, it loads there what it is asked for, in the
    spans that `load_data` was told here.

    Args:
        data_dir: where the candles are: the CSV files of a collector, a directory of Parquet that was exported from
            them, `s3://bucket/prefix` or `postgresql://host/database`.
        memory_limit_percent: the share of the machine's memory that may be in use, others' included.
        memory_limit_bytes: how much the feeder may hold besides. What was not used for longest gives way.
        closed_only: whether look-ups give only candles that had closed at the moment asked about. A backtest wants
            that: the numbers of an open candle are those it had in the end, and to know them is to look ahead.
        category: whose candles are meant, where a database holds several categories. A directory, or an exported
            dataset, that is on record with another one is a `ValueError`.
        memory: tells the machine's memory.
        disk: opens and reads the files.

    All methods that need candles raise `NoSuchSeries` for what is not stored, `NotReadable` for a file that is none of
    ours, and `DoesNotFit` for a series that alone is beyond the limit; and `ValueError` for what is not a moment. But
    of what is not stored the two look-ups give None, and `load_data` answers False to all three. Why, and what there is
    instead, is in a `DataWarning`, once per series until it is there.
    """

    # Seven parameters: five are the user's, and a test passes a memory and a disk of its own.
    def __init__(
        self,
        data_dir: str | Path = "data",
        memory_limit_percent: float = 90,
        *,
        memory_limit_bytes: int | None = None,
        closed_only: bool = False,
        category: str | None = None,
        memory: Callable[[], Memory] = machine_memory,
        disk: Disk = THIS_DISK,
    ) -> None:
        self._place = data_dir
        self._catalogue = Catalogue(open_source(data_dir, category, disk))
        self._closed_only = closed_only
        self._cache = LruCache(Limit(memory_limit_percent, memory_limit_bytes, memory))
        super().__init__(Loader(self._catalogue, self._cache))

    def close(self) -> None:
        """Closes the connection to a database; a feeder that is asked for more opens it again."""
        self._catalogue.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
        span = span_of(start_date, end_date)
        loaded = [
            self._loader.try_to_load(symbol, name, span) for symbol in each_of(symbols) for name in each_of(timeframes)
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
        for name in each_of(timeframes):
            candle = self.get_data_at_timestamp(symbol, name, ms, closed_only=closed_only)
            if candle is not None:
                found[name] = candle
        return found or None

    def refresh(self) -> int:
        """Brings every series in memory up to date: rows that were appended, corrected or repaired since.

        For a feeder beside a live collector. A file that has not changed costs one look at its stat; of one that has
        grown, the bytes read before are compared by their checksum, and the new rows are read; one that was rewritten
        is read anew. What was loaded in a span stays in it. A series that has gone is dropped, with a `DataWarning`.
        Tables that were handed out stay as they are.

        Returns:
            How many series have changed.
        """
        return sum(self._loader.refresh(series) for series in self._cache.held())

    def __repr__(self) -> str:
        held = self._cache.held()
        return (
            f"DataFeeder({str(self._place)!r}): {counted(len(held), 'series')} in memory, "
            f"{size_text(self.memory_bytes)}{', closed candles only' if self._closed_only else ''}"
        )

    def _repr_html_(self) -> str:
        """For a notebook: the series that are stored, and how much of each is in memory."""
        held = {str(series): len(self._loader.get(*_names(series)).snapshot) for series in self._cache.held()}
        symbols = self.symbols()
        rows = [
            (symbol, name, counted(held[key], "row") if (key := f"{symbol}_{name}") in held else "")
            for symbol in symbols[:_SHOWN]
            for name in self.timeframes(symbol)
        ]
        more = f"<p>and {counted(len(symbols) - _SHOWN, 'more symbol')}</p>" if len(symbols) > _SHOWN else ""
        return f"<p>{escape(repr(self))}</p>{html_table(('symbol', 'timeframe', 'in memory'), rows)}{more}"

    def metadata(self, symbol: str, timeframe: str) -> Metadata:
        """What there is of a series."""
        loaded = self._loader.get(symbol, timeframe)
        blocks = loaded.snapshot.blocks
        first_ms, last_ms = (blocks[0].times[0], blocks[-1].times[-1]) if blocks else (None, None)
        path = self._catalogue.source.where(loaded.series)
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


def _names(series: Series) -> tuple[str, str]:
    return series.symbol, series.timeframe.name
