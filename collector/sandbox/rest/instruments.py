"""The instruments list: rows, filters and pages.

Pure; as in https://bybit-exchange.github.io/docs/v5/market/instrument. Values are texts wherever the exchange has
texts, so that a client that expects a number fails here too.
"""

from collections.abc import Sequence
from typing import Any, cast

from collector.sandbox.market import noise
from collector.sandbox.market.listing import FOREVER_MS, Category, Listing, Source, Status
from collector.sandbox.market.prices import text
from collector.sandbox.rest import query as asked
from collector.sandbox.rest.query import Dialect, Query, Refusal

_STATUSES = ("PreLaunch", "Trading", "Delivering", "Closed")
_ODD_FIELDS: tuple[dict[str, Any], ...] = (
    {"contractType": None, "baseCoin": 7, "deliveryTime": None},
    {"launchTime": 1585526400000, "settleCoin": False, "priceFilter": None},
    {"quoteCoin": {}, "displayName": None, "status": None},
)
_ODD_ROWS: tuple[Any, ...] = (None, 7, [], {"symbol": None}, {"symbol": "SOONUSDT", "status": "PreLaunch"})
_EMPTY = {"category": "", "list": [], "nextPageCursor": ""}


def list_instruments(source: Source, dialect: Dialect, now_ms: int, query: Query) -> dict[str, Any]:
    """The `result` of the reply.

    Raises:
        Refusal: a parameter is missing or invalid, or a linear or inverse symbol is unknown.
    """
    if (
        query.get("category") == "option"
    ):  # served, and empty: the box has no options, but clients ask for them when they set up
        return {"category": "option", "list": [], "nextPageCursor": ""}
    category = asked.read_category(query.get("category", ""))
    chosen = _chosen(source, category, now_ms, query)
    if category == "spot":  # no pages: limit and cursor are ignored, and the key is not there
        return {"category": "spot", "list": [spot_row(listing) for listing in chosen]}
    size = asked.limit(query, dialect, 500)
    after = asked.read_cursor(query)
    if after is not None and after[1] == "double" and dialect.double_cursor == "ignored":
        after = None
    left = chosen if after is None else [listing for listing in chosen if listing.symbol > after[0]]
    page = left[:size]
    more = len(left) > size or (dialect.last_cursor == "filled" and bool(page))
    token = asked.cursor(page[0].symbol, page[-1].symbol) if more else ""
    return {"category": category, "list": [contract_row(listing, now_ms) for listing in page], "nextPageCursor": token}


def with_closed(result: dict[str, Any], symbols: Sequence[str]) -> dict[str, Any]:
    """The list with these symbols `Closed`."""
    rows = [{**row, "status": "Closed"} if row["symbol"] in symbols else row for row in result["list"]]
    return {**result, "list": rows}


def with_odd_rows(result: dict[str, Any]) -> dict[str, Any]:
    """The list with values of other types and with rows of unknown symbols."""
    rows = [{**row, **_ODD_FIELDS[place % len(_ODD_FIELDS)]} for place, row in enumerate(result["list"])]
    return {**result, "list": [*_ODD_ROWS, *rows]}


def _chosen(source: Source, category: Category, now_ms: int, query: Query) -> list[Listing]:
    known = _known(source, category, now_ms)
    symbol, base, kind = (query.get(name) for name in ("symbol", "baseCoin", "symbolType"))
    if symbol and category != "spot" and symbol not in known:  # spot answers with an empty list instead
        raise Refusal("params error: symbol invalid", _EMPTY)
    if base and category != "spot":
        # With baseCoin both linear and inverse return the USDT, USDC and inverse contracts of the coin.
        known |= _known(source, "inverse" if category == "linear" else "linear", now_ms)
        known = {name: known[name] for name in sorted(known) if known[name].base == base}
    status = query.get("status") or "Trading"  # the default leaves out everything else
    if status not in _STATUSES:
        raise Refusal("params error: status invalid")
    return [
        listing
        for listing in known.values()
        if listing.status(now_ms) == status
        and (not symbol or listing.symbol == symbol)
        and (not kind or listing.symbol_type == kind)
    ]


