"""A disk that knows what has been synced, and can lose the rest.

Files are real files in a directory of their own, so that whatever reads them reads as always. Every call that changes
one comes through here. When the power fails, the directory is put into one of the states that a real disk may be in
then (see `survival`). A database is SQLite's own: its unit is the commit, and since the ledger's log is synced at
checkpoints only, the last commits may be gone. What else a process opens, such as memory that it shares with others,
is opened as ever; no power cut leaves it.

The process that uses the disk may end between two calls, or in the middle of one. From then on every call of it raises
`Killed`. What it had open is closed when the next one begins.
"""

import errno
import mmap
import os
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import attrs

from collector.machine.disk import Disk
from collector.machine.file_stat import FileStat
from tests.simulation.contents import Contents, is_regular
from tests.simulation.mishaps import HALF_WRITTEN, Killed, Mishaps
from tests.simulation.survival import File

_SAID_BY_SQLITE = {
    errno.ENOSPC: "database or disk is full",
    errno.EDQUOT: "database or disk is full",
    errno.EROFS: "attempt to write a readonly database",
}


@attrs.frozen
class _Opened:
    """What a descriptor is of: its place under the directory of the disk, if it is there."""

    place: Path | None
    appends: bool = False


class SimulatedDisk(Disk):
    """The disk under one data directory: what it holds, what befalls its calls, and who hears of them."""

    def __init__(self, directory: Path, dice: Random, memory: Path | None = None) -> None:
        self.mishaps, self.contents = Mishaps(dice), Contents(directory, dice)
        self._memory = memory
        self.syncs_whole = True  # whether the file system can be synced as a whole
        self.kept = 8  # files that may stay open
        self.on_change: Callable[[], None] = lambda: None  # called after each call that has changed something
        self.on_save: Callable[[], None] = lambda: None  # after each commit of the ledger
        self.on_power_cut: Callable[[], None] = lambda: None  # and before the power fails
        self.on_states: Callable[[], None] = lambda: None  # then, while every state is still possible
        self._opened: dict[int, _Opened] = {}  # what the process has open
        self._databases: list[_Database] = []
        self._spare_names = 0

    # What the collector calls.

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        place = self.contents.place(path) if within is None else None
        is_new = place is not None and bool(flags & os.O_CREAT) and not os.path.lexists(place)
        what = "create" if is_new else "change" if flags & (os.O_WRONLY | os.O_RDWR) else "open"
        with self.mishaps.call(what, covered=place is not None):
            file = super().open(path, flags, mode, within)
            self._opened[file] = _Opened(place, bool(flags & os.O_APPEND))
            if place and is_new:
                self.contents.directories[place.parent].link(place.name, self.contents.known_from(os.fstat(file), b""))
        if is_new:
            self.on_change()
        return file

    def close(self, file: int) -> None:
        self.mishaps.expect_life()
        self._opened.pop(file, None)
        super().close(file)

    def lock(self, file: int, how: int) -> None:
        self.mishaps.expect_life()
        super().lock(file, how)

    def read(self, file: int, size: int, at: int = 0) -> bytes:
        self.mishaps.meet("read", covered=self._covers(file))
        return super().read(file, size, at)

    def map(self, file: int) -> mmap.mmap:
        self.mishaps.meet("read", covered=self._covers(file))
        return super().map(file)

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        """All of the data; a part of it in the call in which the process dies, or that meets an error."""
        data = bytes(data)

        def write_some() -> None:
            self._written(file, data[: self.contents.dice_of_its_own().randrange(len(data) + 1)], at)

        with self.mishaps.call("write", covered=self._covers(file), halfway=write_some):
            self._written(file, data, at)
        self.on_change()

    def truncate(self, file: int, size: int) -> None:
        with self.mishaps.call("truncate", covered=self._covers(file)):
            known = self._known(file)
            super().truncate(file, size)
            if known:
                known.cut(size)
                self.contents.touch(file, known)
        self.on_change()

    def sync(self, file: int) -> None:
        """What the file holds, or the names in the directory, are durable from now on."""
        try:
            with self.mishaps.call("sync", covered=self._covers(file)):
                if opened := self._opened[file].place:
                    self.contents.sync(file, opened)
        except OSError as error:
            if error.errno in HALF_WRITTEN and (known := self._known(file)):
                known.lose_pages(self.contents.dice_of_its_own())  # for good, although all of it can still be read
            raise
        self.on_change()

    def sync_whole(self, file: int) -> bool:
        """All that there is is durable from now on; some of it, if the process dies meanwhile."""
        self.mishaps.expect_life()
        if not self.syncs_whole:
            return False
        try:
            with self.mishaps.call("sync", covered=self._covers(file), halfway=partial(self.contents.sync_all, 0.5)):
                self.contents.sync_all(1.0)
        except OSError as error:
            if error.errno in HALF_WRITTEN:
                self.contents.lose_pages()
            raise
        self.on_change()
        return True

    def rename(self, source: Path, target: Path) -> None:
        is_here = self.contents.place(source) is not None
        with self.mishaps.call("rename", covered=is_here), self.contents.renaming(source, target):
            super().rename(source, target)
        self.on_change()

    def remove(self, path: Path | str, within: int | None = None) -> None:
        place = self.contents.place(path) if within is None else None
        with self.mishaps.call("remove", covered=place is not None), self.contents.removing(place):
            super().remove(path, within)
        self.on_change()

    def make_directory(self, path: Path, mode: int = 0o755) -> None:
        place = self.contents.place(path)
        with self.mishaps.call("create", covered=place is not None):
            super().make_directory(path, mode)
            if place:
                self.contents.made(place)
        self.on_change()

    def names_stat(self, directory: Path) -> FileStat:
        """As if time passed between any two calls: exact, and the same in every run."""
        self.mishaps.expect_life()
        names = sorted((entry.name, entry.inode()) for entry in os.scandir(directory))
        return FileStat(hash(tuple(names)), 0, 1, 1, 2**63)

    def most_open(self) -> int:
        return 2 * self.kept

    def names(self, directory: Path | int) -> list[str]:
        self.mishaps.meet("open", covered=isinstance(directory, Path) and directory in self.contents.directories)
        return super().names(directory)

    def writable(self, directory: Path) -> bool:
        return self.mishaps.error != errno.EROFS and super().writable(directory)

    def spare_name(self, path: Path) -> Path:
        self._spare_names += 1
        return path.with_name(f"{path.name}.{self._spare_names:016x}.new")

    def database(self, place: Path | str) -> sqlite3.Connection:
        try:
            self.mishaps.meet("open", covered=True)
        except OSError as error:
            raise sqlite3.OperationalError("unable to open database file") from error
        if isinstance(place, Path) and self.contents.place(place) and is_regular(place):
            self.contents.at(place)  # somebody else may have changed it
        database = sqlite3.connect(place, uri=isinstance(place, str), check_same_thread=False, factory=_Database)
        if isinstance(place, Path) and self.contents.place(place):
            database.disk, database.path = self, place
            self._databases.append(database)
        return database

    # What the world does.

    def revive(self) -> None:
        """Another process begins. What the dead one had open is closed, and its locks are given back."""
        for file in self._opened:
            os.close(file)
        for database in self._databases:
            database.release()
        self._opened, self._databases = {}, []
        self.mishaps.revive()

    def cut_power(self) -> None:
        """Leaves the directory as a real disk might. The process has to be dead."""
        self.contents.notice_others()
        self.on_power_cut()
        self.revive()
        self.mishaps.dead = True
        self.on_states()
        if self._memory:
            shutil.rmtree(self._memory, ignore_errors=True)
        self.contents.cut_power()

    def committed(self, database: "_Database", act: Callable[[], Any]) -> Any:
        """A commit of a database."""
        try:
            with self.mishaps.call("commit", covered=True):
                done = act()
                assert database.path
                self.contents.note_commit(database.path, database.serialize())
        except OSError as error:
            raise sqlite3.OperationalError(_SAID_BY_SQLITE.get(error.errno or 0, "disk I/O error")) from error
        self.on_save()
        return done

    def closed(self, database: "_Database") -> None:
        """A database was closed in good order, which merges and syncs its log."""
        self._databases.remove(database)
        path = database.path
        if path and path.exists():
            self.contents.at(path).sync()
            self.contents.directories[path.parent].settle(path.name)

    # What is known of files.

    def _covers(self, file: int) -> bool:
        opened = self._opened.get(file)
        return opened is not None and opened.place is not None

    def _known(self, file: int) -> File | None:
        """What is known of an open file of this disk."""
        opened = self._opened.get(file)
        return self.contents.opened(file, opened.place) if opened and opened.place else None

    def _written(self, file: int, data: bytes, at: int | None) -> None:
        known = self._known(file)
        if known:
            end = os.SEEK_END if self._opened[file].appends else os.SEEK_CUR
            known.write(os.lseek(file, 0, end) if at is None else at, data)
        super().write(file, data, at)
        if known:
            self.contents.touch(file, known)


class _Database(sqlite3.Connection):
    """A connection that tells its disk of every commit."""

    disk: SimulatedDisk | None = None
    path: Path | None = None

    def execute(self, *given: Any) -> sqlite3.Cursor:
        self._expect_life()
        return super().execute(*given)

    def executemany(self, *given: Any) -> sqlite3.Cursor:
        self._expect_life()
        return super().executemany(*given)

    def executescript(self, script: str) -> sqlite3.Cursor:
        act = super().executescript
        return self.disk.committed(self, lambda: act(script)) if self.disk else act(script)

    def __exit__(self, *raised: Any) -> Any:
        leave = super().__exit__
        if self.disk is None or raised[0] is not None:
            return leave(*raised)
        try:
            return self.disk.committed(self, lambda: leave(*raised))
        except sqlite3.Error:
            self.rollback()
            raise

    def close(self) -> None:
        self._expect_life()
        super().close()
        if self.disk:
            self.disk.closed(self)
            self.disk = None

    def release(self) -> None:
        """Its process is gone."""
        self.disk = None
        super().close()

    def _expect_life(self) -> None:
        if self.disk and self.disk.mishaps.dead:
            raise Killed
