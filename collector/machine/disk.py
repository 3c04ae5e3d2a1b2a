"""Calls that reach the disk. What they are for is the business of those who make them.

Every file that the collector opens, changes or removes goes through these, so that a simulated disk knows what has been
synced and what a power cut may take. Looking at names (`exists`, `stat`) is left to `pathlib`, and owners and modes to
`os`. Everything here blocks, and raises `OSError`.
"""

import fcntl
import mmap
import os
import secrets
import shutil
import sqlite3
import time
from pathlib import Path

_PIECE = 64 * 1024


class Disk:
    """The real one."""

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        """A descriptor, which no other program inherits; `within` is that of the directory where the path begins."""
        return os.open(path, flags | os.O_CLOEXEC, mode, dir_fd=within)

    def close(self, file: int) -> None:
        os.close(file)

    def lock(self, file: int, how: int) -> None:
        """As `flock`: the lock is given back when the file is closed."""
        fcntl.flock(file, how)

    def read(self, file: int, size: int, at: int = 0) -> bytes:
        """So many bytes from a place on, or as many as there are."""
        return os.pread(file, size, at)

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
        """All bytes of a file, which are read when they are looked at.

        Raises:
            ValueError: it is empty.
        """
        return mmap.mmap(file, 0, access=mmap.ACCESS_READ)

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        """All of the data: where the file is written to, or at a place."""
        view = memoryview(data)
        while view:
            written = os.write(file, view) if at is None else os.pwrite(file, view, at)
            view, at = view[written:], None if at is None else at + written

    def truncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def sync(self, file: int) -> None:
        """Returns once all of a file, or every name in a directory, has reached the disk."""
        os.fsync(file)

    def rename(self, source: Path, target: Path) -> None:
        """The target gives way to the source. It outlives a power loss once the directory is synced."""
        source.replace(target)

    def remove(self, path: Path | str, within: int | None = None) -> None:
        """Raises `FileNotFoundError` where there is none."""
        os.unlink(path, dir_fd=within)

    def remove_tree(self, directory: Path) -> None:
        """Removes a directory and all that is in it."""
        shutil.rmtree(directory)

    def make_directory(self, path: Path, mode: int = 0o755) -> None:
        path.mkdir(mode=mode)

    def now_ns(self) -> int:
        """The clock by which the times of files are set."""
        return time.time_ns()

    def names(self, directory: Path | int) -> list[str]:
        """What is in a directory, in order."""
        return sorted(os.listdir(directory))  # noqa: PTH208 - names, by the thousand

    def spare_name(self, path: Path) -> Path:
        """A name beside a path, for what is going to take its place; no other process has the same."""
        return path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")

    def database(self, place: Path | str) -> sqlite3.Connection:
        """An SQLite database, by its path or by a `file:` address with options. Its statements may run in any thread,
        one at a time."""
        return sqlite3.connect(place, uri=isinstance(place, str), check_same_thread=False)


THIS_DISK = Disk()
