"""The whole lines of a candle file that a collector may be writing at this moment.

An opened file is looked at as it was then: later rows and a torn last line are left out, and a file that is renamed
over it is another file. Reading is by position: a mapped file that is cut shorter would end the process.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from collector.core.errors import NotReadable
from collector.core.rows import HEADER, open_of_line
from collector.feeder.checksum import crc32
from collector.feeder.timestamps import check_times
from collector.machine.disk import NO_WAIT, Disk
from collector.machine.file_stat import FileStat

_CHUNK = 4 * 1024 * 1024  # so large that a call of polars costs little of it, and small beside what is being loaded
_TAIL = 4096
_LONGEST_ROW = 1024  # the exchange's rows have 60 to 150 bytes


@attrs.frozen
class CsvReader:
    """An open file: its first `size` bytes are the header and whole rows.

    Get it from `open_csv`.
    """

    path: Path
    stamp: FileStat
    size: int
    disk: Disk
    _file: int

    def rows(self, start: int, end: int) -> Iterator[bytes]:
        """The rows between two places where rows begin, in pieces of whole rows.

        Raises:
            NotReadable: there is a line too long to be a row.
        """
        while start < end:
            stop = end if end - start <= _CHUNK else self._row_end(start + _CHUNK)
            piece = self.disk.read(self._file, stop - start, start)
            whole = piece.rfind(b"\n") + 1
            if not whole:
                if len(piece) >= _LONGEST_ROW:
                    raise not_readable(self.path, f"there is no row at byte {start}")
                return  # somebody has cut the file shorter since it was opened
            piece = piece[:whole]
            start += whole
            yield piece
            del piece  # before the next one is read, which takes its place in memory

    def offset(self, open_ms: int) -> int:
        """Where the first row stands that opens at or after the instant; the end when there is none.

        Raises:
            NotReadable: the rows looked at are not rows.
        """
        low, high = len(HEADER), self.size
        while low < high:
            start, end, opened = self._row_around((low + high) // 2)
            if opened < open_ms:
                low = end
            else:
                high = start
        return low

    def opens_at(self, place: int) -> int:
        """When the row at this byte opens, in ms.

        Raises:
            NotReadable: there is no row.
        """
        return self._row_around(place)[2]

    def last_rows(self, start_ms: int, end_ms: int) -> bytes | None:
        """The rows that open in a span with one read, if they are among the last few; None if they may be more.

        Raises:
            NotReadable: the rows looked at are not rows.
        """
        start = max(len(HEADER), self.size - _TAIL)
        text = self.disk.read(self._file, self.size - start, start)
        place = stop = len(text)
        while place:
            before = text.rfind(b"\n", 0, place - 1) + 1
            if not before and start > len(HEADER):  # it may be a part of a row
                return None
            try:
                opened = open_of_line(text[before:place])
            except ValueError:
                raise not_readable(self.path, "its last lines are not rows") from None
            if opened < start_ms:
                break
            place = before
            if opened >= end_ms:
                stop = place
        return text[place:stop]

    def checksum(self, size: int) -> int:
        """The CRC-32 of so many bytes from the beginning."""
        crc = 0
        for start in range(0, size, _CHUNK):
            crc = crc32(self.disk.read(self._file, min(_CHUNK, size - start), start), crc)
        return crc

    def _row_end(self, place: int) -> int:
        """Where a row ends shortly before the place, or the place: what is read then has no part to cut off."""
        start = place - _LONGEST_ROW
        newline = self.disk.read(self._file, _LONGEST_ROW, start).rfind(b"\n")
        return place if newline < 0 else start + newline + 1

    def _row_around(self, place: int) -> tuple[int, int, int]:
        """Where the row that holds this byte begins and ends, and when it opens."""
        before = max(0, place - _LONGEST_ROW)
        text = self.disk.read(self._file, 2 * _LONGEST_ROW, before)
        start, end = text.rfind(b"\n", 0, place - before) + 1, text.find(b"\n", place - before) + 1
        try:
            opened = open_of_line(text[start:end])
        except ValueError:
            raise not_readable(self.path, f"there is no row at byte {place}") from None
        try:
            check_times(opened)
        except ValueError as error:
            raise not_readable(self.path, str(error)) from None
        return before + start, before + end, opened


@contextmanager
def open_csv(disk: Disk, path: Path) -> Iterator[CsvReader]:
    """A file as it is now.

    Raises:
        FileNotFoundError: there is none.
        NotReadable: it is not a candle file, or the system refuses.
    """
    try:
        file = disk.open(path, os.O_RDONLY | NO_WAIT)  # a pipe would wait for somebody at its other end
        try:
            yield _lines(disk, path, file)
        finally:
            disk.close(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise refused(path, error) from error


def refused(path: Path, error: OSError) -> NotReadable:
    return not_readable(path, error.strerror or str(error))


def not_readable(path: Path, why: str) -> NotReadable:
    return NotReadable(f"{path} cannot be used: {why}")


def _lines(disk: Disk, path: Path, file: int) -> CsvReader:
    made_ns, found = disk.now_ns(), os.fstat(file)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise not_readable(path, "it is not a regular file")
    stamp = FileStat.of(found, made_ns)
    head = disk.read(file, len(HEADER), 0)
    if head != HEADER and not HEADER.startswith(head.rstrip(b"\0")):
        raise not_readable(path, "its first line is not the header of a candle file")
    return CsvReader(path, stamp, _end_of_whole(disk, file, found.st_size) if head == HEADER else 0, disk, file)


def _end_of_whole(disk: Disk, file: int, size: int) -> int:
    """Where the last whole line ends: after a crash there may be much behind it that is no text."""
    while size > len(HEADER):
        start = max(len(HEADER), size - _TAIL)
        newline = disk.read(file, size - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        size = start
    return len(HEADER)
