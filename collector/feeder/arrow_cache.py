"""The Arrow copy of a candle file: what makes the next loading of it quick.

A copy is a stream of rows, a note that says which bytes of the file they were read from, and a checksum of both. It is
read into memory whole, and counts if its checksum is right and its note is true of the file as it is now, so that an
answer is the same with it as without. Anything else in its place is replaced, also what a power cut has left: the
checksum tells, so that nobody waits for the disk. Copies are written beside their place and renamed; they may be
deleted at any time, and are optional on a read-only disk.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs
import msgspec

from collector.feeder.arrow_ipc import NotArrow
from collector.feeder.checksum import crc32
from collector.feeder.columns import Columns, as_one, parse_stream
from collector.feeder.csv_tail import CsvReader
from collector.machine.disk import LOCK_EXCLUSIVE, LOCK_NOW, Disk
from collector.machine.file_stat import FileStat
from collector.machine.own_files import make_directory, open_own, remove_if_there

_DIRECTORY = Path(".collector", "arrow")
_SUM = 4  # bytes of the checksum
_RENAMES_CLOSED = os.name == "nt"  # it renames nothing that is open
_SMALLEST = 64 * 1024  # bytes that a copy may have, and it may have twice those of its file: numbers take less


@attrs.frozen
class CachedPrefix:
    """The first bytes of a file that a copy holds: their number, their checksum, and the file's stat then."""

    stamp: FileStat
    size: int
    checksum: int


@attrs.frozen(eq=False)
class CachedRows:
    """The rows in a copy, and which bytes of the file they were read from."""

    blocks: tuple[Columns, ...]
    extent: CachedPrefix


def read_cache(lines: CsvReader) -> CachedRows | None:
    """The copy of a file if it is whole; whether it is still true is up to the caller."""
    try:
        content = _content(lines.disk, _place(lines.path), _SMALLEST + 2 * lines.stamp.size)
        if crc32(memoryview(content)[:-_SUM]) != int.from_bytes(content[-_SUM:]):
            return None
        blocks, note = parse_stream(content)
        return CachedRows(blocks, msgspec.json.decode(note[:-_SUM], type=CachedPrefix))
    except (OSError, NotArrow, msgspec.DecodeError):
        return None


def write_cache(disk: Disk, path: Path, streams: Iterable[bytes], extent: Callable[[], CachedPrefix]) -> None:
    """Writes streams of rows as the copy of a file, and which bytes of the file they are.

    Args:
        extent: asked when all streams are written.

    Raises:
        OSError: it could not be written; what was there is still there.
    """
    place = _place(path)
    make_directory(disk, place.parent)
    _clear(disk, place)
    new = disk.spare_name(place)
    try:
        file = open_own(disk, new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            disk.lock(file, LOCK_EXCLUSIVE | LOCK_NOW)
            checksum = 0
            for piece in _content_of(streams, extent):
                checksum = crc32(piece, checksum)
                disk.write(file, piece)
            disk.write(file, checksum.to_bytes(_SUM))
            if not _RENAMES_CLOSED:
                disk.rename(new, place)
        finally:
            disk.close(file)
        if _RENAMES_CLOSED:
            disk.rename(new, place)
    except BaseException:
        with suppress(OSError):
            remove_if_there(disk, new)
        raise


def _content_of(streams: Iterable[bytes], extent: Callable[[], CachedPrefix]) -> Iterator[memoryview | bytes]:
    yield from as_one(streams)
    yield msgspec.json.encode(extent())


def _clear(disk: Disk, place: Path) -> None:
    """Removes what writers that were killed have left; one that is at work holds a lock on what is its own."""
    for name in disk.names(place.parent):
        if name.startswith(f"{place.name}.") and name.endswith(".new"):
            with suppress(OSError):
                _remove_unless_locked(disk, place.with_name(name))


def _remove_unless_locked(disk: Disk, path: Path) -> None:
    file = open_own(disk, path, os.O_RDONLY)
    try:
        disk.lock(file, LOCK_EXCLUSIVE | LOCK_NOW)
        disk.remove(path)
    finally:
        disk.close(file)


def _place(path: Path) -> Path:
    return path.parent / _DIRECTORY / f"{path.stem}.arrow"


def _content(disk: Disk, place: Path, most: int) -> bytes:
    """All bytes of a file of at most `most` bytes."""
    file = open_own(disk, place, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        if size > most:
            raise OSError(f"{place} is too large for a copy")
        return disk.read(file, size)
    finally:
        disk.close(file)
