"""The list of instruments: rows, filters, pages and the traps the real one has."""

import pytest

from collector.sandbox import Dialect
from collector.sandbox.market.listing import CATEGORIES

from .asking import DAY, NOW, Asker, asker

BOX = asker(count=60)
LINEAR = {
    *("symbol", "contractType", "status", "baseCoin", "quoteCoin", "symbolType", "launchTime", "deliveryTime"),
    *("deliveryFeeRate", "priceScale", "settleCoin", "copyTrading", "upperFundingRate", "lowerFundingRate"),
    *("displayName", "symbolId", "fundingInterval", "unifiedMarginTrade", "isPreListing", "forbidUplWithdrawal"),
    *("leverageFilter", "priceFilter", "lotSizeFilter", "riskParameters", "preListingInfo"),
}


def pages(box: Asker, **query: str | int) -> list[list[str]]:
    """All pages, following the cursor as the exchange gives it."""
    result = box.instruments(**query)
    found = [[row["symbol"] for row in result["list"]]]
    while result["nextPageCursor"]:
        result = box.instruments(**query, cursor=result["nextPageCursor"])
        found.append([row["symbol"] for row in result["list"]])
    return found


def test_every_instrument_has_a_symbol_id_of_its_own() -> None:
    box = asker(count=886)
    rows = [row for category in CATEGORIES for row in box.instruments(category=category, limit=1000)["list"]]
    ids = {row["symbolId"] for row in rows}
    assert len(ids) == len(rows) > 885
    assert all(0 < number < 2**31 for number in ids)
    again = asker(seed=2).instruments(category="linear", symbol="BTCUSDT")["list"]
    assert next(row["symbolId"] for row in rows if row["symbol"] == "BTCUSDT") == again[0]["symbolId"]


def test_symbols_are_sorted_and_only_trading_ones_are_listed() -> None:
    symbols = BOX.symbols(category="linear")
    assert symbols == sorted(symbols)
    assert len(symbols) == 59  # one of the sixty is still to be launched
    assert "ANTHROPICUSDT" not in symbols


def test_pages_follow_each_other_to_the_end() -> None:
    found = pages(BOX, category="linear", limit=25)
    assert [len(page) for page in found] == [25, 25, 9]
    assert [symbol for page in found for symbol in page] == BOX.symbols(category="linear")


def test_the_cursor_names_the_first_and_last_symbol_and_is_encoded() -> None:
    assert BOX.instruments(category="linear", limit=2)["nextPageCursor"] == "first%3D0GUSDT%26last%3D10000NFTUSDT"


def test_the_cursor_is_taken_once_or_twice_encoded() -> None:
    box = asker(count=60)
    token = box.instruments(category="linear", limit=2)["nextPageCursor"]
    twice = box.symbols(category="linear", limit=2, cursor=token)  # urlencode encodes it again
    once = box.json(f"/v5/market/instruments-info?category=linear&limit=2&cursor={token}")["result"]["list"]
    assert twice == [row["symbol"] for row in once] == ["1000PEPEUSDT", "1INCHUSDT"]
    assert dict(box.exchange.counts.cursors) == {"double": 1, "single": 1}


def test_five_hundred_come_by_default() -> None:
    assert [len(page) for page in pages(asker(count=886), category="linear")] == [500, 385]
    assert len(asker(count=886).symbols(category="linear", limit=1000)) == 885


def test_a_cursor_that_was_encoded_twice_may_lead_to_the_first_page_again() -> None:
    box = asker(dialect=Dialect(double_cursor="ignored"))
    first = box.instruments(category="linear", limit=2)
    assert box.instruments(category="linear", limit=2, cursor=first["nextPageCursor"])["list"] == first["list"]


def test_the_last_page_may_carry_a_cursor_after_all() -> None:
    box = asker(dialect=Dialect(last_cursor="filled"))
    result = box.instruments(category="linear", status="PreLaunch")
    assert result["nextPageCursor"] == "first%3DANTHROPICUSDT%26last%3DANTHROPICUSDT"
    assert box.instruments(category="linear", status="PreLaunch", cursor=result["nextPageCursor"])["list"] == []


def test_spot_has_no_pages() -> None:
    result = BOX.instruments(category="spot", limit=1, cursor="nonsense")
    assert list(result) == ["category", "list"]
    assert len(result["list"]) == 8


def test_a_linear_row_has_every_field_and_its_type() -> None:
    row = BOX.instruments(category="linear", symbol="BTCUSDT")["list"][0]
    assert set(row) == LINEAR
    numbers = {"symbolId": int, "fundingInterval": int}
    flags = {"unifiedMarginTrade": bool, "isPreListing": bool, "forbidUplWithdrawal": bool}
    for name, value in row.items():
        if isinstance(value, dict):
            assert all(isinstance(text, str) for text in value.values())
        elif name != "preListingInfo":
            assert type(value) is (numbers | flags).get(name, str), name
    assert row["priceFilter"]["tickSize"] == "0.1"
    assert row["lotSizeFilter"]["qtyStep"] == "0.001"
    assert (row["contractType"], row["deliveryTime"], row["preListingInfo"]) == ("LinearPerpetual", "0", None)


def test_a_spot_row_is_another_shape() -> None:
    row = BOX.instruments(category="spot", symbol="BTCUSDT")["list"][0]
    assert not {"contractType", "launchTime", "priceScale", "settleCoin"} & set(row)
    assert {"innovation", "marginTrading", "stTag", "symbolId", "symbolType"} < set(row)
    assert {"basePrecision", "quotePrecision"} < set(row["lotSizeFilter"])


