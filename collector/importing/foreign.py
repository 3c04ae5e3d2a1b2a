"""Rows of others' files as lines of ours, for candles that the exchange no longer has."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from collector.core.candle import Series
from collector.core.rows import DECIMAL, HEADER, NUMBERS, NotACandle, lines_by_time, plain_line, rows_of
from collector.core.spans import Spans
from collector.importing.comparison import Agreement, last_rows, only_within
from collector.importing.scan import Scanned, by_series, pieces_of, spans_of
from collector.machine.disk import Disk

_SINGLE_DIGITS = 7  # of a float32


def foreign_lines(
    disk: Disk, tables: Sequence[Scanned], wanted: Mapping[Series, Spans], found: Mapping[Series, Agreement]
) -> dict[Series, bytes]:
    """The rows of these candles as text with our header, each once; the first file that has one counts.

    A number that the file lacks is 0: volume or turnover, never a price. A row that is no candle by our rules is left
    out.

    Raises:
        Refusal: a file has changed since it was scanned.
    """
    lines: dict[Series, dict[int, bytes]] = {}
    open_rows = last_rows(tables)
    for number, table in enumerate(tables):
        for rows in pieces_of(disk, table.found):
            for series, part in by_series(table.found, rows):
                if series not in wanted:
                    continue
                last_ms = open_rows.get((number, series), -1)
                ordered = part.filter(pl.col("time") != last_ms).unique("time", keep="last").sort("time")
                chosen = only_within(ordered, wanted[series] & spans_of(series, ordered["time"]))
                for open_ms, line in _lines(table, series, chosen, found[series]):
                    lines.setdefault(series, {}).setdefault(open_ms, line)
    return {series: HEADER + b"".join(by_time[ms] for ms in sorted(by_time)) for series, by_time in lines.items()}


def _lines(table: Scanned, series: Series, rows: pl.DataFrame, agreement: Agreement) -> Iterator[tuple[int, bytes]]:
    for row in rows.iter_rows(named=True):
        if agreement.volume_is_turnover:
            row["turnover"], row["volume"] = row["volume"], None
        digits = _SINGLE_DIGITS if table.found.is_single else None
        values = [str(row["time"]), *(_decimal(row[name], digits) for name in NUMBERS)]
        try:
            text = rows_of(series.timeframe, [tuple(values)]).text  # type: ignore[list-item]
        except NotACandle:
            continue
        yield from lines_by_time(text).items()


def _decimal(number: float | None, digits: int | None) -> str:
    """A number in its shortest decimals, of so many digits at most."""
    if number is None:
        return "0"
    shortest = repr(number if digits is None else float(f"{number:.{digits}g}"))
    text = plain_line(shortest.encode()).decode().removesuffix(".0")
    return text if DECIMAL.fullmatch(text) else "0"
