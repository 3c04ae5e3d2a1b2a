"""One file recognised: format, columns, times, symbol and timeframe."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs
import polars as pl

from collector.core.candle import Series, Timeframe
from collector.importing.candles import AMOUNTS, Reading, likely_step, refuse_step, timeframe_of_step
from collector.importing.header import columns_of, day_and_clock, lacking, refuse_closes
from collector.importing.moments import style_of
from collector.importing.names import read_names, symbol_of, timeframe_of
from collector.importing.places import Place
from collector.importing.refusal import Refusal
from collector.importing.sniffing import Layout, sniff
from collector.importing.tables import Piece, Table, open_table
from collector.machine.disk import Disk

T = TypeVar("T")

_FAR_OFF = 3  # a turnover is the volume times a price of the candle, and prices of a table may differ
_SWAPPED = 0.02  # volume and turnover / close agree within this


@attrs.frozen
class Given:
    """What the command line says of files that do not tell it themselves.

    `overrides` says that it is about this file alone, and wins over its name.
    """

    symbols: tuple[str, ...] = ()
    timeframes: tuple[Timeframe, ...] = ()
    overrides: bool = False
    inverse: bool = False  # in that category the turnover is the smaller number


@attrs.frozen
class Recognised:
    """A table, how it is read, and what its names say; where its cells say more, they win."""

    place: Place
    format: str
    reading: Reading
    symbol: str | None
    timeframe: Timeframe | None
    remarks: tuple[str, ...] = ()
    is_single: bool = False  # its numbers are float32

    def series_of(self, symbol: str | None, timeframe: str | None) -> Series:
        """The series of rows with these cells.

        Raises:
            Refusal: neither cells nor names nor options tell.
        """
        name = symbol_of(symbol) if symbol else self.symbol
        if name is None:
            raise Refusal(
                f"the symbol {symbol!r} is none" if symbol else "its symbol is unclear: name it with --symbols BTCUSDT"
            )
        frame = timeframe_of(timeframe) if timeframe else self.timeframe
        if frame is None:
            raise Refusal(
                f"the timeframe {timeframe!r} is none of the exchange's"
                if timeframe
                else "its timeframe is unclear: name it with --timeframes 60"
            )
        return Series(name, frame)

    @property
    def sentence(self) -> str:
        """The format in words."""
        parts = (self.format, self.reading.layout.sentence, self.reading.style.sentence, *self.remarks)
        return ", ".join(filter(None, parts))


def recognise(disk: Disk, place: Place, given: Given) -> Recognised:
    """Recognises a table by its first rows.

    Raises:
        Refusal: it is no table of candles, or does not tell whose.
    """
    named = read_names(place.parts)
    if named.kind:
        raise Refusal(f"its name says {named.kind}: no candles of trades", is_of_candles=False)
    symbol = _chosen(named.symbol, given.symbols, overrides=given.overrides)
    with open_table(disk, place) as table:
        layout = sniff(table.lines, symbol) if table.head is None else layout_of(table.head, symbol)
        head = _head(table, layout)
    style = style_of(head.frame, layout.columns["time"], layout.clock)
    reading = Reading(layout, style, table.unit)
    rows = reading.candles(head.first, head.frame)
    reading, remarks = _checked_amounts(reading, rows, given)
    by_name = _chosen(named.timeframe, given.timeframes, overrides=given.overrides)
    by_rows = None if "timeframe" in layout.columns else _timeframe(rows, by_name)
    timeframe = by_rows or by_name or named.likely
    is_single = head.frame[layout.columns["close"]].dtype == pl.Float32
    found = Recognised(place, table.format, reading, symbol, timeframe, remarks, is_single)
    found.series_of(*rows.select("symbol", "timeframe").row(0))
    return found


def layout_of(head: pl.DataFrame, symbol: str | None) -> Layout:
    """The columns of a table whose columns have names and types.

    Raises:
        Refusal: some are lacking.
    """
    names = [name for name in head.columns if not head[name].dtype.is_nested()]
    found = columns_of(names, symbol)
    times = [name for name in found.pop("time", []) if _is_time(head[name])]
    clock = ""
    pair = day_and_clock(names) if times and head[times[0]].dtype == pl.String else None
    if pair and not head[pair[0]].cast(pl.String).str.contains(":").any():
        times, clock = [pair[0]], pair[1]
    if times:
        found["time"] = times
    missing = lacking(found)
    if missing == ["time"]:
        refuse_closes(names)
    if not names:
        raise Refusal("its values are lists and objects: JSON is read as a list of rows, or of objects with names")
    if missing:
        raise Refusal(f"its columns ({', '.join(names)[:200]}) have none for {', '.join(missing)}", is_of_candles=False)
    return Layout({role: each[0] for role, each in found.items()}, clock)


def _is_time(column: pl.Series) -> bool:
    if column.dtype.is_temporal() or column.dtype == pl.String:
        return column.dtype != pl.Time
    first = column.drop_nulls().head(1).cast(pl.Float64, strict=False)
    return bool(len(first)) and first[0] is not None and first[0] > 1e8


def _head(table: Table, layout: Layout) -> Piece:
    """The first rows."""
    if table.head is not None:
        return Piece(1, table.head)
    return next(table.pieces(layout))


def _chosen(named: T | None, given: Sequence[T], *, overrides: bool) -> T | None:
    """What a name says, or else the one thing that the command line says."""
    only = given[0] if len(given) == 1 else None
    return only or named if overrides else named or only


def _timeframe(rows: pl.DataFrame, named: Timeframe | None) -> Timeframe | None:
    """The timeframe by the distance of the rows.

    Raises:
        Refusal: it is no timeframe's, or another than the name says.
    """
    of_one = rows.filter(pl.col("symbol").eq_missing(rows["symbol"][0]))
    step = likely_step(of_one["time"].drop_nulls())
    if step is None:
        return named
    found = timeframe_of_step(step)
    if found is None:
        raise refuse_step(step)
    if named and named != found and len(of_one) > 2:
        raise Refusal(f"its rows are those of timeframe {found}, and {named} is its name or option")
    return named or found


def _checked_amounts(reading: Reading, rows: pl.DataFrame, given: Given) -> tuple[Reading, tuple[str, ...]]:
    """Volume and turnover as far as they can be read, and the right way round."""
    remarks: list[str] = []
    for name in AMOUNTS:
        if name in reading.layout.columns and not rows[name].is_finite().any():
            remarks += [f"its {name} cannot be read"] if rows[name].count() else []
            reading = _without(reading, name)
    reading, swapped = _checked_volume(reading, rows, given)
    return reading, (*remarks, *swapped)


def _without(reading: Reading, name: str) -> Reading:
    columns = {role: column for role, column in reading.layout.columns.items() if role != name}
    return _with_columns(reading, columns)


def _with_columns(reading: Reading, columns: Mapping[str, str]) -> Reading:
    return attrs.evolve(reading, layout=attrs.evolve(reading.layout, columns=columns))


def _checked_volume(reading: Reading, rows: pl.DataFrame, given: Given) -> tuple[Reading, tuple[str, ...]]:
    """Volume and turnover the right way round: the turnover is about the volume times the price."""
    columns = dict(reading.layout.columns)
    if given.inverse or not {"volume", "turnover"} <= columns.keys():
        return reading, ()
    traded = rows.filter((pl.col("volume") > 0) & (pl.col("turnover") > 0))
    by_price = traded.select((pl.col("volume") / pl.col("turnover") / pl.col("close")).median()).item()
    alike = traded.select((pl.col("volume") / pl.col("turnover")).median()).item()
    price = traded["close"].median()
    if by_price is None or not isinstance(price, float) or abs(price - 1) < 2 * _SWAPPED:
        return reading, ()
    if abs(by_price - 1) < _SWAPPED:
        columns["volume"], columns["turnover"] = columns["turnover"], columns["volume"]
        return _with_columns(reading, columns), ("its volume is the turnover, and its turnover the volume",)
    if abs(alike - 1) < _SWAPPED / 10:
        return _without(reading, "volume"), ("its volume is the turnover",)
    if reading.layout.is_guessed and not 1 / _FAR_OFF < alike * price < _FAR_OFF:
        return _without(reading, "turnover"), ("what stands behind its volume is no turnover",)
    return reading, ()
