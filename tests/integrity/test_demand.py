"""What somebody wants to be stored, beyond what the ledger says."""

import attrs
import pytest

from collector.core.candle import DAY_MS, MINUTE_MS, Series, Timeframe, timeframe
from collector.core.date_range import DateRange
from collector.core.spans import Spans
from collector.integrity.demand import Demand
from collector.settings.settings import Settings
from tests.support.candles import T0

HOUR, DAY = timeframe("60"), timeframe("D")
BTC, ETH = Series("BTCUSDT", HOUR), Series("ETHUSDT", HOUR)
NOW = T0 + 5 * DAY_MS + 90 * MINUTE_MS
LISTED = Settings(
    symbols=("BTCUSDT", "ETHUSDT"),
    fetch_all_symbols=False,
    timeframes=(HOUR, DAY),
    limit_to_50_entries=False,
    days_to_fetch=2,
    stale_after_s=1800.0,
)
ALL = Settings(fetch_all_symbols=True, timeframes=(HOUR, DAY), limit_to_50_entries=False, days_to_fetch=2)


def hours(first: int, behind: int) -> Spans:
    """From so many hours after midnight of the last day on."""
    midnight_ms = T0 + 5 * DAY_MS
    return Spans.between(midnight_ms + first * 60 * MINUTE_MS, midnight_ms + behind * 60 * MINUTE_MS)


def test_what_the_list_names_is_wanted_from_the_first_whole_candle_of_the_days_on() -> None:
    assert Demand(LISTED).spans([], NOW) == {
        BTC: hours(-46, 1),
        Series("BTCUSDT", DAY): hours(-24, 0),
        ETH: hours(-46, 1),
        Series("ETHUSDT", DAY): hours(-24, 0),
    }


def test_what_closed_just_now_of_a_known_series_may_be_about_to_be_written() -> None:
    at_hour = NOW + 30 * MINUTE_MS
    assert Demand(LISTED).spans([BTC], at_hour + 30 * MINUTE_MS - 1)[BTC] == hours(-45, 1)
    assert Demand(LISTED).spans([BTC], at_hour + 30 * MINUTE_MS)[BTC] == hours(-45, 2)
    assert Demand(LISTED).spans([ETH], at_hour)[BTC] == hours(-46, 2)


def test_the_newest_fifty_are_wanted_where_no_more_are() -> None:
    recent = Settings(symbols=("BTCUSDT",), fetch_all_symbols=False, timeframes=(HOUR,), mode="recent")
    assert Demand(recent).spans([], NOW) == {BTC: hours(-49, 1)}


def test_with_the_stream_alone_and_with_every_symbol_nothing_more_is_wanted() -> None:
    live = Settings(symbols=("BTCUSDT",), fetch_all_symbols=False, timeframes=(HOUR,), mode="live")
    assert Demand(live).spans([], NOW) == {}
    assert Demand(ALL).spans([BTC], NOW) == {}


def test_a_span_without_a_whole_candle_is_not_wanted() -> None:
    assert set(Demand(attrs.evolve(LISTED, days_to_fetch=1)).spans([], NOW)) == {BTC, ETH}


def test_days_that_are_named_are_wanted_of_every_stored_series_of_the_timeframes_that_are() -> None:
    stored = [BTC, Series("ETHUSDT", DAY)]
    assert set(Demand(ALL, names_days=True).spans(stored, NOW)) == set(stored)
    assert set(Demand(ALL, timeframes=(DAY,), names_days=True).spans(stored, NOW)) == {Series("ETHUSDT", DAY)}


@pytest.mark.parametrize(
    ("timeframes", "names_days", "stored", "unstored"),
    [
        ((), False, set(), {"60", "D"}),
        ((), True, {"60"}, {"60", "D"}),
        ((DAY,), False, {"D"}, {"60", "D"}),
        ((HOUR, DAY), False, {"D"}, {"60", "D"}),
        ((DAY,), True, {"D"}, {"60", "D"}),
    ],
)
def test_a_symbol_that_is_named_is_wanted_in_what_the_options_name_beyond_what_is_stored(
    timeframes: tuple[Timeframe, ...], names_days: bool, stored: set[str], unstored: set[str]
) -> None:
    demand = Demand(LISTED, ("BTCUSDT", "ETHUSDT"), timeframes, names_days)
    found = demand.spans([BTC], NOW)
    assert {series.timeframe.name for series in found if series.symbol == "BTCUSDT"} == stored
    assert {series.timeframe.name for series in found if series.symbol == "ETHUSDT"} == unstored


def test_dates_stand_for_the_days_of_the_settings() -> None:
    demand = Demand(LISTED, dates=DateRange(T0 + DAY_MS, T0 + 2 * DAY_MS))
    one_day = Spans.between(T0 + DAY_MS, T0 + 2 * DAY_MS)
    assert demand.spans([], NOW) == {Series(each, frame): one_day for each in LISTED.symbols for frame in (HOUR, DAY)}
    assert demand.chosen(BTC) == one_day
    assert Demand(LISTED).chosen(BTC).covers(0, NOW)


def test_dates_are_wanted_also_where_the_stream_alone_is() -> None:
    live = attrs.evolve(LISTED, mode="live")
    dates = DateRange(T0 + DAY_MS, T0 + 2 * DAY_MS)
    assert Demand(live, dates=dates).spans([], NOW) == Demand(LISTED, dates=dates).spans([], NOW) != {}


def test_of_dates_without_an_end_what_has_closed_is_wanted() -> None:
    assert Demand(LISTED, dates=DateRange(T0 + 5 * DAY_MS)).spans([], NOW) == {BTC: hours(0, 1), ETH: hours(0, 1)}
