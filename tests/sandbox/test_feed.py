"""What is pushed when: the cadence, the confirmations, and what becomes of them when things go wrong."""

import json
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from collector.sandbox import Faults, StreamRules
from collector.sandbox.market.listing import Category
from collector.sandbox.stream.fault_injection import StreamFaultInjector
from collector.sandbox.stream.feed import Feed, Push
from collector.sandbox.stream.topics import Topic, read_topic

from .asking import DAY, HOUR, MINUTE, NOW, asker

LAG = 300
OPEN = NOW - NOW % MINUTE
CLOSE = OPEN + MINUTE


@attrs.define(slots=False)
class Watcher:
    """A feed with one listener, and what it was pushed."""

    faults: Faults = attrs.field(factory=Faults)
    options: dict[str, Any] = attrs.field(factory=dict)
    rules: dict[str, Any] = attrs.field(factory=dict)
    done: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        rules = StreamRules(**{"confirm_lag_ms": LAG, "confirm_jitter_ms": 0, **self.rules})
        self.box = asker(faults=self.faults, **self.options)
        self.source = self.box.exchange.source
        script = StreamFaultInjector(lambda: self.faults, 1, self.done.append)
        self.feed: Feed[str] = Feed(self.source, 1, rules, script)

    def topic(self, text: str, category: Category = "linear", now_ms: int = NOW) -> Topic:
        topic = read_topic(text, category, self.source, now_ms)
        assert isinstance(topic, Topic)
        return topic

    def join(self, text: str = "kline.1.BTCUSDT", category: Category = "linear", at_ms: int = NOW) -> list[Any]:
        return read([self.feed.join(self.topic(text, category), "me", at_ms, 0.0)])

    def due(self, now_ms: int) -> list[Any]:
        return read(self.feed.due(now_ms))

    def beats(self, now_ms: int, real_s: float) -> list[Any]:
        return read(self.feed.beats(now_ms, real_s))

    def rest(self, open_ms: int, text: str = "kline.1.BTCUSDT") -> list[str]:
        """What REST has, in the order of a push: open, high, low, close, volume, turnover."""
        topic = self.topic(text)
        (row,) = self.source.rows(topic.listing, topic.timeframe, open_ms, open_ms + 1, NOW + DAY)
        return row.split(",")[1:]


def read(pushes: Iterable[Push[str] | None]) -> list[Any]:
    return [json.loads(push.text) for push in pushes if push is not None]


def numbers(entry: dict[str, Any]) -> list[str]:
    return [entry[name] for name in ("open", "high", "low", "close", "volume", "turnover")]


