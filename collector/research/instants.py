"""What a script may write for a moment: epoch milliseconds, a date, a datetime or ISO text.

Everything becomes integer epoch milliseconds, UTC. What names no zone is UTC. The moments of pandas and numpy are
understood without either, and theirs that are none are refused. Nothing here asks what time it is.
"""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from operator import index
from typing import Any, Protocol, SupportsIndex


class Datetime64(Protocol):
    """What we use of a `numpy.datetime64`."""

    def astype(self, dtype: str, /) -> Any: ...


Moment = SupportsIndex | float | date | str | Datetime64  # a datetime is a date, and so is a pandas.Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def instant_ms(moment: Moment) -> int:
    """The moment in epoch milliseconds; what is finer than a millisecond is cut off, never rounded up.

    Raises:
        ValueError: it is neither a whole number of milliseconds, nor a date or datetime, nor ISO text.
    """
    if isinstance(moment, str):
        return _of_datetime(_read(moment))
    if isinstance(moment, datetime) and not _is_missing(moment):
        return _of_datetime(moment)
    if isinstance(moment, date) and not _is_missing(moment):
        return _of_datetime(datetime(moment.year, moment.month, moment.day))
    if isinstance(moment, float) and moment.is_integer():  # such as `timestamp() * 1000`; others may well be seconds
        return int(moment)
    if isinstance(moment, SupportsIndex):
        with suppress(TypeError):  # an array of numpy is one only if it holds one number
            return index(moment)
    if type(moment).__name__ == "datetime64" and not _is_missing(moment):
        return _of_datetime64(moment)
    raise ValueError(f"{moment!r} is no moment: give whole epoch milliseconds, a datetime or ISO text")


def _is_missing(moment: object) -> bool:
    """Whether it is what pandas (as a datetime) and numpy have for no moment: it is not even equal to itself."""
    return moment != moment


def _of_datetime64(moment: Any) -> int:
    return int(moment.astype("datetime64[ms]").astype("int64"))


def _read(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        example = "2024-05-01 or 2024-05-01T12:30:00Z"
        raise ValueError(f"{text!r} is not an ISO date or time, such as {example}") from None


def _of_datetime(moment: datetime) -> int:
    aware = moment.replace(tzinfo=UTC) if moment.utcoffset() is None else moment
    return (aware - _EPOCH) // _MS