def _known(source: Source, category: Category, now_ms: int) -> dict[str, Listing]:
    listings = source.listings(category)
    return {name: listing for name, listing in listings.items() if listing.status(now_ms) is not None}


def contract_row(listing: Listing, now_ms: int) -> dict[str, Any]:
    """A linear or inverse instrument."""
    tick = text(1, listing.price_decimals)
    status = cast(Status, listing.status(now_ms))
    return {
        "symbol": listing.symbol,
        "contractType": listing.contract,
        "status": status,
        "baseCoin": listing.base,
        "quoteCoin": listing.quote,
        "symbolType": listing.symbol_type,
        "launchTime": str(listing.launch_ms),
        "deliveryTime": str(listing.end_ms) if listing.end_ms < FOREVER_MS else "0",
        "deliveryFeeRate": "",
        "priceScale": str(listing.price_decimals),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": tick,
            "maxPrice": text(listing.base_price * 20, listing.price_decimals),
            "tickSize": tick,
        },
        "lotSizeFilter": _lot_size_filter(listing),
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": listing.settle,
        "copyTrading": "none",
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "isPreListing": status == "PreLaunch",
        "preListingInfo": _pre_listing(listing) if status == "PreLaunch" else None,
        "riskParameters": {"priceLimitRatioX": "0.05", "priceLimitRatioY": "0.1"},
        "displayName": "",
        "forbidUplWithdrawal": False,
        "symbolId": _symbol_id(listing),
    }


def _lot_size_filter(listing: Listing) -> dict[str, str]:
    most, decimals = listing.daily_volume // 100 + 1, listing.volume_decimals
    return {
        "maxOrderQty": text(most, decimals),
        "minOrderQty": text(1, decimals),
        "qtyStep": text(1, decimals),
        "postOnlyMaxOrderQty": text(most, decimals),
        "maxMktOrderQty": text(most // 5 + 1, decimals),
        "minNotionalValue": "5",
    }


def _symbol_id(listing: Listing) -> int:
    """A number per symbol, the same in every run.

    Of 4000 lists of 1000 symbols, one has a number twice.
    """
    digest = noise.key_of("symbolId", listing.category, listing.symbol)
    return int.from_bytes(digest[:4], "little") % (2**31 - 1) + 1


def _pre_listing(listing: Listing) -> dict[str, Any]:
    return {
        "curAuctionPhase": "NotStarted",
        "phases": [
            {"phase": "NotStarted", "startTime": str(listing.announced_ms), "endTime": str(listing.listed_ms)},
            {"phase": "ContinuousTrading", "startTime": str(listing.listed_ms), "endTime": ""},
        ],
        "auctionFeeInfo": {"auctionFeeRate": "0", "takerFeeRate": "0.001", "makerFeeRate": "0.0004"},
        "skipCallAuction": False,
    }


def spot_row(listing: Listing) -> dict[str, Any]:
    """A spot pair: no contractType, launchTime, priceScale or settleCoin."""
    step = text(1, listing.volume_decimals)
    most = text(listing.daily_volume // 100 + 1, listing.volume_decimals)
    return {
        "symbolId": _symbol_id(listing),
        "symbol": listing.symbol,
        "baseCoin": listing.base,
        "quoteCoin": listing.quote,
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": step,
            "quotePrecision": text(1, listing.turnover_decimals),
            "minOrderQty": step,
            "maxOrderQty": most,
            "minOrderAmt": "5",
            "maxOrderAmt": "4000000",
            "maxLimitOrderQty": most,
            "maxMarketOrderQty": most,
            "postOnlyMaxLimitOrderSize": most,
        },
        "priceFilter": {"tickSize": text(1, listing.price_decimals)},
        "riskParameters": {"priceLimitRatioX": "0.05", "priceLimitRatioY": "0.1"},
        "symbolType": listing.symbol_type,
    }