def story(messages: list[Any]) -> list[tuple[int, bool]]:
    """The candles pushed, by minute from the first, and whether they are confirmed."""
    return [((entry["start"] - OPEN) // MINUTE, entry["confirm"]) for push in messages for entry in push["data"]]


def test_the_first_push_comes_at_once_in_the_middle_of_a_candle() -> None:
    (push,) = Watcher().join()
    assert list(push) == ["topic", "data", "ts", "type"]
    assert (push["topic"], push["ts"], push["type"]) == ("kline.1.BTCUSDT", NOW, "snapshot")
    (entry,) = push["data"]
    assert list(entry) == [
        *("start", "end", "interval", "open", "close", "high", "low", "volume", "turnover", "confirm", "timestamp")
    ]
    assert (entry["start"], entry["end"], entry["interval"]) == (OPEN, CLOSE - 1, "1")
    assert (entry["confirm"], entry["timestamp"]) == (False, NOW)
    assert all(isinstance(number, str) for number in numbers(entry))


def test_spot_has_another_order_of_keys() -> None:
    (push,) = Watcher().join("kline.D.BTCUSDT", "spot")
    assert list(push) == ["type", "topic", "data", "ts"]
    assert push["data"][0]["end"] - push["data"][0]["start"] == DAY - 1


def test_a_candle_is_confirmed_after_its_lag_and_the_next_one_follows() -> None:
    watcher = Watcher()
    watcher.join()
    assert watcher.feed.next_ms == CLOSE + LAG
    assert watcher.due(CLOSE + LAG - 1) == []
    (push,) = watcher.due(CLOSE + LAG)
    entry, following = push["data"]
    assert (entry["confirm"], entry["start"]) == (True, OPEN)
    assert entry["timestamp"] == following["timestamp"] == push["ts"] == CLOSE + LAG > entry["end"]
    assert numbers(entry) == watcher.rest(OPEN)
    assert (following["confirm"], following["start"]) == (False, CLOSE)


@pytest.mark.parametrize(
    ("category", "symbol", "rollover", "entries"),
    [
        ("linear", "BTCUSDT", "usual", [[True, False]]),
        ("inverse", "BTCUSD", "usual", [[True, False]]),
        ("spot", "BTCUSDT", "usual", [[True], [False]]),
        ("linear", "BTCUSDT", "one", [[True], [False]]),
        ("spot", "BTCUSDT", "two", [[True, False]]),
    ],
)
@pytest.mark.parametrize("prepared", [False, True])
def test_the_next_candle_begins_without_a_trade_in_the_push_of_its_category(
    category: Category, symbol: str, rollover: str, entries: list[list[bool]], prepared: bool
) -> None:
    watcher = Watcher(rules={"rollover": rollover, "confirm_lag_ms": 1700})
    watcher.join(f"kline.1.{symbol}", category)
    assert not prepared or list(watcher.feed.prepare())
    pushes = watcher.due(CLOSE + 1700)
    assert [[entry["confirm"] for entry in push["data"]] for push in pushes] == entries
    closed, opened = (entry for push in pushes for entry in push["data"])
    assert (opened["start"], opened["volume"], opened["turnover"]) == (CLOSE, "0", "0")
    assert {opened[name] for name in ("open", "high", "low", "close")} == {closed["close"]}
    assert len({push["ts"] for push in pushes}) == len({each["timestamp"] for each in (closed, opened)}) == 1


@pytest.mark.parametrize(("category", "least", "most"), [("linear", 120, 1000), ("spot", 560, 820)])
def test_confirmations_lag_as_they_were_seen_to(category: Category, least: int, most: int) -> None:
    watcher = Watcher(rules={"confirm_lag_ms": None, "confirm_jitter_ms": None})
    watcher.join("kline.1.BTCUSDT", category)
    confirmed = [push["ts"] for push in watcher.due(NOW + HOUR) if push["data"][0]["confirm"]]
    lags = sorted(ts % MINUTE for ts in confirmed)
    assert len(lags) == 60
    assert least <= lags[0] < least + 40
    assert most - 40 < lags[-1] <= most


def test_every_candle_is_confirmed_however_far_the_clock_jumps() -> None:
    watcher = Watcher()
    watcher.join()
    watcher.join("kline.60.BTCUSDT")
    pushes = watcher.due(NOW + HOUR)
    minutes = [push for push in pushes if push["topic"] == "kline.1.BTCUSDT"]
    assert story(minutes) == [step for number in range(60) for step in ((number, True), (number + 1, False))]
    assert [push["data"][0]["confirm"] for push in pushes if push["topic"] == "kline.60.BTCUSDT"] == [True]


def test_confirmations_of_all_topics_come_together_whatever_was_looked_up_before() -> None:
    names = [f"kline.{interval}.{coin}USDT" for interval in ("1", "5") for coin in ("BTC", "ETH", "SOL")]
    plain, prepared = Watcher(rules={"confirm_jitter_ms": 800}), Watcher(rules={"confirm_jitter_ms": 800})
    for watcher in (plain, prepared):
        for name in names:
            watcher.join(name)
    assert sum(1 for _ in prepared.feed.prepare()) == 3
    pushes = prepared.due(NOW + 5 * MINUTE)
    assert pushes == plain.due(NOW + 5 * MINUTE)
    assert len({push["ts"] for push in pushes if push["data"][0]["confirm"]}) == 5
    assert {push["ts"] % MINUTE > LAG for push in pushes} == {True}


def test_a_candle_is_pushed_once_a_second_of_real_time_if_it_moves() -> None:
    watcher = Watcher()
    watcher.join()
    pushed = [len(watcher.beats(NOW + step * 50, step / 20)) for step in range(20 * 5)]
    assert 4 <= sum(pushed) <= 5
    assert [len(watcher.beats(NOW + 5000, 5 + step / 20)) for step in range(100)].count(1) <= 1


def test_one_that_does_not_move_is_pushed_again_after_a_minute() -> None:
    watcher = Watcher()
    watcher.join()
    pushed = [at_s for at_s in range(1, 130) if watcher.beats(NOW, at_s)]
    assert pushed == [60, 120]


def test_between_close_and_confirmation_nothing_comes() -> None:
    watcher = Watcher()
    watcher.join()
    assert [watcher.beats(CLOSE + step, 10 + step / 20) for step in range(100)] == [[]] * 100


def test_who_joins_before_the_confirmation_still_gets_it() -> None:
    watcher = Watcher()
    assert story(watcher.join(at_ms=CLOSE + LAG - 1)) == [(0, False)]
    assert story(watcher.due(CLOSE + LAG)) == [(0, True), (1, False)]


def test_nothing_is_replayed_and_who_left_gets_nothing() -> None:
    watcher = Watcher()
    watcher.join()
    watcher.feed.leave(watcher.topic("kline.1.BTCUSDT"), "me")
    assert watcher.due(NOW + 5 * MINUTE) == []
    assert not watcher.feed.busy
    assert story(watcher.join(at_ms=NOW + 5 * MINUTE)) == [(5, False)]
    assert story(watcher.due(CLOSE + 5 * MINUTE + LAG)) == [(5, True), (6, False)]


def test_what_several_want_is_one_push() -> None:
    watcher = Watcher()
    topic = watcher.topic("kline.1.BTCUSDT")
    for listener in ("me", "you"):
        watcher.feed.join(topic, listener, NOW, 0.0)
    assert [push.listeners for push in watcher.feed.due(CLOSE + LAG)] == [("me", "you")]


def test_a_delisted_symbol_confirms_its_last_candle_and_goes_silent() -> None:
    watcher = Watcher(options={"delisted": {"linear:BTCUSDT": CLOSE}})
    watcher.join()
    assert story(watcher.due(NOW + DAY)) == [(0, True)]
    assert watcher.beats(NOW + DAY, 100) == []


def test_a_candle_in_the_middle_of_which_trading_ends_is_confirmed_at_its_close_as_rest_has_it() -> None:
    watcher = Watcher(options={"delisted": {"linear:BTCUSDT": NOW + 1000}})
    watcher.join()
    assert watcher.beats(NOW + 2000, 100) == []
    assert watcher.due(CLOSE + LAG - 1) == []
    (last,) = watcher.due(NOW + DAY)
    assert (last["data"][0]["start"], last["data"][0]["confirm"]) == (OPEN, True)
    assert numbers(last["data"][0]) == watcher.rest(OPEN)
    assert watcher.beats(NOW + DAY, 200) == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("confirm_missing", [(0, 1, False)]),
        ("confirm_late", [(0, 1, False), (5000, 0, True)]),
        ("confirm_twice", [(0, 0, True), (0, 1, False), (3000, 0, True)]),
        ("confirm_revised", [(0, 0, True), (0, 1, False), (3000, 0, True)]),
        ("confirm_wrong", [(0, 0, True), (0, 1, False)]),
    ],
)
def test_faults_of_confirmations(fault: str, expected: list[tuple[int, int, bool]]) -> None:
    watcher = Watcher(Faults(**{fault: 1.0}))  # type: ignore[arg-type]
    watcher.join()
    pushes = watcher.due(CLOSE + LAG + 10_000)
    told = [(push["ts"] - CLOSE - LAG, *step) for push in pushes for step in story([push])]
    assert told == expected
    right = [numbers(push["data"][0]) == watcher.rest(OPEN) for push in pushes if push["data"][0]["confirm"]]
    wrong = {"confirm_revised": [False, True], "confirm_wrong": [False]}
    assert right == wrong.get(fault, [True] * len(right))
    assert watcher.done == [fault]


