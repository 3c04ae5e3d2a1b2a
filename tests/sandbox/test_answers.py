"""What the exchange says about candles and time: the facts clients rely on, one by one."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import TIMEFRAMES
from collector.sandbox import Dialect

from .asking import DAY, HOUR, MINUTE, NOW, asker

HERE = NOW - NOW % HOUR
BOX = asker()
FIRST = 1_585_132_560_000  # BTCUSDT's first minute, 2020-03-25 10:36


def test_the_envelope_has_the_exchange_s_keys_in_its_order() -> None:
    reply = BOX.kline(limit=1)
    assert list(reply) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    assert (reply["retCode"], reply["retMsg"], reply["retExtInfo"], reply["time"]) == (0, "OK", {}, NOW)
    assert list(reply["result"]) == ["category", "symbol", "list"]


def test_rows_are_seven_texts_newest_first() -> None:
    rows = BOX.kline(limit=5)["result"]["list"]
    assert all(len(row) == 7 and all(isinstance(text, str) for text in row) for row in rows)
    assert [int(row[0]) for row in rows] == [HERE - n * HOUR for n in range(5)]


def test_without_category_it_is_linear() -> None:
    assert BOX.kline(limit=1)["result"] == BOX.kline(category="linear", limit=1)["result"]
    assert BOX.kline(limit=1)["result"]["list"] != BOX.kline(category="spot", limit=1)["result"]["list"]


def test_a_page_has_200_candles_unless_asked_otherwise() -> None:
    assert len(BOX.opens()) == 200


def test_both_ends_are_included() -> None:
    assert BOX.opens(start=1670601600000, end=1670608800000) == [1670608800000, 1670605200000, 1670601600000]


def test_a_start_within_a_candle_selects_it() -> None:
    assert BOX.opens(interval="1", start=1704292193000, limit=1) == [1704292140000]


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_a_start_within_the_candle_in_progress_selects_it_even_if_it_is_yet_to_come(name: str) -> None:
    begun = TIMEFRAMES[name].floor(NOW)
    following = TIMEFRAMES[name].close(begun)
    assert BOX.opens(interval=name, start=NOW + 1) == BOX.opens(interval=name, start=following - 1) == [begun]
    assert BOX.opens(interval=name, start=following - 1, end=following + DAY) == [begun]
    assert BOX.opens(interval=name, start=following) == []


def test_a_start_alone_runs_forward() -> None:
    start = HERE - 100 * HOUR
    assert BOX.opens(start=start, limit=3) == [start + 2 * HOUR, start + HOUR, start]


def test_a_start_before_listing_finds_the_first_candles() -> None:
    assert BOX.opens(interval="1", start=1483228800000, limit=3) == [FIRST + 2 * MINUTE, FIRST + MINUTE, FIRST]
    assert BOX.opens(interval="60", start=1483228800000, limit=1) == [FIRST - FIRST % HOUR]


def test_of_a_wide_range_the_newest_come() -> None:
    assert BOX.opens(start=HERE - 1000 * HOUR, end=HERE, limit=3) == [HERE, HERE - HOUR, HERE - 2 * HOUR]


def test_an_end_alone_gives_the_newest_up_to_it() -> None:
    assert BOX.opens(end=HERE - 5 * HOUR + 1, limit=2) == [HERE - 5 * HOUR, HERE - 6 * HOUR]


def test_windows_of_a_thousand_join_without_a_seam() -> None:
    end = HERE + HOUR
    pages = [BOX.opens(start=end - (n + 1) * 1000 * HOUR, end=end - n * 1000 * HOUR - 1, limit=1000) for n in range(4)]
    assert [at for page in pages for at in page] == [HERE - n * HOUR for n in range(4000)]


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_the_candle_in_progress_comes_first(name: str) -> None:
    assert BOX.opens(interval=name, limit=2)[0] == TIMEFRAMES[name].floor(NOW)


def test_weeks_open_on_monday_and_months_on_the_first() -> None:
    assert BOX.opens(interval="W", limit=1) == [1714348800000]
    assert BOX.opens(interval="M", limit=1) == [1714521600000]


@pytest.mark.parametrize(
    "odd",
    [
        {"start": NOW + DAY},
        {"start": HERE, "end": HERE - HOUR},
        {"start": FIRST - 10 * DAY, "end": FIRST - 9 * DAY},
        {"end": FIRST - 2 * HOUR},
    ],
)
def test_a_range_without_candles_is_an_empty_list(odd: dict[str, int]) -> None:
    reply = BOX.kline(**odd)
    assert (reply["retCode"], reply["result"]["list"]) == (0, [])


@pytest.mark.parametrize(("wanted", "got"), [(0, 1), (1001, 1000), (5000, 1000)])
def test_a_limit_out_of_bounds_is_clamped(wanted: int, got: int) -> None:
    assert len(BOX.opens(limit=wanted)) == got


def test_what_the_documents_leave_open_can_be_refused_instead() -> None:
    strict = asker(dialect=Dialect(over_limit="refuse", odd_range="refuse", refused_result="shaped"))
    assert strict.kline(limit=1001)["retCode"] == 10001
    assert strict.kline(start=NOW + DAY)["retCode"] == 10001
    assert strict.kline(symbol="NOPE")["result"] == {"category": "", "symbol": "", "list": []}


def test_names_it_does_not_know_are_ignored() -> None:
    assert BOX.opens(startTime=1, endTime=2, limit=1) == [HERE]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"symbol": "XAUUSD"}, "params error: Symbol Is Invalid"),
        ({"symbol": "btcusdt"}, "params error: Symbol Is Invalid"),
        ({"symbol": ""}, "params error: Symbol Is Invalid"),
        ({"symbol": "XAUUSD", "category": "inverse"}, "params error: Symbol Is Invalid"),
        ({"symbol": "XAUUSD", "category": "spot"}, "Not supported symbols"),
        ({"interval": "3d"}, "Invalid period!"),
        ({"interval": ""}, "Invalid period!"),
        ({"category": "option"}, "params error: Category is invalid"),
        ({"start": "yesterday"}, "params error: start invalid"),
        ({"limit": "many"}, "params error: limit invalid"),
    ],
)
def test_a_refusal_is_a_code_and_a_text_with_http_200(query: dict[str, str], message: str) -> None:
    reply = BOX.reply("/v5/market/kline", **dict[str, Any]({"symbol": "BTCUSDT", "interval": "60", **query}))
    assert reply.status == 200
    told = BOX.kline(**query)
    assert (told["retCode"], told["retMsg"], told["result"]) == (10001, message, {})


odd_values = st.sampled_from(["", "0", "-1", "1e3", "1_0", str(10**18), str(-(10**18)), "9" * 30, "\u0661", str(HERE)])
odd_queries = st.fixed_dictionaries(
    {"symbol": st.sampled_from(["BTCUSDT", "", '"', "BTC USDT"]), "interval": st.sampled_from([*TIMEFRAMES, "x"])},
    optional=dict.fromkeys(("start", "end", "limit", "category", "cursor"), odd_values),
)


@given(odd_queries, st.sampled_from(["kline", "instruments-info", "time"]))
def test_whatever_is_asked_is_answered_in_the_envelope(query: dict[str, str], path: str) -> None:
    assert list(BOX.json(f"/v5/market/{path}", **query)) == ["retCode", "retMsg", "result", "retExtInfo", "time"]


def test_time_comes_as_texts() -> None:
    reply = BOX.json("/v5/market/time")
    assert reply["result"] == {"timeSecond": "1714567890", "timeNano": "1714567890123000000"}
    assert reply["time"] == NOW


def test_the_clock_closes_candles() -> None:
    box = asker()
    before = box.kline(limit=1)["result"]["list"][0]
    box.exchange.clock.advance(HOUR)
    now, closed = box.kline(limit=2)["result"]["list"]
    assert int(now[0]) == HERE + HOUR
    assert closed[:2] == before[:2]
    assert float(closed[5]) > float(before[5])


def test_the_gateway_answers_what_is_not_the_exchange_s() -> None:
    assert BOX.reply("/v5/market/nothing").status == 404
    assert BOX.reply("/v5/market/time", method="POST").status == 405
    assert BOX.reply("/v5/market/time", method="get").status == 400
    assert BOX.reply("/v5/market/time", body=b"{}").status == 403


def test_the_truth_is_the_closed_candles_as_a_file_holds_them() -> None:
    truth = BOX.exchange.truth("BTCUSDT", "60", HERE - 2 * HOUR, HERE + DAY)
    older, newer = BOX.kline(start=HERE - 2 * HOUR, end=HERE - 1)["result"]["list"][::-1]
    assert truth.decode().splitlines() == [
        "timestamp,datetime,open,high,low,close,volume,turnover",
        ",".join([older[0], "2024-05-01 10:00:00", *older[1:]]),
        ",".join([newer[0], "2024-05-01 11:00:00", *newer[1:]]),
    ]


def test_the_truth_begins_with_the_first_candle() -> None:
    truth = BOX.exchange.truth("BTCUSDT", "D", 0, FIRST + 2 * DAY, header=False)
    assert truth.startswith(b"1585094400000,2020-03-25 00:00:00,")
    assert truth.count(b"\n") == 3


def test_the_truth_of_an_unknown_symbol_is_an_error() -> None:
    with pytest.raises(ValueError, match="Symbol Is Invalid"):
        BOX.exchange.truth("NOPE", "60", 0, NOW)


def test_inverse_has_the_candles_of_linear_symbols_labelled_inverse() -> None:
    linear, inverse = (BOX.kline(category=name, limit=3)["result"] for name in ("linear", "inverse"))
    assert (inverse["category"], inverse["symbol"]) == ("inverse", "BTCUSDT")
    assert inverse["list"] == linear["list"]
    assert BOX.kline(category="linear", symbol="BTCUSD")["retCode"] == 10001
    assert "BTCUSDT" not in BOX.symbols(category="inverse")


def test_spot_volumes_have_no_needless_zeros_and_its_turnovers_many_digits() -> None:
    digits = dict[str, int]()
    for symbol in ("BTCUSDT", "0GUSDT"):
        rows = BOX.kline(category="spot", symbol=symbol, interval="1", limit=1000)["result"]["list"]
        volumes, turnovers = ([row[column] for row in rows] for column in (5, 6))
        assert not [text for text in volumes + turnovers if "." in text and text[-1] in "0."]
        assert all(re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) for text in volumes + turnovers)
        digits[symbol] = max(len(text.partition(".")[2]) for text in turnovers)
    assert digits == {"BTCUSDT": 8, "0GUSDT": 16}
    contracts = BOX.kline(interval="1", limit=1000)["result"]["list"]
    assert {len(row[5].partition(".")[2]) for row in contracts if row[5] != "0"} == {3}
