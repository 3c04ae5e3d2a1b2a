"""Closed candles as text: the lines of a file, which is also the form in which candles travel to the writer.

The exchange's decimal texts pass through unchanged; nothing here ever formats a price or a volume. Everything that says
what a good line is stands in this module, for what arrives from the exchange and for what is found on disk alike. It is
pure, and it never decides which of two rows is right (that is merging's).
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from functools import lru_cache
from math import ceil, inf
from operator import le, lt

import attrs
import msgspec

from collector.candle import DAY_MS, MINUTE_MS, TIMEFRAMES, Timeframe
from collector.coverage import NOTHING, Span, Spans

COLUMNS = ("timestamp", "datetime", "open", "high", "low", "close", "volume", "turnover")
HEADER = (",".join(COLUMNS) + "\n").encode()

# open time in ms, open, high, low, close, volume, turnover: the order in which the exchange sends them
Values = tuple[str, str, str, str, str, str, str]

DIGITS_AND_DOT = b"0123456789."
SEPARATORS = b",-- ::,,,,,,\n"  # what remains of a line without them
DECIMAL = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?")
LATEST_MS = 10**13 - 1  # the year 2286; a time of more than 13 digits is none
_AFTER_TIME = re.compile(r"(,(0|[1-9][0-9]*)(\.[0-9]+)?){6}")
CLOCK_TEXTS = [f" {minute // 60:02}:{minute % 60:02}:00" for minute in range(24 * 60)]


@attrs.frozen
class Rows:
    """Whole lines of one series, strictly increasing in time, and the spans their candles cover."""

    text: bytes = b""
    covered: Spans = NOTHING

    def __bool__(self) -> bool:
        return bool(self.text)

    def __len__(self) -> int:
        return self.text.count(b"\n")


class NotACandle(ValueError):
    """The values are no candle; the text says which value and why."""


def rows_of(timeframe: Timeframe, candles: Sequence[Values]) -> Rows:
    """Checked candles as text; they come oldest first.

    Whole columns are converted and compared at once, which costs a tenth of looking at each value; only when something
    is wrong are the candles gone through one by one, to name it.

    Raises:
        NotACandle: a value is not a plain decimal number, prices contradict each other, or a time is off the
            timeframe's grid, twice there or out of order.
    """
    if not candles:
        return Rows()
    times, *columns = zip(*candles, strict=True)
    try:
        opens = msgspec.convert(times, list[int], strict=False)
        numbers = msgspec.convert(columns, list[list[float]], strict=False)
    except msgspec.ValidationError:
        raise _culprit(timeframe, candles) from None
    if not (_are_plain(times, opens) and _are_on_grid(timeframe, opens) and _are_candles(*numbers)):
        raise _culprit(timeframe, candles)
    stamps = _datetime_texts(timeframe, opens)
    text = ("\n".join(map(",".join, zip(times, stamps, *columns, strict=True))) + "\n").encode("utf-8", "replace")
    # Without its digits and dots, a good text is nothing but the separators: no sign, exponent, blank, `inf` or `nan`.
    if text.translate(None, DIGITS_AND_DOT) != len(opens) * SEPARATORS:
        raise _culprit(timeframe, candles)
    return Rows(text, coverage(timeframe, opens))


def row_of(timeframe: Timeframe, candle: Values) -> Rows:
    """The same as `rows_of` for one candle, in a fourth of the time: at a minute's end they come by the thousand.

    Raises:
        NotACandle: as `rows_of` does.
    """
    line = ",".join(candle)
    place = _place(timeframe.name, candle[0])
    if place is not None and _AFTER_TIME.fullmatch(line, 13):
        opened, high, low, close, volume, turnover = map(float, candle[1:])
        if 0 < low <= opened <= high and low <= close <= high and max(high, volume, turnover) < inf:
            stamped, covered = place
            return Rows(f"{stamped}{line[13:]}\n".encode(), covered)
    return rows_of(timeframe, [candle])  # which names what is wrong, if anything is


def coverage(timeframe: Timeframe, opens: Sequence[int]) -> Spans:
    """The spans that the candles with these strictly increasing open times cover."""
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
        ValueError: it does not begin with a number.
    """
    return int(line[: line.index(b",")])


def lines_by_time(text: bytes) -> dict[int, bytes]:
    """Whole lines by the open time each begins with; of several with one time, the last. Raises as `open_of_line`."""
    return {open_of_line(line): line for line in text.splitlines(keepends=True)}


