"""Symbol and timeframe in the names of files and folders.

Pure. Collections of candles name both in many ways:

    BTCUSDT_60.csv, BTC-31MAY24_60.csv    ours
    BTCUSDT-1m-2024-01.zip                the dumps of Binance
    BTC_USDT_USDT-1h-futures.feather      freqtrade
    Binance_BTCUSDT_1h.csv                CryptoDataDownload
    BTCUSDT_15_2022-01-01_2022-01-31.csv  the dumps of Bybit
    symbol=BTCUSDT/timeframe=1/x.parquet  a dataset in folders

A name is cut into words. A word that ends in a currency, or two words of which the second is one, is a symbol; a number
with a unit is a timeframe. What the rows say is looked at later, and has the last word on the timeframe.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

import attrs

from collector.core.candle import DAY_MS, MINUTE_MS, TIMEFRAMES, Series, Timeframe, is_symbol

_ENDINGS = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USDE", "USD", "PERP", "EUR", "GBP", "BTC", "ETH", "BRL")
QUOTES = (*_ENDINGS, "DAI", "TRY", "BRZ", "PLN", "MNT", "JPY", "KRW", "AUD")  # not every word in TRY is a symbol
_EXTENSIONS = re.compile(
    r"(\.(csv|tsv|txt|dat|json|jsonl|ndjson|feather|arrow|ipc|parquet|pq|zip|gz|gzip|bz2|xz))+$", re.IGNORECASE
)
_PAIR = re.compile(rf"[A-Z0-9]+?({'|'.join(_ENDINGS)})([FGHJKMNQUVXZ]\d\d)?")
_EXPIRY = re.compile(r"\d{1,2}[A-Z]{3}\d\d")
_DATED = re.compile(rf"[A-Z0-9]+-{_EXPIRY.pattern}")
_WORDS = re.compile(r"[A-Za-z0-9]+")
_HIVE = re.compile(r"(?P<key>symbol|timeframe|interval)=(?P<value>.+)", re.IGNORECASE)
_UNIT = {
    MINUTE_MS: ("m", "min", "mins", "minute", "minutes", "minutely", "t"),
    60 * MINUTE_MS: ("h", "hr", "hrs", "hour", "hours", "hourly"),
    DAY_MS: ("d", "day", "days", "daily"),
    7 * DAY_MS: ("w", "wk", "week", "weeks", "weekly"),
}
_MONTH = ("mo", "mon", "mn", "month", "months", "monthly")
_COUNTED = re.compile(r"(?P<count>\d{0,4})(?P<unit>[A-Za-z]+)|(?P<letter>[HMDW]|MN)(?P<behind>\d{1,2})")
_LONG_WORDS = 3  # letters of a unit that stands alone
_OTHER_KINDS = {"MARK", "INDEX", "PREMIUM", "FUNDING", "MARKPRICE", "INDEXPRICE", "PREMIUMINDEX", "FUNDINGRATE"}
_OTHER_KINDS |= {"MARKPRICEKLINES", "INDEXPRICEKLINES", "PREMIUMINDEXKLINES"}


@attrs.frozen
class Named:
    """What names tell.

    `likely` is a timeframe that a word may mean by accident; `kind` is that of prices which are no trades, such as
    `mark`.
    """

    symbol: str | None = None
    timeframe: Timeframe | None = None
    likely: Timeframe | None = None
    kind: str = ""


def read_names(parts: Sequence[str]) -> Named:
    """What the names of a file and of its folders tell, the nearest first; the nearer wins."""
    found = Named()
    words = [word.upper() for word in _WORDS.findall(_stem(parts[0]))] if parts else []
    kind = next((word.lower() for word in words if word in _OTHER_KINDS), "")
    for place, part in enumerate(parts):
        is_file = place == 0 or _EXTENSIONS.search(part)
        named = _read_name(_stem(part)) if is_file else _read_folder(part)
        found = Named(found.symbol or named.symbol, found.timeframe or named.timeframe, found.likely or named.likely)
    return attrs.evolve(found, kind=kind)


def symbol_of(text: str) -> str | None:
    """The symbol that a cell of a table names: BTCUSDT, btc/usdt, BTC-USDT, BTC/USDT:USDT."""
    text = text.strip().upper()
    if found := _symbol([*_WORDS.findall(text)])[0]:
        return found
    return text if is_symbol(text) else None


def timeframe_of(text: str) -> Timeframe | None:
    """The timeframe that a cell or an option names: 60, 1h, H1, 1 hour, D."""
    text = text.strip()
    minutes = {"1440": "D", "10080": "W"}
    found = TIMEFRAMES.get(minutes.get(text, text))
    return found or _counted(text.replace(" ", "").replace("_", ""))


def _stem(name: str) -> str:
    return _EXTENSIONS.sub("", name)


def _read_folder(name: str) -> Named:
    """What the name of a folder tells as a whole: BTCUSDT, 1h; monthly says how long its files are."""
    if _HIVE.fullmatch(name):
        return _read_name(name)
    words = _WORDS.findall(name)
    symbol, behind = _symbol([word.upper() for word in words])
    timeframe = timeframe_of(name) if name in TIMEFRAMES or any(map(str.isdigit, name)) else None
    return Named(symbol if behind == len(words) else None, None, timeframe)


def _read_name(stem: str) -> Named:
    if hive := _HIVE.fullmatch(stem):
        is_of_symbol = hive["key"].lower() == "symbol"
        return Named(symbol_of(hive["value"])) if is_of_symbol else Named(None, timeframe_of(hive["value"]))
    try:
        series = Series.named(stem)
    except ValueError:
        pass
    else:
        if _PAIR.fullmatch(series.symbol) or _DATED.fullmatch(series.symbol):
            return Named(series.symbol, series.timeframe)
    words = _WORDS.findall(stem)
    symbol, behind = _symbol([word.upper() for word in words])
    return Named(symbol, _timeframe(words, behind), _likely(words))


def _symbol(words: Sequence[str]) -> tuple[str | None, int]:
    """The symbol among words, and the place of the word behind it."""
    for place, (word, quote) in enumerate(pairwise(words)):
        if quote in QUOTES and word not in QUOTES[:7] and _counted(word) is None and not word.isdecimal():
            settled = place + 2 < len(words) and words[place + 2] in (word, quote)
            return f"{word}{quote}", place + 2 + settled
    for place, word in enumerate(words):
        if _PAIR.fullmatch(word) and is_symbol(word):
            if place + 1 < len(words) and _EXPIRY.fullmatch(words[place + 1]):
                return f"{word}-{words[place + 1]}", place + 2
            return word, place + 1
    return None, 0


def _timeframe(words: Sequence[str], behind: int) -> Timeframe | None:
    """The timeframe among words.

    Short ones, such as 60 or d, count directly behind the symbol alone.
    """
    for word, unit in pairwise(words):  # 1-min
        if word.isdecimal() and unit.isalpha() and (found := _counted(word + unit)):
            return found
    if behind and behind < len(words):
        word = words[behind] if not _is_month(words[behind:]) else ""
        if found := timeframe_of(word) or (timeframe_of(word.upper()) if len(word) == 1 else None):
            return found
    numbered = (word for word in words if any(map(str.isdigit, word)))
    return next(filter(None, map(_counted, numbered)), None)


def _likely(words: Sequence[str]) -> Timeframe | None:
    """The timeframe that a word without a number may mean: minute, daily."""
    return next(filter(None, (_counted(word) for word in words if len(word) >= _LONG_WORDS)), None)


def _is_month(words: Sequence[str]) -> bool:
    """Whether a number is followed by a year: it may be a month, and the rows tell the timeframe."""
    return len(words) > 1 and words[0].isdecimal() and bool(re.fullmatch(r"20\d\d", words[1]))


def _counted(word: str) -> Timeframe | None:
    match = _COUNTED.fullmatch(word)
    if match is None:
        return None
    unit, count = match["unit"] or match["letter"], int(match["count"] or match["behind"] or 1)
    if unit == "M" and match["count"]:  # 1M is a month, and 5M are minutes
        unit = "mo" if count == 1 else "m"
    if unit.lower() in _MONTH:
        return TIMEFRAMES["M"] if count == 1 else None
    step_ms = next((count * step for step, names in _UNIT.items() if unit.lower() in names), None)
    return next((each for each in TIMEFRAMES.values() if each.step_ms == step_ms), None) if step_ms else None
