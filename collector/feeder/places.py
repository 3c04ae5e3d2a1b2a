"""The source that a feeder's first argument names."""

from contextlib import suppress
from pathlib import Path

from collector.feeder.object_store import BucketPartitions
from collector.feeder.partitions import LocalPartitions
from collector.feeder.postgres_source import PostgresSource
from collector.feeder.source import CsvSource, ParquetSource, Source, stored_files
from collector.machine.disk import Disk, expanded

_POSTGRES = ("postgresql://", "postgres://")
_S3 = "s3://"


def open_source(place: str | Path, category: str | None, disk: Disk) -> Source:
    """The files of a directory, an exported dataset, or a database.

    Raises:
        ValueError: it has the form of an address, and of none of these.
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
    return ParquetSource(partitions) if _is_dataset(disk, partitions) else CsvSource(disk, directory)


def _is_dataset(disk: Disk, partitions: LocalPartitions) -> bool:
    """Whether a directory holds partitions, and no candle file."""
    with suppress(StopIteration):
        next(partitions.stored())
        return not any(True for _ in stored_files(disk, partitions.root))
    return False
