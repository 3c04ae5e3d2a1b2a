"""The made-up market: any candle at random, coarse ones exactly what their minutes make, open ones on their way."""

from decimal import Decimal
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import DAY_MS, MINUTE_MS, TIMEFRAMES, Timeframe
from collector.sandbox.market.bars import Bar, join
from collector.sandbox.market.listing import Category, Listing
from collector.sandbox.market.market import Market
from collector.sandbox.market.prices import exact_rows_of, rows_of
from collector.sandbox.market.universe import universe

NOW = 1_714_567_890_123  # 2024-05-01 12:51:30.123
MINUTE = TIMEFRAMES["1"]
PLACES: list[tuple[Category, str]] = [
    ("linear", "BTCUSDT"),
    ("linear", "BTTUSDT"),
    ("linear", "0GUSDT"),
    ("inverse", "BTCUSD"),
    ("spot", "BTCUSDT"),
]
SHORT = [name for name in TIMEFRAMES if name not in ("W", "M")]

places = st.sampled_from(PLACES)
timeframes = st.sampled_from([TIMEFRAMES[name] for name in SHORT])


@cache
def market(seed: int = 7) -> Market:
    return Market(seed, universe(seed, NOW))


def listing(place: tuple[Category, str], seed: int = 7) -> Listing:
    category, symbol = place
    return market(seed).listings(category)[symbol]


def candle(of: Listing, timeframe: Timeframe, open_ms: int, now_ms: int = NOW, seed: int = 7) -> Bar:
    opens, bars = market(seed).bars(of, timeframe, open_ms, open_ms + 1, now_ms)
    assert opens == [open_ms]
    return bars[0]


def minutes(of: Listing, start_ms: int, end_ms: int, now_ms: int = NOW, seed: int = 7) -> list[Bar]:
    return market(seed).bars(of, MINUTE, start_ms, end_ms, now_ms)[1]


@given(st.integers(0, 5), places, timeframes, st.integers(0, 8 * DAY_MS))
def test_a_candle_is_what_its_minutes_make(
    seed: int, place: tuple[Category, str], timeframe: Timeframe, back: int
) -> None:
    of = listing(place, seed)
    start = timeframe.floor(NOW - DAY_MS - back)
    got = candle(of, timeframe, start, seed=seed)
    assert got == join(minutes(of, start, timeframe.close(start), seed=seed))


@pytest.mark.parametrize("name", ["W", "M"])
@pytest.mark.parametrize("place", PLACES[:3])
def test_weeks_and_months_are_what_their_minutes_make(place: tuple[Category, str], name: str) -> None:
    of = listing(place)
    start = TIMEFRAMES[name].shift(TIMEFRAMES[name].floor(NOW), 0 if place[1] == "0GUSDT" else -1)
    got = candle(of, TIMEFRAMES[name], start)
    assert got == join(minutes(of, max(start, of.listed_ms), min(TIMEFRAMES[name].close(start), NOW)))


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_history_begins_with_the_minute_of_listing(name: str) -> None:
    of, timeframe = listing(("linear", "0GUSDT")), TIMEFRAMES[name]
    opens, bars = market().bars(of, timeframe, 0, NOW, NOW)
    assert opens[0] == timeframe.floor(of.listed_ms)
    assert bars[0] == join(minutes(of, 0, timeframe.close(opens[0])))


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_history_ends_with_the_delisting(name: str) -> None:
    end = NOW - 3 * DAY_MS - NOW % MINUTE_MS
    of = next(
        made for made in universe(7, NOW, ["linear:SOLUSDT"], delisted={"SOLUSDT": end}) if made.symbol == "SOLUSDT"
    )
    opens, bars = market().bars(of, TIMEFRAMES[name], end - 40 * DAY_MS, NOW, NOW)
    assert opens[-1] == TIMEFRAMES[name].floor(end - 1)
    assert bars[-1] == join(minutes(of, opens[-1], NOW))


