"""The words of the stream: what each kind of frame says, which are no candle at all, and how topics are asked for."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.bybit import stream_protocol
from collector.bybit.stream_protocol import NOTHING_CONFIRMED, Acknowledged, Frame, Malformed, Pong, Pushed, Unknown
from collector.core.candle import TIMEFRAMES, Series, timeframe
from collector.core.spans import Span

T0 = 1_700_006_400_000
MINUTE_MS = 60_000
BTC = Series("BTCUSDT", timeframe("1"))
SUBSCRIBED = {f"kline.{frame}.BTCUSDT": Series("BTCUSDT", frame) for frame in TIMEFRAMES.values()}


def entry(place: int = 0, confirm: object = True, **changes: Any) -> dict[str, Any]:
    start = T0 + place * MINUTE_MS
    usual: dict[str, Any] = {
        "start": start,
        "end": start + MINUTE_MS - 1,
        "interval": "1",
        "open": "16649.5",
        "close": "16677",
        "high": "16677.0",
        "low": "16608",
        "volume": "2.081",
        "turnover": "34666.4005",
        "confirm": confirm,
        "timestamp": start + MINUTE_MS + 300,
    }
    return {key: value for key, value in (usual | changes).items() if value is not None}


def push(*entries: object, topic: str = "kline.1.BTCUSDT", ts: Any = None, **changes: Any) -> str:
    fields = {"topic": topic, "data": list(entries), "ts": ts or T0 + 10 * MINUTE_MS, "type": "snapshot"}
    return json.dumps(fields | changes, separators=(",", ":"))


def read(text: str) -> Frame:
    return stream_protocol.read(text, SUBSCRIBED)


def confirmed(text: str) -> list[Span]:
    frame = read(text)
    assert isinstance(frame, Pushed)
    return [candle.asked for candle in frame.confirmed]


def span(place: int) -> Span:
    return Span(T0 + place * MINUTE_MS, T0 + (place + 1) * MINUTE_MS)


# Pushes.


def test_exponents_are_written_out() -> None:
    frame = read(push(entry(volume="1e+06", turnover="1.3117285E+06", low="1.2e-05")))
    assert isinstance(frame, Pushed)
    assert frame.confirmed[0].rows.text.endswith(b",16649.5,16677.0,0.000012,16677,1000000,1311728.5\n")


def test_an_absurd_exponent_is_no_number() -> None:
    with pytest.raises(Malformed, match="is not a plain decimal number"):
        read(push(entry(volume="1e+999999999")))


def test_a_confirmed_candle_becomes_a_row_of_the_exchanges_own_texts() -> None:
    frame = read(push(entry(), ts=T0 + MINUTE_MS + 250))
    assert isinstance(frame, Pushed)
    (candle,) = frame.confirmed
    assert (candle.series, candle.asked, candle.at_ms) == (BTC, span(0), T0 + MINUTE_MS + 250)
    assert candle.rows.text == b"1700006400000,2023-11-15 00:00:00,16649.5,16677.0,16608,16677,2.081,34666.4005\n"


def test_the_order_of_keys_does_not_matter_as_spot_has_another() -> None:
    text = push(entry())
    fields = json.loads(text)
    assert read(json.dumps(dict(sorted(fields.items(), reverse=True)))) == read(text)


def test_a_push_that_confirms_nothing_is_told_apart_without_being_decoded() -> None:
    cut_short = push(entry(confirm=False))[:-20]
    assert read(cut_short) is NOTHING_CONFIRMED


def test_a_push_names_the_exchanges_time() -> None:
    assert stream_protocol.time_of(push(entry(confirm=False), ts=T0 + 17)) == T0 + 17


@pytest.mark.parametrize("text", ["", "[]", '{"topic":"x"}', push(ts="1"), push(ts=-1), push(ts=10**18), push()[:-5]])
def test_what_is_no_time_is_not_taken_for_one(text: str) -> None:
    assert stream_protocol.time_of(text) is None


def test_all_candles_of_a_push_are_looked_at_wherever_the_confirmed_one_stands() -> None:
    assert confirmed(push(entry(0), entry(1, confirm=False))) == [span(0)]
    assert confirmed(push(entry(1, confirm=False), entry(0))) == [span(0)]
    assert confirmed(push(entry(0), entry(1), entry(2, confirm=False))) == [span(0), span(1)]


def test_the_timestamp_may_lie_after_the_end_or_before_it() -> None:
    for timestamp in (T0, T0 + 5 * MINUTE_MS):
        assert confirmed(push(entry(timestamp=timestamp))) == [span(0)]


def test_what_the_exchange_adds_to_a_push_does_no_harm() -> None:
    assert confirmed(push(entry(trades=12, extra={"confirm": "true"}), cs=99, id="x")) == [span(0)]


def test_a_push_without_candles_confirms_nothing() -> None:
    assert confirmed(push()) == []
    assert confirmed(push(comment="true")) == []


@pytest.mark.parametrize("name", list(TIMEFRAMES))
def test_every_timeframe_has_its_end(name: str) -> None:
    frame = TIMEFRAMES[name]
    start = frame.floor(T0)
    text = push(
        entry(start=start, end=frame.close(start) - 1, interval=name),
        topic=f"kline.{name}.BTCUSDT",
        ts=frame.close(start),
    )
    assert confirmed(text) == [Span(start, frame.close(start))]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "null and true",
        '"true"',
        "[true]",
        push(entry())[:-10],
        push(entry()) + "}",
        push(entry(start=None)),
        push(entry(close=None)),
        push(entry(confirm="true")),
        push(entry(volume=2.081)),
        push(entry(start=str(T0))),
        push("true"),
        push(entry(), data={"true": 1}),
        push(entry(), ts="true"),
        push(entry(interval="5")),
        push(entry(end=T0 + 59_000)),
        push(entry(end=T0 + 5 * MINUTE_MS - 1)),
        push(entry(start=T0 + 500, end=T0 + MINUTE_MS + 499)),
        push(entry(), ts=T0 + MINUTE_MS - 2),
        push(entry(high="16000")),
        push(entry(open="NaN")),
        push(entry(open="")),
        push(entry(open="1e5")),
        push(entry(volume="-1")),
        push(entry(0), entry(1, open="?")),
        push(entry(start=10**18, end=10**18 + 1, interval="M"), topic="kline.M.BTCUSDT", ts=10**18 + 2),
        push(entry(start=-(10**17), end=-1, interval="M"), topic="kline.M.BTCUSDT"),
        push(entry(), ts=10**13),
        '{"topic":"kline.1.BTCUSDT","true":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_what_the_exchange_should_not_send_is_malformed_and_never_a_row(text: str) -> None:
    with pytest.raises(Malformed):
        read(text)


@given(st.text() | st.integers(0, 300).map(lambda size: push(entry())[:size]))
def test_no_text_is_anything_but_a_frame_or_malformed(text: str) -> None:
    with suppress(Malformed):
        read(text)


GOOD = [
    push(entry()),
    push(entry(1), entry(2, confirm=False)),
    push(entry(3), entry(4)),
    push(entry(5, turnover="1.3e+06")),
    push(entry(start=T0, end=T0 + 5 * MINUTE_MS - 1, interval="5"), topic="kline.5.BTCUSDT"),
    push(entry(confirm=False), kind="true"),
    push(kind=True),
]
BAD = [
    push(entry(high="16000")),
    push(entry(volume="1e400")),
    push(entry(open="016649.5")),
    push(entry(interval="5")),
    push(entry(), ts=T0),
    push(entry(), topic="kline.1.ETHUSDT"),
    push(entry())[:-10],
    '{"topic":"news","urgent":true}',
]


@given(st.lists(st.sampled_from(GOOD), max_size=6), st.lists(st.sampled_from(BAD), max_size=1))
def test_pushes_at_once_are_what_they_are_one_by_one(good: list[str], bad: list[str]) -> None:
    one_by_one = [frame for text in good if isinstance(frame := read(text), Pushed)]
    assert len(one_by_one) == len(good)
    if bad:
        with pytest.raises(Malformed):
            stream_protocol.read_all([*good[:2], *bad, *good[2:]], SUBSCRIBED)
    expected = tuple(candle for frame in one_by_one for candle in frame.confirmed)
    assert stream_protocol.read_all(good, SUBSCRIBED).confirmed == expected


# Answers.


@pytest.mark.parametrize(
    "text",
    [
        '{"success":true,"ret_msg":"pong","conn_id":"d0","req_id":"","op":"ping"}',
        '{"success":true,"ret_msg":"pong","conn_id":"d0","op":"ping"}',
        '{"op":"pong","args":["1672916271846"],"conn_id":"d0"}',
        '{"req_id":"","op":"pong","args":["1675418560633"],"conn_id":"d0"}',
    ],
)
def test_a_pong_is_one_in_every_dialect(text: str) -> None:
    assert read(text) == Pong()


def test_an_acknowledgement_names_its_request() -> None:
    text = '{"success":true,"ret_msg":"","conn_id":"d0","req_id":"subscribe-3","op":"subscribe"}'
    assert read(text) == Acknowledged("subscribe-3", True, "")
    assert read('{"success":true,"ret_msg":"","op":"subscribe","conn_id":"d0"}') == Acknowledged("", True, "")


@pytest.mark.parametrize(
    ("words", "topic"),
    [
        ("error:handler not found,topic:kline.1.NOPE", "kline.1.NOPE"),
        ("error:already subscribed,topic:kline.60.BTC-27DEC24", "kline.60.BTC-27DEC24"),
        ("Invalid symbol :[kline.1.FOOUSDT]", "kline.1.FOOUSDT"),
        ("Invalid kline type :[kline.D.BTCUSDT]", "kline.D.BTCUSDT"),
        ("error:handler not found,topic:kline.1.1000PEPEUSDT,and more", "kline.1.1000PEPEUSDT"),
        ("error:args length exceeds the limit", None),
        ("args size >10", None),
        ("", None),
    ],
)
def test_a_refusal_names_the_topic_it_does_not_like(words: str, topic: str | None) -> None:
    answer = Acknowledged("1", False, words)
    assert answer.topic == topic
    assert answer.already == ("already" in words)


@pytest.mark.parametrize("odd", ["null", "7", "true", "{}", "[]"])
def test_answers_with_odd_fields_are_answers(odd: str) -> None:
    assert (
        read(f'{{"op":"pong","ret_msg":{odd},"req_id":{odd},"success":{odd},"conn_id":{odd},"data":{odd}}}') == Pong()
    )
    ack = f'{{"op":"subscribe","success":true,"ret_msg":{odd},"conn_id":{odd},"ts":{odd},"req_id":"1","topic":{odd}}}'
    assert read(ack) == Acknowledged("1", True, "")
    refusal = f'{{"op":"subscribe","success":false,"ret_msg":"error:x,topic:kline.1.A","req_id":{odd}}}'
    assert read(refusal) == Acknowledged("", False, "error:x,topic:kline.1.A")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"op":"auth","success":true}',
        '{"op":"subscribe","req_id":"1"}',
        '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{"T":1,"L":"PlusTick","BT":true}]}',
        '{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","flag":true},"cs":1,"ts":1}',
        '{"success":false,"ret_msg":"error:invalid op","conn_id":"d0","req_id":"","op":"nonsense"}',
        push(entry(), topic="kline.1.ETHUSDT"),
        push(entry(), topic="kline.7.BTCUSDT"),
        push(entry(), topic="kline.1"),
        push(entry(), topic="kline.1.../../etc"),
        '{"type":"maintenance","data":{"at":"tomorrow","planned":true}}',
    ],
)
def test_frames_of_other_kinds_mean_nothing_and_do_no_harm(text: str) -> None:
    assert read(text) == Unknown()


ODD = [
    "\ud800",
    "\\ud800",
    "\0",
    "\ufeff",
    "9" * 5000,
    "-",
    "1e999999999",
    "null",
    "true",
    "{}",
    '"',
    ",",
    "[" * 2000,
    '{"a":' * 2000,
]
TEXTS = [
    push(entry()),
    push(entry(), entry(1, confirm=False)),
    push(entry(confirm=False)),
    '{"success":true,"ret_msg":"pong","conn_id":"d0","req_id":"","op":"ping"}',
    '{"success":false,"ret_msg":"error:handler not found,topic:kline.1.A","conn_id":"d","req_id":"1","op":"subscribe"}',
    "",
]


@settings(max_examples=150)
@given(
    st.sampled_from(TEXTS),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(ODD), st.integers(0, 20)), max_size=3),
)
def test_any_text_whatever_is_a_frame_or_malformed(text: str, changes: list[tuple[int, str, int]]) -> None:
    for at, odd, gone in changes:
        text = text[:at] + odd + text[at + gone :]
    with suppress(Malformed):
        read(text)
    stream_protocol.time_of(text)


# What is sent.


def test_a_request_names_its_topics_and_itself() -> None:
    text = stream_protocol.subscribe_text("subscribe-1", ["kline.1.BTCUSDT", "kline.60.BTCUSDT"])
    assert json.loads(text) == {
        "op": "subscribe",
        "req_id": "subscribe-1",
        "args": ["kline.1.BTCUSDT", "kline.60.BTCUSDT"],
    }
    assert json.loads(stream_protocol.PING) == {"op": "ping"}


@pytest.mark.parametrize(("category", "most"), [("linear", 300), ("inverse", 300), ("spot", 10)])
def test_requests_are_as_large_as_the_category_allows(category: str, most: int) -> None:
    topics = [str(number) for number in range(2 * most + 1)]
    batches = list(stream_protocol.batches(category, topics))
    assert [len(batch) for batch in batches] == [most, most, 1]
    assert [topic for batch in batches for topic in batch] == topics
    assert list(stream_protocol.batches(category, [])) == []


@given(st.integers(0, 900), st.integers(1, 20))
def test_topics_are_spread_evenly_over_as_few_connections_as_the_limit_allows(symbols: int, letters: int) -> None:
    names = [f"{number:0{letters}d}USDT" for number in range(symbols)]
    every = [Series(name, TIMEFRAMES[frame]) for name in names for frame in ("1", "5", "15", "60", "120", "240")]
    groups = stream_protocol.connections(every)
    assert sorted(series for group in groups for series in group) == sorted(every)
    for group in groups:  # whether the JSON around the topics counts is not known: neither way may be too much
        assert sum(len(f'"{stream_protocol.topic_of(series)}",') for series in group) < 21_000
    if groups:
        sizes = [len(group) for group in groups]
        assert max(sizes) - min(sizes) <= 1
        assert sum(len(stream_protocol.topic_of(series)) + 3 for series in every) > 20_000 * (len(groups) - 1)


def test_nothing_to_collect_needs_no_connection() -> None:
    assert stream_protocol.connections([]) == []
