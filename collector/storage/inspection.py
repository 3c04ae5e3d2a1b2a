"""What the writer and the readers of a file share: its bytes, and what came after its checkpoint.

A crash leaves known traces at the end: a line cut short, zeros where the disk never got the data. Those end where the
good part ends. Everything here only reads.
"""

import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import polars as pl

from collector.core.candle import Timeframe
from collector.core.errors import SkipFile
from collector.core.rows import HEADER, check_lines, covered_spans
from collector.core.spans import Span, Spans
from collector.machine.disk import Disk
from collector.machine.own_files import reason
from collector.storage.file_bytes import FileBytes
from collector.storage.files import NOT_OURS
from collector.storage.ordering import slices

Mapped = bytes | mmap.mmap
Bytes = Mapped | FileBytes
Stamp = tuple[int, int, int]  # inode, size, and when it changed last, in nanoseconds


@attrs.frozen
class Checkpoint:
    """What a file was known to hold when the ledger was saved: its first `size` bytes, and the coverage of their rows.

    A file that still has the same first row, and the same last row ending at `size`, has not been rewritten since. One
    that has no more bytes has not been written to at all if `changed_ns`, when its bytes changed last, is the same; 0
    is for not known.
    """

    size: int
    first_ms: int
    last_ms: int
    held: Spans
    changed_ns: int = 0


def file_exists(path: Path) -> bool:
    """Whether there is a candle file to read; False where one can be made.

    Raises:
        SkipFile: what is there is no file, points to where none can be, or may not be seen.
    """
    with skip_refused(path):
        return _file_exists(path)


def _file_exists(path: Path) -> bool:
    if path.is_file():
        return True
    if path.exists():  # a pipe would make us wait for ever
        raise SkipFile(f"{path} is no file, and nothing can be stored there; move it away")
    target = Path(os.path.realpath(path))
    if path.is_symlink() and not target.parent.is_dir():
        raise SkipFile(f"{path} points to {target}, and there is no such directory; mount its disk, or make it")
    if target.is_symlink():
        raise SkipFile(f"{path} points to itself; move it away")
    return False


@contextmanager
def mmap_file(disk: Disk, path: Path) -> Iterator[Mapped]:
    """The bytes of a file, memory-mapped.

    Empty for one that is absent or empty.

    Raises:
        SkipFile: it may not be read.
    """
    with ExitStack() as stack:
        with skip_refused(path):
            data = _mapped(disk, path, stack)
        yield data


def _mapped(disk: Disk, path: Path, stack: ExitStack) -> Mapped:
    if not path.exists() or not path.stat().st_size:
        return b""
    file = disk.open(path, os.O_RDONLY)
    stack.callback(disk.close, file)
    try:
        return stack.enter_context(disk.map(file))
    except ValueError:  # it was emptied since
        return b""


@contextmanager
def skip_refused(path: Path) -> Iterator[None]:
    """Raises the system's refusal of a file to this user as `SkipFile`: the other files are not affected."""
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_OURS:
            raise
        raise SkipFile(f"{path} may not be read ({reason(path, error)}); let this user read and write it") from error


def release(data: Bytes, start: int, end: int) -> None:
    """Lets the memory go that a part of a mapped file takes; it is read again where it is looked at again."""
    if isinstance(data, mmap.mmap):
        first = start // mmap.PAGESIZE * mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, first, end - first)


def stamp_of(path: Path) -> Stamp | None:
    """What changes whenever the bytes of a file do.

    None of an absent one.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def changed_ns(path: Path) -> int:
    """The modification time of a file; 0 if absent."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def valid_checkpoint(path: Path, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """The checkpoint of a file, unless somebody has written over what the file held when it was made."""
    if checkpoint is None:
        return None
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return checkpoint if status.st_size != checkpoint.size or checkpoint.changed_ns in (0, status.st_mtime_ns) else None


def read_from_checkpoint(timeframe: Timeframe, data: Bytes, checkpoint: Checkpoint) -> tuple[int, Spans, str] | None:
    """What came after a checkpoint: up to which byte the file is good, what it holds, and what is wrong with the rest.

    None where the checkpoint does not fit, or where what came after it is neither sound rows nor what a crash leaves.
    """
    if data[: len(HEADER)] != HEADER or not _fits(data, checkpoint):
        return None
    rest = bytes(data[checkpoint.size :])
    opens, good, why = check_lines(timeframe, rest.rstrip(b"\0"), checkpoint.last_ms)
    if b"\n" in rest[good:]:
        return None
    held = checkpoint.held | covered_spans(timeframe, opens)
    return checkpoint.size + good, held, why or ("zeros where rows should be" if good < len(rest) else "")


def _fits(data: Bytes, checkpoint: Checkpoint) -> bool:
    """Whether the first row, and the row that ends where the checkpoint does, are those it remembers."""
    if not len(HEADER) < checkpoint.size <= len(data) or data[checkpoint.size - 1 : checkpoint.size] != b"\n":
        return False
    last = data.rfind(b"\n", 0, checkpoint.size - 1) + 1
    starts = ((len(HEADER), checkpoint.first_ms), (last, checkpoint.last_ms))
    return all(data[at : at + 16].startswith(b"%d," % open_ms) for at, open_ms in starts)


def covered_by_times(timeframe: Timeframe, times: pl.Series) -> Spans:
    """The same as `rows.covered_spans`, for a column of times that may be long."""
    return covered_by_parts(timeframe, slices(times))


def covered_by_parts(timeframe: Timeframe, parts: Iterable[pl.Series]) -> Spans:
    """The same for times that come in parts."""
    return Spans.of(*(span for some in parts for span in _covered(timeframe, some)))


def _covered(timeframe: Timeframe, times: pl.Series) -> Spans:
    step = timeframe.step_ms
    if step is None:
        return covered_spans(timeframe, times.to_list())
    if len(times) and times[-1] - times[0] == (len(times) - 1) * step:
        return Spans.between(times[0], times[-1] + step)
    breaks = (times.diff() != step).fill_null(value=True)
    starts = times.filter(breaks)
    ends = times.filter(breaks.shift(-1, fill_value=True)) + step
    return Spans(tuple(Span(start, end) for start, end in zip(starts, ends, strict=True)))
