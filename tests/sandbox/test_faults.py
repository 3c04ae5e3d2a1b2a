"""Each fault does what it says, to those it is meant for, and the same in every run."""

import json
import re
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
import pytest

from collector.sandbox import Faults, Hole
from collector.sandbox.market.prices import with_exponents

from .asking import DAY, HOUR, MINUTE, NOW, Asker, asker

HERE = NOW - NOW % HOUR
KLINE = "/v5/market/kline"
WINDOW: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "interval": "60",
    "start": HERE - 20 * HOUR,
    "end": HERE - HOUR,
    "limit": 20,
}


def rows(box: Asker, **query: object) -> list[list[str]]:
    return box.json(KLINE, **{**WINDOW, **query})["result"]["list"]  # type: ignore[no-any-return]


def opens(box: Asker, **query: object) -> list[int]:
    return [int(row[0]) for row in rows(box, **query)]


HONEST = rows(asker())


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("http_429", 429, b"429 Too Many Requests"),
        ("http_5xx", 502, b"<h1>502 Bad Gateway</h1>"),
        ("rate_ban", 403, b"access too frequent"),
        ("geo_block", 403, b"CloudFront distribution is configured to block access from your country"),
        ("waf_block", 403, b"Request blocked."),
        ("redirected", 302, b"302 Found"),
        ("gateway_page", 200, b"Welcome to openresty!"),
    ],
)
def test_refusals_of_the_gateway_are_not_json(fault: str, status: int, words: bytes) -> None:
    reply = asker(faults=Faults(**{fault: 1.0})).reply(KLINE, **WINDOW)  # type: ignore[arg-type]
    assert (reply.status, reply.content_type) == (status, "text/html")
    assert words in reply.body


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("too_many_visits", 10006),
        ("server_error", 10016),
        ("server_timeout", 10000),
        ("region_refused", 10009),
        ("compliance_refused", 10024),
    ],
)
def test_refusals_of_the_exchange_are_codes(fault: str, code: int) -> None:
    box = asker(faults=Faults(**{fault: 1.0}))  # type: ignore[arg-type]
    assert box.reply(KLINE, **WINDOW).status == 200
    assert box.json(KLINE, **WINDOW)["retCode"] == code


@pytest.mark.parametrize("fault", ["dripped", "dropped", "reset", "stalled", "truncated"])
def test_what_breaks_below_http_is_left_to_the_server(fault: str) -> None:
    assert asker(faults=Faults(**{fault: 1.0})).reply(KLINE, **WINDOW).broken == fault  # type: ignore[arg-type]


def test_a_malformed_body_is_no_json() -> None:
    with pytest.raises(json.JSONDecodeError):
        asker(faults=Faults(malformed=1)).json(KLINE, **WINDOW)


def test_a_body_that_is_not_utf8_is_json_but_for_that() -> None:
    body = asker(faults=Faults(not_utf8=1)).reply(KLINE, **WINDOW).body
    assert json.loads(body.decode("utf-8", "replace"))["result"]["category"] == "\ufffdlinear"
    with pytest.raises(UnicodeDecodeError):
        body.decode()


def test_an_odd_list_has_every_symbol_and_rows_that_name_none() -> None:
    def listed(**faults: bool) -> list[object]:
        box = asker(faults=Faults(**faults))  # type: ignore[arg-type]
        found = box.json("/v5/market/instruments-info", category="linear", limit=1000)["result"]["list"]
        return [row.get("symbol") if isinstance(row, dict) else row for row in found]

    assert listed(odd_list=True) == [None, 7, [], None, "SOONUSDT", *listed()]


def test_symbols_are_closed_in_a_list_of_short_pages() -> None:
    box = asker(faults=Faults(closed=["ETHUSDT"], list_page=2))
    first = box.json("/v5/market/instruments-info", category="linear", limit=1000, baseCoin="ETH")["result"]["list"]
    assert [(row["symbol"], row["status"]) for row in first][1:] == [("ETHUSDT", "Closed")]
    assert (len(first), box.exchange.counts.shown["closed"]) == (2, 1)


