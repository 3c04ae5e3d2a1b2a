"""Takes back what a refused command has made: its directories, an empty ledger, a log of nothing but the refusal.

A command owns the data directory and writes its log before the exchange says whether a symbol trades. What was there
before stays, and so does what came of an answer: a directory that is claimed, the end of a ban.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from collector.bybit.ban_file import BanFile
from collector.core.errors import CollectorError, SettingsError
from collector.logs.file import FILE_NAME
from collector.machine.disk import Disk
from collector.machine.own_files import OWN, remove_if_there
from collector.storage.data_directory import is_claimed, lock_directory


@contextmanager
def leaving_nothing(disk: Disk, data_dir: Path, logs_dir: Path) -> Iterator[None]:
    """Removes what was made while it was entered, if that ends with a `SettingsError`."""
    data_dir, log = data_dir.absolute(), logs_dir.absolute() / FILE_NAME
    absent = [path for path in (data_dir, *data_dir.parents, log, *log.parents) if not os.path.lexists(path)]
    try:
        yield
    except SettingsError:
        with suppress(CollectorError, OSError):
            _take_back(disk, data_dir, log, absent)
        raise


def _take_back(disk: Disk, data_dir: Path, log: Path, absent: Sequence[Path]) -> None:
    if data_dir in absent and data_dir.is_dir() and not _is_taken_back(disk, data_dir):
        return
    if log in absent:
        remove_if_there(disk, log)
    for directory in sorted(set(absent) - {log}, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # it is not empty, or was never made
            disk.remove_directory(directory)


def _is_taken_back(disk: Disk, data_dir: Path) -> bool:
    """Removes our own files of a data directory that holds nothing; False for any other."""
    with lock_directory(disk, data_dir) as own:
        if disk.names(data_dir) != [OWN] or is_claimed(own) or BanFile(disk, data_dir).until_ms():
            return False
        disk.remove_tree(own)
    return True
