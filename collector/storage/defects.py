"""The kinds of defects of a row.

A row is sound if this collector would have written it: the judge of that is `rows`, here as everywhere, and this module
only says in words what an unsound row suffers from. Pure: it looks at one row at a time, and never quotes more of a
row than fits into a sentence.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from math import inf, isfinite

import attrs

from collector.core.candle import Timeframe
from collector.core.rows import COLUMNS, DECIMAL, LATEST_MS, OLDEST_MS, NotACandle, row_of
from collector.core.text import counted, exact_text, moment_text

_SHOWN = 40  # characters of a value
_PRICES = 4  # the first so many of the numbers
_NEGATIVE = re.compile(r"-[0-9]+(\.[0-9]+)?")


class Kind(StrEnum):
    """What is wrong with a row.

    A row of which only the line end is wrong is sound.
    """

    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out-of-order"
    OFF_GRID = "off-grid"
    UNCLOSED = "unclosed"
    TORN = "torn"
    ZEROS = "zeros"
    WRONG_COLUMNS = "wrong-columns"
    NOT_A_NUMBER = "not-a-number"
    NOT_FINITE = "not-finite"
    NOT_POSITIVE = "not-positive"
    HIGH_LOW = "high-low"
    NEGATIVE_VOLUME = "negative-volume"
    DATETIME = "datetime"
    LINE_END = "line-end"


@attrs.frozen
class Defect:
    """Something wrong with one row.

    Rows are counted from 0, the header not among them; `timestamp_ms` is None where the row does not tell one.
    """

    kind: Kind
    row: int
    timestamp_ms: int | None
    what: str


def line_of_row(row: int) -> int:
    """The line of a row as editors count: line 1 is the header."""
    return row + 2


def valid_open_ms(timeframe: Timeframe, line: bytes) -> int | None:
    """The open time of a line that this collector would have written, its line end left off; else None."""
    cells = line.decode("utf-8", "replace").split(",")
    if len(cells) != len(COLUMNS):
        return None
    try:
        written = row_of(timeframe, (cells[0], cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]))
    except NotACandle:
        return None
    return int(cells[0]) if written.text == line + b"\n" else None


def parse_open_ms(line: bytes) -> int | None:
    """The open time in a line, on the grid or off it; None if it is absent or cut off."""
    digits, comma, _ = line.partition(b",")
    if comma and digits.isdigit() and len(digits) <= len(str(LATEST_MS)) and str(int(digits)).encode() == digits:
        return int(digits)
    return None


def defects_of(timeframe: Timeframe, line: bytes) -> Iterator[tuple[Kind, str]]:
    """Everything wrong with an unsound line by itself."""
    if not line:
        yield Kind.WRONG_COLUMNS, "an empty line"
        return
    if b"\0" in line:
        yield Kind.ZEROS, f"{counted(line.count(0), 'zero byte')} in the row"
        return
    cells = line.decode("utf-8", "replace").split(",")
    if len(cells) != len(COLUMNS):
        columns = counted(len(cells), "column")
        yield Kind.WRONG_COLUMNS, f"{columns} instead of {len(COLUMNS)}: {_quoted(','.join(cells[:9]))}"
        return
    yield from _of_time(timeframe, line, cells[0], cells[1])
    yield from _of_numbers(cells[2:])


def _of_time(timeframe: Timeframe, line: bytes, time: str, stamp: str) -> Iterator[tuple[Kind, str]]:
    open_ms = parse_open_ms(line)
    if open_ms is None:
        kind = Kind.NOT_FINITE if _is_infinite(time) else Kind.NOT_A_NUMBER
        yield kind, f"timestamp {_quoted(time)} is not a time in milliseconds"
        return
    if open_ms < OLDEST_MS:
        yield Kind.OFF_GRID, f"timestamp {_dated(open_ms)} is too long ago to be true"
    elif not timeframe.is_open(open_ms):
        yield Kind.OFF_GRID, f"timestamp {_dated(open_ms)} is off the grid of timeframe {timeframe}"
    if stamp != moment_text(open_ms):
        yield Kind.DATETIME, f"datetime {_quoted(stamp)} is not that of timestamp {open_ms}, {moment_text(open_ms)}"


def _dated(open_ms: int) -> str:
    """A number as the file has it, so that it can be found there, and the time that it means."""
    return f"{open_ms} ({exact_text(open_ms)})"


def _of_numbers(texts: Sequence[str]) -> Iterator[tuple[Kind, str]]:
    bad = list(_of_texts(texts))
    yield from bad
    if not bad:
        yield from _of_prices(*texts[:_PRICES])


def _of_texts(texts: Sequence[str]) -> Iterator[tuple[Kind, str]]:
    for place, (name, text) in enumerate(zip(COLUMNS[2:], texts, strict=True)):
        if DECIMAL.fullmatch(text):
            if float(text) == inf:
                yield Kind.NOT_FINITE, f"{name} {_quoted(text)} is too large to be true"
        elif _is_infinite(text):
            yield Kind.NOT_FINITE, f"{name} {_quoted(text)} is not finite"
        elif _NEGATIVE.fullmatch(text):
            kind = Kind.NOT_POSITIVE if place < _PRICES else Kind.NEGATIVE_VOLUME
            yield kind, f"{name} {_quoted(text)} is negative"
        else:
            yield Kind.NOT_A_NUMBER, f"{name} {_quoted(text)} is not a plain decimal number"


def _of_prices(opened: str, high: str, low: str, close: str) -> Iterator[tuple[Kind, str]]:
    prices = {"open": opened, "high": high, "low": low, "close": close}
    for name, text in prices.items():
        if float(text) <= 0:
            yield Kind.NOT_POSITIVE, f"{name} {_quoted(text)} is not positive"
    values = {name: float(text) for name, text in prices.items()}
    if values["high"] < values["low"]:
        yield Kind.HIGH_LOW, f"high {_quoted(high)} is below low {_quoted(low)}"
        return
    for name in ("open", "close"):
        if not values["low"] <= values[name] <= values["high"]:
            between = f"low {_quoted(low)} and high {_quoted(high)}"
            yield Kind.HIGH_LOW, f"{name} {_quoted(prices[name])} is not between {between}"


def _is_infinite(text: str) -> bool:
    """Whether the text is what programs write for infinity or NaN."""
    with suppress(ValueError):
        return text.isascii() and not isfinite(float(text))
    return False


def _quoted(text: str) -> str:
    """The text or its beginning, so that it reads as one word and cannot break a line."""
    if text.isascii() and text.isprintable() and text and " " not in text and len(text) <= _SHOWN:
        return text
    quoted = repr(text[:_SHOWN])
    return quoted if len(quoted) <= _SHOWN + 2 and len(text) <= _SHOWN else f"{quoted[:_SHOWN]}...'"
