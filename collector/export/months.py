"""Cuts the rows of a candle file into calendar months."""

import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import attrs
import polars as pl

from collector.core.candle import Series, Timeframe
from collector.feeder.alignment import with_times
from collector.feeder.columns import parse_rows
from collector.feeder.csv_tail import CsvReader, not_readable
from collector.feeder.dataset import MONTHS


@attrs.frozen(slots=False)
class Month:
    """The chosen rows of a series in one month, as its text."""

    path: Path
    month_ms: int
    start_ms: int  # of the chosen part of the month
    end_ms: int
    text: bytes

    @property
    def is_whole(self) -> bool:
        """Whether the whole month is chosen."""
        return self.start_ms == self.month_ms and self.end_ms == MONTHS.close(self.month_ms)

    @cached_property
    def checksum(self) -> int:
        """The CRC-32 of the text."""
        return zlib.crc32(self.text)

    @cached_property
    def rows(self) -> int:
        return self.text.count(b"\n")

    def candles(self, timeframe: Timeframe) -> pl.DataFrame:
        """The rows as candles with their open and close times.

        Raises:
            NotReadable: they are not rows of candles, each later than the one before.
        """
        if not self.text:
            return no_candles(timeframe)
        try:
            return with_times(timeframe, next(parse_rows([self.text]))).collect()
        except ValueError as error:
            raise not_readable(self.path, str(error)) from error


def no_candles(timeframe: Timeframe) -> pl.DataFrame:
    """An empty table of candles."""
    one = next(parse_rows([b"1700006400000,2023-11-15 00:00:00,1,1,1,1,1,1\n"]))
    return with_times(timeframe, one).collect().clear()


def months_of(lines: CsvReader, span: tuple[int, int]) -> Iterator[Month]:
    """The rows of an open file in a span, month by month.

    A month without rows is left out.

    Raises:
        NotReadable: it is not a candle file.
    """
    start_ms, end_ms = span
    place, stop = lines.offset(start_ms), lines.offset(end_ms)
    while place < stop:
        month_ms = MONTHS.floor(lines.opens_at(place))
        after_ms = MONTHS.close(month_ms)
        end = min(lines.offset(after_ms), stop)
        if end <= place:
            raise not_readable(lines.path, "its timestamps do not increase")
        text = b"".join(lines.rows(place, end))
        yield Month(lines.path, month_ms, max(month_ms, start_ms), min(after_ms, end_ms), text)
        place = end


@attrs.frozen
class Selected:
    """One series as it is chosen for a copy: the span, and its rows month by month."""

    series: Series
    path: Path
    span: tuple[int, int]
    months: Iterator[Month]

    def without_rows(self, month_ms: int) -> Month | None:
        """A month that the file lacks, cut to the span.

        None outside of it.
        """
        start_ms, end_ms = max(month_ms, self.span[0]), min(MONTHS.close(month_ms), self.span[1])
        return Month(self.path, month_ms, start_ms, end_ms, b"") if start_ms < end_ms else None
