"""What a file holds, and what of it stays when somebody or something else than the writer has changed it.

A file is read from its checkpoint on; without one that fits it is read whole, and each row has to be one that the
writer would have written. What else may be found, and what becomes of it:

    a torn last line, zeros at the end     a crash; cut off, for it was never whole
    Windows line ends, a byte order mark,  the rows are good, only their places or ends are not: the file is written
    blank lines, rows out of order or twice  again, and loses nothing
    anything else                          the first bad byte ends the file. What lies from there on goes, is kept
                                           beside the file, and its sound rows are wanted again. If the first row or
                                           the header is bad, that is the whole file
    more foreign rows than sound ones      the file is somebody else's: what would go is of use to somebody, and
                                           nothing brings it back

Everything here only reads.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import attrs
import polars as pl

from collector.core.candle import Timeframe
from collector.core.merging import same_numbers
from collector.core.rows import HEADER, LATEST_MS, check_lines, covered_spans
from collector.core.spans import NOTHING, Spans
from collector.core.text import counted, moment_text
from collector.storage.defects import valid_open_ms
from collector.storage.fast_check import Text, blocks, validate_each
from collector.storage.inspection import Bytes, Checkpoint, covered_by_times, read_from_checkpoint
from collector.storage.ordering import is_increasing, likely_timeframe

_BLOCK = 32 * 1024 * 1024  # bytes that are proven sound at once
_LINES = 100  # that are checked at once where not all are sound
_BOM = b"\xef\xbb\xbf"
_NUMBER = re.compile(rb"[0-9]+")
_NUMBERS = 5  # of the least row that somebody else may keep: a time and four prices


@attrs.frozen
class Rest:
    """What follows the first bad byte of a file: its sound rows, and how many lines look like rows of another kind."""

    why: str
    rows: int
    covered: Spans
    foreign: int

    def __str__(self) -> str:
        if not self.rows:
            return "holding no row that can be read"
        first, last = moment_text(self.covered.bounds.start_ms), moment_text(self.covered.bounds.end_ms)
        return f"holding {counted(self.rows, 'row')} from {first} to {last}, which the exchange is asked for again"


@attrs.frozen
class Recovery:
    """What a file holds.

    The first `size` bytes stay, and hold `held`, of which the checkpoint vouches for `checkpointed`. Where `repaired`
    names what had to be put right in them, `text` takes their place. `why` says what is wrong with what follows, and
    `rest` what that is, unless it is what a crash leaves.
    """

    size: int
    held: Spans
    why: str = ""
    checkpointed: Spans = NOTHING
    repaired: str = ""
    text: bytes = b""
    rows: int = 0
    rest: Rest | None = None

    @property
    def foreign(self) -> int:
        """How many lines look like rows of another kind."""
        return self.rest.foreign if self.rest else 0

    @property
    def loses_rows(self) -> bool:
        """Whether more lines would be lost than rows of ours are found."""
        return self.foreign > self.rows + (self.rest.rows if self.rest else 0)

    @property
    def fate(self) -> str:
        """What becomes of a file with something wrong."""
        if self.loses_rows:
            return f"is left alone unless --allow-replace is given ({self.why})"
        if self.rest:
            return f"is {'cut' if self.held else 'set aside'} ({self.why})"
        return f"is put right ({self.repaired or self.why})"


def recover(timeframe: Timeframe, data: Bytes, checkpoint: Checkpoint | None) -> Recovery:
    """Reads a file; from its checkpoint on if that still fits, else whole."""
    known = read_from_checkpoint(timeframe, data, checkpoint) if checkpoint else None
    if known:
        size, held, why = known
        return Recovery(size, held, why, checkpoint.held if checkpoint else NOTHING)
    end = data.rfind(b"\n") + 1
    opens = _validated(timeframe, data, end)
    if opens is None:
        return _parse_lines(timeframe, bytes(data))
    if likely := likely_timeframe(timeframe, opens):
        return _of_another(likely, len(opens))
    return Recovery(end, covered_by_times(timeframe, opens), _crash(bytes(data[end:])))


def valid_rows(timeframe: Timeframe, data: bytes) -> dict[int, bytes]:
    """The rows in what was kept of a file that are sound by themselves, by their open times.

    Rows of another timeframe are left out: their times may be on the grid, and their numbers are of another candle.
    """
    lines = [_clean(line) for line in data.split(b"\n")[:-1]]
    opens = list(_opens(timeframe, lines))
    rows = {open_ms: line + b"\n" for open_ms, line in zip(opens, lines, strict=True) if open_ms is not None}
    return {} if likely_timeframe(timeframe, pl.Series(sorted(rows), dtype=pl.Int64)) else rows


def _crash(rest: bytes) -> str:
    """What a crash has left behind the last whole line."""
    return "" if not rest else "the last line is not whole" if rest.strip(b"\0") else "zeros where rows should be"


def _validated(timeframe: Timeframe, data: Bytes, end: int) -> pl.Series | None:
    """The open times of all rows, if each is certainly sound and comes after the one before."""
    if data[: len(HEADER)] != HEADER:
        return None
    if end == len(HEADER):
        return pl.Series(dtype=pl.Int64)
    spans = blocks(data, 0, end, _BLOCK)
    texts = (Text(bytes(data[at:behind]), 0 if at else len(HEADER)) for at, behind in spans)
    times: list[pl.Series] = []
    for _, opens in validate_each(timeframe, texts, LATEST_MS + 1):
        if opens is None:
            return None
        times.append(opens)
    together = pl.concat(times)
    return together if is_increasing(together) else None


@attrs.define
class _Line:
    """One line of a file that is taken apart: where it starts, and the open time of the sound row in it, if any."""

    start: int
    text: bytes
    open_ms: int | None


def _parse_lines(timeframe: Timeframe, data: bytes) -> Recovery:
    """Goes through a file line by line."""
    *lines, torn = data.split(b"\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    end = starts.pop()
    if not lines:
        return _without_a_line(torn)
    clean = [_clean(line) for line in lines]
    clean[0] = clean[0].removeprefix(_BOM)
    has_header = clean[0] + b"\n" == HEADER
    every = [
        _Line(start, text, open_ms)
        for start, text, open_ms in zip(starts, clean, _opens(timeframe, clean), strict=True)
        if text and text + b"\n" != HEADER  # a header that is there again, and a line that is blank, are no loss
    ]
    sound = sorted({line.open_ms for line in every if line.open_ms is not None})
    if likely := likely_timeframe(timeframe, pl.Series(sound, dtype=pl.Int64)):
        return _of_another(likely, len(every))
    bad = _first_bad(every) if has_header else 0
    if bad is None:
        return _repaired(timeframe, data, end, every, _crash(torn.strip(b"\r")), None)
    why = f"{_what(timeframe, every, bad)}" if has_header else "its first line is not our header"
    goes = every[bad:]
    size = goes[0].start if has_header else 0
    return _repaired(timeframe, data, size, every[:bad], why, _rest(timeframe, why, goes, torn))


def _of_another(timeframe: Timeframe, rows: int) -> Recovery:
    why = f"its rows look like those of timeframe {timeframe}"
    return Recovery(0, NOTHING, why, rest=Rest(why, 0, NOTHING, rows))


def _without_a_line(torn: bytes) -> Recovery:
    if HEADER.startswith(torn.rstrip(b"\0")):
        return Recovery(0, NOTHING, "its header was not written whole")
    why = "its first line is not our header"
    return Recovery(0, NOTHING, why, rest=Rest(why, 0, NOTHING, _foreign([], torn)))


def _repaired(
    timeframe: Timeframe, data: bytes, size: int, stay: Sequence[_Line], why: str, rest: Rest | None
) -> Recovery:
    """The part of a file that stays, in order, each row once."""
    rows = {line.open_ms: line.text + b"\n" for line in stay if line.open_ms is not None}
    text = HEADER + b"".join(rows[open_ms] for open_ms in sorted(rows)) if size else b""
    held = covered_spans(timeframe, sorted(rows))
    if text == data[:size]:
        return Recovery(size, held, why, rows=len(rows), rest=rest)
    return Recovery(size, held, why, repaired=_repairs(data[:size], stay), text=text, rows=len(rows), rest=rest)


def _repairs(data: bytes, stay: Sequence[_Line]) -> str:
    """What was wrong, in words."""
    opens = [line.open_ms for line in stay if line.open_ms is not None]
    found = {
        "a byte order mark": data.startswith(_BOM),
        "Windows line ends": b"\r\n" in data,
        "rows out of order": opens != sorted(opens),
        "rows that are there twice": len(opens) != len(set(opens)),
    }
    return " and ".join(what for what, is_so in found.items() if is_so) or "lines that are no rows"


def _first_bad(lines: Sequence[_Line]) -> int | None:
    """The place of the first line that is no sound row, or that contradicts one before it."""
    seen: dict[int, bytes] = {}
    for place, line in enumerate(lines):
        if line.open_ms is None or not same_numbers(seen.setdefault(line.open_ms, line.text), line.text):
            return place
    return None


def _what(timeframe: Timeframe, lines: Sequence[_Line], bad: int) -> str:
    """What is wrong with a line, and where it stands."""
    line = lines[bad]
    if line.open_ms is None:
        what = "zero bytes" if b"\0" in line.text else str(check_lines(timeframe, line.text + b"\n")[2])
    else:
        what = f"another row of {moment_text(line.open_ms)}"
    return f"{what} at byte {line.start}"


def _rest(timeframe: Timeframe, why: str, lines: Sequence[_Line], torn: bytes) -> Rest:
    opens = sorted({line.open_ms for line in lines if line.open_ms is not None})
    bad = [line.text for line in lines if line.open_ms is None]
    return Rest(why, len(opens), covered_spans(timeframe, opens), _foreign(bad, torn))


def _foreign(lines: Iterable[bytes], torn: bytes) -> int:
    """How many of the lines look like rows that somebody else keeps: text, with at least as many numbers as the row of
    a candle has. Bytes that a disk has spoiled do not."""
    return sum(map(_looks_like_a_row, (*lines, *torn.splitlines())))


def _looks_like_a_row(line: bytes) -> bool:
    text = line.replace(b"\0", b"")  # as UTF-16 has them
    printable = text.decode("utf-8", "replace").replace("\t", " ").isprintable()
    return printable and len(_NUMBER.findall(text)) >= _NUMBERS


def _clean(line: bytes) -> bytes:
    return line.rstrip(b"\r")


def _opens(timeframe: Timeframe, lines: Sequence[bytes]) -> Iterator[int | None]:
    """The open time of each line that is a sound row by itself; None for any other."""
    for at in range(0, len(lines), _LINES):
        some = lines[at : at + _LINES]
        text = b"".join(line + b"\n" for line in some)
        opens, good, _ = check_lines(timeframe, text)
        yield from opens if good == len(text) else (valid_open_ms(timeframe, line) for line in some)
