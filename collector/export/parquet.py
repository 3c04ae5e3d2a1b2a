"""Makes a Parquet dataset equal to candle files.

A partition's footer holds the checksum of the text that its rows were made of, and the time of modification that the
file was given. Both together say without reading it whether it is still the copy of that text; if either differs, its
rows are read and compared. So nothing is on record outside of the partition itself, each is replaced as a whole, and a
kill at any moment leaves a dataset of true partitions that the next export continues.

Where a part of a month is chosen, the partition keeps its other rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Protocol

import attrs
import polars as pl

from collector.core.candle import Series
from collector.core.errors import NotReadable, SettingsError
from collector.core.rows import NUMBERS
from collector.export.months import Month, Selected
from collector.export.results import Result
from collector.feeder.alignment import within
from collector.feeder.dataset import Footer
from collector.feeder.partitions import ForeignPartition, Partitions

_LEVEL = 3  # of zstd: the next ones take twice the time for a twentieth of the size


class WritablePartitions(Partitions, Protocol):
    """Partitions that can be replaced."""

    def replace(self, series: Series, month_ms: int, candles: pl.DataFrame, footer: Footer) -> None:
        """Puts a partition in the place of what is there, in one step and durably."""

    def remove(self, series: Series, month_ms: int, footer: Footer) -> None:
        """Leaves no candle of a month."""


# The rows of a partition, why it cannot be read, or None where it is gone or nobody looked.
_There = pl.DataFrame | NotReadable | None


@attrs.frozen
class ParquetTarget:
    """A dataset that holds the candles of one category."""

    _partitions: WritablePartitions
    _category: str

    @property
    def place(self) -> str:
        return self._partitions.place

    @contextmanager
    def hold(self, series: Series) -> Iterator[None]:
        """The whole dataset is locked."""
        yield

    def write(self, chosen: Selected) -> Iterator[Result]:
        for month, result, there in self._examined(chosen, trusting=True):
            if result.differs:
                self._replace(chosen.series, month, there)
            yield result

    def plan(self, chosen: Selected) -> Iterator[Result]:
        return (result for _, result, _ in self._examined(chosen, trusting=True))

    def compare(self, chosen: Selected) -> Iterator[Result]:
        return (result for _, result, _ in self._examined(chosen, trusting=False))

    def _examined(self, chosen: Selected, *, trusting: bool) -> Iterator[tuple[Month, Result, _There]]:
        """Each month of the file or of the dataset, how its partition differs, and what was read of it."""
        series = chosen.series
        left = set(self._partitions.months(series))
        newest_ms = max(left, default=None)
        for month in chosen.months:
            result, there = self._examine(series, month, is_there=month.month_ms in left, trusting=trusting)
            if newest_ms is not None and month.month_ms >= newest_ms and result.missing:
                result = attrs.evolve(result, newer=_newer(month.candles(series.timeframe), there))
            yield month, result, there
            left.discard(month.month_ms)
        for gone in filter(None, map(chosen.without_rows, sorted(left))):
            yield gone, *self._examine(series, gone, is_there=True, trusting=trusting)

    def _examine(self, series: Series, month: Month, *, is_there: bool, trusting: bool) -> tuple[Result, _There]:
        result = Result(month.month_ms, month.rows, len(month.text))
        if not is_there:
            month.candles(series.timeframe)  # refuses what are no rows
            return attrs.evolve(result, missing=month.rows), None
        footer = self._partitions.footer(series, month.month_ms)
        if footer and footer.category != self._category:
            raise SettingsError([f"--to: {self.place} holds {footer.category}, not {self._category}"])
        if trusting and footer and self._is_proved(series, month, footer):
            return result, None
        there = self._there(series, month)
        return self._difference(series, month, result, there), there

    def _is_proved(self, series: Series, month: Month, footer: Footer) -> bool:
        """Whether a partition is the copy of this text, by its footer and its stat."""
        is_same = month.is_whole and footer == self._footer(month, footer.modified_s)
        return is_same and self._partitions.is_untouched(series, month.month_ms, footer)

    def _difference(self, series: Series, month: Month, result: Result, there: _There) -> Result:
        """The same result with how the rows of the partition differ."""
        wanted = month.candles(series.timeframe)
        if not isinstance(there, pl.DataFrame):
            return attrs.evolve(result, missing=month.rows, is_damaged=there is not None)
        there = within(there, month.start_ms, month.end_ms)
        if there.equals(wanted):
            return result
        both = wanted.join(there, on="open_time", suffix="_there")
        same = [pl.col(name).eq_missing(pl.col(f"{name}_there")) for name in ("close_time", *NUMBERS)]
        different = both.filter(~pl.all_horizontal(same))
        extra, missing = there.height - both.height, wanted.height - both.height
        disordered = not (different.height or extra or missing)  # the same rows in another order
        return attrs.evolve(
            result, missing=missing, extra=extra, different=wanted.height if disordered else different.height
        )

    def _replace(self, series: Series, month: Month, there: _There) -> None:
        """Puts the rows of a month in the place of those that are there, outside of the span with these.

        Raises:
            SettingsError: it is a table of somebody else's, with other columns.
        """
        if isinstance(there, ForeignPartition):
            raise SettingsError([f"--to: the collector did not write it: {there}"]) from there
        candles, footer = month.candles(series.timeframe), self._footer(month)
        if not month.is_whole and isinstance(there, pl.DataFrame):
            opened = pl.col("open_time").to_physical()
            kept = there.filter((opened < month.start_ms) | (opened >= month.end_ms))
            candles = pl.concat([kept, candles]).sort("open_time")
        if candles.is_empty():
            self._partitions.remove(series, month.month_ms, footer)
        else:
            self._partitions.replace(series, month.month_ms, candles, footer)

    def _there(self, series: Series, month: Month) -> _There:
        try:
            return self._partitions.read(series, month.month_ms)
        except FileNotFoundError:
            return None
        except NotReadable as error:
            return error

    def _footer(self, month: Month, modified_s: int = 0) -> Footer:
        return Footer(self._category, month.checksum if month.is_whole else None, modified_s)


def _newer(wanted: pl.DataFrame, there: _There) -> int:
    """How many rows open after the last one of a partition; of one that cannot be read, none is known to."""
    if there is None:
        return wanted.height
    if not isinstance(there, pl.DataFrame):
        return 0
    return wanted.filter(pl.col("open_time") > there["open_time"].max()).height if there.height else wanted.height


def write_partition(
    to: BytesIO | str, candles: pl.DataFrame, footer: Footer, options: dict[str, Any] | None = None
) -> None:
    """Writes a partition as bytes, or to an address: zstd, one row group, with statistics.

    Raises:
        OSError, PolarsError: as the object store does.
    """
    candles.write_parquet(
        to,
        compression="zstd",
        compression_level=_LEVEL,
        statistics="full",
        row_group_size=max(1, candles.height),
        metadata=footer.encoded(),
        storage_options=options,
    )