def test_two_candles_can_come_in_one_push() -> None:
    watcher = Watcher(Faults(two_in_one=1))
    watcher.join("kline.1.BTCUSDT", "spot")
    (push,) = watcher.due(CLOSE + LAG)
    assert story([push]) == [(0, True), (1, False)]
    assert len({entry["timestamp"] for entry in push["data"]}) == 1


def test_a_hole_is_pushed_but_never_confirmed() -> None:
    watcher = Watcher(Faults(holes=(f"BTCUSDT/1:{OPEN}..{CLOSE}",)))
    watcher.join()
    assert story(watcher.due(CLOSE + MINUTE + LAG)) == [(1, False), (1, True), (2, False)]


def test_minutes_without_a_trade_are_confirmed_or_silent() -> None:
    untraded = {}
    for silent in (False, True):
        watcher = Watcher(Faults(silent_minutes=silent))
        watcher.join("kline.1.0GUSDT", "spot")
        entries = [entry for push in watcher.due(NOW + HOUR) for entry in push["data"]]
        confirmed = [entry for entry in entries if entry["confirm"]]
        untraded[silent] = [entry for entry in entries if entry["volume"] == "0"]
        assert (len(confirmed) == 60) is not silent
    assert len(untraded[False]) > 10
    assert not untraded[True]


def test_faults_hit_the_same_candles_in_every_run_and_only_those_meant() -> None:
    faults = Faults(confirm_missing=0.3, topics=("BTC",))
    stories = []
    for names in (["kline.1.BTCUSDT"], ["kline.1.ETHUSDT", "kline.1.BTCUSDT"]):
        watcher = Watcher(faults)
        for name in names:
            watcher.join(name)
        pushes = watcher.due(NOW + HOUR)
        stories.append(story([push for push in pushes if push["topic"] == "kline.1.BTCUSDT"]))
        others = [push for push in pushes if push["topic"] != "kline.1.BTCUSDT"]
        assert sum(confirm for _, confirm in story(others)) == 60 * (len(names) - 1)
    assert stories[0] == stories[1]
    assert 5 < 60 - sum(confirm for _, confirm in stories[0]) < 35


def test_faults_end_after_so_many() -> None:
    watcher = Watcher(Faults(confirm_missing=1, stream_times=2))
    watcher.join()
    assert [number for number, confirm in story(watcher.due(CLOSE + 4 * MINUTE + LAG)) if confirm] == [2, 3, 4]


def test_shares_of_a_group_are_at_most_1() -> None:
    with pytest.raises(ValueError, match="confirm faults"):
        Faults(confirm_late=0.6, confirm_twice=0.6)
    Faults(confirm_late=0.6, cut=0.6, http_429=0.6)
