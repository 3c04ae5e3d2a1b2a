"""What is listed on the exchange in a box: one value per instrument, with all that market and answers need to know.

Pure data. Whether a listing trades is a question about an instant, so it is asked with one.
"""

from typing import Literal, Protocol

import attrs

from collector.core import candle
from collector.core.candle import Timeframe

Category = Literal["linear", "inverse", "spot"]
CATEGORIES: tuple[Category, ...] = ("linear", "inverse", "spot")
Status = Literal["PreLaunch", "Trading", "Delivering", "Closed"]
FOREVER_MS = 1 << 62
DELIVERY_LASTS_MS = 30 * candle.MINUTE_MS  # the box's own choice: how long a future stays `Delivering`


def _minute(ms: int) -> int:
    return ms - ms % candle.MINUTE_MS


def _not_too_many(listing: "Listing", _: object, value: int) -> None:
    # The exchange prints turnover with at most so many decimals; ours are exact only if they fit.
    most = 16 if listing.category == "spot" else 8
    if listing.category != "inverse" and listing.price_decimals + value > most:
        raise ValueError(f"{listing.symbol}: decimals of price and volume together are more than {most}")


@attrs.frozen(eq=False)
class Listing:
    """One instrument. Times are exchange ms; `end_ms` is the instant of delisting, after which there is no candle."""

    category: Category
    symbol: str = attrs.field(converter=candle.symbol)
    base: str
    quote: str
    settle: str
    contract: str  # the exchange's contractType; for spot it is not shown
    listed_ms: int = attrs.field(converter=_minute)  # trading begins with this minute
    base_price: int  # in ticks; the middle of the path that prices take
    price_decimals: int
    volume_decimals: int = attrs.field(validator=_not_too_many)
    daily_volume: int  # in lots
    launch_ms: int  # what the exchange says as launchTime; not the first candle, on purpose
    end_ms: int = FOREVER_MS
    announced_ms: int = 0  # from then on it is shown, as PreLaunch until it trades
    quiet: int = 0  # how many minutes in 65536 have no trade
    symbol_type: str = ""

    @property
    def coin(self) -> int:
        """The turnover of one lot at a price of one tick, in 1e-8 coins, on inverse; 0 elsewhere."""
        return 10 ** (8 + self.price_decimals) if self.category == "inverse" else 0

    @property
    def turnover_decimals(self) -> int:
        return 8 if self.category == "inverse" else self.price_decimals + self.volume_decimals

    def status(self, now_ms: int) -> Status | None:
        """The exchange's status of it; None while nobody knows of it."""
        if now_ms < self.announced_ms:
            return None
        if now_ms < self.listed_ms:
            return "PreLaunch"
        if now_ms < self.end_ms:
            return "Trading"
        if self.contract.endswith("Futures") and now_ms < self.end_ms + DELIVERY_LASTS_MS:
            return "Delivering"
        return "Closed"


# A candle as the exchange prints it, its seven fields joined by commas: open time in ms, open, high, low, close,
# volume, turnover. One string, as thousands of them make one answer.
Row = str


@attrs.frozen
class Selection:
    """At most `limit` of the candles that open in [start, end): the newest of them, or the oldest."""

    start_ms: int
    end_ms: int
    limit: int
    newest: bool

    def of(self, rows: list[Row]) -> list[Row]:
        """What is selected of rows, oldest first, that are all within the span."""
        return rows[-self.limit :] if self.newest else rows[: self.limit]


class Source(Protocol):
    """Where candles come from: the made-up market or a directory of recorded ones."""

    def listings(self, category: Category) -> dict[str, Listing]:
        """All of a category by symbol, sorted by symbol."""

    def rows(self, listing: Listing, timeframe: Timeframe, start_ms: int, end_ms: int, now_ms: int) -> list[Row]:
        """The candles that open in [start, end), oldest first, as they stand at the instant; the last may be open."""

    def page(self, listing: Listing, timeframe: Timeframe, selection: Selection, now_ms: int) -> list[Row]:
        """The candles selected of those there are at the instant, oldest first; a gap among them is passed over."""
