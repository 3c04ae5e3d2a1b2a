"""Numbers, times and spans as text for people. Pure."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from textwrap import wrap

from collector.core.spans import Span

_LAST_MS = 253_402_300_799_999  # of the year 9999, with which the calendar ends
_ALIKE = 0.8  # of symbols: two letters of BTCUSDT changed places, or one is another


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 candle`, `2,000 candles`, `3 retries`, `4 series`."""
    return f"{number:,} {agreeing(number, noun)}"


def agreeing(number: float, noun: str) -> str:
    """The noun alone, for a number that is written in another way."""
    return noun if number == 1 else _plural(noun)


def _plural(noun: str) -> str:
    if noun.endswith("s"):
        return noun
    if noun.endswith("ch"):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"


def moment_text(ms: int) -> str:
    """An instant for a person to read, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def exact_text(ms: int) -> str:
    """The same to the millisecond; a number that no calendar has stays a number."""
    if not 0 <= ms <= _LAST_MS:
        return str(ms)
    fraction = f".{ms % 1000:03}" if ms % 1000 else ""
    return f"{moment_text(ms)}{fraction}"


def duration_text(seconds: float) -> str:
    """A duration for people: its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size_text(size: float) -> str:
    """A number of bytes for people, three figures of it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def span_texts(span: Span) -> dict[str, str]:
    """A span for a log line."""
    return {"start": moment_text(span.start_ms), "end": moment_text(span.end_ms)}


def wrapped(text: str, width: int, hanging: int = 2) -> list[str]:
    """Lines of a text broken at words, each as indented as the first and `hanging` columns more.

    A word longer than a line stays whole, so that a path or an address can be copied.
    """
    indent = " " * (len(text) - len(text.lstrip()) + hanging)
    return wrap(
        text,
        max(width, len(indent) + 1),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        expand_tabs=False,
        replace_whitespace=False,
    ) or [""]


def did_you_mean(word: str, known: Iterable[str], spelled: Callable[[str], str] = str) -> str:
    """A question for the end of a message about an unknown word; empty where no known word is like it."""
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {spelled(close[0])}?" if close else ""


def did_you_mean_symbols(unknown: Iterable[str], known: Iterable[str]) -> str:
    """The same for symbols, of which many differ in a letter or two: the nearest, or one that begins so."""
    known = sorted(known, key=lambda symbol: (not symbol.endswith("USDT"), len(symbol), symbol))
    likely = [symbol for word in unknown for symbol in _likely_symbols(word, known)]
    return f"; did you mean {', '.join(dict.fromkeys(likely))}?" if likely else ""


def _likely_symbols(word: str, known: Sequence[str]) -> Sequence[str]:
    bare = word.replace("-", "") or word
    alike = get_close_matches(bare, known, n=1, cutoff=_ALIKE)
    return alike or [symbol for symbol in known if symbol.startswith(bare)][:1]