def test_latency_is_fixed_and_jitter_is_added() -> None:
    box = asker(faults=Faults(latency_ms=80, jitter_ms=40))
    delays = [box.reply(KLINE, **WINDOW).delay_s for _ in range(50)]
    assert 0.08 <= min(delays) < max(delays) <= 0.12


def test_old_time_is_an_hour_ago() -> None:
    assert asker(faults=Faults(old_time=1)).json("/v5/market/time")["time"] == NOW - HOUR


def test_future_time_is_a_week_ahead() -> None:
    assert asker(faults=Faults(future_time=1)).json("/v5/market/time")["time"] == NOW + 7 * DAY


def test_a_redirect_says_where_to() -> None:
    assert asker(faults=Faults(redirected=1)).reply(KLINE, **WINDOW).headers == (
        ("Location", "https://www.bybit.com/"),
    )


def test_an_empty_list_is_a_good_answer_without_symbols() -> None:
    box = asker(faults=Faults(empty_list=True))
    answer = box.json("/v5/market/instruments-info", category="linear")
    assert (answer["retCode"], answer["result"]["list"]) == (0, [])
    assert box.exchange.counts.shown == {"empty_list": 1}


def test_headers_of_the_limit_count_down() -> None:
    box = asker(faults=Faults(limit_headers=True))
    left = [dict(box.reply(KLINE, **WINDOW).headers)["X-Bapi-Limit-Status"] for _ in range(3)]
    assert left == ["599", "598", "597"]


def test_spoiled_candles_have_a_price_of_0_in_every_answer() -> None:
    box = asker(faults=Faults(spoiled_share=0.3))
    spoiled = [row for row in rows(box) if row[3] == "0"]
    assert 0 < len(spoiled) < 20
    assert spoiled == [row for row in rows(box) if row[3] == "0"]
    assert box.exchange.counts.shown == {"spoiled_share": 2 * len(spoiled)}
    assert [row for row in rows(box) if row not in spoiled] == [row for row in HONEST if row[0] not in column(spoiled)]


def test_wrong_candles_of_rest_are_right_some_time_after_their_close() -> None:
    box = asker(faults=Faults(rest_wrong=1, rest_wrong_ms=5.5 * HOUR))
    assert [row for row in rows(box) if row not in HONEST] == rows(box)[:5]
    assert box.exchange.truth("BTCUSDT", "60", HERE - 5 * HOUR, HERE).count(b"\n") == 6
    assert rows(asker(faults=Faults(rest_wrong=1)))[-1] not in HONEST


def column(given: list[list[str]]) -> list[str]:
    return [row[0] for row in given]


def test_what_is_drawn_goes_on_when_faults_are_set() -> None:
    box = asker()
    half = Faults(http_429=0.5)

    def statuses() -> list[int]:
        box.exchange.fault_injector.faults = half
        return [box.reply(KLINE, **WINDOW).status for _ in range(20)]

    assert statuses() != statuses()


def test_wrong_symbol_is_labelled_so() -> None:
    result = asker(faults=Faults(wrong_symbol=1)).json(KLINE, **WINDOW)["result"]
    assert result["symbol"] != "BTCUSDT"
    assert len(result["list"]) == 20
    assert result["list"] != HONEST


def test_wrong_category_is_only_the_label() -> None:
    result = asker(faults=Faults(wrong_category=1)).json(KLINE, **WINDOW)["result"]
    assert (result["category"], result["list"]) == ("spot", HONEST)


@pytest.mark.parametrize(("asked", "step"), [("1", 3 * MINUTE), ("60", 30 * MINUTE), ("D", 12 * HOUR)])
def test_wrong_interval_is_a_neighbour_s(asked: str, step: int) -> None:
    got = opens(asker(faults=Faults(wrong_interval=1)), interval=asked, start=HERE - 5 * DAY)
    assert len(got) > 2
    assert {a - b for a, b in pairwise(got)} == {step}


def test_one_candle_of_a_wrong_interval_comes_with_those_before_it() -> None:
    """Alone, nobody could tell it from an honest one."""
    got = opens(asker(faults=Faults(wrong_interval=1)), interval="1", start=HERE, end=HERE + MINUTE - 1)
    assert got == [HERE, HERE - 3 * MINUTE, HERE - 6 * MINUTE, HERE - 9 * MINUTE][: len(got)]
    assert len(got) >= 3