def check_lines(timeframe: Timeframe, text: bytes, after_ms: int = -1) -> tuple[list[int], int, str | None]:
    """How much of the text, from its beginning, is good: whole lines, each as this collector would have written it and
    later than the one before.

    Returns:
        The open times in the good part, its length in bytes, and why the next line is not good (None: all is good).
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
    """The open times of whole lines. Text is ours if writing its candles gives the same text again."""
    rows = [line.split(",") for line in text.decode("utf-8", "replace").split("\n")[:-1]]
    for row in rows:
        if len(row) != len(COLUMNS):
            raise NotACandle(f"{len(row)} columns instead of {len(COLUMNS)}")
    written = rows_of(timeframe, [(row[0], row[2], row[3], row[4], row[5], row[6], row[7]) for row in rows])
    if written.text != text:
        raise NotACandle("datetime is not that of timestamp")
    if written and written.covered[0].start_ms <= after_ms:
        raise NotACandle(f"timestamp {written.covered[0].start_ms} does not come after {after_ms}")
    return [int(row[0]) for row in rows]


@lru_cache(maxsize=1024)
def _place(name: str, time: str) -> tuple[str, Spans] | None:
    """The first two columns of the candle that opens then, and what it covers; None for a time that is not usual.

    All symbols have their candles at the same times, so this is remembered.
    """
    frame = TIMEFRAMES[name]
    if len(time) != 13 or not (time.isascii() and time.isdigit() and time[0] != "0" and frame.is_open(int(time))):
        return None
    (stamp,) = _datetime_texts(frame, [int(time)])
    return f"{time},{stamp}", coverage(frame, [int(time)])


def _datetime_texts(frame: Timeframe, opens: Sequence[int]) -> list[str]:
    """The `datetime` column: the open times in UTC, all of them on whole minutes, made a day at a time."""
    step = frame.step_ms
    if step is None or step > DAY_MS or not opens or not _is_run(opens, step):
        return [date_text(ms // DAY_MS) + CLOCK_TEXTS[ms % DAY_MS // MINUTE_MS] for ms in opens]
    texts: list[str] = []
    ms = opens[0]
    while ms <= opens[-1]:
        day = ms // DAY_MS
        end = min((day + 1) * DAY_MS, opens[-1] + 1)
        clocks = CLOCK_TEXTS[ms % DAY_MS // MINUTE_MS : ceil((end - day * DAY_MS) / MINUTE_MS) : step // MINUTE_MS]
        texts += [date_text(day) + clock for clock in clocks]
        ms += len(clocks) * step
    return texts


@lru_cache(maxsize=4096)
def date_text(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def _is_run(opens: Sequence[int], step: int) -> bool:
    """Whether the times follow one another without a hole."""
    return opens == list(range(opens[0], opens[-1] + 1, step))


def _are_plain(times: Sequence[str], opens: Sequence[int]) -> bool:
    """Whether every time is written in its own digits; one may come as `0170` or `170.0` and mean the same number."""
    if min(opens) < 0 or max(opens) > LATEST_MS:
        return False
    if min(opens) >= 10**12:  # all have thirteen digits, which leaves no room for anything else
        return sum(map(len, times)) == 13 * len(opens)
    return list(map(str, opens)) == list(times)


def _are_on_grid(frame: Timeframe, opens: Sequence[int]) -> bool:
    step = frame.step_ms
    if step and frame.is_open(opens[0]) and _is_run(opens, step):
        return True
    return all(map(frame.is_open, opens)) and all(map(lt, opens, opens[1:]))


def _are_candles(
    opens: list[float],
    highs: list[float],
    lows: list[float],
    closes: list[float],
    volumes: list[float],
    turnovers: list[float],
) -> bool:
    return (
        all(map(le, lows, opens))
        and all(map(le, lows, closes))
        and all(map(le, opens, highs))
        and all(map(le, closes, highs))
        and min(lows) > 0
        and max(max(highs), max(volumes), max(turnovers)) < inf
    )


# Naming what is wrong.


def _culprit(frame: Timeframe, candles: Sequence[Values]) -> NotACandle:
    previous = -1
    for candle in candles:
        defect = _defect_of_time(frame, candle[0], previous) or _defect_of_numbers(candle)
        if defect:
            return NotACandle(defect)
        previous = int(candle[0])
    raise AssertionError("candles that are good one by one are good together")


def _defect_of_time(frame: Timeframe, time: str, previous_ms: int) -> str | None:
    if not (time.isascii() and time.isdigit() and len(time) <= 13 and str(int(time)) == time):
        return f"open time {time[:40]!r} is not a number"
    open_ms = int(time)
    if not frame.is_open(open_ms):
        return f"open time {open_ms} is off the grid of timeframe {frame}"
    if open_ms <= previous_ms:
        return f"open time {open_ms} is {'there twice' if open_ms == previous_ms else 'out of order'}"
    return None


def _defect_of_numbers(candle: Values) -> str | None:
    for name, value in zip(COLUMNS[2:], candle[1:], strict=True):
        if not DECIMAL.fullmatch(value):
            return f"candle {candle[0]}: {name} {value[:40]!r} is not a plain decimal number"
    opened, high, low, close = map(float, candle[1:5])
    if max(map(float, candle[1:])) == inf:
        return f"candle {candle[0]}: a number is too large to be true"
    if low <= 0:
        return f"candle {candle[0]}: low {candle[3]} is not positive"
    if high < low:
        return f"candle {candle[0]}: high {candle[2]} is below low {candle[3]}"
    if not low <= opened <= high:
        return f"candle {candle[0]}: open {candle[1]} is not between low {candle[3]} and high {candle[2]}"
    if not low <= close <= high:
        return f"candle {candle[0]}: close {candle[4]} is not between low {candle[3]} and high {candle[2]}"
    return None
