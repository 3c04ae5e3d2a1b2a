"""What the stream answers, in the exchange's words: one dialect for linear and inverse, another for spot."""

import json
from typing import Any

import pytest

from collector.sandbox import StreamRules
from collector.sandbox.market.listing import Category
from collector.sandbox.stream.session import Response, Session

from .asking import MINUTE, NOW, asker

BOX = asker(listed={"linear:XRPUSDT": NOW + MINUTE}, delisted={"linear:ETHUSDT": NOW + MINUTE}).exchange
BTC, SOL = "kline.1.BTCUSDT", "kline.5.SOLUSDT"


def session(category: Category = "linear", **rules: Any) -> Session:
    return Session(category, BOX.source, StreamRules(**rules), "id-1")


def receive(to: Session, now_ms: int = NOW, **said: Any) -> Response:
    return to.receive(json.dumps(said), now_ms)


def answer(heard: Response) -> Any:
    (reply,) = heard.replies
    return json.loads(reply)


def refusal(to: Session, *topics: str, now_ms: int = NOW) -> Any:
    """The words with which a request is refused; nothing has become active."""
    before = dict(to.topics)
    heard = receive(to, now_ms, op="subscribe", args=topics)
    assert (heard.begun, heard.refused, to.topics) == ((), True, before)
    assert answer(heard)["success"] is False
    return answer(heard)["ret_msg"]


def texts(heard: Response) -> list[str]:
    return [topic.text for topic in heard.begun]


@pytest.mark.parametrize(
    ("category", "said", "reply"),
    [
        ("linear", {}, '{"success":true,"ret_msg":"","conn_id":"id-1","req_id":"","op":"subscribe"}'),
        ("linear", {"req_id": "a"}, '{"success":true,"ret_msg":"","conn_id":"id-1","req_id":"a","op":"subscribe"}'),
        (
            "spot",
            {"req_id": "a"},
            '{"success":true,"ret_msg":"subscribe","conn_id":"id-1","req_id":"a","op":"subscribe"}',
        ),
        ("spot", {}, '{"success":true,"ret_msg":"subscribe","conn_id":"id-1","op":"subscribe"}'),
    ],
)
def test_one_answer_per_request_with_these_keys(category: Category, said: dict[str, Any], reply: str) -> None:
    heard = receive(session(category), op="subscribe", args=[BTC, SOL], **said)
    assert heard.replies == (reply,)
    assert texts(heard) == [BTC, SOL]


@pytest.mark.parametrize(
    ("category", "said", "reply"),
    [
        ("linear", {}, '{"success":true,"ret_msg":"pong","conn_id":"id-1","req_id":"","op":"ping"}'),
        ("inverse", {"req_id": "7"}, '{"success":true,"ret_msg":"pong","conn_id":"id-1","req_id":"7","op":"ping"}'),
        ("spot", {}, '{"success":true,"ret_msg":"pong","conn_id":"id-1","op":"ping"}'),
        ("spot", {"req_id": 7}, '{"success":true,"ret_msg":"pong","conn_id":"id-1","req_id":"7","op":"ping"}'),
    ],
)
def test_a_pong_calls_itself_ping(category: Category, said: dict[str, Any], reply: str) -> None:
    assert receive(session(category), op="ping", **said).replies == (reply,)


@pytest.mark.parametrize(("category", "words"), [("linear", ""), ("spot", "unsubscribe")])
def test_an_unsubscribe_is_answered_likewise(category: Category, words: str) -> None:
    one = session(category)
    receive(one, op="subscribe", args=[BTC, SOL])
    heard = receive(one, op="unsubscribe", args=[BTC], req_id="x")
    expected = {"success": True, "ret_msg": words, "conn_id": "id-1", "req_id": "x", "op": "unsubscribe"}
    assert answer(heard) == expected
    assert [topic.text for topic in heard.ended] == [BTC]
    assert list(one.topics) == [SOL]


@pytest.mark.parametrize(
    "bad",
    ["kline.1.NOPEUSDT", "kline.1.btcusdt", "kline.7.BTCUSDT", "kline.1h.BTCUSDT", "kline.1.BTCUSD", "tickers.BTCUSDT"],
)
def test_on_linear_one_bad_topic_refuses_all_and_the_first_is_named(bad: str) -> None:
    assert refusal(session(), BTC, bad, "kline.1.WORSE") == f"error:handler not found,topic:{bad}"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("kline.1.NOPEUSDC", "Invalid symbol :[kline.1.NOPEUSDC]"),
        ("kline.7.BTCUSDC", "Invalid kline type :[kline.7.BTCUSDC]"),
    ],
)
def test_spot_has_its_own_words(bad: str, words: str) -> None:
    assert refusal(session("spot"), BTC, bad) == words


def test_a_topic_it_has_already_is_refused_on_linear_and_stays() -> None:
    one = session()
    receive(one, op="subscribe", args=[BTC])
    assert refusal(one, SOL, BTC) == f"error:already subscribed,topic:{BTC}"
    assert list(one.topics) == [BTC]


def test_on_spot_it_is_met_with_silence() -> None:
    one = session("spot")
    receive(one, op="subscribe", args=[BTC])
    assert receive(one, op="subscribe", args=[BTC]) == Response("subscribe")


def test_spot_takes_ten_topics_at_a_time_and_linear_any_number() -> None:
    many = [
        f"kline.{interval}.BTCUSDT" for interval in ("1", "3", "5", "15", "30", "60", "120", "240", "360", "D", "W")
    ]
    assert refusal(session("spot"), *many) == "args size >10"
    assert texts(receive(session("spot"), op="subscribe", args=many[:10])) == many[:10]
    assert texts(receive(session(), op="subscribe", args=many)) == many


