"""Where a feeder's candles come from: files, or a copy of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import attrs
import polars as pl

from collector.core.candle import Series
from collector.core.errors import CollectorError, NotReadable
from collector.core.rows import LATEST_MS
from collector.feeder.alignment import within
from collector.feeder.columns import NAMES
from collector.feeder.dataset import MONTHS, folder_of
from collector.feeder.partitions import Partitions
from collector.feeder.reader import FileSnapshot, blocks_of, read_snapshot, read_span
from collector.machine.disk import Disk


class Source(Protocol):
    """A place of candles.

    Everything but `place` and `where` raises `NotReadable` where the place as a whole cannot be used.
    """

    @property
    def place(self) -> str:
        """The place in messages, without credentials."""

    def where(self, series: Series) -> Path | str:
        """Where a series is kept."""

    def stored(self) -> Iterator[Series]:
        """Every series that is there."""

    def has(self, series: Series) -> bool:
        """Whether a series is there."""

    def read(self, series: Series, span: tuple[int, int] | None, known: FileSnapshot | None) -> FileSnapshot:
        """The candles of a series that open in a span, or all; `known` is what was read of it before.

        Raises:
            FileNotFoundError: it is not there.
            NotReadable: it is damaged or foreign.
        """

    def close(self) -> None:
        """Lets go of a connection; the next question opens it again."""


@attrs.frozen
class CsvSource:
    """The files of a data directory, listed anew each time: a collector may be adding some."""

    _disk: Disk
    _directory: Path

    @property
    def place(self) -> str:
        return str(self._directory)

    def where(self, series: Series) -> Path:
        return self._directory / series.file_name

    def stored(self) -> Iterator[Series]:
        return stored_files(self._disk, self._directory)

    def has(self, series: Series) -> bool:
        return self.where(series).exists()

    def read(self, series: Series, span: tuple[int, int] | None, known: FileSnapshot | None) -> FileSnapshot:
        path = self.where(series)
        return read_span(self._disk, path, *span) if span else read_snapshot(self._disk, path, known)

    def close(self) -> None:
        """Files are closed after each reading."""


@attrs.frozen
class ParquetSource:
    """The partitions of an exported dataset, in a directory or an object store."""

    _partitions: Partitions

    @property
    def place(self) -> str:
        return self._partitions.place

    def where(self, series: Series) -> Path | str:
        folder = f"{self.place}/{folder_of(series)}"
        return folder if "://" in folder else Path(folder)

    def stored(self) -> Iterator[Series]:
        with as_not_readable():
            yield from self._partitions.stored()

    def has(self, series: Series) -> bool:
        with as_not_readable():
            return bool(self._partitions.months(series))

    def read(self, series: Series, span: tuple[int, int] | None, known: FileSnapshot | None) -> FileSnapshot:
        start_ms, end_ms = span or (0, LATEST_MS)
        with as_not_readable():
            months = self._partitions.months(series)
            if not months:
                raise FileNotFoundError
            chosen = [month_ms for month_ms in months if month_ms < end_ms and MONTHS.close(month_ms) > start_ms]
            frames = (self._partitions.read(series, month_ms) for month_ms in chosen)
            return FileSnapshot(blocks_of(as_numbers(within(frame, start_ms, end_ms)) for frame in frames))

    def close(self) -> None:
        """Files are closed after each reading."""


@contextmanager
def as_not_readable() -> Iterator[None]:
    """Raises what is wrong with a place as `NotReadable`."""
    try:
        yield
    except NotReadable:
        raise
    except CollectorError as error:
        raise NotReadable(str(error)) from error


def as_numbers(candles: pl.DataFrame) -> pl.DataFrame:
    """Candles as the columns that are held in memory."""
    return candles.select(pl.col("open_time").to_physical().alias("timestamp"), *NAMES[1:])


def stored_files(disk: Disk, directory: Path) -> Iterator[Series]:
    """Every series that has a file in a directory."""
    names: Sequence[str] = ()
    with suppress(PermissionError, FileNotFoundError, NotADirectoryError):
        names = disk.names(directory)
    named = map(Series.of_file, names)
    return (series for series in named if series)
