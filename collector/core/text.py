"""Numbers, times and spans as text for people. Pure."""

from datetime import UTC, datetime

from collector.core.spans import Span


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 candle`, `2,000 candles`, `3 retries`, `4 series`."""
    return f"{number:,} {agreeing(number, noun)}"


def agreeing(number: float, noun: str) -> str:
    """The noun alone, for a number that is written in another way."""
    return noun if number == 1 else _plural(noun)


def _plural(noun: str) -> str:
    if noun.endswith("s"):
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"


def moment_text(ms: int) -> str:
    """An instant for a person to read, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration_text(seconds: float) -> str:
    """A duration for people: its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def span_texts(span: Span) -> dict[str, str]:
    """A span for a log line."""
    return {"start": moment_text(span.start_ms), "end": moment_text(span.end_ms)}
