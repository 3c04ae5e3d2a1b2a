"""From the rows of a kline response to candles, each checked as text.

Pure. A page is refused as a whole if it answers another question: another interval, or candles outside the span. It is
refused for single rows (`InvalidRowResponse`) if it is a good answer without them; `split_page` takes those out.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import attrs
import msgspec

from collector.bybit.rest_schema import KLINE_ROW, KLINE_ROWS, TEXT, UNREADABLE
from collector.bybit.return_codes import malformed
from collector.core.candle import MINUTE_MS, TIMEFRAMES, Timeframe
from collector.core.errors import InvalidResponse, InvalidRowResponse
from collector.core.missing import InvalidRow
from collector.core.rows import (
    LATEST_MS,
    OLDEST_MS,
    Columns,
    NotACandle,
    Rows,
    columns_of,
    open_of_line,
    plain_line,
    rows_of_lines,
)
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import exact_text, moment_text

_VALUES = 7  # in a row of candles
_TELLING = 3  # so many candles that all open when those of a coarser interval do are of that
_ROW = b'["","","","","","",""],'  # the marks of one
_NO_MARKS = bytes(set(range(256)) - set(b'"[]{},:\\ \t\r\n'))
_ROW_ENDS = bytes.maketrans(b"]", b"\n")


@attrs.frozen
class Page:
    """The lines of a good kline reply, oldest first, with the candle in progress."""

    time_ms: int
    lines: list[bytes]
    columns: Columns | None = None  # of all lines, if they have been read
    is_sure: bool = True  # no single old candle was taken out that may as well make it a false answer


def page_of(time_ms: int, rows: msgspec.Raw) -> Page:
    """The rows of a reply as lines, oldest first; they come newest first.

    The exchange writes `[["…","…"],["…","…"]]` without a blank. Where these are all its marks, and every row has seven
    texts, it can be taken apart as it is, at half the price of a list of texts. What each text says is for the rows'
    check.
    """
    text = bytes(rows)
    marks = text.translate(None, _NO_MARKS)
    count = len(marks) // len(_ROW)
    if count and marks == b"[%b]" % (_ROW * count)[:-1]:
        values = text.translate(_ROW_ENDS, b'"[')  # `1,2\n,3,4\n\n`
        lines, columns = values[:-2].split(b"\n,"), columns_of(values)
        lines.reverse()
        for column in columns or ():
            column.reverse()
        return Page(time_ms, _plain(text, lines), columns)
    try:
        lines = list(map(_line, KLINE_ROWS.decode(text)))
    except UNREADABLE as error:
        raise malformed(error) from error
    lines.reverse()
    return Page(time_ms, _plain(text, lines))


def closed_rows(frame: Timeframe, page: Page, span: Span, closed_ms: int) -> Rows:
    """The rows that were closed at `closed_ms`.

    The candle in progress comes unmarked.
    """
    rows = _checked(frame, page.lines, span, page.columns)
    if rows and rows.covered.bounds.end_ms > closed_ms:
        rows = _checked(frame, [line for line in page.lines if open_of_line(line) < closed_ms], span)
    return rows


def without_padding(frame: Timeframe, page: Page, span: Span) -> Page:
    """The page without the candles from before the span that stand in for missing ones; else the page itself.

    Of spot pairs that were delisted and listed again, the exchange was seen to answer with as many candles as the range
    has places, the newest up to its end, whatever its start; a young pair has fewer. One old candle alone is a false
    answer where there is room for more; so are candles of a coarser interval. One from further back than a page is
    false or a stand-in: the answer to the `wider` span tells.
    """
    if not page.lines or not _is_before(page.lines[0], span.start_ms):
        return page
    lines = [line for line in page.lines if not _is_before(line, span.start_ms)]
    places = frame.count(span.start_ms, span.end_ms)
    back = frame.count(open_of_line(page.lines[0]), span.start_ms)
    alone = len(page.lines) - len(lines) == 1
    if alone and len(page.lines) < places:
        return page
    opens = [open_ms for open_ms in map(open_minute_of, page.lines) if open_ms is not None]
    if len(opens) >= _TELLING and any(_coarser(frame, opens)):
        return page
    return Page(page.time_ms, lines, is_sure=not alone or back <= places)


def wider(frame: Timeframe, span: Span) -> Span:
    """The span with the candle before it: where that is missing too, two older ones stand in."""
    return Span(frame.shift(frame.ceil(span.start_ms), -1), span.end_ms)


def without_wider(frame: Timeframe, page: Page, span: Span) -> Page:
    """What the answer to the wider span has of the span; the page itself if it is false."""
    wide = wider(frame, span)
    rest = without_padding(frame, page, wide)
    if not rest.is_sure or (rest.lines and _is_before(rest.lines[0], wide.start_ms)):
        return page
    return Page(page.time_ms, [line for line in rest.lines if not _is_before(line, span.start_ms)])


def split_page(frame: Timeframe, page: Page, asked: Span | None) -> tuple[Page, tuple[InvalidRow, ...]]:
    """A page's valid rows, and its closed invalid rows.

    A page of a finer interval stays whole, to be refused as such.
    """
    if any(_is_of_finer(frame, line) for line in page.lines):
        return page, ()
    sound, defects = _valid_lines(frame, page.lines)
    closed = Spans((asked,)) if asked else NOTHING
    found = (InvalidRow(Span(ms, frame.close(ms)), why) for ms, why in sorted(defects.items()) if ms in closed)
    return Page(page.time_ms, sound), tuple(found)


def open_minute_of(line: bytes) -> int | None:
    """The open time of a line, if a candle of any interval can open then."""
    with suppress(ValueError):
        open_ms = open_of_line(line)
        return open_ms if OLDEST_MS <= open_ms <= LATEST_MS and open_ms % MINUTE_MS == 0 else None
    return None


def _is_before(line: bytes, start_ms: int) -> bool:
    open_ms = open_minute_of(line)
    return open_ms is not None and open_ms < start_ms


def _plain(text: bytes, lines: list[bytes]) -> list[bytes]:
    return list(map(plain_line, lines)) if b"e" in text or b"E" in text else lines


def _line(row: msgspec.Raw) -> bytes:
    """A row as a line; an incomplete row makes an invalid line.

    The exchange adds fields several times a year; those behind the known seven are ignored.
    """
    try:
        values = [_value(value) for value in KLINE_ROW.decode(row)[:_VALUES]]
    except UNREADABLE:
        return bytes(row)
    return bytes(row) if any(b"," in value for value in values) else b",".join(values)


def _value(value: msgspec.Raw) -> bytes:
    """The text of a value; a number without quotes is its own text, exact where a float would round."""
    text = bytes(value)
    return TEXT.decode(text).encode() if text.startswith(b'"') else text


def _checked(frame: Timeframe, lines: list[bytes], span: Span, columns: Columns | None = None) -> Rows:
    try:
        rows = rows_of_lines(frame, lines, columns)
    except NotACandle as defect:
        if any(_is_of_finer(frame, line) for line in lines):
            raise InvalidResponse(str(defect)) from defect
        _checked(frame, _valid_lines(frame, lines)[0], span)
        raise InvalidRowResponse(str(defect)) from defect
    if rows:
        bounds = rows.covered.bounds
        if bounds.start_ms < span.start_ms or bounds.end_ms > frame.ceil(span.end_ms):
            raise InvalidResponse(f"candles from {moment_text(bounds.start_ms)} on lie outside what was asked for")
        _check_interval(frame, rows, span)
    return rows


def _valid_lines(frame: Timeframe, lines: list[bytes]) -> tuple[list[bytes], dict[int, str]]:
    """The valid rows, oldest first, and the defects of the others by open time.

    Two different rows for one time are both invalid.
    """
    sound: dict[int, bytes] = {}
    defects: dict[int, str] = {}
    for line in lines:
        try:
            rows_of_lines(frame, [line])
        except NotACandle as defect:
            if (open_ms := open_minute_of(line)) is not None:
                defects[open_ms] = str(defect)
        else:
            open_ms = open_of_line(line)
            if sound.setdefault(open_ms, line) != line:
                defects[open_ms] = f"open time {exact_text(open_ms)} is there twice"
    return [sound[open_ms] for open_ms in sorted(sound.keys() - defects.keys())], defects


def _is_of_finer(frame: Timeframe, line: bytes) -> bool:
    """Whether the line opens at a time of a finer interval alone."""
    open_ms = open_minute_of(line)
    return open_ms is not None and not frame.is_open(open_ms)


def _check_interval(frame: Timeframe, rows: Rows, span: Span) -> None:
    """Refuses candles of a coarser interval, which a reply fails to name.

    They all stand apart, on the coarser grid. A few real candles between holes can look the same, so it takes three, or
    two that are all a window of some length has in the coarser interval. A symbol listed on the hour has one at first.
    """
    if len(rows.covered) == 1 and frame.count(rows.covered[0].start_ms, rows.covered[0].end_ms) > 1:
        return  # a run
    opens = [each.start_ms for each in rows.covered]
    if len(opens) < 2 or len(opens) != len(rows):
        return
    long = frame.count(span.start_ms, span.end_ms) >= 10
    for coarse in _coarser(frame, opens):
        if len(opens) >= _TELLING or (long and len(opens) == coarse.count(span.start_ms, span.end_ms)):
            raise InvalidResponse(f"the answer is for interval {coarse}, not {frame}")


def _coarser(frame: Timeframe, opens: Sequence[int]) -> Iterator[Timeframe]:
    """The coarser intervals whose candles open at all these times, the coarsest first."""
    names = list(TIMEFRAMES)
    every = map(TIMEFRAMES.__getitem__, reversed(names[names.index(frame.name) + 1 :]))
    return (coarse for coarse in every if all(map(coarse.is_open, opens)))
