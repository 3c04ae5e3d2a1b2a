"""Rows: candles as lines of text, as files hold them.

The exchange's decimal texts pass through unchanged, except that an exponent is written out digit by digit: numbers are
never formatted here, and floats only serve to compare. Everything that says what a valid line is stands in this module,
for what arrives from the exchange and for what is found on disk alike. Which of two rows is right is merging's to
decide. Pure.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from functools import lru_cache
from itertools import count, islice
from math import inf
from operator import itemgetter, lt

import attrs
import msgspec

from collector.core.candle import DAY_MS, MINUTE_MS, TIMEFRAMES, Timeframe
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import counted, exact_text

PRICES = ("open", "high", "low", "close")
NUMBERS = (*PRICES, "volume", "turnover")
COLUMNS = ("timestamp", "datetime", *NUMBERS)
HEADER = (",".join(COLUMNS) + "\n").encode()

# open time in ms, open, high, low, close, volume, turnover: the order in which the exchange sends them
Values = tuple[str, str, str, str, str, str, str]
Columns = tuple[list[float], ...]  # the numbers of candles that are compared: times, opens, highs, lows, closes

DECIMAL = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?")
OLDEST_MS, LATEST_MS = 10**12, 10**13 - 1  # the years 2001 and 2286: a time has thirteen digits
CLOCK_TEXTS = [f" {minute // 60:02}:{minute % 60:02}:00" for minute in range(24 * 60)]
_WITH_EXPONENT = re.compile(rb"(0|[1-9][0-9]*)(?:\.([0-9]+))?[eE]([+-]?)0{0,9}([0-9]{1,2})")
_AFTER_TIME = re.compile(r"(,(0|[1-9][0-9]*)(\.[0-9]+)?){6}")
_CLOCKS = [text.encode() for text in CLOCK_TEXTS]
_DIGITS_AND_DOT = b"0123456789."
_FLAT = msgspec.json.Decoder(list[float])
_TIME, _BEHIND_TIME, _NUMBERS = itemgetter(slice(13)), itemgetter(13), itemgetter(slice(13, None))  # of a line


@attrs.frozen
class Rows:
    """Whole lines of one series in order, and their spans."""

    text: bytes = b""
    covered: Spans = NOTHING

    def __bool__(self) -> bool:
        return bool(self.text)

    def __len__(self) -> int:
        return self.text.count(b"\n")


class NotACandle(ValueError):
    """A value that makes a row invalid.

    The text says which.
    """


def rows_of(timeframe: Timeframe, candles: Sequence[Values]) -> Rows:
    """Checked candles as text; they come oldest first.

    Raises:
        NotACandle: a value is no plain decimal number, prices contradict each other, or a time is off the timeframe's
            grid, twice there or out of order.
    """
    rows = _valid_rows(timeframe, [",".join(candle).encode("utf-8", "replace") for candle in candles])
    if rows is None:
        raise _first_defect(timeframe, candles)
    return rows


def rows_of_lines(timeframe: Timeframe, lines: Sequence[bytes], columns: Columns | None = None) -> Rows:
    """The same for candles that are text already.

    A line holds the values of one, between commas, without a line end.

    Args:
        columns: the lines' own, if `columns_of` has read them; each line then has seven values.

    Raises:
        NotACandle: as `rows_of` does, or a line has more or less than seven values.
    """
    rows = _valid_rows(timeframe, lines, columns)
    if rows is None:
        raise _first_defect(timeframe, [line.decode("utf-8", "replace").split(",") for line in lines])
    return rows


def columns_of(text: bytes) -> Columns | None:
    """The columns of rows of seven values each, between commas and line ends; None unless all are plain numbers.

    All of them are read at once, as a list in JSON. It refuses needless zeros and a dot at an end; its decoder refuses
    a number too large for a float.
    """
    if b"-" in text or b"e" in text or b"E" in text:
        return None
    try:
        numbers = _FLAT.decode(b"[%b]" % text)
    except ValueError:  # also of text that is not UTF-8
        return None
    return tuple(numbers[column::7] for column in range(5))


def _valid_rows(timeframe: Timeframe, lines: Sequence[bytes], columns: Columns | None = None) -> Rows | None:
    """The candles as text; None when something is wrong with any of them.

    Looking at all of them at once costs a fraction of looking at each value.
    """
    if not lines:
        return Rows()
    columns = columns or _columns_of_lines(lines)
    opens = _opens(timeframe, columns[0]) if columns else None
    if columns is None or opens is None or not _are_candles(*columns[1:]):
        return None
    if set(map(_BEHIND_TIME, lines)) != {ord(",")}:  # a time is written as `170.0`, which means the same number
        return None
    pieces = [b"\n"] * (5 * len(lines))
    pieces[0::5] = map(_TIME, lines)
    pieces[1::5], pieces[2::5] = _stamps(timeframe, opens)
    pieces[3::5] = map(_NUMBERS, lines)
    return Rows(b"".join(pieces), covered_spans(timeframe, opens))


def _columns_of_lines(lines: Sequence[bytes]) -> Columns | None:
    """None unless each line has seven plain numbers.

    What remains of a valid text after its digits and dots is separators alone, so blanks show.
    """
    text = b",\n".join(lines)
    if text.translate(None, _DIGITS_AND_DOT) != (b",,,,,,,\n" * len(lines))[:-2]:
        return None
    return columns_of(text)


def row_of(timeframe: Timeframe, candle: Values) -> Rows:
    """`rows_of` for one candle, in a fourth of the time.

    At a minute's end they come by the thousand.

    Raises:
        NotACandle: as `rows_of` does.
    """
    line = ",".join(candle)
    place = _place(timeframe.name, candle[0])
    if place is not None and _AFTER_TIME.fullmatch(line, 13):
        opened, high, low, close, volume, turnover = map(float, candle[1:])
        if 0 < low <= opened <= high and low <= close <= high and max(high, volume, turnover) < inf:
            stamped, covered = place
            return Rows(b"%b%b\n" % (stamped, line[13:].encode()), covered)
    return rows_of(timeframe, [candle])  # which names what is wrong, if anything is


def row_of_each(candles: Sequence[tuple[Timeframe, bytes]]) -> list[Rows] | None:
    """`rows_of_lines` for one candle of each of many series, in a third of the time of `row_of`.

    None if any of them is no candle; `rows_of_lines` says which, and why.
    """
    if not candles:
        return []
    lines = [line for _, line in candles]
    columns = _columns_of_lines(lines)
    if columns is None or not _are_candles(*columns[1:]) or set(map(_BEHIND_TIME, lines)) != {ord(",")}:
        return None
    places = [_place(timeframe.name, line[:13].decode()) for timeframe, line in candles]
    rows = [Rows(b"%b%b\n" % (at[0], line[13:]), at[1]) for at, line in zip(places, lines, strict=True) if at]
    return rows if len(rows) == len(lines) else None


def plain_line(line: bytes) -> bytes:
    """The values of a candle with exponents written out.

    `1.3117285e+06` is `1311728.5`. The exchange prints some floats in the shortest form of Go. An exponent of three
    digits belongs to no price or volume, and stays for the check to refuse.
    """
    return b",".join(map(_plain, line.split(b",")))


def _plain(value: bytes) -> bytes:
    """All digits of the mantissa, with the point where the exponent puts it."""
    number = _WITH_EXPONENT.fullmatch(value)
    if number is None:
        return value
    whole, fraction, sign, exponent = number.groups(default=b"")
    digits, point = whole + fraction, len(whole) + int(sign + exponent)
    before = digits[: max(point, 0)].ljust(max(point, 0), b"0").lstrip(b"0") or b"0"
    after = digits[point:] if point >= 0 else digits.rjust(len(digits) - point, b"0")
    return before + b"." + after if after else before


def covered_spans(timeframe: Timeframe, opens: Sequence[int]) -> Spans:
    """The spans that candles with these increasing open times cover."""
    if not opens:
        return NOTHING
    end = timeframe.close(opens[-1])
    if timeframe.count(opens[0], end) == len(opens):
        return Spans.between(opens[0], end)
    return Spans.of(*(Span(each, timeframe.close(each)) for each in opens))


def candles_in(timeframe: Timeframe, spans: Spans) -> int:
    """How many candles of a timeframe open in these spans."""
    return sum(timeframe.count(span.start_ms, span.end_ms) for span in spans)


def open_of_line(line: bytes) -> int:
    """The open time a line begins with.

    Raises:
        ValueError: it begins with something else.
    """
    return int(line[: line.index(b",")])


def lines_by_time(text: bytes) -> dict[int, bytes]:
    """Whole lines by open time; the last of several wins.

    Raises as `open_of_line`.
    """
    return {open_of_line(line): line for line in text.splitlines(keepends=True)}


def check_lines(timeframe: Timeframe, text: bytes, after_ms: int = -1) -> tuple[list[int], int, str | None]:
    """How much of the text, from its beginning, is valid.

    A valid line is whole, as this collector would have written it, and later than the one before.

    Returns:
        The open times in the valid part, its length in bytes, and why the next line is invalid (None: all are valid).
    """
    whole = text[: text.rfind(b"\n") + 1]
    torn = None if len(whole) == len(text) else "the last line is not whole"
    opens: list[int] = []
    with suppress(NotACandle):  # a good text is good at once
        opens = _checked_opens(timeframe, whole, after_ms)
        return opens, len(whole), torn
    good = 0
    for line in whole.splitlines(keepends=True):
        try:
            opens += _checked_opens(timeframe, line, opens[-1] if opens else after_ms)
        except NotACandle as defect:
            return opens, good, str(defect)
        good += len(line)
    raise AssertionError("lines that are good one by one are good together")


def _checked_opens(timeframe: Timeframe, text: bytes, after_ms: int) -> list[int]:
    """The open times of whole lines.

    Text is ours if writing its candles gives the same text again.
    """
    lines = [line.split(b",", 2) for line in text.split(b"\n")[:-1]]
    for line in lines:
        columns = len(line) + line[-1].count(b",")
        if columns != len(COLUMNS):
            raise NotACandle(f"{counted(columns, 'column')} instead of {len(COLUMNS)}")
    written = _written_again(timeframe, lines)
    if written.text != text:
        raise NotACandle("datetime is not that of timestamp")
    if written and written.covered[0].start_ms <= after_ms:
        raise NotACandle(
            f"timestamp {exact_text(written.covered[0].start_ms)} does not come after {exact_text(after_ms)}"
        )
    return [int(time) for time, _, _ in lines]


def _written_again(timeframe: Timeframe, lines: Sequence[Sequence[bytes]]) -> Rows:
    """The candles of lines that were cut into time, date and numbers."""
    if len(lines) == 1:
        time, _, numbers = (cell.decode("utf-8", "replace") for cell in lines[0])
        return row_of(timeframe, (time, *numbers.split(",")))  # type: ignore[arg-type]
    return rows_of_lines(timeframe, [b"%b,%b" % (time, numbers) for time, _, numbers in lines])


@lru_cache(maxsize=1024)
def _place(name: str, time: str) -> tuple[bytes, Spans] | None:
    """The first two columns of the candle that opens then, and its span.

    None for an unusual time. All symbols have their candles at the same times, so this is cached.
    """
    timeframe = TIMEFRAMES[name]
    if len(time) != 13 or not (time.isascii() and time.isdigit() and time[0] != "0" and timeframe.is_open(int(time))):
        return None
    (day,), (clock,) = _stamps(timeframe, [int(time)])
    return time.encode() + day + clock, covered_spans(timeframe, [int(time)])


def _stamps(timeframe: Timeframe, opens: Sequence[int]) -> tuple[list[bytes], list[bytes]]:
    """The `datetime` column in two parts: dates with their comma, and times of day.

    The open times are in UTC, all of them on whole minutes.
    """
    step = timeframe.step_ms
    if step is None or step > DAY_MS or not _is_run(opens, step):
        return [_date(ms // DAY_MS) for ms in opens], [_CLOCKS[ms % DAY_MS // MINUTE_MS] for ms in opens]
    dates: list[bytes] = []
    clocks: list[bytes] = []
    for day in range(opens[0] // DAY_MS, opens[-1] // DAY_MS + 1):
        of_day = _clocks(max(opens[0], day * DAY_MS), opens[-1], step)
        dates += [_date(day)] * len(of_day)
        clocks += of_day
    return dates, clocks


def _clocks(first_ms: int, last_ms: int, step: int) -> list[bytes]:
    """The times of day from an instant to the end of its day at most."""
    day_ms = first_ms // DAY_MS * DAY_MS
    end = (min(last_ms, day_ms + DAY_MS - 1) - day_ms) // MINUTE_MS + 1
    return _CLOCKS[(first_ms - day_ms) // MINUTE_MS : end : step // MINUTE_MS]


@lru_cache(maxsize=4096)
def _date(day: int) -> bytes:
    return f",{date_text(day)}".encode()


@lru_cache(maxsize=4096)
def date_text(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def _is_run(opens: Sequence[int], step: int) -> bool:
    """Whether the times follow one another gaplessly."""
    return opens[-1] - opens[0] == (len(opens) - 1) * step


def _opens(timeframe: Timeframe, times: list[float]) -> Sequence[int] | None:
    """The times as integers, if they are on the grid and increase."""
    first, last, step = times[0], times[-1], timeframe.step_ms
    if not OLDEST_MS <= first <= last <= LATEST_MS:
        return None
    if step and timeframe.is_open(int(first)) and last - first == (len(times) - 1) * step:  # a run, if anything
        run = islice(count(float(int(first)), float(step)), len(times))  # floats compare with floats in half the time
        return range(int(first), int(last) + 1, step) if times == list(run) else None
    if not all(map(lt, times, times[1:])):  # what increases lies between its first and its last
        return None
    opens = list(map(int, times))
    return opens if times == opens and all(map(timeframe.is_open, opens)) else None


def _are_candles(opens: list[float], highs: list[float], lows: list[float], closes: list[float]) -> bool:
    for low, opened, close, high in zip(lows, opens, closes, highs, strict=True):
        if not (low <= opened <= high and low <= close <= high):
            return False
    return min(lows) > 0


# Naming what is wrong.


def _first_defect(timeframe: Timeframe, candles: Sequence[Sequence[str]]) -> NotACandle:
    previous = -1
    for candle in candles:
        if defect := _defect_of_time(timeframe, candle[0], previous):
            return NotACandle(defect)
        if defect := _defect_of_numbers(candle):
            return NotACandle(f"candle {exact_text(int(candle[0]))}: {defect}")
        previous = int(candle[0])
    raise AssertionError("candles that are good one by one are good together")


def _defect_of_time(timeframe: Timeframe, time: str, previous_ms: int) -> str | None:
    if not (time.isascii() and time.isdigit() and len(time) <= 13 and str(int(time)) == time):
        return f"open time {time[:40]!r} is not a number"
    open_ms = int(time)
    if open_ms < OLDEST_MS:
        return f"open time {exact_text(open_ms)} is too long ago to be true"
    if not timeframe.is_open(open_ms):
        return f"open time {exact_text(open_ms)} is off the grid of timeframe {timeframe}"
    if open_ms <= previous_ms:
        return f"open time {exact_text(open_ms)} is {'there twice' if open_ms == previous_ms else 'out of order'}"
    return None


def _defect_of_numbers(candle: Sequence[str]) -> str | None:
    if len(candle) != len(COLUMNS) - 1:
        return f"{counted(len(candle), 'value')} instead of {len(COLUMNS) - 1}"
    for name, value in zip(COLUMNS[2:], candle[1:], strict=True):
        if not DECIMAL.fullmatch(value):
            return f"{name} {value[:40]!r} is not a plain decimal number"
    opened, high, low, close = map(float, candle[1:5])
    if max(map(float, candle[1:])) == inf:
        return "a number is too large to be true"
    if low <= 0:
        return f"low {candle[3]} is not positive"
    if high < low:
        return f"high {candle[2]} is below low {candle[3]}"
    if not low <= opened <= high:
        return f"open {candle[1]} is not between low {candle[3]} and high {candle[2]}"
    if not low <= close <= high:
        return f"close {candle[4]} is not between low {candle[3]} and high {candle[2]}"
    return None
