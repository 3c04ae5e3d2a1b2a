"""Fast validation of many lines at once: all are proven sound, or none; or each line that is gets its open time.

polars reads numbers fast and forgives much: signs, exponents, blanks, needless zeros, `inf` and `nan`. So the bytes are
searched for whatever it forgives, which is a few of them anywhere and a few pairs where two fields meet; a test knows
every byte that it forgives. What then is left to say, the columns say. Whatever cannot be proven here is looked at line
by line; nothing here says what is wrong.

Where a few of many lines are unsound, one pattern leaves the lines of numbers that polars reads as they are meant. What
these columns then say of a row is true of it by itself, and only what is left is looked at line by line.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from math import inf

import attrs
import polars as pl

from collector.core.candle import DAY_MS, MINUTE_MS, Timeframe
from collector.core.rows import CLOCK_TEXTS, COLUMNS, OLDEST_MS, check_lines, date_text
from collector.machine.workers import PAIR
from collector.storage.defects import valid_open_ms
from collector.storage.inspection import Bytes

_FEW = 32 * 1024  # bytes: up to here, checking line by line is quicker than calling polars a dozen times
_SEARCHED = 2 * 1024 * 1024  # bytes: what is searched at a time

_SCHEMA = {"timestamp": pl.Int64, "datetime": pl.String} | dict.fromkeys(COLUMNS[2:], pl.Float64)
_MOST_DAYS = 100_000
_CLOCKS = pl.Series(CLOCK_TEXTS)

_ODD_BYTES = (b"e", b"E", b"+", b"\t", b"\r")
# Numbers that begin or end in a dot or begin with a needless zero, a minus or a blank; and empty lines. Literals, not
# classes: these are found with the machine's widest instructions, at a seventh of the cost.
_ODD_PAIRS = "|".join(
    [
        *(f",0{digit}" for digit in range(10)),
        *(r",\.", r"\.,", r"\.\n", ",-", ", ", " ,"),
        *(r"\n0", r"\n-", r"\n ", r" \n", r"\n\n"),
    ]
)
_ROW = r"^[1-9][0-9]{12},[0-9-]{10} [0-9:]{8}(?:,(?:0|[1-9][0-9]*)(?:\.[0-9]+)?){6}$"


@attrs.frozen
class Text:
    """Whole lines with at least one row.

    The rows begin at `first`, behind the header if any.
    """

    lines: bytes
    first: int = 0

    @property
    def rows(self) -> bytes:
        return self.lines[self.first :]

    @cached_property
    def each(self) -> list[bytes]:
        """The rows without their ends."""
        return self.rows[:-1].split(b"\n")


def blocks(data: Bytes, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Where blocks of whole lines start and end.

    A torn line is in the last one.
    """
    while start < end:
        behind = end if end - start <= most else data.rfind(b"\n", start, start + most) + 1
        if behind <= start:  # a line longer than a block
            behind = data.find(b"\n", start, end) + 1 or end
        yield start, behind
        start = behind


def validate_each(
    timeframe: Timeframe, texts: Iterable[Text], before_ms: int
) -> Iterator[tuple[Text, pl.Series | None]]:
    """Every text, in order, with the open times of its rows if each of them is a sound one by itself and opens before
    `before_ms`; with None if anything is less than certain. That the times increase is not promised.
    """
    return PAIR.each(lambda text: (text, _proven(timeframe, text, before_ms)), texts)


def open_times(timeframe: Timeframe, text: Text, before_ms: int, *, likely_sound: bool = False) -> pl.Series:
    """Of every row the open time, if it is a sound one by itself that opens before `before_ms`; else null.

    What is likely sound is first looked at as a whole.
    """
    rows = text.rows
    if not rows:
        return pl.Series(dtype=pl.Int64)
    if len(rows) > _FEW:
        if likely_sound and _is_plain(text) and (sound := _read(timeframe, text, before_ms)) is not None:
            return sound
        opens = _sure_times(timeframe, rows, before_ms)
    elif (proven := _checked(timeframe, rows, before_ms)) is not None:
        return proven
    else:
        opens = pl.Series([None] * len(text.each), dtype=pl.Int64)
    unsure = opens.is_null().arg_true()
    if not len(unsure):
        return opens
    looked_at = (valid_open_ms(timeframe, text.each[place]) for place in unsure)
    found = [open_ms if open_ms is not None and open_ms < before_ms else None for open_ms in looked_at]
    return opens.scatter(unsure, pl.Series(found, dtype=pl.Int64))


def _sure_times(timeframe: Timeframe, text: bytes, before_ms: int) -> pl.Series:
    """The same, with null also for lines that are less than certain."""
    lines = pl.Series([text[:-1].decode("ascii", "replace")]).str.split("\n").explode()
    plain = lines.str.contains(_ROW)
    opens = pl.repeat(None, len(lines), dtype=pl.Int64, eager=True)
    if not plain.any():
        return opens
    rows = text if plain.all() else lines.filter(plain).str.join("\n").item().encode()
    numbers = pl.read_csv(rows, schema=_SCHEMA, has_header=False, quote_char=None, glob=False)
    days = numbers["timestamp"] // DAY_MS
    named = days.unique()
    dates = days.replace_strict(named, pl.Series(map(date_text, named), dtype=pl.String))
    good = (
        numbers.select(_is_candle(timeframe, before_ms) & _is_dated(pl.lit(dates))).to_series().fill_null(value=False)
    )
    if timeframe.step_ms is None:
        good &= pl.Series(map(timeframe.is_open, numbers["timestamp"]), dtype=pl.Boolean)
    return opens.scatter(plain.arg_true().filter(good), numbers["timestamp"].filter(good))


