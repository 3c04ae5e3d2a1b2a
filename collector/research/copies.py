"""The Arrow copy of a candle file: what makes the next loading of it quick.

A copy says which bytes of the file it has in a note at its own end, so there is one file to write and nothing that can
disagree with it. It is written beside its place, synced and renamed, so it is whole or not there, however many write it
at once. A copy that was touched by anybody else counts for nothing. It may be deleted at any time; where none can be
written everything works without.
"""

import fcntl
import mmap
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import attrs
import msgspec

from collector.research.arrow import Buffer, NotArrow
from collector.research.columns import Columns, columns_of
from collector.research.lines import Stamp

_DIRECTORY = Path(".collector", "arrow")
_WORTH_MAPPING = 1024 * 1024  # bytes; a map costs an open file, and a process has only so many


@attrs.frozen
class Extent:
    """Which bytes of a file are meant: how many from its beginning, their checksum, and the file's stamp then."""

    stamp: Stamp
    size: int
    checksum: int


@attrs.frozen(eq=False)
class Copy:
    """The rows in a copy, and which bytes of the file they were read from."""

    blocks: tuple[Columns, ...]
    extent: Extent


def read_copy(path: Path, *, may_map: bool) -> Copy | None:
    """The copy of a file, or None if there is no good one. Whether it is still true is not looked at."""
    try:
        with _place(path).open("rb") as file:
            blocks, note = columns_of(_buffer(file, may_map=may_map))
            extent = msgspec.json.decode(note, type=Extent)
            # The copy got the file's time when it was written: whoever changed it since has changed its time.
            untouched = os.fstat(file.fileno()).st_mtime_ns == extent.stamp.modified_ns
            return Copy(blocks, extent) if untouched else None
    except (OSError, NotArrow, msgspec.DecodeError):
        return None


def write_copy(path: Path, pieces: Iterable[bytes | memoryview], extent: Callable[[], Extent]) -> None:
    """Writes a stream of rows as the copy of a file; which bytes it has is asked for when it is written.

    Raises:
        OSError: it could not be written; what was there is still there.
    """
    place = _place(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    _clear(place)
    new = place.with_name(f"{place.name}.{uuid4().hex}.new")
    try:
        with new.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.writelines(pieces)
            file.write(msgspec.json.encode(extent()))
            file.flush()
            os.fsync(file.fileno())
            time_ns = extent().stamp.modified_ns
            os.utime(new, ns=(time_ns, time_ns))
            new.replace(place)
    except BaseException:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def _clear(place: Path) -> None:
    """Removes what writers that were killed have left; one that is at work holds a lock on what is its own."""
    for left in place.parent.glob(f"{place.name}.*.new"):
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def _place(path: Path) -> Path:
    return path.parent / _DIRECTORY / f"{path.stem}.arrow"


def _buffer(file: BinaryIO, *, may_map: bool) -> Buffer:
    if may_map and os.fstat(file.fileno()).st_size >= _WORTH_MAPPING:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return file.read()
