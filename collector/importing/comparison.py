"""Files of others beside what is stored: equal, different, or lacking.

A candle that several files have is compared once. The last row of a file may have been open when the file was written:
it counts where another file has the candle too, or begins with the next one; else only if it is equal.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs
import polars as pl

from collector.core.candle import Series
from collector.core.rows import NUMBERS, PRICES
from collector.core.spans import NOTHING, Spans
from collector.core.text import moment_text
from collector.feeder.columns import parse_rows
from collector.feeder.csv_tail import open_csv
from collector.importing.scan import Advance, Scanned, by_series, pieces_of, spans_of
from collector.machine.disk import Disk

_EQUAL = 1e-9  # relative: of decimals that went through float64
_SINGLE = 1e-6  # of float32
_ALIKE = 1e-3  # a volume that is the exchange's turnover, within its rounding


@attrs.frozen
class Difference:
    """One number that a file has otherwise."""

    place: str
    open_ms: int
    column: str
    theirs: float
    ours: float

    @property
    def size(self) -> float:
        """Relative to the exchange's."""
        return abs(self.theirs - self.ours) / abs(self.ours) if self.ours else float("inf")

    def __str__(self) -> str:
        return (
            f"{self.column} {self.theirs:.12g} in {self.place}, {self.ours:.12g} at the exchange, "
            f"{moment_text(self.open_ms)} ({self.size:.2g} of it)"
        )


@attrs.define
class Agreement:
    """What came of the candles of one series.

    `lacking` are those that the exchange does not have, `dropped` the last rows that may have been open.
    """

    series: Series
    equal: int = 0
    different: int = 0
    first: Difference | None = None
    largest: Difference | None = None
    lacking: Spans = NOTHING
    dropped: Spans = NOTHING
    seen: Spans = NOTHING
    volume_is_turnover: bool | None = None  # None: nothing told yet

    @property
    def compared(self) -> int:
        return self.equal + self.different

    @property
    def is_of_the_exchange(self) -> bool:
        """Whether the file is of this market, as far as its other candles tell."""
        return self.different <= self.compared // 100

    def note(self, found: Difference) -> None:
        """Takes a difference."""
        self.first = self.first or found
        if self.largest is None or found.size > self.largest.size:
            self.largest = found


def last_rows(tables: Sequence[Scanned]) -> dict[tuple[int, Series], int]:
    """The last candle of each table and series that may have been open when the file was written."""
    begins = {(series, extent.first_ms) for table in tables for series, extent in table.extents.items()}
    return {
        (number, series): extent.last_ms
        for number, table in enumerate(tables)
        for series, extent in table.extents.items()
        if (series, series.timeframe.close(extent.last_ms)) not in begins
    }


