"""Partitions in a directory, replaced one by one.

A new partition is written beside its place, synced, given its time of modification, and renamed. What a kill leaves is
removed when the next export begins, which one lock on the dataset's directory allows one at a time.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import attrs
import polars as pl

from collector.core.candle import Series
from collector.core.errors import DirectoryInUse, SettingsError, StorageError
from collector.export.parquet import write_partition
from collector.feeder.dataset import SUFFIX, Footer, folder_of
from collector.feeder.partitions import LocalPartitions
from collector.machine.disk import Disk
from collector.machine.own_files import give_to_owner_of, make_directory, not_written, remove_if_there, sync_directory
from collector.storage.files import map_os_errors

_UNFINISHED = ".new"
_COARSEST_S = 2  # seconds: the times of every file system are multiples of its own, at most of these


class LocalFiles(LocalPartitions):
    """Those in a directory of this machine, for writing."""

    def replace(self, series: Series, month_ms: int, candles: pl.DataFrame, footer: Footer) -> None:
        path = self.path(series, month_ms)
        modified_s = self.disk.now_ns() // 10**9 // _COARSEST_S * _COARSEST_S
        content = BytesIO()
        write_partition(content, candles, attrs.evolve(footer, modified_s=modified_s))
        with map_os_errors(path):
            make_directory(self.disk, path.parent)
            new = self.disk.spare_name(path)
            try:
                self._write(new, content.getvalue(), modified_s)
                self.disk.rename(new, path)
            except BaseException:
                with suppress(OSError):
                    remove_if_there(self.disk, new)
                raise
            sync_directory(self.disk, path.parent)

    def remove(self, series: Series, month_ms: int, footer: Footer) -> None:
        path = self.path(series, month_ms)
        with map_os_errors(path):
            remove_if_there(self.disk, path)
            sync_directory(self.disk, path.parent)

    def _write(self, new: Path, content: bytes, modified_s: int) -> None:
        file = self.disk.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            give_to_owner_of(new.parent, file)
            self.disk.write(file, content)
            os.utime(file, (modified_s, modified_s))
            self.disk.sync(file)
        finally:
            self.disk.close(file)

    def remove_unfinished(self) -> None:
        """Removes what an export that was killed has left."""
        for series in self.stored():
            folder = self.root / folder_of(series)
            for name in self.disk.names(folder):
                if name.endswith(_UNFINISHED) and f"{SUFFIX}." in name:
                    with map_os_errors(folder / name):
                        remove_if_there(self.disk, folder / name)


@contextmanager
def open_local(disk: Disk, root: Path) -> Iterator[LocalFiles]:
    """The dataset in a directory, which is made if it is missing, locked for writing.

    Raises:
        SettingsError: it can be no directory.
        StorageError: the disk refuses.
        DirectoryInUse: another export writes into it.
    """
    files = LocalFiles(disk, root)
    try:
        make_directory(disk, root)
        held = disk.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _refused(root, error) from error
    try:
        disk.lock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        files.remove_unfinished()
        yield files
    except BlockingIOError as error:
        raise DirectoryInUse(f"another export is writing into {root}") from error
    finally:
        disk.close(held)


def look_at_local(disk: Disk, root: Path) -> LocalFiles:
    """The dataset in a directory, for those who only compare.

    Raises:
        SettingsError: it is no directory.
        StorageError: the system does not let us look.
    """
    with map_os_errors(root):
        if root.exists() and not root.is_dir():
            raise SettingsError([f"--to: {root} is no directory"])
    return LocalFiles(disk, root)


def _refused(root: Path, error: OSError) -> SettingsError | StorageError:
    text = str(not_written("to", root, error)).replace("[storage] to:", "--to:", 1)
    return SettingsError([text]) if isinstance(error, NotADirectoryError) else StorageError(text)