def test_a_symbol_is_known_from_its_listing_to_its_delisting() -> None:
    coming, going = "kline.1.XRPUSDT", "kline.1.ETHUSDT"
    assert "not found" in refusal(session(), coming)
    assert texts(receive(session(), NOW + MINUTE, op="subscribe", args=[coming])) == [coming]
    assert texts(receive(session(), op="subscribe", args=[going])) == [going]
    assert "not found" in refusal(session(), going, now_ms=NOW + MINUTE)


def test_topics_of_a_connection_may_be_so_many_characters() -> None:
    one = session(args_limit=2 * len(BTC))
    receive(one, op="subscribe", args=[BTC])
    assert refusal(one, SOL, "kline.1.SOLUSDT") == StreamRules().args_refusal
    receive(one, op="subscribe", args=[SOL])
    receive(one, op="unsubscribe", args=[BTC])
    assert texts(receive(one, op="subscribe", args=["kline.3.BTCUSDT"])) == ["kline.3.BTCUSDT"]


def test_the_json_around_topics_may_count_too() -> None:
    limit = 2 * len(BTC) + 5
    assert texts(receive(session(args_limit=limit), op="subscribe", args=[BTC, SOL]))
    assert refusal(session(args_limit=limit, args_counted="json", args_refusal="too long"), BTC, SOL) == "too long"


@pytest.mark.parametrize("said", [{"op": "auth", "args": ["key", 1662350400000, "signature"]}, {"op": None}, {}])
def test_other_orders_are_invalid(said: dict[str, Any]) -> None:
    assert answer(receive(session(), **said))["ret_msg"] == "error:invalid op"


def test_a_ping_may_carry_the_time() -> None:
    assert answer(receive(session(), op="ping", args=[1672916271846]))["ret_msg"] == "pong"


NO_TEXT = "fuzzyStringDecoder: not number or string"
TOPICS = '{"op": "subscribe", "args": '


@pytest.mark.parametrize(
    ("text", "words", "place", "near"),
    [
        ("", "readObjectStart: expect { or n, but found \x00", 0, ""),  # as ccxt has it
        ("hello", "readObjectStart: expect { or n, but found h", 1, "hello"),
        (" []", "readObjectStart: expect { or n, but found [", 2, " []"),
        ("[" * 100_000, "readObjectStart: expect { or n, but found [", 1, "[" * 11),
        ("nope", "skipThreeBytes: expect ull", 2, "nope"),
        ("null,", "op.CmdReq.isObjectEnd: object ended prematurely, unexpected char ,", 5, "null,"),
        ("{", 'op.CmdReq.readFieldHash: expect ", but found \x00', 1, "{"),
        ("{ op}", 'op.CmdReq.readFieldHash: expect ", but found o', 3, "{ op}"),
        ('{"op":"ping"', "op.CmdReq.isObjectEnd: object ended prematurely, unexpected char \x00", 10, 'op":"ping"'),
        ('{"op":"ping";}', "op.CmdReq.isObjectEnd: object ended prematurely, unexpected char ;", 10, 'p":"ping";}'),
        (
            '{"op":' * 100_000,
            "op.CmdReq.isObjectEnd: object ended prematurely, unexpected char \x00",
            10,
            ':{"op":{"op":'[-10:],
        ),
        ('{"op":true}', f"op.CmdReq.Op: {NO_TEXT}", 6, '{"op":true}'),
        ('{"req_id":{}}', f"op.CmdReq.ReqId: {NO_TEXT}", 10, '{"req_id":{}}'),
        (
            TOPICS + '"kline"}',
            'op.CmdReq.Args: []string: decode slice: expect [ or n, but found "',
            10,
            ' "args": "kline"}',
        ),
        (TOPICS + '[{"op": "subscribe"}]}', f"op.CmdReq.Args: []string: {NO_TEXT}", 10, ' "args": [{"op": "su'),  # seen
    ],
)
def test_what_cannot_be_read_is_answered_with_what_was_found_and_where(
    text: str, words: str, place: int, near: str
) -> None:
    heard = session().receive(text, NOW)
    said = answer(heard)["ret_msg"]
    assert said.startswith(
        f"Failed to decode incoming data:{words}, error found in #{place} byte of ...|{near}|..., bigger context ...|"
    )
    assert heard.refused


def test_a_complaint_is_the_one_that_was_seen() -> None:
    text = '{"op": "subscribe", "args": [{"op": "subscribe", "args": ["trade.BTCUSD"]}]}'
    assert answer(session().receive(text, NOW))["ret_msg"] == (
        f"Failed to decode incoming data:op.CmdReq.Args: []string: {NO_TEXT}, error found "
        f'in #10 byte of ...| "args": [{{"op": "su|..., bigger context ...|{text}|...'
    )


@pytest.mark.parametrize("text", ["null", "{}", '{"op":null}', '{"op":5}'])
def test_what_can_be_read_and_is_no_order_is_an_invalid_one(text: str) -> None:
    assert answer(session().receive(text, NOW))["ret_msg"] == "error:invalid op"


def test_a_topic_can_be_refused_although_it_is_listed() -> None:
    one = Session("linear", BOX.source, StreamRules(), "id-1", lambda topic: topic == SOL)
    assert refusal(one, BTC, SOL) == f"error:handler not found,topic:{SOL}"
