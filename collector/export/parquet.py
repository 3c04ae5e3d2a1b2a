"""A Parquet dataset made equal to candle files, partition by partition.

A partition's footer holds the checksum of the text that its rows were made of, and the time of modification that the
file was given. Both together say without reading it whether it is still the copy of that text; if either differs, its
rows are read and compared. So nothing is on record outside of the partition itself, each is replaced as a whole, and a
kill at any moment leaves a dataset of true partitions that the next export continues.

Where a part of a month is chosen, the partition keeps its other rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import attrs
import polars as pl

from collector.core.candle import Series, Timeframe
from collector.errors import NotReadable, SettingsError
from collector.export.months import Month, Selected, no_candles
from collector.export.results import Result
from collector.feeder.alignment import NUMBERS, within
from collector.feeder.dataset import Footer
from collector.feeder.partitions import Partitions


class WritablePartitions(Partitions, Protocol):
    """Partitions that can be replaced."""

    def replace(self, series: Series, month_ms: int, candles: pl.DataFrame, footer: Footer) -> None:
        """Puts a partition in the place of what is there, in one step and durably."""

    def remove(self, series: Series, month_ms: int) -> None:
        """Leaves no candle of a month."""


@attrs.frozen
class ParquetTarget:
    """A dataset that holds the candles of one category."""

    _partitions: WritablePartitions
    _category: str

    @property
    def place(self) -> str:
        return self._partitions.place

    def refuse_foreign(self) -> None:
        """Refuses a dataset of another category, or of somebody else.

        Raises:
            SettingsError: it is one.
        """
        foreign = False
        for series in self._partitions.stored():
            for month_ms in self._partitions.months(series):
                footer = self._partitions.footer(series, month_ms)
                if footer and footer.category != self._category:
                    raise SettingsError([f"--to: {self.place} holds {footer.category}, not {self._category}"])
                if footer:
                    return
                foreign = True
        if foreign:
            raise SettingsError([f"--to: {self.place} holds Parquet files that the collector did not write"])

    @contextmanager
    def hold(self, series: Series) -> Iterator[None]:
        """The whole dataset is locked."""
        yield

    def write(self, chosen: Selected) -> Iterator[Result]:
        for month, result in self._examined(chosen, trusting=True):
            if result.changed:
                self._replace(chosen.series, month)
            yield result

    def plan(self, chosen: Selected) -> Iterator[Result]:
        return (result for _, result in self._examined(chosen, trusting=True))

    def compare(self, chosen: Selected) -> Iterator[Result]:
        return (result for _, result in self._examined(chosen, trusting=False))

    def _examined(self, chosen: Selected, *, trusting: bool) -> Iterator[tuple[Month, Result]]:
        """Each month of the file or of the dataset, and how its partition differs."""
        series = chosen.series
        left = set(self._partitions.months(series))
        for month in chosen.months:
            is_there = month.month_ms in left
            left.discard(month.month_ms)
            if is_there and trusting and self._is_proved(series, month):
                yield month, Result(month.month_ms, month.rows, len(month.text))
            else:
                yield month, self._difference(series, month)
        for month_ms in sorted(left):
            gone = chosen.without_rows(month_ms)
            if gone:
                yield gone, self._difference(series, gone)

    def _is_proved(self, series: Series, month: Month) -> bool:
        footer = self._partitions.footer(series, month.month_ms)
        return (
            month.is_whole
            and footer is not None
            and footer == self._footer(month, footer.modified_s)
            and self._partitions.is_untouched(series, month.month_ms, footer)
        )

    def _difference(self, series: Series, month: Month) -> Result:
        result = Result(month.month_ms, month.rows, len(month.text))
        there, wanted = self._there(series, month), month.candles(series.timeframe)
        if there is None:
            return attrs.evolve(result, missing=month.rows)
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

    def _replace(self, series: Series, month: Month) -> None:
        candles, footer = month.candles(series.timeframe), self._footer(month)
        if not month.is_whole and (there := self._there(series, month)) is not None:
            opened = pl.col("open_time").to_physical()
            kept = there.filter((opened < month.start_ms) | (opened >= month.end_ms))
            candles = pl.concat([kept, candles]).sort("open_time")
        if candles.is_empty():
            self._partitions.remove(series, month.month_ms)
        else:
            self._partitions.replace(series, month.month_ms, candles, footer)

    def _there(self, series: Series, month: Month) -> pl.DataFrame | None:
        """The rows of a partition; None where it is missing, damaged, or holds something else."""
        with suppress(FileNotFoundError, NotReadable):
            return _as_ours(series.timeframe, self._partitions.read(series, month.month_ms))
        return None

    def _footer(self, month: Month, modified_s: int = 0) -> Footer:
        return Footer(self._category, month.checksum if month.is_whole else None, modified_s)


def _as_ours(timeframe: Timeframe, candles: pl.DataFrame) -> pl.DataFrame:
    """The same table, if it has the types of ours.

    Raises:
        NotReadable: it has others.
    """
    if candles.schema != no_candles(timeframe).schema:
        raise NotReadable("other columns")
    return candles