def test_the_other_lies_each_change_one_thing() -> None:
    def lied(**fault: float) -> list[list[str]]:
        return rows(asker(faults=Faults(**fault)))  # type: ignore[arg-type]

    times = [int(row[0]) for row in HONEST]
    assert lied(unsorted=1) != HONEST
    assert sorted(lied(unsorted=1)) == sorted(HONEST)
    assert len(lied(duplicate=1)) == 21
    assert [row for row in lied(duplicate=1) if row not in HONEST] == []
    assert sum(int(row[0]) % HOUR != 0 for row in lied(off_grid=1)) == 1
    assert lied(too_many_rows=1)[:20] == HONEST
    assert len(lied(too_many_rows=1)) == 25
    assert sum(float(row[2]) < float(row[3]) for row in lied(high_below_low=1)) == 1
    assert sum("NaN" in row for row in lied(not_a_number=1)) == 1
    assert [int(row[0]) for row in lied(outside=1)][:-1] == times[:-1]
    assert int(lied(outside=1)[-1][0]) < times[-1]


def test_lies_about_candles_leave_other_paths_alone() -> None:
    assert asker(faults=Faults(duplicate=1)).json("/v5/market/time")["retCode"] == 0


def test_faults_can_be_kept_to_a_path() -> None:
    box = asker(faults=Faults(http_5xx=1, paths=["kline"]))
    assert box.reply("/v5/market/time").status == 200
    assert box.reply(KLINE, **WINDOW).status == 502


def test_faults_can_be_numbered_and_put_off() -> None:
    box = asker(faults=Faults(http_5xx=1, skip=2, times=3))
    assert [box.reply(KLINE, **WINDOW).status for _ in range(7)] == [200, 200, 502, 502, 502, 200, 200]


def test_a_ban_can_be_set_off_once() -> None:
    box = asker(faults=Faults(ban_after=2))
    assert [box.reply(KLINE, **WINDOW).status for _ in range(4)] == [200, 200, 403, 403]
    box.real.now_s += 600
    assert [box.reply(KLINE, **WINDOW).status for _ in range(4)] == [200] * 4


def test_shares_are_kept_and_repeat_with_the_seed() -> None:
    def run(seed: int) -> list[int]:
        box = asker(seed=seed, faults=Faults(http_429=0.1, http_5xx=0.2))
        return [box.reply("/v5/market/time", f"10.0.0.{n % 5}").status for n in range(1000)]

    assert run(1) == run(1) != run(2)
    count = Counter(run(1))
    assert 70 < count[429] < 130
    assert 160 < count[502] < 240


def test_they_change_while_it_runs() -> None:
    box = asker()
    told = json.loads(box.reply("/sandbox/faults", method="POST", body=b'{"http_5xx": 1, "times": 1}').body)
    assert (told["http_5xx"], told["times"]) == (1.0, 1)
    assert [box.reply(KLINE, **WINDOW).status for _ in range(2)] == [502, 200]
    box.exchange.fault_injector.faults = Faults()
    assert box.json("/sandbox/faults")["http_5xx"] == 0


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"nope": 1}', b'{"dropped": 2}', b'{"dropped": 0.6, "reset": 0.6}', b'{"times": "x"}']
)
def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(body: bytes) -> None:
    box = asker(faults=Faults(http_429=0.5))
    reply = box.reply("/sandbox/faults", method="POST", body=body)
    assert reply.status == 400
    assert "error" in json.loads(reply.body)
    assert box.exchange.fault_injector.faults == Faults(http_429=0.5)


def test_a_hole_is_in_the_answers_and_in_the_truth() -> None:
    hole = f"BTCUSDT/60:{HERE - 5 * HOUR}..{HERE - 3 * HOUR}"
    box = asker(faults=Faults(holes=[hole]))
    gone = {HERE - 5 * HOUR, HERE - 4 * HOUR}
    assert opens(box) == [int(row[0]) for row in HONEST if int(row[0]) not in gone]
    truth = box.exchange.truth("BTCUSDT", "60", HERE - 20 * HOUR, HERE)
    assert truth.count(b"\n") == 1 + 18
    assert opens(box, interval="30", limit=40) == opens(asker(), interval="30", limit=40)
    assert opens(box, symbol="ETHUSDT") == opens(asker(), symbol="ETHUSDT")


