"""Partitions of a Parquet dataset in a directory."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import attrs
import polars as pl

from collector.core.candle import Series
from collector.core.errors import NotReadable
from collector.core.rows import NUMBERS
from collector.feeder.alignment import MOMENT
from collector.feeder.dataset import Footer, file_name, folder_of, month_of_file, parse_footer, series_of_folder
from collector.machine.disk import Disk

TYPES: dict[str, pl.DataType] = dict.fromkeys(("open_time", "close_time"), MOMENT) | dict.fromkeys(
    NUMBERS, pl.Float64()
)


class Partitions(Protocol):
    """Where the partitions of a dataset are, and what they hold."""

    @property
    def place(self) -> str:
        """The dataset in messages, without credentials."""

    def stored(self) -> Iterator[Series]:
        """Every series that has a folder."""

    def months(self, series: Series) -> Sequence[int]:
        """When the months of a series begin that have a partition, in order."""

    def footer(self, series: Series, month_ms: int) -> Footer | None:
        """What a partition says of itself; None where it is missing, damaged or foreign."""

    def is_untouched(self, series: Series, month_ms: int, footer: Footer) -> bool:
        """Whether the file is the one that was written with this footer, as far as its stat tells."""

    def read(self, series: Series, month_ms: int) -> pl.DataFrame:
        """The candles of a partition.

        Raises:
            FileNotFoundError: there is no such partition.
            NotReadable: it is damaged, or no partition of candles.
        """


@attrs.frozen
class LocalPartitions:
    """Those in a directory."""

    disk: Disk
    root: Path

    @property
    def place(self) -> str:
        return str(self.root)

    def stored(self) -> Iterator[Series]:
        for outer in self._names(self.root):
            if outer.startswith("timeframe="):
                for inner in self._names(self.root / outer):
                    if series := series_of_folder(f"{outer}/{inner}"):
                        yield series

    def months(self, series: Series) -> Sequence[int]:
        found = map(month_of_file, self._names(self.root / folder_of(series)))
        return [month_ms for month_ms in found if month_ms is not None]

    def footer(self, series: Series, month_ms: int) -> Footer | None:
        with suppress(OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return parse_footer(pl.read_parquet_metadata(self.path(series, month_ms)))
        return None

    def is_untouched(self, series: Series, month_ms: int, footer: Footer) -> bool:
        with suppress(OSError):
            return footer.modified_s * 10**9 == self.path(series, month_ms).stat().st_mtime_ns
        return False

    def read(self, series: Series, month_ms: int) -> pl.DataFrame:
        path = self.path(series, month_ms)
        try:
            content = self.disk.read_all(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise NotReadable(f"{path} cannot be read ({error.strerror})") from error
        return as_candles(path, BytesIO(content))

    def path(self, series: Series, month_ms: int) -> Path:
        """Where a partition is, or would be."""
        return self.root / folder_of(series) / file_name(month_ms)

    def _names(self, directory: Path) -> Sequence[str]:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            return self.disk.names(directory)
        return ()


class ForeignPartition(NotReadable):
    """A Parquet file with other columns than those of candles."""


def as_candles(place: object, content: BytesIO | str, options: dict[str, Any] | None = None) -> pl.DataFrame:
    """The candles of a partition, from its bytes or its address.

    Raises:
        FileNotFoundError, OSError: as the object store does.
        NotReadable: it is damaged.
        ForeignPartition: it has other columns.
    """
    try:
        table = pl.read_parquet(content, hive_partitioning=False, storage_options=options)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # of a flipped bit it panics
        why = str(error).partition("\n")[0] or "damaged"
        raise NotReadable(f"{place} is not a partition of candles ({why})") from error
    if dict(table.schema) != TYPES:
        raise ForeignPartition(f"{place} is not a partition of candles (it has other columns)")
    return table
