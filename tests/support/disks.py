"""Disks that fail, in place of the real one: full, deaf, or broken from some call on. What they take, they write."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

import attrs

from collector.machine.disk import Disk
from collector.machine.file_stat import FileStat
from collector.storage.csv_store import Store


def store_on(disk: Disk) -> Callable[..., Store]:
    """Makes the stores of a service, with its candle files on another disk than the rest."""
    return lambda directory, _, *others: Store(directory, disk, *others)


class FullDisk(Disk):
    """Takes so many bytes and then no more, like a disk: it writes what still fits."""

    def __init__(self, room: int, error: int = errno.ENOSPC) -> None:
        self.room, self.error = room, error

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        os.write(file, data[: self.room])
        if len(data) > self.room:
            raise OSError(self.error, os.strerror(self.error))
        self.room -= len(data)


class DeafDisk(Disk):
    """Takes everything and cannot make it durable."""

    def sync(self, file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def sync_whole(self, file: int) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class RefusingDisk(Disk):
    """Lets this user read one file, and neither change it nor put another in its place.

    With `beside` nothing that begins with its name can be made either. With `whole` it is the same with everything
    there is.
    """

    def __init__(self, name: str, error: int, *, beside: bool = False, whole: bool = False) -> None:
        self._name, self._error, self._beside, self._whole = name, error, beside, whole

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            self._meet(Path(path))
        return super().open(path, flags, mode, within)

    def rename(self, source: Path, target: Path) -> None:
        self._meet(source)
        self._meet(target)
        super().rename(source, target)

    def writable(self, directory: Path) -> bool:
        return not self._whole

    def _meet(self, path: Path) -> None:
        if self._whole or path.name == self._name or (self._beside and path.name.startswith(self._name)):
            raise OSError(self._error, os.strerror(self._error), str(path))


class RecordingDisk(Disk):
    """Remembers which files and directories it was asked to make durable by their names."""

    def __init__(self) -> None:
        self.synced: list[Path] = []

    def sync(self, file: int) -> None:
        super().sync(file)
        self.synced.append(Path(f"/proc/self/fd/{file}").readlink())

    def sync_whole(self, file: int) -> bool:
        """Every file is synced by itself, and so on record."""
        return False


class CountingDisk(Disk):
    """Knows how many files are open, and the sizes of the pieces that were read."""

    def __init__(self) -> None:
        self.open_files = 0
        self.pieces: list[int] = []

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        file = super().open(path, flags, mode, within)
        self.open_files += 1
        return file

    def close(self, file: int) -> None:
        self.open_files -= 1
        super().close(file)

    def read(self, file: int, size: int, at: int = 0) -> bytes:
        piece = super().read(file, size, at)
        self.pieces.append(len(piece))
        return piece


class PatientDisk(Disk):
    """Looks at names long after they have changed, without waiting for it; knows the names of what was opened."""

    most, after_ns = 100, 10 * 10**9

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        self.opened.append(Path(path).name)
        return super().open(path, flags, mode, within)

    def names_stat(self, directory: Path) -> FileStat:
        found = super().names_stat(directory)
        return attrs.evolve(found, made_ns=found.changed_ns + self.after_ns)

    def most_open(self) -> int:
        return self.most


class BreakingDisk(Disk):
    """A disk on which a number of calls succeed; of the next write half gets through, and nothing after that."""

    def __init__(self, calls: int, failure: Callable[[], BaseException]) -> None:
        self.left = calls
        self._failure = failure

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        if self.left == 0:
            super().write(file, data[: len(data) // 2], at)
        self._spend()
        super().write(file, data, at)

    def sync(self, file: int) -> None:
        self._spend()
        super().sync(file)

    def rename(self, source: Path, target: Path) -> None:
        self._spend()
        super().rename(source, target)

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise self._failure()


class FreezingDisk(Disk):
    """A disk that freezes at a call of one kind, "write", "sync" or "rename", and stands until it is thawed."""

    def __init__(self, at: str = "") -> None:
        self.at = at
        self.frozen, self._thawed = Event(), Event()

    def thaw(self) -> None:
        self._thawed.set()

    def reach(self, call: str) -> None:
        if call == self.at:
            self.frozen.set()
            self._thawed.wait()

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        self.reach("write")
        super().write(file, data, at)

    def sync(self, file: int) -> None:
        self.reach("sync")
        super().sync(file)

    def sync_whole(self, file: int) -> bool:
        """Every file is synced by itself, and freezes there, however many there are."""
        return False

    def rename(self, source: Path, target: Path) -> None:
        self.reach("rename")
        super().rename(source, target)


class LateDeafDisk(Disk):
    """A sync fails, and the next one says nothing of what that has lost."""

    def __init__(self) -> None:
        self.fails = False
        self.again: list[tuple[int | None, bytes]] = []

    def sync(self, file: int) -> None:
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(file)

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        super().write(file, data, at)
        if self.fails:
            self.again.append((at, bytes(data)))
