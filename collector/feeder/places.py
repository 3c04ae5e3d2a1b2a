"""The source that a feeder's first argument names."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs
import msgspec
import polars as pl

from collector.core.candle import Series
from collector.feeder.dataset import Footer
from collector.feeder.object_store import BucketPartitions
from collector.feeder.partitions import LocalPartitions, Partitions
from collector.feeder.postgres_source import PostgresSource
from collector.feeder.source import CsvSource, ParquetSource, Source, stored_files
from collector.machine.disk import Disk, expanded
from collector.machine.own_files import IDENTITY, OWN, read_own

_POSTGRES = ("postgresql://", "postgres://")
_S3 = "s3://"


def open_source(place: str | Path, category: str | None, disk: Disk) -> Source:
    """The files of a directory, an exported dataset, or a database.

    Raises:
        ValueError: it has the form of an address, and of none of these; or a directory holds another category. Of an
            object store, that is found out when something of it is asked for.
    """
    text = str(place)
    if text.startswith(_POSTGRES):
        return PostgresSource(f"postgresql://{text.partition('://')[2]}", category)
    if text.startswith(_S3):
        if "@" in text:
            raise ValueError("an address of S3 has no credentials in it: they come from the environment")
        bucket = BucketPartitions(text.rstrip("/"))
        return ParquetSource(_PartitionsOf(bucket, category) if category else bucket)
    if isinstance(place, str) and "://" in place:
        raise ValueError(
            f"{text.partition('://')[0]}:// is no place of candles: give a directory, s3:// or postgresql://"
        )
    directory = expanded(place)
    partitions = LocalPartitions(disk, directory)
    is_dataset = _is_dataset(disk, partitions)
    held = _category_of_dataset(partitions) if is_dataset else _category_of_files(disk, directory)
    _expect(str(directory), held, category)
    return ParquetSource(partitions) if is_dataset else CsvSource(disk, directory)


def _category_of_files(disk: Disk, directory: Path) -> str | None:
    """Whose candles a collector's directory holds; None where nothing says so."""
    with suppress(OSError, ValueError, RecursionError):
        return msgspec.json.decode(read_own(disk, directory / OWN / IDENTITY), type=dict[str, str]).get("category")
    return None


def _category_of_dataset(partitions: Partitions) -> str | None:
    """Whose candles the first partition of a dataset has: empty where it says nothing, None where there is none."""
    for series in partitions.stored():
        for month_ms in partitions.months(series):
            footer = partitions.footer(series, month_ms)
            return footer.category if footer else ""
    return None


def _expect(place: str, held: str | None, category: str | None) -> None:
    if category and held and held != category:
        raise ValueError(f"{place} is on record as {held}, and the feeder was given category={category!r}")


@attrs.define
class _PartitionsOf:
    """Those of a dataset that may be far away, which is asked for its category when something of it is wanted."""

    _partitions: Partitions
    _category: str
    _is_known: bool = False

    @property
    def place(self) -> str:
        return self._partitions.place

    def stored(self) -> Iterator[Series]:
        self._look()
        return self._partitions.stored()

    def months(self, series: Series) -> Sequence[int]:
        self._look()
        return self._partitions.months(series)

    def footer(self, series: Series, month_ms: int) -> Footer | None:
        return self._partitions.footer(series, month_ms)

    def is_untouched(self, series: Series, month_ms: int, footer: Footer) -> bool:
        return self._partitions.is_untouched(series, month_ms, footer)

    def read(self, series: Series, month_ms: int) -> pl.DataFrame:
        return self._partitions.read(series, month_ms)

    def _look(self) -> None:
        """Looks whose candles they are, until that is known.

        Raises:
            ValueError: another category's.
        """
        if not self._is_known:
            held = _category_of_dataset(self._partitions)
            _expect(self.place, held, self._category)
            self._is_known = held is not None


def _is_dataset(disk: Disk, partitions: LocalPartitions) -> bool:
    """Whether a directory holds partitions, and no candle file."""
    with suppress(StopIteration):
        next(partitions.stored())
        return not any(True for _ in stored_files(disk, partitions.root))
    return False
