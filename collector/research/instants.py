"""What a script may write for a moment: epoch milliseconds, a date, a datetime or ISO text.

Everything becomes integer epoch milliseconds, UTC. What names no zone is UTC. Nothing here asks what time it is.
"""

from datetime import UTC, date, datetime, timedelta
from operator import index
from typing import SupportsIndex

Moment = SupportsIndex | date | str  # a datetime is a date

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def instant_ms(moment: Moment) -> int:
    """The moment in epoch milliseconds; what is finer than a millisecond is cut off, never rounded up.

    Raises:
        ValueError: the text is not an ISO date or time.
        TypeError: it is neither a whole number of milliseconds, nor a date or datetime, nor text.
    """
    if isinstance(moment, str):
        return _of_datetime(_read(moment))
    if isinstance(moment, datetime):
        return _of_datetime(moment)
    if isinstance(moment, date):
        return _of_datetime(datetime(moment.year, moment.month, moment.day))
    try:
        return index(moment)
    except TypeError:
        raise TypeError(f"{moment!r} is no moment: give epoch milliseconds, a datetime or ISO text") from None


def _read(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        example = "2024-05-01 or 2024-05-01T12:30:00Z"
        raise ValueError(f"{text!r} is not an ISO date or time, such as {example}") from None


def _of_datetime(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MS
