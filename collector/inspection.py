"""What a file holds, from its bytes alone: how much of it is good, what that covers, and whether it is ours at all.

A crash leaves known traces: a header or a last line cut short, zeros where the disk never got the data. Those end where
the good part ends. Anything else that this collector would not have written makes the file somebody else's. Nothing
here changes a file.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import polars as pl

from collector.candle import Timeframe
from collector.coverage import NOTHING, Span, Spans
from collector.rows import COLUMNS, HEADER, check_lines, coverage

Bytes = bytes | mmap.mmap

_TAIL = 16 * 1024  # what is checked line by line at the end of a file
_LONGEST_SUFFIX = 1024 * 1024  # beyond this, reading the whole file's times is quicker than checking lines


class NotOurs(Exception):
    """This collector would not have written the file; the text says why."""


@attrs.frozen
class Found:
    """The first `size` bytes of a file are good and hold these candles; `why` says what is wrong with the rest.

    `remembered` is the part of it that a mark vouches for: nothing where there was no mark, or it did not fit.
    """

    size: int
    held: Spans
    why: str
    remembered: Spans = NOTHING


@attrs.frozen
class Mark:
    """What a file was known to hold when the ledger was saved: its first `size` bytes, and the coverage of their rows.

    A file that still has the same first row, and the same last row ending at `size`, has not been rewritten since.
    """

    size: int
    first_ms: int
    last_ms: int
    held: Spans


@contextmanager
def mapped(path: Path) -> Iterator[Bytes]:
    """The bytes of a file without reading them all; empty for one that does not exist or is empty."""
    if not path.exists() or not path.stat().st_size:
        yield b""
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def inspect(frame: Timeframe, data: Bytes, mark: Mark | None) -> Found:
    """Reads a file; with a mark that still fits, only what came after it.

    Raises:
        NotOurs: the file has to be set aside.
    """
    if data[: len(HEADER)] != HEADER:
        if not HEADER.startswith(bytes(data[: len(HEADER)]).rstrip(b"\0")):
            raise NotOurs("its first line is not our header")
        return Found(0, NOTHING, "its header was not written whole")
    fits = mark is not None and _fits(data, mark)
    if mark and fits and len(data) - mark.size <= _LONGEST_SUFFIX:
        opens, size, why = _checked(frame, data, mark.size, mark.last_ms)
        return Found(size, mark.held | coverage(frame, opens), why, mark.held)
    _, size, why = _checked(frame, data, _start_of_tail(data), -1)
    return Found(size, _scan(frame, bytes(data[:size])), why, mark.held if mark and fits else NOTHING)


def _checked(frame: Timeframe, data: Bytes, start: int, after_ms: int) -> tuple[list[int], int, str]:
    """Goes through the rows from `start` one by one: their times, where the good ones end, and what comes then."""
    opens, good, why = check_lines(frame, bytes(data[start:]).rstrip(b"\0"), after_ms)
    size = start + good
    if not _is_crash(bytes(data[size:])):
        raise NotOurs(f"{why} in the row at byte {size}")
    return opens, size, why or "zeros where rows should be"


def _is_crash(rest: bytes) -> bool:
    """Whether bad bytes at the end of a file are what a crash leaves: one line cut short, or zeros in place of data."""
    return b"\0" in rest or b"\n" not in rest


def _fits(data: Bytes, mark: Mark) -> bool:
    """Whether the first row, and the row that ends where the mark does, are those the mark remembers."""
    if not len(HEADER) < mark.size <= len(data) or data[mark.size - 1 : mark.size] != b"\n":
        return False
    last = data.rfind(b"\n", 0, mark.size - 1) + 1
    starts = ((len(HEADER), mark.first_ms), (last, mark.last_ms))
    return all(data[at : at + 16].startswith(b"%d," % open_ms) for at, open_ms in starts)


def _start_of_tail(data: Bytes) -> int:
    """Where the lines to be looked at one by one begin: well before the last byte that is not zero."""
    end = len(data)
    while end > len(HEADER) and not data[max(0, end - _TAIL) : end].strip(b"\0"):
        end -= _TAIL
    return max(len(HEADER), data.rfind(b"\n", 0, max(len(HEADER), end - _TAIL)) + 1)


def _scan(frame: Timeframe, text: bytes) -> Spans:
    """What the rows of a whole file cover, from their times alone."""
    if len(text) == len(HEADER):
        return NOTHING
    if b"\0" in text:
        raise NotOurs("zeros in the middle")
    try:
        schema = dict.fromkeys(COLUMNS, pl.String) | {"timestamp": pl.Int64}
        frame_of = pl.read_csv(text, columns=["timestamp", "turnover"], schema=schema)
    except pl.exceptions.PolarsError as error:
        raise NotOurs(str(error).splitlines()[0]) from error
    times = frame_of["timestamp"]
    if len(times) != text.count(b"\n") - 1 or times.null_count() or frame_of["turnover"].null_count():
        raise NotOurs("a row that is not whole")
    if not (times.diff().drop_nulls() > 0).all():
        raise NotOurs("its timestamps do not increase")
    return _covered(frame, times)


def _covered(frame: Timeframe, times: pl.Series) -> Spans:
    step = frame.step_ms
    on_grid = all(map(frame.is_open, times)) if step is None else ((times - frame.floor(0)) % step == 0).all()
    if not on_grid:
        raise NotOurs(f"a timestamp off the grid of timeframe {frame}")
    return covered_by(frame, times)


def covered_by(frame: Timeframe, times: pl.Series) -> Spans:
    """The same as `rows.coverage`, for a column of times that may be long."""
    step = frame.step_ms
    if step is None:
        return coverage(frame, times.to_list())
    if len(times) and times[-1] - times[0] == (len(times) - 1) * step:
        return Spans.between(times[0], times[-1] + step)
    breaks = (times.diff() != step).fill_null(value=True)
    starts = times.filter(breaks)
    ends = times.filter(breaks.shift(-1, fill_value=True)) + step
    return Spans(tuple(Span(start, end) for start, end in zip(starts, ends, strict=True)))
