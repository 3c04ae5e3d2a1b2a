"""What a script may write for a moment: epoch milliseconds, a date, a datetime or ISO text.

Everything becomes integer epoch milliseconds, UTC. What names no zone is UTC. The moments of pandas and numpy are
understood without either. A number in another unit is refused: taken for milliseconds it would be a wrong moment in
silence, and every look-up would answer with the first or the last candle. Pure: nothing here asks what time it is.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from operator import index
from typing import Any, Protocol, SupportsIndex, cast

from collector.core.candle import DAY_MS
from collector.core.rows import LATEST_MS, OLDEST_MS


class Datetime64(Protocol):
    """What we use of a `numpy.datetime64`."""

    def astype(self, dtype: str, /) -> Any: ...


Moment = SupportsIndex | float | date | str | Datetime64  # a datetime is a date, and so is a pandas.Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_BEFORE_MS, _AFTER_MS = -1, LATEST_MS + 1  # every candle opens between
_OTHER_UNITS = {"seconds": (1000, 1), "microseconds": (1, 1000), "nanoseconds": (1, 1_000_000)}
_WANTED = "give whole epoch milliseconds, a datetime or ISO text"


def to_epoch_ms(moment: Moment) -> int:
    """The moment in epoch milliseconds, rounded down.

    Raises:
        ValueError: it is neither milliseconds of a time the exchange existed, nor a date or datetime, nor ISO text.
    """
    number = _whole_number(moment)
    return _to_ms(_read(moment))[0] if number is None else _checked_ms(number)


def span_ms(start: Moment | None, end: Moment | None) -> tuple[int, int]:
    """The span from the start to the end, which it excludes; a date without a time as the end means that whole day.

    None is before all candles as the start and after all of them as the end, and so is 0 as the start. A bound between
    two milliseconds is rounded up, so that the span has exactly the whole milliseconds between its bounds.

    Raises:
        ValueError: as `to_epoch_ms`, or the end lies before the start.
    """
    start_ms = _BEFORE_MS if start is None else _bound_ms(start)
    end_ms, day_ms = (_AFTER_MS, 0) if end is None else (_bound_ms(end), _length_ms(end))
    if start is not None and end is not None and end_ms + max(0, day_ms - 1) < start_ms:
        raise ValueError(f"the end {end!r} lies before the start {start!r}")
    return start_ms, max(start_ms, end_ms + day_ms)  # nothing, where one bound alone lies beyond all candles


def check_times(*times: int) -> None:
    """Checks times of stored candles.

    Raises:
        ValueError: one cannot be epoch milliseconds; the text says in which unit it is.
    """
    for time in times:
        if not _is_ms(time):
            unit = next(_in_other_units(time), ("an unknown unit", 0))[0]
            raise ValueError(f"its timestamps are in {unit} and not in milliseconds: {time}")


def _bound_ms(moment: Moment) -> int:
    number = _whole_number(moment)
    if number is not None:
        return number and _checked_ms(number)
    ms, is_later = _to_ms(_read(moment))
    return ms + is_later


def _whole_number(moment: Moment) -> int | None:
    """The number that was given; None for other kinds of moments."""
    if isinstance(moment, float) and moment.is_integer():  # such as `timestamp() * 1000`; others may well be seconds
        return int(moment)
    if isinstance(moment, SupportsIndex) and not isinstance(moment, bool):
        with suppress(TypeError):  # an array of numpy is one only if it holds one number
            return index(moment)
    return None


def _checked_ms(number: int) -> int:
    if _is_ms(number):
        return number
    for unit, ms in _in_other_units(number):
        raise ValueError(f"{number} is no moment in epoch milliseconds but in {unit}: give {ms}")
    raise ValueError(f"{number!s:.40} is no moment in epoch milliseconds, which have 13 digits: {_WANTED}")


def _is_ms(number: int) -> bool:
    return OLDEST_MS <= number <= LATEST_MS


def _in_other_units(number: int) -> Iterator[tuple[str, int]]:
    """The unit, if any, in which the number is a time, and that time in milliseconds."""
    for unit, (factor, divisor) in _OTHER_UNITS.items():
        ms = number * factor // divisor
        if _is_ms(ms):
            yield unit, ms


def _to_ms(moment: Moment) -> tuple[int, bool]:
    """The millisecond that holds the moment, and whether the moment is later than its start."""
    if isinstance(moment, datetime) and not _is_missing(moment):
        aware = moment.replace(tzinfo=UTC) if moment.utcoffset() is None else moment
        ms, rest = divmod(aware - _EPOCH, _MS)
        return ms, bool(rest)
    if isinstance(moment, date) and not _is_missing(moment):
        return _to_ms(datetime(moment.year, moment.month, moment.day))
    if _is_datetime64(moment) and not _is_missing(moment):
        whole: Any = moment.astype("datetime64[ms]")  # type: ignore[union-attr]
        return int(whole.astype("int64")), bool(whole != moment)
    raise ValueError(f"{moment!r} is no moment: {_WANTED}")


def _length_ms(moment: Moment) -> int:
    """How long a day is that was given without a time of day; 0 for an instant."""
    moment = _read(moment)
    if _is_datetime64(moment):
        at = cast(Any, moment)
        unit = str(at.dtype)[-2:-1]
        one = type(at - at)(1, unit)  # a timedelta64, without numpy's name
        return _to_ms(at + one)[0] - _to_ms(moment)[0] if unit in "YMWD" else 0  # a month is whole, too
    return DAY_MS if isinstance(moment, date) and not isinstance(moment, datetime) else 0


def _is_datetime64(moment: object) -> bool:
    return type(moment).__name__ == "datetime64"


def _is_missing(moment: object) -> bool:
    """Whether it is the NaT of pandas or numpy, which differs from itself."""
    return moment != moment


def _read(moment: Moment) -> Moment:
    """What a text says, a date or a datetime; anything else as it is."""
    if not isinstance(moment, str):
        return moment
    text = moment.strip()
    if len(text) <= 8 or not text[:9].isdigit():  # else a number, which Python may read as 1712-01-12 01:23
        with suppress(ValueError):
            return date.fromisoformat(text)
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    raise ValueError(f"{moment!r} is not an ISO date or time, such as 2024-05-01 or 2024-05-01T12:30:00Z")
