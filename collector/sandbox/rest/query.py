"""Parses query parameters as the exchange does, or refuses them.

Pure. Refusals are business errors: HTTP 200 with a retCode (https://bybit-exchange.github.io/docs/v5/error).
"""

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qs, parse_qsl, unquote

import attrs

from collector.core.candle import TIMEFRAMES, Timeframe
from collector.sandbox.market.listing import CATEGORIES, Category, Listing, Source

Query = Mapping[str, str]
PARAMETER_ERROR = 10001
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")  # what fits the exchange's 64 bits


def _one_of(*values: str) -> Any:
    return attrs.field(default=values[0], validator=attrs.validators.in_(values))


@attrs.frozen
class Dialect:
    """Behaviour that the exchange's documents leave open, one way or the other."""

    over_limit: Literal["clamp", "refuse"] = _one_of("clamp", "refuse")  # a limit that is not in 1..1000
    odd_range: Literal["empty", "refuse"] = _one_of("empty", "refuse")  # start after end, or in the future
    last_cursor: Literal["empty", "filled"] = _one_of(
        "empty", "filled"
    )  # whether a short last page carries a cursor; seen both ways
    double_cursor: Literal["understood", "ignored"] = _one_of(
        "understood", "ignored"
    )  # a cursor that was encoded twice; ignored, it leads to the first page again
    missing_candles: Literal["short", "padded"] = _one_of(
        "short", "padded"
    )  # a range in which candles are missing; padded with earlier ones where a spot pair was relisted
    refused_result: Literal["empty", "shaped"] = _one_of(
        "empty", "shaped"
    )  # `result` of a kline question for an unknown symbol


class Refusal(Exception):
    """A refusal: code, text and `result`."""

    def __init__(self, message: str, result: object = None, code: int = PARAMETER_ERROR) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.result = {} if result is None else result


@attrs.frozen
class Asked:
    """A parsed request for candles; `category` is the label of the answer."""

    category: Category
    listing: Listing
    timeframe: Timeframe
    start_ms: int | None
    end_ms: int | None
    limit: int


def read_query(text: str) -> Query:
    """URL parameters; the first of a repeated name counts, empty values are dropped."""
    return dict(reversed(parse_qsl(text)))


def read_kline(query: Query, source: Source, dialect: Dialect, now_ms: int) -> Asked:
    """Parses a request for candles (docs: market/kline); other names are ignored.

    Raises:
        Refusal: a parameter is missing or invalid.
    """
    # Its own words: seen for options, https://github.com/JKorf/Bybit.Net/issues/229.
    category = read_category(query.get("category", "linear"), "params error: Category is invalid")
    interval = query.get("interval", "")
    if interval not in TIMEFRAMES:
        raise Refusal("Invalid period!")
    symbol = query.get("symbol", "")
    listing = source.listings(category).get(symbol)
    if listing is None and category == "inverse":  # seen: it has the candles of linear ones, and labels them inverse
        listing = source.listings("linear").get(symbol)
    if listing is None or listing.status(now_ms) is None:
        # Both were seen; the lists of instruments have a text of their own.
        text = "Not supported symbols" if category == "spot" else "params error: Symbol Is Invalid"
        shaped = {"category": "", "symbol": "", "list": []}
        raise Refusal(text, shaped if dialect.refused_result == "shaped" else None)
    return Asked(
        category,
        listing,
        TIMEFRAMES[interval],
        number(query, "start"),
        number(query, "end"),
        limit(query, dialect, 200),
    )


def read_category(text: str, refusal: str = "Illegal category") -> Category:
    """The category.

    Raises:
        Refusal: the category is unknown.
    """
    for category in CATEGORIES:
        if category == text:
            return category
    raise Refusal(refusal)


def number(query: Query, name: str) -> int | None:
    """A whole number, or None if it is absent.

    Raises:
        Refusal: it is something else.
    """
    text = query.get(name)
    if text is None:
        return None
    if not _WHOLE.fullmatch(text):
        raise Refusal(f"params error: {name} invalid")
    return int(text)


def limit(query: Query, dialect: Dialect, default: int) -> int:
    """The page's length, from 1 to 1000."""
    wanted = number(query, "limit")
    if wanted is None:
        return default
    if not 1 <= wanted <= 1000 and dialect.over_limit == "refuse":
        raise Refusal("params error: limit invalid")
    return min(max(wanted, 1), 1000)


def cursor(first: str, last: str) -> str:
    """The exchange's page cursor: first and last symbol, URL-encoded."""
    return f"first%3D{first}%26last%3D{last}"


def read_cursor(query: Query) -> tuple[str, Literal["single", "double"]] | None:
    """The symbol after which the page begins, and how often the token was encoded.

    Clients that put the token into the URL as they got it encode it once, those that treat it as a parameter twice.
    """
    token = query.get("cursor")
    if token is None:
        return None
    fields = parse_qs(unquote(token))
    if "last" not in fields:
        raise Refusal("params error: cursor invalid")
    return fields["last"][0], "double" if "%" in token else "single"
