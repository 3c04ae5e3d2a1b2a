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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import attrs

from collector.machine.disk import Disk
from tests.simulation.survival import Directory, File

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.EDQUOT)
_GROWS = frozenset({"create", "write", "sync", "rename", "commit"})
_CHANGES = _GROWS | {"change", "truncate", "remove"}
# Which calls meet an error: no disk is too full to be read, and only what opens something needs a descriptor.
_MEETS = {
    errno.ENOSPC: _GROWS,
    errno.EDQUOT: _GROWS,
    errno.EROFS: _CHANGES,
    errno.EMFILE: frozenset({"create", "change", "open"}),
    errno.EIO: _CHANGES | {"open", "read"},
}
_BEGAN_NS, _TICK_NS = 1_715_776_180_000_000_000, 1_000_000  # of the times at which files change
_LATE = frozenset({"sync"})
LATE_ERRORS = _HALF_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_SAID_BY_SQLITE = {
    errno.ENOSPC: "database or disk is full",
    errno.EDQUOT: "database or disk is full",
    errno.EROFS: "attempt to write a readonly database",
}
_OF_SQLITE = ("-wal", "-shm", "-journal")  # beside a database, of which the commits are what counts


class Killed(BaseException):
    """The process is dead: nothing it does has an effect any more."""


@attrs.frozen
class _Opened:
    """What a descriptor is of: its place under the directory of the disk, if it is there."""

    place: Path | None
    appends: bool = False