def test_what_is_spoiled_for_good_is_in_the_answers_and_not_in_the_truth() -> None:
    spoiled = f"BTCUSDT/60:{HERE - 5 * HOUR}..{HERE - 4 * HOUR}"
    box = asker(faults=Faults(spoiled=[spoiled]))
    rows = box.json(KLINE, symbol="BTCUSDT", interval="60", start=HERE - 6 * HOUR, end=HERE - 3 * HOUR)["result"][
        "list"
    ]
    assert [row[3] == "0" for row in rows] == [False, False, True, False]
    assert len(box.exchange.truth("BTCUSDT", "60", HERE - 6 * HOUR, HERE - 2 * HOUR).splitlines()) == 1 + 3


def test_the_help_shows_how_a_hole_is_written() -> None:
    written = re.findall(r"\S+:\S+\.\.[0-9T:-]+", attrs.fields_dict(Faults)["holes"].metadata["help"])
    assert [hole.timeframe for hole in Faults(holes=written).holes] == [None, "60"]


def test_a_hole_without_a_timeframe_is_in_all_of_them() -> None:
    box = asker(faults=Faults(holes=[Hole("BTCUSDT", None, HERE - 5 * HOUR, HERE - 3 * HOUR)]))
    assert len(opens(box)) == 18
    assert len(opens(box, interval="30", limit=40)) == len(opens(asker(), interval="30", limit=40)) - 4


def test_a_share_of_holes_is_the_same_for_every_question() -> None:
    box = asker(faults=Faults(hole_share=0.2))
    page = opens(box, start=HERE - 1000 * HOUR, limit=1000)
    assert 750 < len(page) < 850
    assert [at for at in page if at >= HERE - 20 * HOUR] == opens(box)


def test_rest_lags_behind_a_close() -> None:
    box = asker(HERE + 2000, faults=Faults(rest_lag_ms=5000))
    assert opens(box, end=HERE + HOUR, limit=2) == [HERE, HERE - 2 * HOUR]
    box.exchange.clock.advance(3000)
    assert opens(box, end=HERE + HOUR, limit=2) == [HERE, HERE - HOUR]


def test_a_lagging_candle_may_be_there_unfinal() -> None:
    box = asker(HERE + 2000, faults=Faults(rest_lag_ms=5000, lag_unfinal=True))
    final = asker(HERE + 2000)
    late, true = rows(box, limit=1)[0], rows(final, limit=1)[0]
    assert late[0] == true[0]
    assert float(late[5]) < float(true[5])
    assert box.exchange.truth("BTCUSDT", "60", HERE - HOUR, HERE) == final.exchange.truth(
        "BTCUSDT", "60", HERE - HOUR, HERE
    )


@pytest.mark.parametrize("text", ["BTCUSDT", "BTCUSDT:1", "BTCUSDT/7:1..2", "btc:1..2", "BTCUSDT:x..2"])
def test_what_is_no_hole_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hole|symbol|instant"):
        Faults(holes=[text])


def test_exponents_are_another_way_to_write_the_same_numbers() -> None:
    honest = rows(asker(), symbol="1000PEPEUSDT")
    written = rows(asker(faults=Faults(exponents=True)), symbol="1000PEPEUSDT")
    assert written != honest
    assert [[*map(Decimal, row)] for row in written] == [[*map(Decimal, row)] for row in honest]
    assert {len(row[0]) for row in written} == {13}


@pytest.mark.parametrize(
    ("number", "written"),
    [
        ("1000000", "1e+06"),
        ("1311728.5", "1.3117285e+06"),
        ("999999.9", "999999.9"),
        ("0.0001", "0.0001"),
        ("0.000012", "1.2e-05"),
        ("0", "0"),
        ("1234567.50", "1.23456750e+06"),
        ("120000000000", "1.2e+11"),
    ],
)
def test_an_exponent_is_written_as_go_does(number: str, written: str) -> None:
    assert with_exponents(f"1714566600000,{number}") == f"1714566600000,{written}"
