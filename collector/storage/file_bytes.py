"""The bytes of a file that are read where they are looked at, and never all at once.

Reading is by position: a mapped file that somebody cuts meanwhile would end the process.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from collector.machine.disk import Disk

_SEARCHED = 64 * 1024  # bytes that are searched at a time


@attrs.frozen(eq=False)
class FileBytes:
    """The bytes that a file had when it was opened.

    Raises:
        OSError: one cannot be read, or is gone.
    """

    _disk: Disk
    _file: int
    _size: int

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, end, _ = part.indices(self._size)
        pieces = list[bytes]()
        while start < end:
            piece = self._disk.read(self._file, end - start, start)
            if not piece:
                raise OSError(errno.EIO, "it was cut while it was read")
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def find(self, byte: bytes, start: int = 0, end: int | None = None) -> int:
        """The place of the first such byte in a part.

        -1 if there is none.
        """
        start, end, _ = slice(start, end).indices(self._size)
        for at in range(start, end, _SEARCHED):
            place = self[at : min(at + _SEARCHED, end)].find(byte)
            if place >= 0:
                return at + place
        return -1

    def rfind(self, byte: bytes, start: int = 0, end: int | None = None) -> int:
        """The place of the last such byte in a part.

        -1 if there is none.
        """
        start, end, _ = slice(start, end).indices(self._size)
        for behind in range(end, start, -_SEARCHED):
            at = max(start, behind - _SEARCHED)
            place = self[at:behind].rfind(byte)
            if place >= 0:
                return at + place
        return -1


@contextmanager
def open_bytes(disk: Disk, path: Path) -> Iterator[FileBytes]:
    """The bytes of a regular file.

    Raises:
        OSError: it cannot be read, or is something else: opening a pipe would wait for its other end.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    file = disk.open(path, os.O_RDONLY)
    try:
        yield FileBytes(disk, file, os.fstat(file).st_size)
    finally:
        disk.close(file)
