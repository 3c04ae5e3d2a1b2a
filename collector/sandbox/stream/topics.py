"""Topics of the stream: parses `kline.1.BTCUSDT`, or says what is wrong.

Pure. A topic is known while its symbol trades in the category of the connection; one that is unlisted, delisted or of
another category is refused like a misspelt one.
"""

from typing import Literal

import attrs

from collector.core.candle import TIMEFRAMES, Timeframe
from collector.sandbox.market.listing import Category, Listing, Source

Unknown = Literal["topic", "interval", "symbol"]
"""What is wrong with a text that is no topic; only spot says it."""


@attrs.frozen
class Topic:
    """One series of the stream of one category."""

    text: str
    listing: Listing
    timeframe: Timeframe

    @property
    def category(self) -> Category:
        return self.listing.category


def read_topic(text: str, category: Category, source: Source, now_ms: int) -> Topic | Unknown:
    """The topic of a text at an instant, or what is wrong with it.

    Only candles are served.
    """
    name, _, rest = text.partition(".")
    interval, _, symbol = rest.partition(".")
    if name != "kline":
        return "topic"
    if interval not in TIMEFRAMES:
        return "interval"
    listing = source.listings(category).get(symbol)
    if listing is None or listing.status(now_ms) != "Trading":
        return "symbol"
    return Topic(text, listing, TIMEFRAMES[interval])
