"""Opens the target that an address names."""

from collections.abc import Iterator
from contextlib import contextmanager

from collector.export.address import Bucket, Database, Directory
from collector.export.bucket_partitions import BucketFiles
from collector.export.local_partitions import look_at_local, open_local
from collector.export.parquet import ParquetTarget
from collector.export.postgres import open_postgres
from collector.export.results import Target
from collector.feeder.database import parse_database
from collector.machine.disk import Disk


@contextmanager
def open_target(
    disk: Disk, address: Directory | Bucket | Database, category: str, *, writing: bool
) -> Iterator[Target]:
    """A target for candles of one category.

    Raises:
        SettingsError: it cannot be one; somebody has to change the address, the place or the environment.
        StorageError: the disk refuses.
        Unavailable: the database or the object store does not answer.
        DirectoryInUse: another export writes into the directory.
    """
    match address:
        case Directory(path) if writing:
            with open_local(disk, path) as files:
                yield ParquetTarget(files, category)
        case Directory(path):
            yield ParquetTarget(look_at_local(disk, path), category)
        case Bucket(url):
            yield ParquetTarget(BucketFiles(url), category)
        case Database(url):
            with open_postgres(parse_database(url), category, writing=writing) as table:
                yield table
