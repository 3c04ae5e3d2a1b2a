"""The default listings: a small exchange with names, ages and prices of every kind.

Pure: listings depend on names, a seed and the instant at which the box's clock starts. Names are real ones, so that
a script written for the exchange finds them; prices and volumes are of the right magnitude.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice, product
from typing import Literal

import attrs

from collector.core.candle import DAY_MS, MINUTE_MS
from collector.sandbox.market import noise
from collector.sandbox.market.listing import CATEGORIES, Category, Listing
from collector.sandbox.market.shapes import futures, places, read_shape

# Base coin: a price in dollars to begin from, decimals of price and of volume, dollars traded in a day.
_COINS: dict[str, tuple[float, int, int, int]] = {
    "BTC": (64_000, 1, 3, 6_000_000_000),
    "ETH": (2_600, 2, 2, 3_000_000_000),
    "SOL": (150, 3, 1, 900_000_000),
    "XRP": (0.6, 4, 0, 400_000_000),
    "LTC": (85, 2, 1, 60_000_000),
    "0G": (3.1, 4, 0, 20_000_000),
    "1INCH": (0.4, 4, 1, 4_000_000),
    "1000PEPE": (0.0112, 7, 0, 250_000_000),
    "10000NFT": (0.0049, 7, 0, 1_500_000),
    "SHIB1000": (0.0182, 6, 0, 40_000_000),
    "DOGS": (0.00052, 7, 0, 6_000_000),
    "BTT": (0.00000123, 8, 0, 900_000),
    "PAXG": (2_700, 2, 3, 9_000_000),
    "AAPL": (227, 2, 2, 12_000_000),
    "USDC": (1.0, 4, 1, 3_000_000),
    "ANTHROPIC": (310, 2, 2, 2_000_000),
    "YFI": (7_600, 0, 4, 3_000_000),
    "PUMPBTC": (0.061, 5, 0, 500_000),
}
# On spot some have other decimals of price and volume, so that a turnover has up to 16.
_SPOT_DECIMALS = {"BTC": (2, 6), "ETH": (2, 5), "SOL": (2, 3), "XRP": (4, 2), "0G": (8, 8), "BTT": (10, 6)}
# Name, first minute of trading in real life, and the least age in days the box gives it; the newest are only that old.
_DEFAULT: dict[Category, tuple[tuple[str, str | None, int], ...]] = {
    "linear": (
        ("BTCUSDT", "2020-03-25T10:36", 900),
        ("ETHUSDT", "2020-10-21T07:04", 800),
        ("LTCUSDT", "2020-10-21T07:09", 790),
        ("XRPUSDT", "2021-05-13T08:31", 700),
        ("SOLUSDT", "2021-06-29T06:02", 650),
        ("1INCHUSDT", "2021-11-10T09:15", 500),
        ("SHIB1000USDT", "2021-05-12T11:48", 480),
        ("BTCPERP", "2022-08-09T08:30", 420),
        ("10000NFTUSDT", "2022-03-16T10:11", 400),
        ("1000PEPEUSDT", "2023-05-05T08:17", 300),
        ("YFIUSDT", "2021-09-23T07:52", 290),
        ("USDCUSDT", "2024-02-08T09:30", 240),
        ("PAXGUSDT", None, 180),
        ("DOGSUSDT", None, 120),
        ("AAPLUSDT", None, 60),
        ("BTTUSDT", None, 45),
        ("0GUSDT", None, 9),
        ("PUMPBTCUSDT", None, 3),
        ("ANTHROPICUSDT", None, -2),  # announced, not yet trading
    ),
    "inverse": (
        ("BTCUSD", "2018-11-14T16:21", 1200),
        ("ETHUSD", "2019-01-25T04:03", 1100),
        ("XRPUSD", "2019-10-17T06:47", 1000),
    ),
    "spot": (
        ("BTCUSDT", "2021-07-05T12:00", 880),
        ("ETHUSDT", "2021-07-05T12:00", 870),
        ("SOLUSDT", "2021-10-14T10:00", 640),
        ("XRPUSDT", "2021-07-20T10:00", 630),
        ("BTCUSDC", "2022-05-11T09:20", 410),
        ("USDCUSDT", "2022-03-31T10:00", 380),
        ("PAXGUSDT", None, 170),
        ("0GUSDT", None, 8),
    ),
}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def universe(
    seed: int,
    start_ms: int,
    symbols: Iterable[str] | None = None,
    count: int | None = None,
    listed: Mapping[str, int] | None = None,
    delisted: Mapping[str, int] | None = None,
) -> list[Listing]:
    """The listings of all categories.

    Args:
        symbols: only these, as `SYMBOL` (in the categories its shape belongs to) or `category:SYMBOL`.
        count: how many linear symbols there are in all; made-up ones are added to the usual ones, or some left out.
        listed: the instants at which trading begins, by `SYMBOL` or `category:SYMBOL`, where the usual ones do not do.
        delisted: the same for the end of trading.

    Raises:
        ValueError: a name can be no symbol, an instant is given for none of the symbols, or it ends before it begins.
    """
    if symbols is None:
        made = [listing for category in CATEGORIES for listing in _usual(seed, start_ms, category)]
        made = made if count is None else _counted(seed, start_ms, made, count)
    else:
        wanted = {place for name in symbols for place in places(name)}
        usual = {
            (listing.category, listing.symbol): listing
            for category in CATEGORIES
            for listing in _usual(seed, start_ms, category)
        }
        made = [usual.get(place) or _with_age(seed, start_ms, *place, None, None) for place in sorted(wanted)]
    return _dated(_dated(made, "listed_ms", listed or {}), "end_ms", delisted or {})


def _usual(seed: int, start_ms: int, category: Category) -> list[Listing]:
    listings = [_with_age(seed, start_ms, category, *row) for row in _DEFAULT[category]]
    names = futures(category, datetime.fromtimestamp(start_ms / 1000, UTC))
    return [*listings, *(_with_age(seed, start_ms, category, name, None, 75) for name in names)]


def _counted(seed: int, start_ms: int, usual: list[Listing], count: int) -> list[Listing]:
    """As many linear symbols as asked for; the first of the usual list stay, the other categories are untouched."""
    linear = [listing for listing in usual if listing.category == "linear"][:count]
    taken = {listing.symbol for listing in linear}
    names = (f"{name}USDT" for name in _coin_names() if f"{name}USDT" not in taken)
    more = [_with_age(seed, start_ms, "linear", name, None, None) for name in islice(names, count - len(linear))]
    return [*linear, *more, *(listing for listing in usual if listing.category != "linear")]


def _coin_names() -> Iterator[str]:
    """Pronounceable names, spread over the alphabet."""
    for tail, middle, head in product("NXROKLT", "AEIOU", _LETTERS):
        yield f"{head}{middle}{tail}"
    for tail, middle, head in product("NARO", "AEIOU", _LETTERS):
        yield from (f"{head}{middle}{letter}{tail}" for letter in "BDFGKLMNPRSTVZ")


def _with_age(
    seed: int, start_ms: int, category: Category, symbol: str, since: str | None, age_days: int | None
) -> Listing:
    """A listing that is at least so many days old when the box starts (from the seed, if nobody says)."""
    key = noise.key_of(seed, "listing", category, symbol)
    if age_days is None:
        age_days = 2 + int(1500 * noise.share(key, "age") ** 2)
    listed = start_ms - age_days * DAY_MS - int(noise.share(key, "minute") * 600) * MINUTE_MS
    if since is not None:
        listed = min(listed, int(datetime.fromisoformat(since).replace(tzinfo=UTC).timestamp()) * 1000)
    listed -= listed % MINUTE_MS
    made = _shaped(key, category, symbol, listed)
    if age_days < 0:
        return attrs.evolve(made, announced_ms=start_ms - DAY_MS)
    return made


def _shaped(key: bytes, category: Category, symbol: str, listed_ms: int) -> Listing:
    shape = read_shape(category, symbol)
    if shape.delivery_ms < listed_ms:
        listed_ms = shape.delivery_ms - 90 * DAY_MS
    dollars, price_decimals, volume_decimals, daily = _COINS.get(shape.base) or _invented(key)
    if category == "spot":
        price_decimals, volume_decimals = _SPOT_DECIMALS.get(shape.base, (price_decimals, volume_decimals))
    if category == "inverse":
        volume_decimals = 0  # contracts of one dollar
    lots = daily // 4 if category == "inverse" else int(daily / dollars * 10**volume_decimals)
    # Not the first candle's time: the exchange gives dates before it and even after it.
    launch = listed_ms - listed_ms % DAY_MS + int(noise.share(key, "launch") * 40 - 30) * DAY_MS
    return Listing(
        category=category,
        symbol=symbol,
        base=shape.base,
        quote=shape.quote,
        settle=shape.settle,
        contract=shape.contract,
        listed_ms=listed_ms,
        base_price=max(1, round(dollars * 10**price_decimals)),
        price_decimals=price_decimals,
        volume_decimals=volume_decimals,
        daily_volume=max(1, lots),
        launch_ms=launch,
        end_ms=shape.delivery_ms,
        quiet=_quietness(daily, category),
        symbol_type="stock" if shape.base == "AAPL" else "",
    )


def _quietness(daily_dollars: int, category: Category) -> int:
    """Majors trade in nearly every minute, small ones leave out many."""
    quiet = 40 if daily_dollars >= 300_000_000 else 2_000 if daily_dollars >= 30_000_000 else 14_000
    if daily_dollars < 1_000_000:
        quiet = 40_000
    return quiet if category == "linear" else min(quiet * 4, 45_000)


def _invented(key: bytes) -> tuple[float, int, int, int]:
    """A coin nobody knows: any price from thousandths of a cent to hundreds of dollars, with five digits."""
    decimals = 2 + int(noise.share(key, "decimals") * 6)
    dollars = 10 ** (4 - decimals) * (1 + 8 * noise.share(key, "price"))
    daily = int(200_000 * 2000 ** noise.share(key, "volume"))
    return dollars, decimals, 1 if dollars > 1 else 0, daily


def _dated(
    listings: list[Listing], field: Literal["listed_ms", "end_ms"], instants: Mapping[str, int]
) -> list[Listing]:
    """The listings with an instant put in by name."""
    left = {place: at_ms for name, at_ms in instants.items() for place in _present(listings, name)}
    changed: list[Listing] = []
    for listing in listings:
        at_ms = left.get((listing.category, listing.symbol))
        if at_ms is not None and field == "listed_ms":
            listing = attrs.evolve(listing, listed_ms=at_ms)
        elif at_ms is not None:
            listing = attrs.evolve(listing, end_ms=at_ms)
        if listing.end_ms <= listing.listed_ms:
            raise ValueError(f"{listing.symbol} would be delisted before it is listed")
        changed.append(listing)
    return changed


def _present(listings: list[Listing], name: str) -> list[tuple[Category, str]]:
    category, _, symbol = name.rpartition(":")
    found = [
        (listing.category, listing.symbol)
        for listing in listings
        if listing.symbol == symbol and category in ("", listing.category)
    ]
    if not found:
        raise ValueError(f"{name!r} is given an instant, but the box has no such symbol")
    return found
