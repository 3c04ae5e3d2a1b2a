"""The source that a feeder's first argument names."""

from contextlib import suppress
from pathlib import Path

import msgspec

from collector.feeder.object_store import BucketPartitions
from collector.feeder.partitions import LocalPartitions
from collector.feeder.postgres_source import PostgresSource
from collector.feeder.source import CsvSource, ParquetSource, Source, stored_files
from collector.machine.disk import Disk, expanded
from collector.machine.own_files import IDENTITY, OWN, read_own

_POSTGRES = ("postgresql://", "postgres://")
_S3 = "s3://"


def open_source(place: str | Path, category: str | None, disk: Disk) -> Source:
    """The files of a directory, an exported dataset, or a database.

    Raises:
        ValueError: it has the form of an address, and of none of these; or a directory holds another category.
    """
    text = str(place)
    if text.startswith(_POSTGRES):
        return PostgresSource(f"postgresql://{text.partition('://')[2]}", category)
    if text.startswith(_S3):
        if "@" in text:
            raise ValueError("an address of S3 has no credentials in it: they come from the environment")
        return ParquetSource(BucketPartitions(text.rstrip("/")))
    if isinstance(place, str) and "://" in place:
        raise ValueError(
            f"{text.partition('://')[0]}:// is no place of candles: give a directory, s3:// or postgresql://"
        )
    directory = expanded(place)
    partitions = LocalPartitions(disk, directory)
    is_dataset = _is_dataset(disk, partitions)
    held = _category_of_dataset(partitions) if is_dataset else _category_of_files(disk, directory)
    if category and held not in (category, None):
        raise ValueError(f"{directory} is on record as {held}, and the feeder was given category={category!r}")
    return ParquetSource(partitions) if is_dataset else CsvSource(disk, directory)


def _category_of_files(disk: Disk, directory: Path) -> str | None:
    """Whose candles a collector's directory holds; None where nothing says so."""
    with suppress(OSError, ValueError, RecursionError):
        return msgspec.json.decode(read_own(disk, directory / OWN / IDENTITY), type=dict[str, str]).get("category")
    return None


def _category_of_dataset(partitions: LocalPartitions) -> str | None:
    """Whose candles the first partition of a dataset has."""
    for series in partitions.stored():
        for month_ms in partitions.months(series):
            footer = partitions.footer(series, month_ms)
            return footer.category if footer else None
    return None


def _is_dataset(disk: Disk, partitions: LocalPartitions) -> bool:
    """Whether a directory holds partitions, and no candle file."""
    with suppress(StopIteration):
        next(partitions.stored())
        return not any(True for _ in stored_files(disk, partitions.root))
    return False