def test_launch_time_is_not_the_first_candle() -> None:
    for symbol in ("BTCUSDT", "LTCUSDT", "0GUSDT"):
        launch = int(BOX.instruments(category="linear", symbol=symbol)["list"][0]["launchTime"])
        assert BOX.opens(symbol=symbol, interval="1", start=0, limit=1) != [launch]


def test_all_kinds_of_contract_are_there() -> None:
    rows = [*BOX.instruments(category="linear")["list"], *BOX.instruments(category="inverse")["list"]]
    kinds = {(row["contractType"], row["settleCoin"]) for row in rows}
    assert kinds > {("LinearPerpetual", "USDT"), ("LinearPerpetual", "USDC"), ("LinearFutures", "USDT")}
    assert kinds > {("LinearFutures", "USDC"), ("InversePerpetual", "BTC"), ("InverseFutures", "BTC")}


def test_a_symbol_to_be_launched_shows_its_phases() -> None:
    row = BOX.instruments(category="linear", status="PreLaunch")["list"][0]
    assert (row["symbol"], row["status"], row["isPreListing"]) == ("ANTHROPICUSDT", "PreLaunch", True)
    assert row["preListingInfo"]["curAuctionPhase"] == "NotStarted"


def test_it_trades_once_its_time_has_come() -> None:
    box = asker()
    box.exchange.clock.advance(4 * DAY)
    assert "ANTHROPICUSDT" in box.symbols(category="linear")
    assert box.opens(symbol="ANTHROPICUSDT", interval="1", limit=1)


def test_a_delisted_symbol_is_closed_and_keeps_its_candles() -> None:
    box = asker(delisted={"linear:SOLUSDT": NOW - DAY})
    assert "SOLUSDT" not in box.symbols(category="linear")
    assert box.symbols(category="linear", status="Closed") == ["SOLUSDT"]
    assert box.opens(symbol="SOLUSDT", interval="60", limit=1) == [(NOW - DAY) // 3_600_000 * 3_600_000]
    assert "SOLUSDT" in box.symbols(category="spot")


def test_a_future_is_delivering_before_it_is_closed() -> None:
    box = asker()
    name = next(symbol for symbol in box.symbols(category="linear") if symbol.startswith("BTCUSDT-"))
    delivery = int(box.instruments(category="linear", symbol=name)["list"][0]["deliveryTime"])
    box.exchange.clock.advance(delivery - NOW)
    assert name in box.symbols(category="linear", status="Delivering")


def test_a_coin_s_contracts_come_from_linear_and_inverse() -> None:
    symbols = BOX.symbols(category="linear", baseCoin="BTC")
    assert {"BTCUSDT", "BTCPERP", "BTCUSD"} < set(symbols)
    assert symbols == BOX.symbols(category="inverse", baseCoin="BTC")


def test_symbols_of_a_type_can_be_asked_for_in_every_category() -> None:
    assert BOX.symbols(category="linear", symbolType="stock") == ["AAPLUSDT"]
    assert BOX.symbols(category="inverse", symbolType="stock") == []
    assert BOX.symbols(category="spot", symbolType="stock") == []


def test_a_coin_and_a_symbol_together_are_both_asked_for() -> None:
    for category, symbol in (("linear", "BTCUSDT"), ("inverse", "BTCUSD")):
        assert BOX.symbols(category=category, symbol=symbol, baseCoin="BTC") == [symbol]
        assert BOX.symbols(category=category, symbol=symbol, baseCoin="ETH") == []


def test_an_unknown_symbol_is_refused_by_linear_and_nothing_to_spot() -> None:
    reply = BOX.json("/v5/market/instruments-info", category="linear", symbol="XAUUSD")
    assert (reply["retCode"], reply["retMsg"]) == (10001, "params error: symbol invalid")
    assert reply["result"] == {"category": "", "list": [], "nextPageCursor": ""}
    spot = BOX.json("/v5/market/instruments-info", category="spot", symbol="XAUUSD")
    assert (spot["retCode"], spot["result"]) == (0, {"category": "spot", "list": []})


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "Illegal category"),
        ({"category": "nope"}, "Illegal category"),
        ({"category": "linear", "status": "Resting"}, "params error: status invalid"),
    ],
)
def test_category_is_required_and_values_are_checked(query: dict[str, str], message: str) -> None:
    reply = BOX.json("/v5/market/instruments-info", **query)
    assert (reply["retCode"], reply["retMsg"]) == (10001, message)


def test_options_are_none_but_well_formed() -> None:
    result = BOX.instruments(category="option", baseCoin="BTC")
    assert result == {"category": "option", "list": [], "nextPageCursor": ""}


def test_named_symbols_are_all_there_is() -> None:
    box = asker(symbols=["BTCUSDT", "linear:FOOUSDT", "BTC-24MAY24"], listed={"FOOUSDT": NOW - DAY})
    assert box.symbols(category="linear") == ["BTC-24MAY24", "BTCUSDT", "FOOUSDT"]
    assert box.symbols(category="spot") == ["BTCUSDT"]
    assert box.symbols(category="inverse") == []
    assert box.opens(symbol="FOOUSDT", interval="1", start=0, limit=1) == [(NOW - DAY) // 60_000 * 60_000]


@pytest.mark.parametrize(
    "options",
    [{"symbols": ["btcusdt"]}, {"listed": {"NOPE": 1}}, {"symbols": ["moon:BTCUSDT"]}, {"delisted": {"BTCUSDT": 5}}],
)
def test_names_and_instants_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"symbol|category|delisted"):
        asker(**options)  # type: ignore[arg-type]
