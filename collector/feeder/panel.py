"""One number of many series side by side.

Series of one market have nearly all of their times in common, so that the times of most are a stretch of another's.
That is found out by comparing memory, and their numbers are put in place as they lie, between nulls. Only a series with
holes of its own is joined to all times, which is one pass over both.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property
from io import BytesIO

import attrs
import polars as pl

from collector.feeder.alignment import MOMENT
from collector.feeder.arrow_ipc import layout
from collector.feeder.columns import Columns, to_dataframe
from collector.machine.workers import PAIR

_WIDTH = 8  # bytes of a time


@attrs.frozen(eq=False)
class _Times:
    """Increasing times, as they lie in memory."""

    packed: bytes

    def __len__(self) -> int:
        return len(self.packed) // _WIDTH

    @cached_property
    def table(self) -> pl.DataFrame:
        return to_dataframe([Columns(memoryview(self.packed).cast("q"), ())], ["timestamp"])

    def place(self, parts: Sequence[memoryview]) -> int | None:
        """After how many of these times those of the parts begin; None unless they follow one another here too."""
        if not parts:
            return 0
        first = bisect_left(memoryview(self.packed).cast("q"), parts[0][0])
        at = first * _WIDTH
        for part in parts:
            if not self.packed.startswith(part, at):
                return None
            at += part.nbytes
        return first

    def place_of(self, other: "_Times") -> int | None:
        return self.place([memoryview(other.packed).cast("q")] if other.packed else [])


def side_by_side(series: Iterable[tuple[str, Sequence[Columns]]], column: str) -> pl.DataFrame:
    """A column per name by open time, null where a name has no row.

    The series are taken one by one. Of each are kept the numbers, and its times where no other has them.
    """

    def copied(one: tuple[str, Sequence[Columns]]) -> tuple[Sequence[Columns], pl.Series]:
        name, blocks = one
        return blocks, to_dataframe(blocks, [column]).to_series().alias(name)

    stretches = [_Times(b"")]
    kept: list[tuple[pl.Series, _Times, int]] = []
    for blocks, numbers in PAIR.each(copied, series):  # most of a copy's time the system takes to find memory for it
        stretch, place = _shared([block.times for block in blocks], stretches)
        kept.append((numbers, stretch, place))
    every = _union(stretches)
    places = {stretch: every.place_of(stretch) for stretch in stretches}
    nulls = pl.repeat(None, len(every), dtype=pl.Float64, eager=True)
    placed = []
    for numbers, stretch, place in kept:
        start = places[stretch]
        if start is None:
            rows = stretch.table.slice(place, len(numbers)).with_columns(numbers)
            placed.append(_joined(every, rows).select(numbers.name))
        else:
            parts = [nulls.head(start + place), numbers, nulls.slice(start + place + len(numbers))]
            placed.append(pl.concat(parts).alias(numbers.name).to_frame().lazy())
    opens = every.table.to_series().cast(MOMENT).alias("open_time")
    return pl.DataFrame([opens, *(each.to_series() for each in pl.collect_all(placed))])


def _shared(parts: Sequence[memoryview], stretches: list[_Times]) -> tuple[_Times, int]:
    """The times that series share in which these are, and after how many: the longest, the last ones, or new ones."""
    for stretch in (max(stretches, key=len), stretches[-1]):
        place = stretch.place(parts)
        if place is not None:
            return stretch, place
    stretches.append(_Times(b"".join(parts)))
    return stretches[-1], 0


def _union(stretches: Iterable[_Times]) -> _Times:
    """All times, each once."""
    longest, *others = sorted(stretches, key=len, reverse=True)
    others = [each for each in others if longest.place_of(each) is None]
    if not others:
        return longest
    known = longest.table.with_columns(pl.lit(value=True).alias("known"))
    new = [_joined(each, known).filter(pl.col("known").is_null()).select("timestamp") for each in others]
    stream = BytesIO()
    every = pl.concat([longest.table, pl.concat(pl.collect_all(new)).unique()]).sort("timestamp")
    every.rechunk().write_ipc_stream(stream)
    (batch,) = layout(stream.getvalue()).batches
    return _Times(stream.getvalue()[batch.places[0] :][: batch.rows * _WIDTH])


def _joined(times: _Times, rows: pl.DataFrame) -> pl.LazyFrame:
    """The row of each time, or nulls; the rows are in order of time."""
    return times.table.lazy().join_asof(rows.lazy(), on="timestamp", tolerance=0, check_sortedness=False)
