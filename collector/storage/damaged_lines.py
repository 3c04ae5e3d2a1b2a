"""The lines of a file in which something is wrong: which is the first bad one, and the text without what is wrong.

Kept is the open time of each line, a number. The lines themselves are read again where they are wanted.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator

import attrs
import polars as pl

from collector.core.candle import Timeframe
from collector.core.merging import same_numbers
from collector.core.rows import HEADER
from collector.storage.inspection import Bytes, release
from collector.storage.line_blocks import BOM, clean_text, line_blocks, located_lines, released_blocks
from collector.storage.ordering import is_increasing

_NUMBER = re.compile(rb"[0-9]+")
_NUMBERS = 5  # of the least row that somebody else may keep: a time and four prices
_LOST = bytes(4)  # where a power loss took text: no encoding has so many zeros in a row
_PIECE = 8192  # rows of a piece of text


@attrs.frozen
class Lines:
    """The lines of a file behind its header, blank ones left out.

    `opens` has the open time of each that is a sound row by itself, and null for others, of which `foreign` look like
    rows of another kind.
    """

    opens: pl.Series
    foreign: int
    _data: Bytes
    _blocks: list[tuple[int, int]]  # where each block begins and ends in the file,
    _firsts: list[int]  # and the number of its first line

    def first_bad(self) -> int | None:
        """The number of the first line that is no sound row, or that contradicts one before it."""
        unsound = self.opens.is_null()
        first = unsound.arg_max() if unsound.any() else None
        before = self.opens if first is None else self.opens.head(first)
        contradictory = None if is_increasing(before) else self._first_contradictory(_repeated(before))
        return first if contradictory is None else contradictory

    def line(self, number: int) -> tuple[int, bytes]:
        """Where a line begins, and what it says."""
        block = bisect_right(self._firsts, number) - 1
        return self._located(block)[number - self._firsts[block]]

    def repairs(self, stay: int, size: int) -> str:
        """What is wrong, in words, with so many lines at the beginning of a file, which take so many bytes."""
        opens, ends, windows = self.opens.head(stay), 0, False
        for start, end in released_blocks(self._data, 0, size):
            block = self._data[start:end]
            ends, windows = ends + block.count(b"\n"), windows or b"\r\n" in block
        found = {
            "a byte order mark": self._data[: len(BOM)] == BOM,
            "Windows line ends": windows,
            "rows out of order": not opens.is_sorted(),
            "rows that are there twice": len(in_order(opens)) < stay,
        }
        blank = "lines that are no rows" if ends > stay + 1 else ""
        return " and ".join(what for what, is_so in found.items() if is_so) or blank

    def text(self, stay: int, size: int) -> Iterable[bytes]:
        """These lines in order, each row once, as the text of a file."""
        return _Text(self._data, size, self.opens.head(stay))

    def _first_contradictory(self, twice: pl.Series) -> int | None:
        """The first of these lines that contradicts an earlier one of the same time."""
        seen: dict[int, bytes] = {}
        for block, first in enumerate(self._firsts):
            places = twice.slice(first, self._count(block)).arg_true()
            lines = self._located(block) if len(places) else []
            for place in places:
                _, line = lines[place]
                if not same_numbers(seen.setdefault(self.opens[first + place], line), line):
                    return first + int(place)
        return None

    def _located(self, block: int) -> list[tuple[int, bytes]]:
        return list(located_lines(self._data, *self._blocks[block]))

    def _count(self, block: int) -> int:
        behind = self._firsts[block + 1] if block + 1 < len(self._firsts) else len(self.opens)
        return behind - self._firsts[block]


def read_lines(timeframe: Timeframe, data: Bytes, end: int) -> Lines:
    """Reads the lines up to a place where one ends."""
    opens, foreign, blocks, firsts, count = [pl.Series(dtype=pl.Int64)], 0, [], [], 0
    for block in line_blocks(timeframe, data, end):
        if block.opens.null_count():
            lines = block.lines
            foreign += sum(looks_like_a_row(lines[at]) for at in block.opens.is_null().arg_true())
        opens.append(block.opens)
        blocks.append((block.start, block.end))
        firsts.append(count)
        count += len(block.opens)
    return Lines(pl.concat(opens), foreign, data, blocks, firsts)


def in_order(opens: pl.Series) -> pl.Series:
    """The times in order, each once."""
    if is_increasing(opens):
        return opens
    ordered = opens.sort()
    return ordered.filter(pl.concat([pl.Series([True]), ordered.slice(1) != ordered.head(-1)]))


def _repeated(opens: pl.Series) -> pl.Series:
    """Which of the times are there more than once."""
    ordered = opens.sort()
    return opens.is_in(ordered.slice(1).filter(ordered.slice(1) == ordered.head(-1)).unique().implode())


def looks_like_a_row(line: bytes) -> bool:
    """Whether a line looks like a row that somebody else keeps: text, with at least as many numbers as the row of a
    candle has. Bytes that a disk has spoiled do not."""
    text = line.replace(b"\0", b"")  # as UTF-16 has them
    printable = _LOST not in line and text.decode("utf-8", "replace").replace("\t", " ").isprintable()
    return printable and len(_NUMBER.findall(text)) >= _NUMBERS


@attrs.frozen
class _Text:
    """Rows in order of time, behind a header.

    Of several with one time, the last.
    """

    _data: Bytes
    _size: int
    _opens: pl.Series

    def __iter__(self) -> Iterator[bytes]:
        yield HEADER
        yield from self._as_they_stand() if is_increasing(self._opens) else self._sorted()

    def _as_they_stand(self) -> Iterator[bytes]:
        for start, end in released_blocks(self._data, 0, self._size):
            yield clean_text(self._data, start, end)

    def _sorted(self) -> Iterator[bytes]:
        starts = array("q")
        for block in released_blocks(self._data, 0, self._size):
            starts.extend(start for start, _ in located_lines(self._data, *block))
        stay = self._is_last()
        places = stay.arg_true().gather(self._opens.filter(stay).arg_sort())
        for at in range(0, len(places), _PIECE):
            yield b"".join(self._line(starts[place]) for place in places.slice(at, _PIECE))
            release(self._data, 0, self._size)

    def _is_last(self) -> pl.Series:
        """Whether each row is the last one of its time."""
        repeated = _repeated(self._opens).arg_true()
        rows = pl.DataFrame({"place": repeated, "open": self._opens.gather(repeated)})
        earlier = repeated.filter(~rows.select(pl.col("place") == pl.col("place").max().over("open")).to_series())
        return pl.repeat(True, len(self._opens), eager=True).scatter(earlier, False)

    def _line(self, start: int) -> bytes:
        return self._data[start : self._data.find(b"\n", start)].rstrip(b"\r") + b"\n"
