"""The lines of any bytes, block by block, with the open times of those that are sound rows.

A block is a small part of a file, so that one of any length is gone through in little memory.
"""

import re
from collections.abc import Iterator

import attrs
import polars as pl

from collector.core.candle import Timeframe
from collector.core.rows import HEADER, LATEST_MS
from collector.storage.fast_check import Text, blocks, open_times, validate_each
from collector.storage.inspection import Bytes, release

BLOCK = 2 * 1024 * 1024  # bytes: so many that a call of polars costs little of it
BOM = b"\xef\xbb\xbf"
_BLANK = (b"", HEADER[:-1])
_BLANK_LINE = re.compile(rb"\n\n")  # a pattern finds two line ends in half the time of `in`
_AFTER_ALL = LATEST_MS + 1


@attrs.frozen
class LineBlock:
    """The lines of a block as they should be written, and their open times: null for what is no sound row by itself.

    It stands in the file from `start` to `end`.
    """

    start: int
    end: int
    text: Text
    opens: pl.Series

    @property
    def lines(self) -> list[bytes]:
        """The lines without their ends."""
        return self.text.each if len(self.opens) else []


def sound_blocks(timeframe: Timeframe, data: Bytes, end: int) -> Iterator[pl.Series | None]:
    """The open times of the rows of each block behind the header; None for a block that is less than certain."""
    texts = (Text(bytes(data[at:behind])) for at, behind in released_blocks(data, len(HEADER), end))
    return (opens for _, opens in validate_each(timeframe, texts, _AFTER_ALL))


def line_blocks(timeframe: Timeframe, data: Bytes, end: int) -> Iterator[LineBlock]:
    """All lines up to a place where one ends."""
    sound = False  # the block before
    for at, behind in released_blocks(data, 0, end):
        text = Text(clean_text(data, at, behind))
        opens = open_times(timeframe, text, _AFTER_ALL, likely_sound=sound)
        yield LineBlock(at, behind, text, opens)
        sound = not opens.null_count()


def clean_text(data: Bytes, start: int, end: int) -> bytes:
    """The lines of a block as they should be written."""
    text = bytes(data[start:end])
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if not start:
        text = text.removeprefix(BOM).removeprefix(HEADER)
    if not (text.startswith(b"\n") or b"\r" in text or HEADER in text or _BLANK_LINE.search(text)):
        return text
    return b"".join(line + b"\n" for _, line in located_lines(data, start, end))


def located_lines(data: Bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Where each line of a block begins, and the line as it should be written, without its end.

    A line that is blank, and a header that is there again, are no loss and left out.
    """
    at = start
    for raw in bytes(data[start:end]).split(b"\n")[:-1]:
        line = raw.rstrip(b"\r")
        if at == 0:
            line = line.removeprefix(BOM)
        if line not in _BLANK:
            yield at, line
        at += len(raw) + 1


def released_blocks(data: Bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the blocks of a part begin and end.

    Those that are behind the reader leave the memory.
    """
    for at, behind in blocks(data, start, end, BLOCK):
        yield at, behind
        release(data, at, behind)
