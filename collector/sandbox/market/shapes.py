"""Parses symbols: coins, contract kind, categories and delivery.

Pure. Names are built as in https://bybit-exchange.github.io/docs/v5/enum#symbol: `BTCUSDT`, `BTCPERP`,
`BTCUSDT-25DEC26`, `BTC-25DEC26`, `BTCUSD`, `BTCUSDZ26`.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs

from collector.sandbox.market.listing import CATEGORIES, FOREVER_MS, Category

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_QUARTERS = {3: "H", 6: "M", 9: "U", 12: "Z"}
_DATED = re.compile(rf"-(\d{{1,2}})({'|'.join(_MONTHS)})(\d{{2}})$")
_QUARTERLY = re.compile(r"USD([HMUZ])(\d{2})$")
_DELIVERY_HOUR = 8  # UTC


@attrs.frozen
class Shape:
    """What a name says of its instrument."""

    base: str
    quote: str
    settle: str
    contract: str
    delivery_ms: int = FOREVER_MS


def places(name: str) -> list[tuple[Category, str]]:
    """The categories and the symbol of `linear:BTCUSDT`, or of `BTCUSDT` by its shape.

    Raises:
        ValueError: the category is unknown.
    """
    prefix, colon, symbol = name.rpartition(":")
    if colon:
        found: list[tuple[Category, str]] = [(category, symbol) for category in CATEGORIES if category == prefix]
        if not found:
            raise ValueError(f"{name!r}: there is no category {prefix!r}, only {' '.join(CATEGORIES)}")
        return found
    if "-" in symbol or symbol.endswith("PERP"):
        return [("linear", symbol)]
    if symbol.endswith("USDT"):
        return [("linear", symbol), ("spot", symbol)]
    if symbol.endswith("USD") or _QUARTERLY.search(symbol):
        return [("inverse", symbol)]
    return [("spot", symbol)]


def read_shape(category: Category, symbol: str) -> Shape:
    """The shape of a symbol; an unknown one counts as a coin against USDT.

    Raises:
        ValueError: the name holds an impossible date.
    """
    if category == "spot":
        return _pair(symbol)
    if dated := _DATED.search(symbol):
        head = symbol[: dated.start()]
        base, settle = (head.removesuffix("USDT"), "USDT") if head.endswith("USDT") else (head, "USDC")
        day = datetime(2000 + int(dated[3]), _MONTHS.index(dated[2]) + 1, int(dated[1]), tzinfo=UTC)
        return Shape(base, settle, settle, "LinearFutures", _delivery_ms(day))
    if quarterly := _QUARTERLY.search(symbol):
        month = next(month for month, letter in _QUARTERS.items() if letter == quarterly[1])
        base = symbol[: quarterly.start()]
        return Shape(base, "USD", base, "InverseFutures", _delivery_ms(_last_friday(2000 + int(quarterly[2]), month)))
    if category == "inverse":
        base = symbol.removesuffix("USD")
        return Shape(base, "USD", base, "InversePerpetual")
    if symbol.endswith("PERP"):
        return Shape(symbol.removesuffix("PERP"), "USDC", "USDC", "LinearPerpetual")
    return attrs.evolve(_pair(symbol), contract="LinearPerpetual")


def futures(category: Category, today: datetime) -> list[str]:
    """The names of the two coming quarters' futures on Bitcoin."""
    names: list[str] = []
    for last in _quarter_ends(today):
        if category == "linear":
            date = f"{last.day}{_MONTHS[last.month - 1]}{last.year % 100:02d}"
            names += [f"BTCUSDT-{date}", f"BTC-{date}"]
        elif category == "inverse":
            names.append(f"BTCUSD{_QUARTERS[last.month]}{last.year % 100:02d}")
    return names


def _pair(symbol: str) -> Shape:
    for quote in ("USDT", "USDC", "USD", "EUR", "BTC"):
        if symbol.endswith(quote) and symbol != quote:
            return Shape(symbol.removesuffix(quote), quote, quote, "")
    return Shape(symbol, "USDT", "USDT", "")


def _delivery_ms(day: datetime) -> int:
    return int(day.replace(hour=_DELIVERY_HOUR).timestamp()) * 1000


def _quarter_ends(today: datetime) -> Iterator[datetime]:
    """The next two days of delivery that are at least two weeks away."""
    found = 0
    for number in range(today.year * 12 + today.month - 1, (today.year + 2) * 12):
        year, month = number // 12, number % 12 + 1
        if month in _QUARTERS and found < 2 and _last_friday(year, month) > today + timedelta(days=14):
            found += 1
            yield _last_friday(year, month)


def _last_friday(year: int, month: int) -> datetime:
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    last = following - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - 4) % 7)