def times_of_each(timeframe: Timeframe, texts: Iterable[Text], before_ms: int) -> Iterator[tuple[Text, pl.Series]]:
    """Every text, in order, with the open times of its rows as `open_times` has them.

    After one with an unsound row, none is looked at as a whole until all rows of one are sound.
    """
    sound = True

    def proven(text: Text) -> tuple[Text, pl.Series | None]:
        return text, _proven(timeframe, text, before_ms) if sound else None

    for text, opens in PAIR.each(proven, texts):
        each = open_times(timeframe, text, before_ms) if opens is None else opens
        yield text, each
        sound = not each.null_count()


def _proven(timeframe: Timeframe, text: Text, before_ms: int) -> pl.Series | None:
    """The open times of rows that are sound ones, each by itself; None if anything is less than certain."""
    if len(text.lines) <= _FEW:
        return _checked(timeframe, text.rows, before_ms)
    return _read(timeframe, text, before_ms) if _is_plain(text) else None


def _checked(timeframe: Timeframe, rows: bytes, before_ms: int) -> pl.Series | None:
    opens, good, _ = check_lines(timeframe, rows)
    return pl.Series(opens, dtype=pl.Int64) if good == len(rows) and opens[-1] < before_ms else None


def _is_plain(text: Text) -> bool:
    """Whether the rows are free of what polars would forgive."""
    if text.lines.startswith((b"0", b"-", b" ", b"\n"), text.first):
        return False
    for at in range(text.first, len(text.lines), _SEARCHED):
        part = text.lines[max(0, at - 1) : at + _SEARCHED]  # with the byte before, so that each pair is whole somewhere
        if not part.isascii() or any(odd in part for odd in _ODD_BYTES):
            return False
        if pl.Series([part], dtype=pl.Binary).cast(pl.String).str.contains(_ODD_PAIRS).item():
            return False
    return True


def _read(timeframe: Timeframe, text: Text, before_ms: int) -> pl.Series | None:
    """The open times of plain rows if each is a candle; of others it may say anything."""
    lines = pl.scan_csv(text.lines, schema=_SCHEMA, has_header=text.first > 0, quote_char=None, glob=False)
    try:
        good = _is_candle(timeframe, before_ms) & _is_stamped(*_days(text))
        opens, good_each = lines.select("timestamp", good=good).collect(engine="streaming")
    except (ValueError, pl.exceptions.PolarsError):
        return None
    if good_each.null_count() or not good_each.all():
        return None
    if timeframe.step_ms is None and not all(map(timeframe.is_open, opens)):
        return None
    return opens


def _days(text: Text) -> tuple[int, int]:
    """The days that the first and the last row name.

    Raises:
        ValueError: they name none, or the last one's is before the first one's; such rows have no quick proof.
    """
    last = text.lines.rfind(b"\n", 0, len(text.lines) - 1) + 1
    first_day, last_day = (int(text.lines[at : at + 13]) // DAY_MS for at in (text.first, last))
    if not 0 <= first_day <= last_day < _MOST_DAYS:
        raise ValueError("the rows are not in order of time")
    return first_day, last_day


def _is_stamped(first_day: int, last_day: int) -> pl.Expr:
    """Whether the datetime is letter by letter that of the timestamp; false or null for other days than these."""
    time = pl.col("timestamp")
    dates = pl.lit(pl.Series(map(date_text, range(first_day, last_day + 1)), dtype=pl.String))
    date = dates.gather(time // DAY_MS - first_day, null_on_oob=True)
    return (time >= first_day * DAY_MS) & _is_dated(date)  # polars counts what is negative from the end


def _is_dated(date: pl.Expr) -> pl.Expr:
    """Whether the datetime is this date and the time of day, which is a whole minute."""
    time, stamp = pl.col("timestamp"), pl.col("datetime")
    clock = pl.lit(_CLOCKS).gather(time % DAY_MS // MINUTE_MS)
    exact = (time % MINUTE_MS == 0) & (stamp.str.len_bytes() == len("2024-01-05 00:00:00"))
    return exact & stamp.str.starts_with(date) & stamp.str.ends_with(clock)


def _is_candle(timeframe: Timeframe, before_ms: int) -> pl.Expr:
    """What makes a row of the right shape a closed candle; null if something in it is no number."""
    time = pl.col("timestamp")
    opened, high, low, close, volume, turnover = map(pl.col, COLUMNS[2:])
    good = (time >= OLDEST_MS) & (time < before_ms)
    if timeframe.step_ms:
        good &= (time - timeframe.floor(0)) % timeframe.step_ms == 0
    good &= (low > 0) & (low <= opened) & (low <= close) & (opened <= high) & (close <= high)
    return good & (high < inf) & (volume < inf) & (turnover < inf)
