"""What is on a simulated disk, what of it is durable, and what a power cut may leave of it.

Who changes a file without a call to the disk is somebody else: a person, or a drive that damages it. No power cut
undoes what they have done.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import attrs

from tests.simulation.survival import Directory, File

_BEGAN_NS, _TICK_NS = 1_715_776_180_000_000_000, 1_000_000  # of the times at which files change
_OF_SQLITE = ("-wal", "-shm", "-journal")  # beside a database, of which the commits are what counts


@attrs.define(eq=False)
class Contents:
    """The directories and files below one root."""

    _root: Path
    _dice: Random
    states: Counter[str] = attrs.field(factory=Counter)  # after power cuts: what became of files and names
    directories: dict[Path, Directory] = attrs.field()
    files: dict[int, File] = attrs.field(factory=dict)  # by inode, of those that have a name
    _changes: int = 0

    @directories.default
    def _only_the_root(self) -> dict[Path, Directory]:
        return {self._root: Directory()}

    # What is known.

    def place(self, path: Path | str) -> Path | None:
        """Where something is under the directory of this disk; None if it is elsewhere."""
        path = Path(path)
        return path if path in self.directories or path.parent in self.directories else None

    def certain(self, name: str) -> list[bytes]:
        """What a file holds for certain if the power fails now, whichever file its name stands for then."""
        path = self._root / name
        if is_regular(path):
            self.at(path)
        things = self.directories[self._root].may_be(name)
        return [thing.certain if isinstance(thing, File) else b"" for thing in things]

    def unsynced(self, name: str) -> list[bytes]:
        """What was written to it beyond that, and may be there, also if it was cut off again."""
        things = self.directories[self._root].may_be(name)
        return [thing.written for thing in things if isinstance(thing, File)]

    def at(self, path: Path) -> File:
        """The same of the file that a name stands for."""
        return self._as_found(path.stat(), path, path)

    def _as_found(self, found: os.stat_result, path: Path, place: Path) -> File:
        """What is known of a file; what others have done to it is taken for durable, and its name with it."""
        known = self.files.get(found.st_ino)
        if known is None or not (known.is_as_left(found.st_size, found.st_mtime_ns) or _is_open_database(place)):
            content, directory = path.read_bytes(), self.directories[place.parent]
            if known is None:
                known = self.known_from(found, content)
            known.begin_again(content, found.st_mtime_ns)
            directory.settle(place.name)
            directory.synced[place.name] = known
        return known

    def known_from(self, found: os.stat_result, content: bytes) -> File:
        known = self.files[found.st_ino] = File(bytearray(content), found.st_mtime_ns, found.st_mode)
        return known

    def touch(self, file: int, known: File) -> None:
        """Gives times of change that are the same in every run, and never the same twice in one."""
        self._changes += 1
        known.changed_ns = _BEGAN_NS + self._changes * _TICK_NS
        os.utime(file, ns=(known.changed_ns, known.changed_ns))
        known.mode = os.fstat(file).st_mode

    def sync_all(self, share: float) -> None:
        """Of all files and directories so many are synced."""
        dice = self.dice_of_its_own()
        things: list[File | Directory] = [*self.files.values(), *self.directories.values()]
        for thing in things:
            if dice.random() < share:
                thing.sync()

    def lose_pages(self) -> None:
        """A sync of everything failed: some of what was written is gone, although it can still be read."""
        dice = self.dice_of_its_own()
        for known in self.files.values():
            known.lose_pages(dice)

    def dice_of_its_own(self) -> Random:
        """For what depends on lengths: a file may name the process, whose number is longer in one run than in the next.
        Whatever they give, it changes nothing for what comes after."""
        return Random(self._dice.random())

    def note_commit(self, path: Path, content: bytes) -> None:
        """A database was changed by a commit."""
        known = self.files.get(path.stat().st_ino)
        if known is None:
            known = self.known_from(path.stat(), b"")
            self.directories[path.parent].link(path.name, known)
        is_synced = _is_checkpointed(path)
        known.commit(content, is_synced=is_synced)
        if is_synced:
            self.directories[path.parent].settle(path.name)

    def opened(self, file: int, place: Path) -> File | None:
        """What is known of an open file that has a name."""
        found = os.fstat(file)
        if place in self.directories or not found.st_nlink:
            return None
        return self._as_found(found, Path(f"/proc/self/fd/{file}"), place)

    # What changes it.

    def made(self, place: Path) -> None:
        """A directory was made."""
        made = self.directories[place] = Directory()
        self.directories[place.parent].link(place.name, made)

    def sync(self, file: int, place: Path) -> None:
        """An open file, or the names in a directory, are durable from now on."""
        if place in self.directories:
            self.directories[place].sync()
        elif known := self.opened(file, place):
            known.sync()

    @contextmanager
    def renaming(self, source: Path, target: Path) -> Iterator[None]:
        """Around a rename."""
        place, over = self.place(source), self.place(target)
        moved = self.at(place) if place and over and is_regular(place) else None
        replaced = over.stat().st_ino if moved and over and is_regular(over) else 0
        yield
        if place and over and moved:
            self.files.pop(replaced, None)
            self.directories[over.parent].rename(place.name, over.name, moved)

    @contextmanager
    def removing(self, place: Path | None) -> Iterator[None]:
        """Around the removal of what is at a place of this disk, if it is of this disk."""
        inode = place.stat().st_ino if place and is_regular(place) else 0
        yield
        if place and inode:
            self.files.pop(inode, None)
            self.directories[place.parent].unlink(place.name)

    # What a power cut leaves.

    def cut_power(self) -> None:
        """Puts every directory into one of the states that it may be in."""
        self.files = {}
        for path in [*self.directories]:
            if path in self.directories:
                self._cut_power_at(path)

    def notice_others(self) -> None:
        """What somebody else has made, changed or removed is so for good, whether the collector has seen it or not."""
        self._forget_directories()
        for path, directory in self.directories.items():
            names = {name for name in os.listdir(path) if is_regular(path / name)}  # noqa: PTH208 - names
            for name in sorted(names):
                if not name.endswith(_OF_SQLITE):
                    self.at(path / name)
            for name, thing in directory.now().items():
                if isinstance(thing, File) and name not in names:
                    directory.settle(name)
                    directory.synced.pop(name, None)

    def _forget_directories(self) -> None:
        for path in [path for path in self.directories if not path.is_dir()]:
            del self.directories[path]
            if parent := self.directories.get(path.parent):
                parent.unlink(path.name)
                parent.settle(path.name)

    def write_state(self, place: Path, dice: Random) -> None:
        """Makes, in an empty directory, one of the states that a power cut may leave now. Nothing changes here."""
        self._write_state(place, self.directories[self._root], dice)

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

    def _cut_power_at(self, path: Path) -> None:
        directory = self.directories[path]
        for name in os.listdir(path):  # noqa: PTH208 - names
            if name.endswith(_OF_SQLITE):
                (path / name).unlink()
        left, what = directory.survive(self._dice)
        left = {name: thing for name, thing in left.items() if not name.endswith(_OF_SQLITE)}
        self.states.update(what)
        for name in sorted(directory.mentioned()):
            if is_regular(path / name):
                (path / name).unlink()
            elif name not in left and path / name in self.directories:
                shutil.rmtree(path / name)
                del self.directories[path / name]
        for name, thing in sorted(left.items()):
            if isinstance(thing, File):
                self._write_back(path / name, thing)
        directory.begin_again(left)

    def _write_back(self, path: Path, known: File) -> None:
        content, changed_ns, what = known.survive(self.dice_of_its_own())
        self.states[what] += 1
        path.write_bytes(content)
        path.chmod(known.mode & 0o7777)
        os.utime(path, ns=(changed_ns, changed_ns))
        known.begin_again(content, changed_ns)
        self.files[path.stat().st_ino] = known


def is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_open_database(path: Path) -> bool:
    """Whether SQLite has a file open, and changes it itself."""
    return path.with_name(f"{path.name}-wal").exists()


def _is_checkpointed(path: Path) -> bool:
    """Whether all of the log is in the database, and synced. The index beside it counts the frames of the log, and
    those that were merged: https://www.sqlite.org/walformat.html."""
    with suppress(OSError):
        head = path.with_name(f"{path.name}-shm").read_bytes()[:136]
        frames, merged = (int.from_bytes(head[at : at + 4], "little") for at in (16, 96))
        return len(head) == 136 and frames == merged
    return False
