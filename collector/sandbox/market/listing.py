"""Instruments of the sandbox: one value each, and the source protocol.

Pure data. Whether a listing trades depends on an instant, which is an argument.
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
    """One instrument, times in exchange ms; candles end at `end_ms`."""

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
        """On inverse, the turnover of one lot at one tick, in 1e-8 coins; else 0."""
        return 10 ** (8 + self.price_decimals) if self.category == "inverse" else 0

    @property
    def turnover_decimals(self) -> int:
        return 8 if self.category == "inverse" else self.price_decimals + self.volume_decimals

    def status(self, now_ms: int) -> Status | None:
        """The exchange's status of it; None before its announcement."""
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
    """At most `limit` candles that open in [start, end), the newest or the oldest."""

    start_ms: int
    end_ms: int
    limit: int
    newest: bool

    def of(self, rows: list[Row]) -> list[Row]:
        """The selection from rows within the span, oldest first."""
        return rows[-self.limit :] if self.newest else rows[: self.limit]


def opened_ms(row: Row) -> int:
    """When a row's candle opens."""
    return int(row.partition(",")[0])


class Source(Protocol):
    """A source of candles: the generated market, or a directory of recorded ones."""

    def listings(self, category: Category) -> dict[str, Listing]:
        """A category's listings by symbol, sorted."""

    def rows(self, listing: Listing, timeframe: Timeframe, start_ms: int, end_ms: int, now_ms: int) -> list[Row]:
        """Candles that open in [start, end) as of now, oldest first.

        The last may be in progress.
        """

    def page(self, listing: Listing, timeframe: Timeframe, selection: Selection, now_ms: int) -> list[Row]:
        """The selection among existing candles, oldest first, gaps skipped."""
