"""System calls that reach the disk.

Every file that the collector opens, changes or removes goes through these: a simulated disk so knows what is synced and
what a power cut may take. `pathlib` looks at names (`exists`, `stat`), `os` at owners and modes. Everything here blocks
and raises `OSError`.
"""

import errno
import mmap
import os
import secrets
import shutil
import sqlite3
import time
from pathlib import Path

from collector.machine.file_stat import FileStat
from collector.machine.file_systems import sync_whole
from collector.machine.open_limit import most_open

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_SHARED, LOCK_EXCLUSIVE, LOCK_NOW, UNLOCK = 1, 2, 4, 8  # as in fcntl; NOW: without waiting
# Flags of opening; a system without one needs none, or has no such thing.
NO_LINK, NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
_ALWAYS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_PIECE = 64 * 1024


def expanded(path: Path | str) -> Path:
    """A path whose `~` is a home directory; it stays as it is where nobody has that name."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of `Path` raises for a user that nobody knows


class Disk:
    """The disk of this machine."""

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        """A descriptor, closed on exec; `within` is the descriptor of the directory that the path is relative to."""
        return os.open(path, flags | _ALWAYS, mode, dir_fd=within)

    def close(self, file: int) -> None:
        os.close(file)

    def lock(self, file: int, how: int) -> None:
        """Locks as `flock` does; closing the file releases the lock.

        Raises:
            OSError: another has it; or the system has no such locks.
        """
        if fcntl:
            fcntl.flock(file, how)
        else:
            _lock_elsewhere(file, how)

    def size(self, file: int) -> int:
        """How many bytes an open file has; its position is behind them then.

        The file's whole status takes four times as long.
        """
        return os.lseek(file, 0, os.SEEK_END)

    def read(self, file: int, size: int, at: int = 0) -> bytes:
        """Up to `size` bytes from an offset on."""
        if hasattr(os, "pread"):
            return os.pread(file, size, at)
        os.lseek(file, at, os.SEEK_SET)
        return os.read(file, size)

    def read_all(self, path: Path) -> bytes:
        file = self.open(path, os.O_RDONLY)
        try:
            pieces, at = list[bytes](), 0
            while piece := self.read(file, max(os.fstat(file).st_size - at, _PIECE), at):  # some files tell no size
                pieces.append(piece)
                at += len(piece)
        finally:
            self.close(file)
        return b"".join(pieces)

    def map(self, file: int) -> mmap.mmap:
        """A read-only memory map of a file.

        Raises:
            ValueError: the file is empty.
        """
        return mmap.mmap(file, 0, access=mmap.ACCESS_READ)

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        """Writes all of the data, at the file position or at an offset."""
        while data:
            written = os.write(file, data) if at is None else os.pwrite(file, data, at)
            if written == len(data):
                return
            data, at = memoryview(data)[written:], None if at is None else at + written

    def truncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def sync(self, file: int) -> None:
        """Returns once a file's bytes, or a directory's names, are on the disk."""
        os.fsync(file)

    def sync_whole(self, file: int) -> bool:
        """Syncs everything on the file system of an open file; False where each file is to be synced by itself.

        An error is told to a file that was open when it happened.
        """
        return sync_whole(file)

    def rename(self, source: Path, target: Path) -> None:
        """Replaces the target by the source.

        Durable once the directory is synced.
        """
        source.replace(target)

    def remove(self, path: Path | str, within: int | None = None) -> None:
        """Removes a name; raises `FileNotFoundError` if it is missing."""
        os.unlink(path, dir_fd=within)

    def remove_tree(self, directory: Path) -> None:
        """Removes a directory with its content."""
        shutil.rmtree(directory)

    def remove_directory(self, directory: Path) -> None:
        """Removes an empty directory."""
        directory.rmdir()

    def make_directory(self, path: Path, mode: int = 0o755) -> None:
        path.mkdir(mode=mode)

    def writable(self, directory: Path) -> bool:
        """Whether this user may make files in a directory, and its file system takes changes."""
        return os.access(directory, os.W_OK, effective_ids=os.access in os.supports_effective_ids)

    def now_ns(self) -> int:
        """The clock that sets file times."""
        return time.time_ns()

    def names_stat(self, directory: Path) -> FileStat:
        """What tells whether a name in a directory has changed."""
        made_ns = self.now_ns()
        return FileStat.of(directory.stat(), made_ns)

    def most_open(self) -> int:
        """How many descriptors this process may have; 0 where the system does not say."""
        return most_open()

    def names(self, directory: Path | int) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(os.listdir(directory))  # noqa: PTH208 - names, by the thousand

    def spare_name(self, path: Path) -> Path:
        """A unique name beside a path, for its replacement."""
        return path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")

    def database(self, place: Path | str) -> sqlite3.Connection:
        """An SQLite database, by path or `file:` URI.

        Its statements may run in any thread, one at a time.
        """
        return sqlite3.connect(place, uri=isinstance(place, str), check_same_thread=False)


def _lock_elsewhere(file: int, how: int) -> None:
    """Locks a file where the system has no `flock`."""
    try:
        import portalocker
    except (ImportError, RuntimeError) as error:  # of a system it does not know
        raise OSError(errno.ENOLCK, "this system has no file locks; pip install portalocker") from error
    flags = portalocker.LockFlags(0)
    for ours, theirs in (
        (LOCK_EXCLUSIVE, portalocker.LockFlags.EXCLUSIVE),
        (LOCK_SHARED, portalocker.LockFlags.SHARED),
        (LOCK_NOW, portalocker.LockFlags.NON_BLOCKING),
    ):
        flags |= theirs if how & ours else portalocker.LockFlags(0)
    try:
        portalocker.lock(file, flags)
    except portalocker.LockException as error:
        raise BlockingIOError(errno.EAGAIN, "another process has locked the file") from error


THIS_DISK = Disk()
