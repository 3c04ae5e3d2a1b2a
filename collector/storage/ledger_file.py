"""The ledger's file: opening it, replacing it by a new one, and reading it beside its owner.

The new one is made first, complete, under another name. Only then is the old one set aside, its write-ahead log with
it, durably: SQLite would take a log that is left for that of the new database. Where the new one cannot be made either,
it is the disk that refuses, and the old one stays in place.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from collector.core.errors import StorageError
from collector.logs import get_logger
from collector.machine.disk import Disk
from collector.machine.own_files import NotAFile, create_own, expect_own, reason, remove_if_there, sync_directory
from collector.storage.ledger_format import UNREADABLE
from collector.storage.ledger_tables import Rows, prepare, write

log = get_logger(__name__)

FILE = "ledger.db"
_SUFFIXES = ("", "-wal", "-shm", "-journal")  # of what SQLite keeps beside a database


def open_database(disk: Disk, path: Path) -> sqlite3.Connection:
    """Opens the ledger of a directory that we own; an unreadable one gives way to an empty one.

    Raises:
        StorageError: the disk refuses; every file is as it was.
    """
    try:
        return _connect(disk, path)
    except (sqlite3.Error, NotAFile, *UNREADABLE) as error:
        return start_empty(disk, path, error)
    except OSError as error:
        if isinstance(error, PermissionError) and _is_ours(path):  # and was made read-only
            return start_empty(disk, path, error)
        raise StorageError(f"{path} cannot be opened ({reason(path, error)}); no file was changed") from error


def start_empty(disk: Disk, path: Path, why: Exception) -> sqlite3.Connection:
    """Replaces an unreadable ledger by an empty one, to be filled from the files and the exchange.

    Raises:
        StorageError: the disk refuses the new one.
    """
    with map_errors(path.parent):
        fresh = make_beside(disk, path, Rows())
        log.warning("the ledger cannot be read, the files are read instead", why=_said(why))
        return put_in_place(disk, fresh, path)


def make_beside(disk: Disk, path: Path, rows: Rows) -> Path:
    """Makes a new ledger beside the old one, with these rows; on failure it cleans up."""
    fresh = path.with_name(f"new-{path.name}")
    _remove_all(disk, fresh)
    try:
        with closing(_connect(disk, fresh)) as database:
            write(database, rows)
    except BaseException:
        _remove_all(disk, fresh)
        raise
    return fresh


def put_in_place(disk: Disk, fresh: Path, path: Path) -> sqlite3.Connection:
    """Sets the old ledger aside, over the one set aside before, and opens the new one in its place."""
    aside = path.with_name(f"unreadable-{path.name}")
    _remove_all(disk, aside)
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            disk.rename(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
    sync_directory(disk, path.parent)
    disk.rename(fresh, path)
    sync_directory(disk, path.parent)
    return _connect(disk, path)


def open_readonly(disk: Disk, path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, also while a collector owns the ledger.

    To read what its owner has yet to merge into the database, SQLite keeps an index beside it. With everything merged,
    or in a directory that we may not write, the database is opened as immutable.
    """
    _expect_files(path)
    unmerged = path.with_name(path.name + "-wal").exists() and os.access(path.parent, os.W_OK)
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if unmerged else '&immutable=1'}"
    return disk.database(uri)


@contextmanager
def map_errors(path: Path) -> Iterator[None]:
    """Raises errors of SQLite and of the system as `StorageError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        why = f"{error.filename or path}: {reason(path, error)}" if isinstance(error, OSError) else str(error)
        raise StorageError(
            f"the ledger in {path} could not be read or written ({why}); the candles are intact"
        ) from error


def _connect(disk: Disk, path: Path) -> sqlite3.Connection:
    _expect_files(path)
    if path.exists() and not os.access(path, os.W_OK, effective_ids=True):  # SQLite would not say which file
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    _make_private(disk, path.with_name(f"{path.name}-shm"))
    # Statements run in worker threads, one at a time: the writer awaits each.
    database = disk.database(path)
    try:
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = normal")
        prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _make_private(disk: Disk, index: Path) -> None:
    """Makes the index of what is unmerged anew, for us alone: SQLite locks it, and so could whoever can read it.

    Readers beside us either are us or read what is merged, which takes no index. SQLite fills it again from the log; an
    empty one it would give the mode of the database.
    """
    remove_if_there(disk, index)
    create_own(disk, index, b"\0", 0o600)


def _expect_files(path: Path) -> None:
    """Raises `NotAFile` if somebody has put something else in the place of what SQLite opens by its name."""
    for suffix in _SUFFIXES:
        expect_own(path.with_name(path.name + suffix))


def _remove_all(disk: Disk, path: Path) -> None:
    """Removes a database and what belongs to it, whatever it is; of a link, the link itself."""
    for suffix in _SUFFIXES:
        each = path.with_name(path.name + suffix)
        if each.is_dir() and not each.is_symlink():
            disk.remove_tree(each)
        else:
            remove_if_there(disk, each)


def _is_ours(path: Path) -> bool:
    with suppress(OSError):
        return path.lstat().st_uid == os.geteuid()
    return False


def _said(error: Exception) -> str:
    """What is wrong, and with which file where the system says that."""
    if not (isinstance(error, OSError) and isinstance(error.filename, str)):
        return str(error)
    file = Path(error.filename)
    return f"{file.name}: {reason(file, error)}"