class SimulatedDisk(Disk):
    """The disk under one data directory.

    `error` is what calls fail with while it is set, those that can: a share of them, and no more than so many. With
    `late_errors`, writes go well and syncs fail: a real disk often says no sooner what became of them.
    """

    def __init__(self, directory: Path, dice: Random, memory: Path | None = None) -> None:
        self._root, self._dice, self._memory = directory, dice, memory
        self.dead = False
        self.calls_left: int | None = None  # until the process dies in the middle of one
        self.error: int | None = None
        self.error_share = 1.0
        self.errors_left: int | None = None
        self.late_errors = False
        self.syncs_whole = True  # whether the file system can be synced as a whole
        self.errors = 0  # that were met
        self.states = Counter[str]()  # after power cuts: what became of files and names
        self.on_change: Callable[[], None] = lambda: None  # called after each call that has changed something
        self.on_save: Callable[[], None] = lambda: None  # after each commit of the ledger
        self.on_power_cut: Callable[[], None] = lambda: None  # and before the power fails
        self.on_states: Callable[[], None] = lambda: None  # then, while every state is still possible
        self._directories = {directory: Directory()}
        self._files: dict[int, File] = {}  # by inode, of those that have a name
        self._opened: dict[int, _Opened] = {}  # what the process has open
        self._databases: list[_Database] = []
        self._changes = self._spare_names = 0

    # What the collector calls.

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        place = self._place(path) if within is None else None
        is_new = place is not None and bool(flags & os.O_CREAT) and not os.path.lexists(place)
        what = "create" if is_new else "change" if flags & (os.O_WRONLY | os.O_RDWR) else "open"
        with self._call(what, covered=place is not None):
            file = super().open(path, flags, mode, within)
            self._opened[file] = _Opened(place, bool(flags & os.O_APPEND))
            if place and is_new:
                self._directories[place.parent].link(place.name, self._known_from(os.fstat(file), b""))
        if is_new:
            self.on_change()
        return file

    def close(self, file: int) -> None:
        self._expect_life()
        self._opened.pop(file, None)
        super().close(file)

    def lock(self, file: int, how: int) -> None:
        self._expect_life()
        super().lock(file, how)

    def read(self, file: int, size: int, at: int = 0) -> bytes:
        self._meet("read", covered=self._covers(file))
        return super().read(file, size, at)

    def map(self, file: int) -> mmap.mmap:
        self._meet("read", covered=self._covers(file))
        return super().map(file)

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        """All of the data; a part of it in the call in which the process dies, or that meets an error."""
        data = bytes(data)

        def write_some() -> None:
            self._written(file, data[: self._dice_of_its_own().randrange(len(data) + 1)], at)

        with self._call("write", covered=self._covers(file), halfway=write_some):
            self._written(file, data, at)
        self.on_change()

    def truncate(self, file: int, size: int) -> None:
        with self._call("truncate", covered=self._covers(file)):
            known = self._known(file)
            super().truncate(file, size)
            if known:
                known.cut(size)
                self._touch(file, known)
        self.on_change()

    def sync(self, file: int) -> None:
        """What the file holds, or the names in the directory, are durable from now on."""
        try:
            with self._call("sync", covered=self._covers(file)):
                self._synced(file)
        except OSError as error:
            if error.errno in _HALF_WRITTEN and (known := self._known(file)):
                known.lose_pages(self._dice_of_its_own())  # for good, although all of it can still be read
            raise
        self.on_change()

    def sync_whole(self, file: int) -> bool:
        """All that there is is durable from now on; some of it, if the process dies meanwhile."""
        self._expect_life()
        if not self.syncs_whole:
            return False
        try:
            with self._call("sync", covered=self._covers(file), halfway=self._sync_some):
                self._sync_all(1.0, self._dice_of_its_own())
        except OSError as error:
            if error.errno in _HALF_WRITTEN:
                dice = self._dice_of_its_own()
                for known in self._files.values():
                    known.lose_pages(dice)
            raise
        self.on_change()
        return True

    def rename(self, source: Path, target: Path) -> None:
        with self._call("rename", covered=self._place(source) is not None):
            self._renamed(source, target)
        self.on_change()

    def remove(self, path: Path | str, within: int | None = None) -> None:
        place = self._place(path) if within is None else None
        with self._call("remove", covered=place is not None):
            is_known = place is not None and _is_regular(place)
            inode = place.stat().st_ino if place and is_known else 0
            super().remove(path, within)
            if place and is_known:
                self._files.pop(inode, None)
                self._directories[place.parent].unlink(place.name)
        self.on_change()

    def make_directory(self, path: Path, mode: int = 0o755) -> None:
        place = self._place(path)
        with self._call("create", covered=place is not None):
            super().make_directory(path, mode)
            if place:
                made = self._directories[place] = Directory()
                self._directories[place.parent].link(place.name, made)
        self.on_change()

    def names(self, directory: Path | int) -> list[str]:
        self._meet("open", covered=isinstance(directory, Path) and directory in self._directories)
        return super().names(directory)

    def spare_name(self, path: Path) -> Path:
        self._spare_names += 1
        return path.with_name(f"{path.name}.{self._spare_names:016x}.new")

    def database(self, place: Path | str) -> sqlite3.Connection:
        try:
            self._meet("open", covered=True)
        except OSError as error:
            raise sqlite3.OperationalError("unable to open database file") from error
        database = sqlite3.connect(place, uri=isinstance(place, str), check_same_thread=False, factory=_Database)
        if isinstance(place, Path) and self._place(place):
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
        self.dead, self.calls_left = False, None

    def cut_power(self) -> None:
        """Leaves the directory as a real disk might. The process has to be dead."""
        self.on_power_cut()
        self.revive()
        self.dead = True
        self._forget_directories()
        self.on_states()
        self._files = {}
        if self._memory:
            shutil.rmtree(self._memory, ignore_errors=True)
        for path in [*self._directories]:
            if path in self._directories:
                self._cut_power_at(path)

    def _forget_directories(self) -> None:
        """Those that somebody else has removed are gone for good."""
        for path in [path for path in self._directories if not path.is_dir()]:
            del self._directories[path]
            if parent := self._directories.get(path.parent):
                parent.unlink(path.name)
                parent.settle(path.name)

    def write_state(self, place: Path, dice: Random) -> None:
        """Makes, in an empty directory, one of the states that a power cut may leave now. Nothing changes here."""
        for path, directory in self._directories.items():
            for name in super().names(path):
                if not name.endswith(_OF_SQLITE) and name not in directory.mentioned() and _is_regular(path / name):
                    self._at(path / name)
        self._write_state(place, self._directories[self._root], dice)

    def _write_state(self, place: Path, directory: Directory, dice: Random) -> None:
        left, what = directory.survive(dice)
        self.states.update(what)
        for name, thing in sorted(left.items()):
            if isinstance(thing, Directory):
                (place / name).mkdir()
                self._write_state(place / name, thing, dice)
            elif not name.endswith(_OF_SQLITE):
                content, changed_ns, became = thing.survive(dice)
                self.states[became] += 1
                (place / name).write_bytes(content)
                (place / name).chmod(thing.mode & 0o7777)
                os.utime(place / name, ns=(changed_ns, changed_ns))

    @property
    def refuses(self) -> bool:
        """Whether nothing can be written at the moment."""
        always = self.error_share == 1.0 and self.errors_left is None and not self.late_errors
        return self.error is not None and always

    def certain(self, name: str) -> list[bytes]:
        """What a file holds for certain if the power fails now, whichever file its name stands for then."""
        path = self._root / name
        if _is_regular(path):
            self._at(path)  # somebody else may have put it there
        things = self._directories[self._root].may_be(name)
        return [thing.certain if isinstance(thing, File) else b"" for thing in things]

    def unsynced(self, name: str) -> list[bytes]:
        """What was written to it beyond that, and may be there, also if it was cut off again."""
        things = self._directories[self._root].may_be(name)
        return [thing.written for thing in things if isinstance(thing, File)]

    # Errors, and the end of the process.

    def _expect_life(self) -> None:
        if self.dead:
            raise Killed

    def _meet(self, what: str, *, covered: bool) -> None:
        """Raises what a call of this kind meets. What is elsewhere lacks descriptors alone."""
        self._expect_life()
        meets = _LATE if self.late_errors else _MEETS.get(self.error or 0, _CHANGES)
        if self.error is None or what not in meets:
            return
        if self.errors_left == 0 or not (covered or self.error == errno.EMFILE):
            return
        if self.error_share < 1 and self._dice.random() >= self.error_share:
            return
        if self.errors_left is not None:
            self.errors_left -= 1
        self.errors += 1
        raise OSError(self.error, os.strerror(self.error))

    @contextmanager
    def _call(self, what: str, *, covered: bool, halfway: Callable[[], None] = lambda: None) -> Iterator[None]:
        """A call that has an effect. The process may die before it, halfway, or when it is done."""
        self._expect_life()
        dies = late = False
        if self.calls_left is not None and covered:
            self.calls_left -= 1
            dies, late = self.calls_left < 0, self._dice.random() < 0.5
        if dies and not late:
            halfway()
            self.dead = True
            raise Killed
        try:
            self._meet(what, covered=covered)
        except OSError as error:
            if error.errno in _HALF_WRITTEN:
                halfway()
            raise
        yield
        if dies:
            self.dead = True
            raise Killed

    def committed(self, database: "_Database", act: Callable[[], Any]) -> Any:
        """A commit of a database."""
        try:
            with self._call("commit", covered=True):
                done = act()
                self._note_commit(database)
        except OSError as error:
            raise sqlite3.OperationalError(_SAID_BY_SQLITE.get(error.errno or 0, "disk I/O error")) from error
        self.on_save()
        return done

    def closed(self, database: "_Database") -> None:
        """A database was closed in good order, which merges and syncs its log."""
        self._databases.remove(database)
        path = database.path
        if path and path.exists():
            self._at(path).sync()
            self._directories[path.parent].settle(path.name)

    # What is known of files.

    def _place(self, path: Path | str) -> Path | None:
        """Where something is under the directory of this disk; None if it is elsewhere."""
        path = Path(path)
        return path if path in self._directories or path.parent in self._directories else None

    def _covers(self, file: int) -> bool:
        opened = self._opened.get(file)
        return opened is not None and opened.place is not None

    def _known(self, file: int) -> File | None:
        """What is known of an open file of this disk; of what others have done to it, all is taken for durable."""
        opened, found = self._opened.get(file), os.fstat(file)
        if opened is None or opened.place is None or opened.place in self._directories:
            return None
        known = self._files.get(found.st_ino)
        if known is None or known.size != found.st_size:
            with Path(f"/proc/self/fd/{file}").open("rb") as seen:
                known = self._known_from(found, seen.read())
                self._directories[opened.place.parent].synced[opened.place.name] = known
        return known

    def _at(self, path: Path) -> File:
        """The same of the file that a name stands for."""
        found = path.stat()
        known = self._files.get(found.st_ino)
        if known is None:
            known = self._known_from(found, path.read_bytes())
            self._directories[path.parent].synced[path.name] = known
        return known

    def _known_from(self, found: os.stat_result, content: bytes) -> File:
        known = self._files[found.st_ino] = File(bytearray(content), found.st_mtime_ns, found.st_mode)
        return known

    def _touch(self, file: int, known: File) -> None:
        """Gives times of change that are the same in every run, and never the same twice in one."""
        self._changes += 1
        known.changed_ns = _BEGAN_NS + self._changes * _TICK_NS
        os.utime(file, ns=(known.changed_ns, known.changed_ns))
        known.mode = os.fstat(file).st_mode

    def _written(self, file: int, data: bytes, at: int | None) -> None:
        known = self._known(file)
        if known:
            end = os.SEEK_END if self._opened[file].appends else os.SEEK_CUR
            known.write(os.lseek(file, 0, end) if at is None else at, data)
        super().write(file, data, at)
        if known:
            self._touch(file, known)

    def _synced(self, file: int) -> None:
        place = self._opened[file].place
        if place in self._directories:
            self._directories[place].sync()
        elif known := self._known(file):
            known.sync()

    def _sync_some(self) -> None:
        self._sync_all(0.5, self._dice_of_its_own())

    def _sync_all(self, share: float, dice: Random) -> None:
        """Of all files and directories so many are synced."""
        things: list[File | Directory] = [*self._files.values(), *self._directories.values()]
        for thing in things:
            if dice.random() < share:
                thing.sync()

    def _dice_of_its_own(self) -> Random:
        """For what depends on lengths: a file may name the process, whose number is longer in one run than in the next.
        Whatever they give, it changes nothing for what comes after."""
        return Random(self._dice.random())

    def _renamed(self, source: Path, target: Path) -> None:
        place, over = self._place(source), self._place(target)
        moved = self._at(place) if place and over and _is_regular(place) else None
        replaced = over.stat().st_ino if moved and over and _is_regular(over) else 0
        super().rename(source, target)
        if place and over and moved:
            self._files.pop(replaced, None)
            self._directories[over.parent].rename(place.name, over.name, moved)

    def _note_commit(self, database: "_Database") -> None:
        path = database.path
        assert path
        known = self._files.get(path.stat().st_ino)
        if known is None:
            known = self._known_from(path.stat(), b"")
            self._directories[path.parent].link(path.name, known)
        is_synced = _is_checkpointed(path)
        known.commit(database.serialize(), is_synced=is_synced)
        if is_synced:
            self._directories[path.parent].settle(path.name)

    # What is left of them.

    def _cut_power_at(self, path: Path) -> None:
        directory = self._directories[path]
        known = directory.mentioned()
        for name in super().names(path):
            if name.endswith(_OF_SQLITE):
                (path / name).unlink()
            elif name not in known and _is_regular(path / name):
                self._at(path / name)
        left, what = directory.survive(self._dice)
        left = {name: thing for name, thing in left.items() if not name.endswith(_OF_SQLITE)}
        self.states.update(what)
        for name in sorted(directory.mentioned()):
            if _is_regular(path / name):
                (path / name).unlink()
            elif name not in left and path / name in self._directories:
                shutil.rmtree(path / name)
                del self._directories[path / name]
        for name, thing in sorted(left.items()):
            if isinstance(thing, File):
                self._write_back(path / name, thing)
        directory.begin_again(left)

    def _write_back(self, path: Path, known: File) -> None:
        content, changed_ns, what = known.survive(self._dice_of_its_own())
        self.states[what] += 1
        path.write_bytes(content)
        path.chmod(known.mode & 0o7777)
        os.utime(path, ns=(changed_ns, changed_ns))
        known.begin_again(content, changed_ns)
        self._files[path.stat().st_ino] = known


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
        if self.disk and self.disk.dead:
            raise Killed


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_checkpointed(path: Path) -> bool:
    """Whether all of the log is in the database, and synced. The index beside it counts the frames of the log, and
    those that were merged: https://www.sqlite.org/walformat.html."""
    with suppress(OSError):
        head = path.with_name(f"{path.name}-shm").read_bytes()[:136]
        frames, merged = (int.from_bytes(head[at : at + 4], "little") for at in (16, 96))
        return len(head) == 136 and frames == merged
    return False
