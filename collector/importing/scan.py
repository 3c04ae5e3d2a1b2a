"""Which candles a file has: all of its rows read once, a piece at a time."""

from collections.abc import Callable, Iterator

import attrs
import polars as pl

from collector.core.candle import Series
from collector.core.rows import candles_in, covered_spans
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import counted, moment_text
from collector.importing.candles import GridWatch, refuse_bad_rows
from collector.importing.places import Place
from collector.importing.recognition import Recognised
from collector.importing.refusal import Refusal
from collector.importing.tables import open_table
from collector.machine.disk import Disk

Advance = Callable[[Place, int], None]


def _nobody(_: Place, __: int) -> None:
    """Nobody is told."""


@attrs.define
class Extent:
    """What a file has of one series."""

    rows: int = 0
    spans: Spans = NOTHING
    first_ms: int = 0
    last_ms: int = 0
    rising: int = 0
    falling: int = 0

    def add(self, series: Series, times: pl.Series) -> None:
        """Takes the times of the next rows."""
        ordered = times.unique().sort()
        self.first_ms = min(self.first_ms or ordered[0], ordered[0])
        self.last_ms = max(self.last_ms, ordered[-1])
        self.rows += len(times)
        self.spans |= spans_of(series, ordered)
        steps = times.diff().drop_nulls()
        self.rising += int((steps > 0).sum())
        self.falling += int((steps < 0).sum())

    @property
    def order(self) -> str:
        """How the rows lie."""
        if not self.falling:
            return "oldest first"
        return "newest first" if not self.rising else "newest first in parts" if self.falling > self.rising else "mixed"


@attrs.frozen
class Scanned:
    """A table that was read whole, and what it has of each series."""

    found: Recognised
    extents: dict[Series, Extent]

    def lines(self) -> Iterator[str]:
        """What it is, in words."""
        yield f"{self.found.place}: {self.found.sentence}"
        for series, extent in self.extents.items():
            candles = candles_in(series.timeframe, extent.spans)
            twice = extent.rows - candles
            more = f", {counted(twice, 'row')} there twice" if twice else ""
            order = "" if extent.order == "oldest first" else f", {extent.order}"
            yield (
                f"  {series}: {counted(candles, 'candle')} from {moment_text(extent.first_ms)} to "
                f"{moment_text(extent.last_ms)} UTC{order}{more}"
            )


def spans_of(series: Series, ordered: pl.Series) -> Spans:
    """The spans of candles with these increasing open times."""
    step = series.timeframe.step_ms
    if step is None or ordered.is_empty():
        return covered_spans(series.timeframe, ordered.to_list())
    starts = ordered.filter((ordered.diff() != step).fill_null(value=True))
    ends = ordered.filter((ordered.diff(-1) != -step).fill_null(value=True))
    runs = zip(starts.to_list(), ends.to_list(), strict=True)
    return Spans.of(*(Span(start, end + step) for start, end in runs))


def scan(disk: Disk, found: Recognised, advance: Advance = _nobody) -> Scanned:
    """Reads all rows of a table.

    Raises:
        Refusal: a row is no candle, or rows are of two timeframes.
    """
    extents: dict[Series, Extent] = {}
    watches: dict[Series, GridWatch] = {}
    for rows in pieces_of(disk, found):
        refuse_bad_rows(rows, found.reading.unit)
        for series, part in by_series(found, rows):
            watches.setdefault(series, GridWatch(series.timeframe, found.reading.unit)).look(part)
            extents.setdefault(series, Extent()).add(series, part["time"])
        advance(found.place, len(rows))
    if not extents:
        raise Refusal("it holds no row")
    return Scanned(found, extents)


def pieces_of(disk: Disk, found: Recognised) -> Iterator[pl.DataFrame]:
    """The rows of a table as candles, piece by piece.

    Raises:
        Refusal: it is damaged.
    """
    with open_table(disk, found.place) as table:
        for piece in table.pieces(found.reading.layout):
            rows = found.reading.candles(piece.first, piece.frame)
            if not rows.is_empty():
                yield rows


def by_series(found: Recognised, rows: pl.DataFrame) -> Iterator[tuple[Series, pl.DataFrame]]:
    """The rows of each series, in their order."""
    for (symbol, timeframe), part in rows.partition_by(
        ["symbol", "timeframe"], as_dict=True, maintain_order=True
    ).items():
        yield found.series_of(symbol, timeframe), part