@given(places, timeframes, st.integers(0, 400))
def test_one_candle_alone_is_the_same_as_in_a_long_page(
    place: tuple[Category, str], timeframe: Timeframe, at: int
) -> None:
    of = listing(place)
    last = timeframe.floor(NOW)
    opens, bars = market().bars(of, timeframe, timeframe.shift(last, -400), last + 1, NOW)
    at = min(at, len(opens) - 1)
    fresh = Market(7, universe(7, NOW))
    alone = fresh.bars(of, timeframe, opens[at], opens[at] + 1, NOW)
    assert alone == ([opens[at]], [bars[at]])


@given(places, st.integers(0, 3000))
def test_a_minute_opens_where_the_one_before_closed(place: tuple[Category, str], back: int) -> None:
    bars = minutes(listing(place), NOW - (back + 3) * MINUTE_MS, NOW - back * MINUTE_MS)
    assert [bar[0] for bar in bars[1:]] == [bar[3] for bar in bars[:-1]]


@given(places, st.sampled_from(["1", "5", "60", "D"]), st.integers(0, 2000))
def test_a_candle_in_progress_only_grows_into_its_final_state(
    place: tuple[Category, str], name: str, back: int
) -> None:
    of, timeframe = listing(place), TIMEFRAMES[name]
    start = timeframe.floor(NOW - DAY_MS - back * MINUTE_MS)
    length = timeframe.close(start) - start
    states = [candle(of, timeframe, start, start + length * part // 7) for part in range(8)]
    opened, _, _, _, volume, turnover = states[0]
    assert (volume, turnover) == (0, 0)
    for before, after in pairwise(states):
        assert after[0] == opened
        assert (after[1] >= before[1], after[2] <= before[2], after[4] >= before[4], after[5] >= before[5]) == (
            True,
        ) * 4
    assert states[-1] == candle(of, timeframe, start)


def test_the_candle_in_progress_is_the_last_one() -> None:
    opens, _ = market().bars(listing(PLACES[0]), MINUTE, NOW - 3 * MINUTE_MS, NOW + DAY_MS, NOW)
    assert opens[-1] == MINUTE.floor(NOW)


def test_another_seed_is_another_market() -> None:
    assert candle(listing(PLACES[0]), MINUTE, 1_700_000_040_000) != candle(
        listing(PLACES[0], 8), MINUTE, 1_700_000_040_000, seed=8
    )


def test_the_same_seed_is_the_same_market_for_ever() -> None:
    of = listing(("linear", "BTCUSDT"))
    rows = market().rows(of, MINUTE, 1_700_000_040_000, 1_700_000_040_001, NOW)
    assert rows == ["1700000040000,73444.3,73445.6,73374.5,73399.4,30.156,2214056.5795"]


def test_majors_trade_nearly_always_and_quiet_ones_do_not() -> None:
    day = NOW - 2 * DAY_MS, NOW - DAY_MS
    still = {
        symbol: sum(bar[4] == 0 for bar in minutes(listing(("linear", symbol)), *day))
        for symbol in ("BTCUSDT", "BTTUSDT")
    }
    assert still["BTCUSDT"] < 20
    assert still["BTTUSDT"] > 500


@given(st.sampled_from([*PLACES, ("spot", "ETHUSDT"), ("spot", "0GUSDT")]), timeframes)
def test_the_fast_printing_says_the_same_as_the_exact(place: tuple[Category, str], timeframe: Timeframe) -> None:
    of = listing(place)
    opens, bars = market().bars(of, timeframe, NOW - DAY_MS, NOW, NOW)
    assert rows_of(of, opens, bars) == exact_rows_of(of, opens, bars)


def test_prices_have_no_superfluous_zeros_and_volumes_those_of_their_lot() -> None:
    rows = market().rows(listing(PLACES[0]), MINUTE, NOW - DAY_MS, NOW, NOW)
    for row in rows:
        _, *prices, volume, turnover = row.split(",")
        assert not any(text.endswith("0") and "." in text for text in (*prices, turnover))
        assert volume == "0" or len(volume.partition(".")[2]) == 3
        assert "e" not in row


def test_tiny_prices_are_written_out() -> None:
    row = market().rows(listing(("linear", "BTTUSDT")), MINUTE, NOW - MINUTE_MS, NOW, NOW)[0]
    price = row.split(",")[1]
    assert price.startswith("0.00000")
    assert Decimal(price) > 0
