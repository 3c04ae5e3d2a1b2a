"""The numbers of a candle file in memory, brought up to date at the least cost.

    unchanged stat                      the snapshot in memory, or the Arrow copy, is used as it is
    the bytes read before are the same  only the rows behind them are read (their checksum decides)
    anything else                       the whole file is read

So any change by anybody is noticed. Small files are parsed each time; larger ones get a copy, which is written anew
when the rows behind it have become a sixteenth of it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs
import polars as pl

from collector.core.rows import HEADER
from collector.feeder.arrow_cache import CachedPrefix, CachedRows, read_cache, write_cache
from collector.feeder.checksum import crc32
from collector.feeder.columns import Columns, between, parse_rows, parse_stream, to_dataframe, to_streams
from collector.feeder.csv_tail import CsvReader, not_readable, open_csv, refused
from collector.machine.disk import Disk

_WORTH_COPYING = 16 * 1024  # bytes of text; less is read as quickly as a copy is opened
_FEW_BYTES = 64 * 1024  # of text are read again each time, rather than writing a new copy of everything
_FEW = 1 / 16  # and so is this share of what the copy has
_MANY = 1 / 4  # of a file: reading that much text takes longer than reading and checking its whole copy


@attrs.frozen(eq=False)
class FileSnapshot:
    """The rows of one file, or of a part of it.

    No block is empty, and each is later than the one before.

    Of a whole file, they are those that were copied or read at once, up to `base`, and those that were added since.
    """

    blocks: tuple[Columns, ...]
    base: CachedRows | None = None
    extent: CachedPrefix | None = None  # None: a part of the file

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    @property
    def bytes(self) -> int:
        return sum(block.bytes for block in self.blocks)


def read_snapshot(disk: Disk, path: Path, known: FileSnapshot | None) -> FileSnapshot:
    """All rows of a file as it is now, read from `known` or its copy as far as these are true.

    Raises:
        FileNotFoundError: there is no such file.
        NotReadable: it is not a candle file.
    """
    with open_csv(disk, path) as lines:
        for old in _snapshots(lines, known):
            if old.extent and old.extent.stamp.proves(lines.stamp):
                return old
            if old.extent and _still_true(lines, old.extent):
                return _continued(lines, old)
        return _read_whole(lines, FileSnapshot(()))


def read_span(disk: Disk, path: Path, start_ms: int, end_ms: int) -> FileSnapshot:
    """The rows that open in [start, end): from the file, or if they are many, from a copy of it as it is now.

    Raises:
        FileNotFoundError, NotReadable: as `mirror` does.
    """
    with open_csv(disk, path) as lines:
        start, end = lines.offset(start_ms), lines.offset(end_ms)
        if end - start > lines.size * _MANY:
            copy = read_cache(lines)
            if copy and copy.extent.stamp.proves(lines.stamp):
                return FileSnapshot(
                    blocks_of([to_dataframe(between(copy.blocks, start_ms, end_ms))])
                )  # in memory of their own
        return FileSnapshot(blocks_of(_Reading(lines, start, end)))


def _snapshots(lines: CsvReader, known: FileSnapshot | None) -> Iterator[FileSnapshot]:
    """What may save reading: first the snapshot in memory, then the copy."""
    if known:
        yield known
    copy = read_cache(lines)
    if copy:
        yield FileSnapshot(copy.blocks, copy, copy.extent)


def _still_true(lines: CsvReader, extent: CachedPrefix) -> bool:
    return extent.size <= lines.size and lines.checksum(extent.size) == extent.checksum


def _continued(lines: CsvReader, old: FileSnapshot) -> FileSnapshot:
    """An older snapshot with the rows behind it: few stay blocks of their own, many lead to a new copy."""
    assert old.extent
    if old.base is None or lines.size - old.base.extent.size > max(_FEW_BYTES, old.base.extent.size * _FEW):
        return _read_whole(lines, old)
    recent = old.blocks[len(old.base.blocks) :]
    reading = _Reading(lines, old.extent.size, lines.size, old)
    blocks = blocks_of([to_dataframe(recent), *reading])
    return FileSnapshot(old.base.blocks + blocks, old.base, reading.extent)


def _read_whole(lines: CsvReader, old: FileSnapshot) -> FileSnapshot:
    """The old snapshot and the rows behind it as one, copied where that is worth it and possible."""
    start = old.extent.size if old.extent else len(HEADER)
    reading = _Reading(lines, start, lines.size, old)
    made: list[bytes] = []
    streams = _noted(to_streams(_chained(old, reading)), made)
    if lines.size >= _WORTH_COPYING:
        with suppress(OSError):  # of the copy alone: what is being read meanwhile raises no such error
            write_cache(lines.disk, lines.path, streams, lambda: reading.extent)
    deque(streams, maxlen=0)  # those that the copy has not taken
    base = CachedRows(_parsed(made), reading.extent)
    return FileSnapshot(base.blocks, base, base.extent)


class _Reading:
    """The numbers in a part of a file, on their way, and afterwards the extent of what is read by then."""

    def __init__(self, lines: CsvReader, start: int, end: int, old: FileSnapshot | None = None) -> None:
        self._lines, self._start, self._end = lines, start, end
        self._after_ms = old.blocks[-1].times[-1] if old and old.blocks else -1
        self._checksum = old.extent.checksum if old and old.extent else crc32(HEADER)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        try:
            for numbers in parse_rows(self._pieces()):
                if numbers["timestamp"][0] <= self._after_ms:
                    raise ValueError("its timestamps do not increase")
                yield numbers
        except ValueError as error:
            raise not_readable(self._lines.path, str(error)) from error
        except OSError as error:
            raise refused(self._lines.path, error) from error

    def _pieces(self) -> Iterator[bytes]:
        for piece in self._lines.rows(self._start, self._end):
            self._start += len(piece)
            self._checksum = crc32(piece, self._checksum)
            yield piece
            del piece  # as where it was read

    @property
    def extent(self) -> CachedPrefix:
        return CachedPrefix(self._lines.stamp, self._start, self._checksum)


def _chained(old: FileSnapshot, reading: _Reading) -> Iterator[pl.DataFrame]:
    yield from (to_dataframe([block]) for block in old.blocks)
    yield from reading


def _noted(streams: Iterable[bytes], made: list[bytes]) -> Iterator[bytes]:
    """The same streams, each of which is remembered."""
    for stream in streams:
        made.append(stream)
        yield stream


def blocks_of(frames: Iterable[pl.DataFrame]) -> tuple[Columns, ...]:
    """The rows in memory."""
    return _parsed(to_streams(frames))


def _parsed(streams: Iterable[bytes]) -> tuple[Columns, ...]:
    return tuple(block for stream in streams for block in parse_stream(stream)[0])
