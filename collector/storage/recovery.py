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

from collections.abc import Iterable

import attrs
import polars as pl

from collector.core.candle import Timeframe
from collector.core.rows import HEADER, check_lines
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import counted, moment_text
from collector.storage.damaged_lines import Lines, in_order, looks_like_a_row, read_lines
from collector.storage.inspection import Bytes, Checkpoint, covered_by_times, read_from_checkpoint
from collector.storage.line_blocks import BOM, line_blocks, sound_blocks
from collector.storage.ordering import Steps, likely_timeframe

_NO_TIMES = pl.Series(dtype=pl.Int64)


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
    names what had to be put right in them, `text` takes their place: pieces, made of the file's bytes when they are
    asked for. `why` says what is wrong with what follows, and `rest` what that is, unless it is what a crash leaves.
    """

    size: int
    held: Spans
    why: str = ""
    checkpointed: Spans = NOTHING
    repaired: str = ""
    text: Iterable[bytes] = ()
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
    """Reads a file.

    From its checkpoint on if that still fits, else whole.
    """
    known = read_from_checkpoint(timeframe, data, checkpoint) if checkpoint else None
    if known:
        size, held, why = known
        return Recovery(size, held, why, checkpoint.held if checkpoint else NOTHING)
    end = data.rfind(b"\n") + 1
    return _sound(timeframe, data, end) or _damaged(timeframe, data, end)


def valid_opens(timeframe: Timeframe, data: Bytes) -> pl.Series:
    """The open times, in order, of the rows in what was kept of a file that are sound by themselves.

    Rows of another timeframe are left out: their times may be on the grid, and their numbers are of another candle.
    """
    every = (block.opens for block in line_blocks(timeframe, data, data.rfind(b"\n") + 1))
    opens = in_order(pl.concat([_NO_TIMES, *every]).drop_nulls())
    return _NO_TIMES if likely_timeframe(timeframe, opens) else opens


def valid_rows(timeframe: Timeframe, data: Bytes, within: Spans | None = None) -> dict[int, bytes]:
    """These rows by their open times.

    All of them, or those that open in some spans.
    """
    if not len(valid_opens(timeframe, data)):
        return {}
    return {
        open_ms: line + b"\n"
        for block in line_blocks(timeframe, data, data.rfind(b"\n") + 1)
        for open_ms, line in zip(block.opens, block.lines, strict=True)
        if open_ms is not None and (within is None or open_ms in within)
    }


def _crash(rest: bytes) -> str:
    """What a crash has left behind the last whole line."""
    return "" if not rest else "the last line is not whole" if rest.strip(b"\0") else "zeros where rows should be"


def _sound(timeframe: Timeframe, data: Bytes, end: int) -> Recovery | None:
    """A file each row of which is certainly sound and comes after the one before; None for any other."""
    if data[: len(HEADER)] != HEADER:
        return None
    steps, held, rows = Steps(), list[Span](), 0
    for opens in sound_blocks(timeframe, data, end):
        if opens is None:
            return None
        steps.add(opens)
        if not steps.increasing:
            return None
        held += covered_by_times(timeframe, opens)
        rows += len(opens)
    if likely := steps.likely(timeframe):
        return _of_another(likely, rows)
    return Recovery(end, Spans.of(*held), _crash(bytes(data[end:])))


def _damaged(timeframe: Timeframe, data: Bytes, end: int) -> Recovery:
    """Goes through a file line by line."""
    torn = bytes(data[end:])
    if not end:
        return _without_a_line(torn)
    lines = read_lines(timeframe, data, end)
    if likely := likely_timeframe(timeframe, in_order(lines.opens.drop_nulls())):
        return _of_another(likely, len(lines.opens))
    if not _has_header(data):
        why = "its first line is not our header"
        return Recovery(0, NOTHING, why, rest=_rest(timeframe, why, lines, 0, torn))
    bad = lines.first_bad()
    if bad is None:
        return _repaired(timeframe, lines, len(lines.opens), end, _crash(torn.strip(b"\r")), None)
    start, line = lines.line(bad)
    why = f"{_what(timeframe, line, lines.opens[bad])} at byte {start}"
    return _repaired(timeframe, lines, bad, start, why, _rest(timeframe, why, lines, bad, torn))


def _has_header(data: Bytes) -> bool:
    return data[: data.find(b"\n")].rstrip(b"\r").removeprefix(BOM) + b"\n" == HEADER


def _of_another(timeframe: Timeframe, rows: int) -> Recovery:
    why = f"its rows look like those of timeframe {timeframe}"
    return Recovery(0, NOTHING, why, rest=Rest(why, 0, NOTHING, rows))


def _without_a_line(torn: bytes) -> Recovery:
    if HEADER.startswith(torn.rstrip(b"\0")):
        return Recovery(0, NOTHING, "its header was not written whole")
    why = "its first line is not our header"
    return Recovery(0, NOTHING, why, rest=Rest(why, 0, NOTHING, _foreign(torn)))


def _repaired(timeframe: Timeframe, lines: Lines, stay: int, size: int, why: str, rest: Rest | None) -> Recovery:
    """The part of a file that stays, in order, each row once."""
    rows = in_order(lines.opens.head(stay))
    held = covered_by_times(timeframe, rows)
    repaired = lines.repairs(stay, size)
    text = lines.text(stay, size) if repaired else ()
    return Recovery(size, held, why, repaired=repaired, text=text, rows=len(rows), rest=rest)


def _what(timeframe: Timeframe, line: bytes, open_ms: int | None) -> str:
    """What is wrong with a line."""
    if open_ms is not None:
        return f"another row of {moment_text(open_ms)}"
    return "zero bytes" if b"\0" in line else str(check_lines(timeframe, line + b"\n")[2])


def _rest(timeframe: Timeframe, why: str, lines: Lines, bad: int, torn: bytes) -> Rest:
    opens = in_order(lines.opens.slice(bad).drop_nulls())
    return Rest(why, len(opens), covered_by_times(timeframe, opens), lines.foreign + _foreign(torn))


def _foreign(torn: bytes) -> int:
    return sum(map(looks_like_a_row, torn.splitlines()))
