"""Calls that reach the disk. What they are for is the business of those who make them.

Every file that the collector opens or changes is opened and changed through these, so that a simulated disk knows what
has been synced and what a power cut may take. Looking at names (`exists`, `stat`) is left to `pathlib`. Everything
here blocks, and raises `OSError`.
"""

import os
import sqlite3
from pathlib import Path


class Disk:
    """The real one."""

    def open(self, path: Path, flags: int, mode: int = 0o644) -> int:
        """A descriptor, which no other program inherits."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def close(self, file: int) -> None:
        os.close(file)

    def read(self, file: int, size: int, at: int = 0) -> bytes:
        """So many bytes from a place on, or as many as there are."""
        return os.pread(file, size, at)

    def read_all(self, path: Path) -> bytes:
        return path.read_bytes()

    def write(self, file: int, data: bytes) -> None:
        """All of the data, where the file is written to."""
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]

    def truncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def sync(self, file: int) -> None:
        """Returns once all of a file, or every name in a directory, has reached the disk."""
        os.fsync(file)

    def rename(self, source: Path, target: Path) -> None:
        """The target gives way to the source. It outlives a power loss once the directory is synced."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Raises `FileNotFoundError` where there is none."""
        path.unlink()

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o755)

    def names(self, directory: Path) -> list[str]:
        """What is in a directory, in order."""
        return sorted(os.listdir(directory))  # noqa: PTH208 - names, by the thousand

    def database(self, path: Path) -> sqlite3.Connection:
        """An SQLite database, whose statements may run in any thread, one at a time."""
        return sqlite3.connect(path, check_same_thread=False)