@attrs.define
class Comparison:
    """All tables against the files of a data directory."""

    disk: Disk
    data_dir: Path
    tables: Sequence[Scanned]
    chosen: Mapping[Series, Spans]
    _found: dict[Series, Agreement] = attrs.field(factory=dict)

    def run(self, advance: Advance) -> list[Agreement]:
        """Compares every candle; by series.

        Raises:
            Refusal: a file has changed since it was scanned.
            NotReadable: a file of ours is damaged.
        """
        open_rows = last_rows(self.tables)
        late: list[tuple[Scanned, Series, pl.DataFrame]] = []
        for number, table in enumerate(self.tables):
            for rows in pieces_of(self.disk, table.found):
                for series, part in by_series(table.found, rows):
                    if series not in self.chosen:
                        continue
                    last_ms = open_rows.get((number, series))
                    is_last = pl.col("time") == last_ms if last_ms is not None else pl.lit(value=False)
                    if not (last := part.filter(is_last)).is_empty():
                        late.append((table, series, last))
                    self._compare(table, series, part.filter(~is_last), is_last=False)
                advance(table.found.place, len(rows))
        for table, series, part in late:
            self._compare(table, series, part, is_last=True)
        return [self._found[series] for series in sorted(self._found)]

    def _compare(self, table: Scanned, series: Series, part: pl.DataFrame, *, is_last: bool) -> None:
        agreement = self._found.setdefault(series, Agreement(series))
        rows = part.unique("time", keep="last").sort("time")
        rows = only_within(rows, spans_of(series, rows["time"]) & self.chosen[series] - agreement.seen)
        if rows.is_empty():
            return
        taken = spans_of(series, rows["time"])
        agreement.seen |= taken
        stored, matched = NOTHING, []
        for ours in stored_rows(self.disk, self.data_dir / series.file_name, rows["time"][0], rows["time"][-1] + 1):
            both = rows.join(ours, left_on="time", right_on="timestamp", suffix="_ours", maintain_order="left")
            if not both.is_empty():
                stored |= spans_of(series, both["time"])
                matched.append(both)
        for both in matched:
            self._count(table, agreement, both, is_last=is_last)
        lacking = taken - stored
        if is_last:
            agreement.dropped |= lacking
        else:
            agreement.lacking |= lacking

    def _count(self, table: Scanned, agreement: Agreement, both: pl.DataFrame, *, is_last: bool) -> None:
        if agreement.volume_is_turnover is None:
            agreement.volume_is_turnover = _is_turnover(both)
        columns = [name for name in NUMBERS if not (name == "volume" and agreement.volume_is_turnover)]
        marked = both.with_columns(_differs(table, name).alias(f"{name}_differs") for name in columns)
        differing = marked.filter(pl.any_horizontal(f"{name}_differs" for name in columns))
        agreement.equal += len(both) - len(differing)
        if is_last:
            agreement.dropped |= spans_of(agreement.series, differing["time"])
            return
        agreement.different += len(differing)
        for name in columns:
            self._note(table, agreement, differing.filter(pl.col(f"{name}_differs")), name)

    def _note(self, table: Scanned, agreement: Agreement, rows: pl.DataFrame, name: str) -> None:
        if rows.is_empty():
            return
        size = ((pl.col(name) - pl.col(f"{name}_ours")) / pl.col(f"{name}_ours")).abs()
        for row in (rows.row(0, named=True), rows.sort(size, descending=True).row(0, named=True)):
            place = f"{table.found.place}, {table.found.reading.unit} {row['line']:,}"
            agreement.note(Difference(place, row["time"], name, row[name], row[f"{name}_ours"]))


def only_within(rows: pl.DataFrame, spans: Spans) -> pl.DataFrame:
    """The rows that open in some spans.

    They come in order.
    """
    starts = pl.Series([span.start_ms for span in spans], dtype=pl.Int64)
    ends = pl.Series([span.end_ms for span in spans], dtype=pl.Int64)
    if starts.is_empty():
        return rows.clear()
    places = starts.search_sorted(rows["time"], side="right").cast(pl.Int64) - 1
    inside = (places >= 0) & (rows["time"] < ends.gather(places.clip(0, None)))
    return rows.filter(inside)


def stored_rows(disk: Disk, path: Path, start_ms: int, end_ms: int) -> Iterator[pl.DataFrame]:
    """The stored rows of a file that open in a span, as numbers."""
    with suppress(FileNotFoundError), open_csv(disk, path) as file:
        yield from parse_rows(file.rows(file.offset(start_ms), file.offset(end_ms)))


def _differs(table: Scanned, name: str) -> pl.Expr:
    theirs, ours = pl.col(name), pl.col(f"{name}_ours")
    within = _SINGLE if table.found.is_single else _EQUAL
    if name not in PRICES:  # other tools round it
        within = max(within, _SINGLE)
    return ((theirs - ours).abs() > within * ours.abs()).fill_null(value=False)


def _is_turnover(both: pl.DataFrame) -> bool | None:
    """Whether the volume of a file is the exchange's turnover.

    None if no row tells.
    """
    traded = both.filter((pl.col("volume") > 0) & (pl.col("volume_ours") > 0))
    if traded.is_empty():
        return None
    near = [
        traded.filter((pl.col("volume") / pl.col(name) - 1).abs() < _ALIKE).height
        for name in ("volume_ours", "turnover_ours")
    ]
    return near[1] > near[0] and 2 * near[1] > len(traded)
