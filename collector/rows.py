"""Closed candles as text: the lines of a file, which is also the form in which candles travel to the writer.

The exchange's decimal texts pass through unchanged; nothing here ever formats a price or a volume. Everything that says
what a good line is stands in this module, for what arrives from the exchange and for what is found on disk alike. It is
pure, and it never decides which of two rows is right (that is merging's).
"""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import chain, pairwise
from math import inf
from operator import itemgetter, le

import attrs

from collector.candle import DAY_MS, MINUTE_MS, Timeframe
from collector.coverage import NOTHING, Span, Spans

COLUMNS = ("timestamp", "datetime", "open", "high", "low", "close", "volume", "turnover")
HEADER = (",".join(COLUMNS) + "\n").encode()

# open time in ms, open, high, low, close, volume, turnover: the order in which the exchange sends them
Values = tuple[str, str, str, str, str, str, str]

_NUMBER_TEXT = b"0123456789."  # no sign, no exponent, no spaces, which float() would let pass
_CLOCK_TEXTS = [f" {minute // 60:02}:{minute % 60:02}:00" for minute in range(24 * 60)]


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

    Raises:
        NotACandle: a value is not a plain decimal number, prices contradict each other, or a time is off the
            timeframe's grid, twice there or out of order.
    """
    if not candles:
        return Rows()
    opens = _checked_opens(timeframe, list(map(itemgetter(0), candles)))
    _check_values(candles)
    lines = [
        f"{values[0]},{stamp},{','.join(values[1:])}\n"
        for values, stamp in zip(candles, map(datetime_text, opens), strict=True)
    ]
    return Rows("".join(lines).encode(), coverage(timeframe, opens))


def coverage(timeframe: Timeframe, opens: Sequence[int]) -> Spans:
    """The spans that the candles with these strictly increasing open times cover."""
    if not opens:
        return NOTHING
    end = timeframe.close(opens[-1])
    if timeframe.count(opens[0], end) == len(opens):
        return Spans.between(opens[0], end)
    return Spans.of(*(Span(each, timeframe.close(each)) for each in opens))


def datetime_text(open_ms: int) -> str:
    """The `datetime` column for an open time (all of them lie on whole minutes)."""
    day, in_day = divmod(open_ms, DAY_MS)
    return _date_text(day) + _CLOCK_TEXTS[in_day // MINUTE_MS]


def open_of_line(line: bytes) -> int:
    """The open time a line begins with.

    Raises:
        ValueError: it does not begin with a number.
    """
    return int(line[: line.index(b",")])


def check_line(timeframe: Timeframe, line: bytes) -> int:
    """The open time of a whole line (without its newline) as this collector would have written it.

    Raises:
        NotACandle: it would not have; the text says why.
    """
    fields = line.decode("ascii", "replace").split(",")
    if len(fields) != len(COLUMNS):
        raise NotACandle(f"{len(fields)} columns instead of {len(COLUMNS)}")
    time, stamp, *numbers = fields
    (open_ms,) = _checked_opens(timeframe, [time])
    if stamp != datetime_text(open_ms):
        raise NotACandle(f"datetime {stamp!r} is not that of timestamp {time}")
    opened, high, low, close, volume, turnover = numbers
    _check_values([(time, opened, high, low, close, volume, turnover)])
    return open_ms


def check_lines(timeframe: Timeframe, text: bytes, after_ms: int = -1) -> tuple[list[int], int, str | None]:
    """How much of the text, from its beginning, is good: whole lines, each valid and later than the one before.

    Returns:
        The open times in the good part, its length in bytes, and why the next line is not good (None: all is good).
    """
    opens: list[int] = []
    good = 0
    for line in text.split(b"\n")[:-1]:
        try:
            open_ms = check_line(timeframe, line)
        except NotACandle as defect:
            return opens, good, str(defect)
        if open_ms <= after_ms:
            return opens, good, f"timestamp {open_ms} does not come after {after_ms}"
        opens.append(open_ms)
        after_ms = open_ms
        good += len(line) + 1
    return opens, good, None if good == len(text) else "the last line is not whole"


@lru_cache(maxsize=4096)
def _date_text(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def _checked_opens(timeframe: Timeframe, times: Sequence[str]) -> list[int]:
    try:
        opens = list(map(int, times))
    except ValueError:
        opens = []
    if list(map(str, opens)) != list(times):
        raise NotACandle(f"open time {next(time for time in times if not _is_plain_integer(time))!r} is not a number")
    step = timeframe.step_ms
    if step and timeframe.is_open(opens[0]) and opens == list(range(opens[0], opens[-1] + 1, step)):
        return opens  # by far the most common: a run without a hole
    for open_ms in opens:
        if not timeframe.is_open(open_ms):
            raise NotACandle(f"open time {open_ms} is off the grid of timeframe {timeframe}")
    for before, after in pairwise(opens):
        if after <= before:
            raise NotACandle(f"open time {after} is {'there twice' if after == before else 'out of order'}")
    return opens


def _is_plain_integer(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text


def _check_values(candles: Sequence[Values]) -> None:
    """Checks whole columns at once and looks for the culprit only when there is one."""
    text = "".join(chain.from_iterable(candles)).encode("ascii", "replace")
    try:
        _, opens, highs, lows, closes, volumes, turnovers = (
            map(float, column) for column in zip(*candles, strict=True)
        )
        good = not text.translate(None, _NUMBER_TEXT) and _are_candles(
            list(opens), list(highs), list(lows), list(closes), [*volumes, *turnovers]
        )
    except ValueError:
        good = False
    if not good:
        raise NotACandle(next(defect for defect in map(_defect, candles) if defect))


def _are_candles(
    opens: list[float], highs: list[float], lows: list[float], closes: list[float], amounts: list[float]
) -> bool:
    return (
        all(map(le, lows, opens))
        and all(map(le, lows, closes))
        and all(map(le, opens, highs))
        and all(map(le, closes, highs))
        and min(lows) > 0
        and max(highs) < inf
        and max(amounts) < inf
    )


def _defect(candle: Values) -> str | None:
    numbers: list[float] = []
    for name, value in zip(COLUMNS[2:], candle[1:], strict=True):
        try:
            numbers.append(float(value))
        except ValueError:
            return f"candle {candle[0]}: {name} {value[:40]!r} is not a number"
        if not value.isascii() or value.encode().translate(None, _NUMBER_TEXT):
            return f"candle {candle[0]}: {name} {value[:40]!r} is not a plain decimal number"
    opened, high, low, close = numbers[:4]
    if max(*numbers) == inf:
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
