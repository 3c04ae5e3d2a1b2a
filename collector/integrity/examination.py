"""What a file's bytes say: candles, defects and gaps.

Everything is read once, block by block, and only lines that are less than certain are looked at one by one. So that a
file of nothing but defects needs as little memory as a good one, the first `MOST` defects and gaps are described, all
are counted, and rows are remembered by their numbers. Bytes are handed in, and nothing is changed.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import attrs
import polars as pl

from collector.core.candle import Series, Timeframe
from collector.core.merging import same_numbers
from collector.core.rows import HEADER
from collector.core.spans import EVER, NOTHING, Spans
from collector.core.text import counted, moment_text
from collector.integrity.row_blocks import RowBlock, placed, together, told, valid_opens
from collector.storage.defects import Defect, Kind, defects_of, line_of_row, parse_open_ms
from collector.storage.fast_check import Text, blocks, times_of_each
from collector.storage.inspection import Bytes, covered_by_parts
from collector.storage.line_blocks import BOM
from collector.storage.ordering import (
    Displaced,
    RowGap,
    displaced,
    first_gaps,
    increase,
    likely_of,
    stands_alone,
)

MOST = 1000  # defects and gaps that are described
_WINDOWS_HEADER = HEADER[:-1] + b"\r\n"
_WINDOWS_ENDS = re.compile(rb"\r+\n")
_HEADER_ROW = -1
_ROWS = 100_000  # looked at together
_BLOCK = 2 * 1024 * 1024  # bytes: so many that a call of polars costs little of it


@attrs.frozen
class Examination:
    """What was found in a file.

    `chosen` are the candles that are asked about: `chosen_rows`, `counts`, `defects`, `line_end_ranges`, `gaps` and
    `gap_spans` are about these, all else is about the whole file. A row that tells no time counts as chosen.

    `foreign` says why the file is beyond repair as a whole; all else is then unknown. `held` is what its valid rows
    cover, `present` what all rows with a time on the grid cover: an invalid row stands in its place, and leaves no gap.
    `flawed` is whether the writer would have written it differently, gaps apart.
    `counts` has the number of defects of each kind, `defects` the first of them. Rows are numbered from 0 after the
    header: those in `invalid_rows` have to go, and their candles are to be fetched anew; those in `duplicate_rows`
    repeat a row that stays. `in_order` is whether all other rows are. A last line without an end is torn: instead of a
    row, it is the number after the last one's in `invalid_rows`. `gaps` has the first places where candles are missing
    between rows. Rows with Windows line ends are valid, and neighbours among them described as one defect: there are
    `line_end_ranges` of these. `looks_like` is the timeframe of which most rows seem to be, if the file's name says
    another.
    """

    rows: int = 0
    held: Spans = NOTHING
    foreign: str | None = None
    counts: Mapping[Kind, int] = attrs.field(factory=dict)
    defects: tuple[Defect, ...] = ()
    present: Spans = NOTHING
    gaps: tuple[RowGap, ...] = ()
    invalid_rows: "array[int]" = attrs.field(factory=lambda: array("q"))
    duplicate_rows: "array[int]" = attrs.field(factory=lambda: array("q"))
    in_order: bool = True
    looks_like: Timeframe | None = None
    line_end_ranges: int = 0
    chosen: Spans = EVER
    chosen_rows: int = 0
    flawed: bool = False

    @property
    def flawless(self) -> bool:
        """Whether the writer would have written the file like this, gaps included."""
        return not (self.flawed or self.foreign)

    @property
    def gap_count(self) -> int:
        return len(self.gap_spans)

    @property
    def gap_spans(self) -> Spans:
        """What is missing of the chosen candles between the first row and the last."""
        return (Spans((self.present.bounds,)) - self.present) & self.chosen if self.present else NOTHING


def examine(series: Series, data: Bytes, now_ms: int, chosen: Spans = EVER) -> Examination:
    """Reads the bytes of a series' file, and tells of the chosen candles.

    A candle that closes after `now_ms` is still open, and its row a defect.
    """
    start = _start(data)
    if start is None:
        return _without_header(bytes(data[: len(HEADER)]), len(data))
    return _Reading(series.timeframe, data, series.timeframe.floor(now_ms), start, chosen).result()


def split_rows(data: Bytes, examination: Examination) -> tuple[list[bytes], list[bytes]]:
    """The lines of an examined file that stay, and the others.

    They end as ours do and stand in the order of the file. Where the header is torn, everything after it goes, since it
    was never examined.
    """
    start = _start(data)
    if start is None:
        return [], list(_lines(data, len(HEADER)))
    unfit = {*examination.invalid_rows, *examination.duplicate_rows}
    stay: list[bytes] = []
    go: list[bytes] = []
    for number, line in enumerate(_lines(data, start)):
        (go if number in unfit else stay).append(line)
    return stay, go


def _without_header(head: bytes, length: int) -> Examination:
    if head == (BOM + HEADER)[: len(HEADER)]:
        return Examination(foreign="a byte order mark, which `collector repair` puts right")
    if not HEADER.startswith(head.rstrip(b"\0")):
        return Examination(foreign="its first line is not our header")
    what = "the file is empty" if not length else "its header was not written whole"
    return Examination(counts={Kind.TORN: 1}, defects=(Defect(Kind.TORN, 0, None, what),), flawed=True)


def _start(data: Bytes) -> int | None:
    """Where the rows begin, behind the header and whatever ends it; None where another first line stands."""
    if data[: len(HEADER)] == HEADER:
        return len(HEADER)
    return len(_WINDOWS_HEADER) if data[: len(_WINDOWS_HEADER)] == _WINDOWS_HEADER else None


def _lines(data: Bytes, behind_header: int) -> Iterator[bytes]:
    """Every line after the header, with our line end if it has any."""
    for start, end in blocks(data, behind_header, len(data), _BLOCK):
        block = _with_our_line_ends(bytes(data[start:end]))
        at = 0
        while at < len(block):
            behind = block.find(b"\n", at) + 1 or len(block)
            yield block[at:behind]
            at = behind


def _has_windows_ends(text: bytes) -> bool:
    """Whether any line ends as on Windows; one byte that hardly ever comes is searched for far faster than two."""
    return b"\r" in text and b"\r\n" in text


def _with_our_line_ends(text: bytes) -> bytes:
    return _WINDOWS_ENDS.sub(b"\n", text) if _has_windows_ends(text) else text


def _has(chosen: Spans, open_ms: int | None) -> bool:
    return open_ms is None or open_ms in chosen


@attrs.define
class _LineEnds:
    """The rows that end as on Windows, folded into ranges of neighbours; the header is row -1.

    The first `MOST` ranges are kept, all are counted: of the rows that open in `chosen`, and of those without a time.
    """

    chosen: Spans
    rows: int = 0
    ranges: int = 0
    _kept: list[tuple[int, int]] = attrs.field(factory=list)
    _last: int = -2

    def note(self, first: int, text: bytes) -> None:
        """Takes whole lines of which the first is the row of this number."""
        for place, line in enumerate(text[:-1].split(b"\n")):
            if line.endswith(b"\r") and _has(self.chosen, parse_open_ms(line)):
                self._add(first + place)

    def _add(self, row: int) -> None:
        self.rows += 1
        if self.ranges and row == self._last + 1:
            if self.ranges <= MOST:
                self._kept[-1] = (self._kept[-1][0], row)
        else:
            self.ranges += 1
            if self.ranges <= MOST:
                self._kept.append((row, row))
        self._last = row

    def defects(self) -> Iterator[Defect]:
        """One for each range."""
        for first, last in self._kept:
            of = "" if first == last else f", lines {line_of_row(first):,} to {line_of_row(last):,}"
            yield Defect(Kind.LINE_END, first, None, f"Windows line ends{of}, which `collector repair` puts right")


@attrs.define
class _Reading:
    """One file while it is read."""

    timeframe: Timeframe
    data: Bytes
    before_ms: int  # a candle that opens from here on is not closed
    start: int  # of the rows
    chosen: Spans  # of which defects are noted
    rows: int = 0
    flawed: bool = False  # by any row
    counts: Counter[Kind] = attrs.field(factory=Counter)
    defects: list[Defect] = attrs.field(factory=list)
    invalid_rows: "array[int]" = attrs.field(factory=lambda: array("q"))
    duplicate_rows: "array[int]" = attrs.field(factory=lambda: array("q"))
    blocks: list[RowBlock] = attrs.field(factory=list)
    line_ends: _LineEnds = attrs.field(default=attrs.Factory(lambda self: _LineEnds(self.chosen), takes_self=True))

    def result(self) -> Examination:
        self._read()
        if self.line_ends.rows:
            self.counts[Kind.LINE_END] = self.line_ends.rows
        if self.flawed or not increase(told(self.blocks)):
            return self._flawed()
        held = covered_by_parts(self.timeframe, told(self.blocks))
        found = Examination(
            rows=self.rows, held=held, present=held, chosen=self.chosen, chosen_rows=self._chosen_rows()
        )
        if len(held) <= 1:
            return found
        gaps = first_gaps(self.timeframe, placed(self.blocks), self.chosen, MOST)
        return attrs.evolve(found, gaps=gaps, looks_like=likely_of(self.timeframe, told(self.blocks)))

    def _flawed(self) -> Examination:
        rows, in_order = partial(placed, self.blocks), True
        if not increase(frame["open"] for frame in rows()):
            rows = partial(self._sorted_out(together(rows())).iter_slices, _ROWS)
            in_order = increase(frame["row"].filter(frame["valid"]) for frame in rows())
        held = covered_by_parts(self.timeframe, valid_opens(rows()))
        return Examination(
            rows=self.rows,
            held=held,
            present=covered_by_parts(self.timeframe, (frame["open"] for frame in _within(held, rows()))),
            counts={kind: self.counts[kind] for kind in Kind if self.counts[kind]},
            defects=tuple(sorted([*self.defects, *self.line_ends.defects()], key=lambda defect: defect.row)),
            line_end_ranges=self.line_ends.ranges,
            gaps=first_gaps(self.timeframe, _within(held, rows()), self.chosen, MOST),
            invalid_rows=array("q", sorted(self.invalid_rows)),
            duplicate_rows=array("q", sorted(self.duplicate_rows)),
            in_order=in_order,
            looks_like=likely_of(self.timeframe, told(self.blocks)),
            chosen=self.chosen,
            chosen_rows=self._chosen_rows(),
            flawed=True,
        )

    def _chosen_rows(self) -> int:
        """How many rows are chosen: all but those that tell another time."""
        return self.rows - sum(len(times) - self._chosen_of(times) for times in told(self.blocks))

    def _chosen_of(self, times: pl.Series) -> int:
        return sum(int(times.is_between(each.start_ms, each.end_ms, "left").sum()) for each in self.chosen)

    def _read(self) -> None:
        end = self._end_of_lines()
        if self.start > len(HEADER):
            self.flawed = True
            self.line_ends.note(_HEADER_ROW, _WINDOWS_HEADER)
        if end > self.start:
            for text, opens in times_of_each(self.timeframe, self._texts(end), self.before_ms):
                if opens.null_count():
                    self._take_unsound(text, opens)
                else:
                    self._take(opens)
        if end < len(self.data):
            self.invalid_rows.append(self.rows)
            self._note(Kind.TORN, self.rows, None, _torn(bytes(self.data[end : end + 200]), len(self.data) - end))

    def _texts(self, end: int) -> Iterator[Text]:
        """The rows in blocks, with our line ends."""
        row, counted_to = 0, self.start
        for at, behind in blocks(self.data, self.start, end, _BLOCK):
            text = bytes(self.data[at:behind])
            if _has_windows_ends(text):
                row, counted_to = row + self._lines_between(counted_to, at), at
                self.flawed = True
                self.line_ends.note(row, text)
                text = _with_our_line_ends(text)
            yield Text(text)

    def _lines_between(self, start: int, end: int) -> int:
        return sum(bytes(self.data[at:behind]).count(b"\n") for at, behind in blocks(self.data, start, end, _BLOCK))

    def _take(self, opens: pl.Series) -> None:
        self.blocks.append(RowBlock(self.rows, opens))
        self.rows += len(opens)

    def _end_of_lines(self) -> int:
        return max(self.start, self.data.rfind(b"\n") + 1)

    def _take_unsound(self, text: Text, opens: pl.Series) -> None:
        """Takes in a block with invalid rows, which have no time yet."""
        invalid = opens.is_null()
        places = invalid.arg_true()
        times = [self._told(place, text.each[place]) for place in places]
        stand = [ms is not None and ms < self.before_ms and self.timeframe.is_open(ms) for ms in times]
        every = opens.scatter(places, pl.Series(times, dtype=pl.Int64))
        self.blocks.append(RowBlock(self.rows, every, ~invalid, (~invalid).scatter(places, pl.Series(stand))))
        self.rows += len(opens)

    def _told(self, place: int, line: bytes) -> int | None:
        """The time that an invalid row tells, if any."""
        open_ms = parse_open_ms(line)
        self._note_invalid(self.rows + place, line, open_ms)
        return open_ms

    def _note_invalid(self, row: int, line: bytes, open_ms: int | None) -> None:
        self.invalid_rows.append(row)
        for kind, what in defects_of(self.timeframe, line):
            self._note(kind, row, open_ms, what)
        if open_ms is not None and open_ms >= self.before_ms:
            closes = moment_text(self.timeframe.close(self.timeframe.floor(open_ms)))
            self._note(Kind.UNCLOSED, row, open_ms, f"the candle of {moment_text(open_ms)} closes at {closes}")

    def _note(self, kind: Kind, row: int, open_ms: int | None, what: str) -> None:
        self.flawed = True
        if not _has(self.chosen, open_ms):
            return
        self.counts[kind] += 1
        if len(self.defects) < MOST:
            self.defects.append(Defect(kind, row, open_ms, what))

    def _sorted_out(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows in order of time, each time once.

        Notes the misplaced.
        """
        unsettled = rows.filter(~stands_alone(rows["open"]))
        numbers, opens = unsettled["row"].to_list(), unsettled["open"].to_list()
        valid = dict(zip(numbers, unsettled["valid"], strict=True))
        groups = displaced(numbers, opens)
        contradictory = self._contradictory({row: each.open_ms for each in groups for row in each.rows if valid[row]})
        gone, refuted = array("q"), array("q")
        for group in groups:
            self._note_group(group)
            unique = [number for number in group.rows if valid[number]]
            if group.open_ms in contradictory:
                refuted.extend(unique)
                gone.extend(group.rows[1:])
            else:
                kept = unique[0] if unique else group.rows[0]
                self.duplicate_rows.extend(unique[1:])
                gone.extend(number for number in group.rows if number != kept)
        self.invalid_rows.extend(refuted)
        stay = rows.filter(~pl.col("row").is_in(pl.lit(pl.Series(gone, dtype=pl.Int64)).implode()))
        still = ~pl.col("row").is_in(pl.lit(pl.Series(refuted, dtype=pl.Int64)).implode())
        return stay.with_columns(pl.col("valid") & still).sort("open")

    def _note_group(self, group: Displaced) -> None:
        first, *others = group.rows
        at = f"the candle of {moment_text(group.open_ms)}"
        if not group.in_place:
            self._note(Kind.OUT_OF_ORDER, first, group.open_ms, f"{at} does not stand in order of time")
        for each in others:
            self._note(Kind.DUPLICATE, each, group.open_ms, f"{at} is there again, after line {line_of_row(first)}")

    def _contradictory(self, candidates: Mapping[int, int]) -> set[int]:
        """The times at which valid rows differ as numbers.

        `candidates` has the rows to compare and their times.
        """
        firsts: dict[int, bytes] = {}
        found: set[int] = set()
        for number, line in enumerate(_lines(self.data, self.start) if candidates else ()):
            open_ms = candidates.get(number)
            if open_ms is not None and not same_numbers(firsts.setdefault(open_ms, line), line):
                found.add(open_ms)
        return found


def _within(held: Spans, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows from the first valid one to the last.

    Beyond them an invalid one may stand anywhere: its place says nothing of the candles before it.
    """
    if held:
        bounds = held.bounds
        yield from (frame.filter(pl.col("open").is_between(bounds.start_ms, bounds.end_ms, "left")) for frame in frames)


def _torn(head: bytes, length: int) -> str:
    if not head.strip(b"\0"):
        return f"{counted(length, 'zero byte')} where rows should be"
    zeros = ", zero bytes in it" if b"\0" in head else ""
    return f"the last line is not whole: {counted(length, 'byte')} without a line end{zeros}"
