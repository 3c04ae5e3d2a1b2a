"""Converters from a given value to a valid one.

Each takes a text, as in a file or on a command line, or a Python object. It raises ValueError with one argument for
each problem. They are independent of the key, and of whether a directory exists.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from configparser import ConfigParser
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from collector.core.candle import Timeframe, symbol, timeframe
from collector.core.shards import Shard
from collector.settings.addresses import is_database, is_listen_address, is_url, is_webhook

T = TypeVar("T")

CATEGORIES = ("linear", "spot", "inverse")
MODES = ("full", "recent", "live")
LOG_LEVELS = ("debug", "info", "warning", "error")


def category(given: object) -> str:
    return _one_of(given, CATEGORIES)


def mode(given: object) -> str:
    return _one_of(given, MODES)


def log_level(given: object) -> str:
    return _one_of(str(given).lower(), LOG_LEVELS)


def http_address(given: object) -> str:
    return _address(given, ("http", "https"))


def websocket_address(given: object) -> str:
    """Return a WebSocket URL, or the empty text."""
    return _address(given, ("ws", "wss")) if given else ""


def webhook_address(given: object) -> str:
    """Return an http or https URL with its path and query, or the empty text.

    The address is a secret: whoever knows it can post there. So no message repeats it.
    """
    text = str(given or "").strip()
    if text and not is_webhook(text):
        raise ValueError("it is not an address such as https://host/path (it is a secret, and not repeated here)")
    return text


def database_address(given: object) -> str:
    """Return the URL of a PostgreSQL database, or the empty text.

    It may hold a password. So no message repeats it.
    """
    text = str(given or "").strip()
    if text and not is_database(text):
        raise ValueError(
            "it is not an address such as postgresql://user@host/database; in a password, write @ : / ? # % as "
            "%40 %3A %2F %3F %23 %25 (it may hold a secret, and is not repeated here)"
        )
    return text


def symbols(given: object) -> tuple[str, ...]:
    return _each(given, symbol)


def timeframes(given: object) -> tuple[Timeframe, ...]:
    found = _each(given, timeframe)
    if not found:
        raise ValueError("it names none; one is needed")
    return found


def shard(given: object) -> Shard:
    """Return a part of the market; the empty text is all of it."""
    return given if isinstance(given, Shard) else Shard.parse("" if given is None else str(given))


def yes_or_no(given: object) -> bool:
    word = str(given).lower()
    if word not in ConfigParser.BOOLEAN_STATES:
        raise ValueError(f"{str(given)!r} is neither true nor false")
    return ConfigParser.BOOLEAN_STATES[word]


def at_least_one(given: object) -> int:
    return _whole(given, 1, math.inf, "of 1 or more")


def none_or_more(given: object) -> int:
    return _whole(given, 0, math.inf, "of 0 or more")


def one_to_500(given: object) -> int:
    return _whole(given, 1, 500, "from 1 to 500")


def zero_or_more(given: object) -> float:
    number = _number(given)
    if not 0 <= number < math.inf:
        raise ValueError(f"{str(given)!r} is not a number of 0 or more")
    return number


def more_than_zero(given: object) -> float:
    number = _number(given)
    if not 0 < number < math.inf:
        raise ValueError(f"{str(given)!r} is not a number above 0")
    return number


def share(given: object) -> float:
    number = _number(given)
    if not 0.01 <= number <= 1:
        raise ValueError(f"{str(given)!r} is not a share from 0.01 to 1, such as 0.5 for one of two machines")
    return number


def listen_address(given: object) -> str:
    """Return an IP address and port, or the empty text.

    A host name is refused, for it may have several addresses. Port 0 is any free port.
    """
    text = re.sub("^localhost:", "127.0.0.1:", str(given).strip())
    if text and not is_listen_address(text):
        raise ValueError(f"{text!r} is not an IP address and a port, such as 127.0.0.1:8787 or [::1]:8787")
    return text


def host_names(given: object) -> tuple[str, ...]:
    return _each(given, _host_name)


def member(given: object) -> str:
    """Return the name of a member of a cluster, or the empty text."""
    text = str(given or "").strip()
    if not re.fullmatch(r"[A-Za-z0-9.:_/-]{0,200}", text):
        raise ValueError(f"{text!r} is not a name of letters, digits and . : _ / -")
    return text


def directory(given: object) -> Path:
    text = "" if given is None else str(given)
    if not text.strip() or "\n" in text or "\0" in text:  # an indented line of an ini file continues the one before it
        raise ValueError(f"{text!r} is not the name of a directory")
    if text[0] == text[-1] and text[0] in "'\"":  # they would be part of the name
        raise ValueError(f"write {text} without quotes")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text!r} starts in a home directory that cannot be found") from None


def _one_of(given: object, choices: tuple[str, ...]) -> str:
    if given not in choices:
        raise ValueError(f"{str(given)!r} is not one of {', '.join(choices)}")
    return str(given)


def _address(given: object, schemes: tuple[str, ...]) -> str:
    """Return the URL without its closing slash, ready for a path."""
    text = str(given)
    if "@" in unquote(unicodedata.normalize("NFKC", text)):  # repeating the text could show a password
        raise ValueError("it holds an @, and no user name or password has a place in it")
    if not is_url(text, schemes):
        raise ValueError(f"{text!r} is not an address such as {schemes[-1]}://host or {schemes[0]}://host:port")
    return text.rstrip("/")


def _host_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", text):
        raise ValueError(f"{text!r} is not the name of a machine")
    return text.lower()


def _whole(given: object, least: int, most: float, wanted: str) -> int:
    text = str(given)
    if not re.fullmatch("-?[0-9]{1,18}", text) or not least <= int(text) <= most:
        raise ValueError(f"{text!r} is not a whole number {wanted}")
    return int(text)


def _number(given: object) -> float:
    """Return the number, or NaN, which is outside every range."""
    text = str(given)
    if "_" in text or not text.isascii():  # Python reads 1_0 as 10
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan


def _each(given: object, parse: Callable[[str], T]) -> tuple[T, ...]:
    """Return every item once, in the order given."""
    items: dict[T, None] = {}
    problems: list[str] = []
    for word in _words(given):
        try:
            items[parse(word)] = None
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(*problems)
    return tuple(items)


def _words(given: object) -> list[str]:
    """Split a text at commas and white space; flatten a list."""
    if isinstance(given, Iterable) and not isinstance(given, str):
        return _words(",".join(str(item) for item in given))
    return str(given).replace(",", " ").split()
