"""The stream on the network, as a client written by others sees it."""

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Unpack

import httpx
import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url, wrap_client_stream
from wsproto.connection import Connection as WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import CloseConnection

from collector.sandbox import Faults, Options, Sandbox, StreamRules, open_sandbox
from collector.sandbox.market.listing import Category
from collector.sandbox.stream.connection import Connection
from collector.sandbox.stream.corrupt_frames import corrupt_push

from .asking import DAY, MINUTE, NOW, RealTime

BTC, ETH = "kline.1.BTCUSDT", "kline.5.ETHUSDT"


@asynccontextmanager
async def connected(
    category: Category = "linear", **options: Unpack[Options]
) -> AsyncIterator[tuple[Sandbox, WebSocketConnection]]:
    """A box whose clock stands still, and a client."""
    options.setdefault("symbols", ["BTCUSDT", "ETHUSDT", "BTCUSD"])
    options |= {"start_time": NOW, "rate": 0}
    with trio.fail_after(20):
        async with open_sandbox(**options) as box, opened(box, category) as client:
            yield box, client


@asynccontextmanager
async def opened(box: Sandbox, category: Category = "linear") -> AsyncIterator[WebSocketConnection]:
    """A client on a stream of ours, as trio-websocket leaves its own open when it is cut off."""
    async with await trio.open_tcp_stream(box.host, box.port) as stream, trio.open_nursery() as nursery:
        client = await wrap_client_stream(nursery, stream, box.host, f"/v5/public/{category}")
        async with client:
            yield client


async def say(client: WebSocketConnection, *topics: str, op: str = "subscribe") -> None:
    await client.send_message(json.dumps({"op": op, "args": topics}))


async def receive(client: WebSocketConnection, count: int = 1) -> list[Any]:
    return [json.loads(await client.get_message()) for _ in range(count)]


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
UPGRADE_WITH_KEY = {**UPGRADE, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


async def refusal(box: Sandbox, path: str = "/v5/public/linear", headers: dict[str, str] = UPGRADE_WITH_KEY) -> int:
    """The status with which a handshake is refused."""
    async with httpx.AsyncClient() as client:
        return (await client.get(box.url + path, headers=headers)).status_code


def code(closed: ConnectionClosed) -> int:
    assert closed.reason is not None
    return closed.reason.code


async def until(condition: Callable[[], bool]) -> None:
    """Come back when it is true; the box works in tasks of its own."""
    while not condition():  # noqa: ASYNC110, RUF100 - the box has no event for a test; ruff does not see this one
        await trio.lowlevel.checkpoint()


async def test_subscribe_push_confirm_unsubscribe() -> None:
    async with connected() as (box, client):
        await say(client, BTC)
        ack, first = await receive(client, 2)
        assert (ack["success"], first["topic"], first["ts"]) == (True, BTC, NOW)
        box.clock.advance(MINUTE)
        confirmed, following = await receive(client, 2)
        assert [push["data"][0]["confirm"] for push in (confirmed, following)] == [True, False]
        await say(client, BTC, op="unsubscribe")
        assert (await receive(client))[0]["op"] == "unsubscribe"
        assert box.counts.stream.topics == 0


@pytest.mark.parametrize(("category", "topic"), [("spot", BTC), ("inverse", "kline.1.BTCUSD")])
async def test_every_category_has_its_path(category: Category, topic: str) -> None:
    async with connected(category) as (_, client):
        await say(client, topic)
        _, push = await receive(client, 2)
        assert push["topic"] == topic
        await say(client, "kline.1.NOPE")
        assert (await receive(client))[0]["success"] is False


@pytest.mark.parametrize("name", ["option", "spread"])
async def test_the_streams_the_box_has_nothing_for_answer_in_their_own_dialect(name: str) -> None:
    topics = ["tickers.BTC-26DEC25-100000-C", "publicTrade.BTC"]
    async with open_sandbox(start_time=NOW, rate=0) as box:
        address = box.ws_url().replace("linear", name)
        async with open_websocket_url(address) as client:
            await say(client, *topics)
            await say(client, topics[0], op="unsubscribe")
            await client.send_message('{"op":"ping"}')
            await client.send_message('{"op":"sing"}')
            subscribed, unsubscribed, pong, refused = await receive(client, 4)
        assert list(subscribed) == ["success", "conn_id", "data", "type"]
        assert (subscribed["success"], subscribed["type"]) == (True, "COMMAND_RESP")
        assert subscribed["data"] == {"failTopics": [], "successTopics": topics}
        assert unsubscribed["data"]["successTopics"] == topics[:1]
        assert pong == {"args": [str(NOW)], "op": "pong"}
        assert (refused["success"], refused["ret_msg"]) == (False, "error:invalid op")
        assert (box.counts.stream.pings, box.counts.stream.pushes) == (1, 0)


async def test_pings_are_answered_in_both_languages_and_none_is_sent() -> None:
    async with connected() as (box, client):
        await client.ping(b"native")
        await client.send_message('{"op":"ping"}')
        assert (await receive(client))[0]["ret_msg"] == "pong"
        assert (box.counts.stream.pings, box.counts.stream.protocol_pings) == (1, 1)


@pytest.mark.parametrize("path", ["/v5/public/nothing", "/v5/market/time", "/"])
async def test_an_unknown_path_is_refused_at_the_handshake(path: str) -> None:
    async with open_sandbox() as box:
        assert await refusal(box, path) == 404
        assert box.counts.as_dict()["stream"]["handshakes_refused"] == {"404": 1}  # type: ignore[index]


async def test_a_request_that_is_no_handshake_is_a_bad_request() -> None:
    async with open_sandbox() as box:
        assert await refusal(box, headers=UPGRADE) == 400


@pytest.mark.parametrize("name", ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Connection"])
async def test_a_handshake_with_bytes_that_are_no_text_is_a_bad_request(name: str) -> None:
    async with open_sandbox() as box:
        stream = await trio.open_tcp_stream("127.0.0.1", box.port)
        headers = {**UPGRADE_WITH_KEY, "Host": "box", name: "\xff"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await stream.send_all(f"GET /v5/public/linear HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
        await stream.aclose()
        async with opened(box):
            pass


async def test_new_connections_are_limited_within_five_minutes() -> None:
    real = RealTime()
    async with connected(stream=StreamRules(new_connections=1), real_s=real) as (box, _):
        assert await refusal(box) == 403
        real.now_s += 300
        async with opened(box):
            assert box.counts.stream.most_new_in_5min == 2


async def test_connections_at_a_time_are_limited_for_each_category() -> None:
    async with connected(stream=StreamRules(connections=2)) as (box, client), opened(box):
        assert await refusal(box) == 403
        async with opened(box, "spot"):
            pass
        await client.aclose()
        await until(lambda: len(box.counts.stream.open) == 1)
        async with opened(box):
            assert box.counts.stream.handshakes_refused == {"403": 1}


async def test_an_idle_connection_is_cut_without_a_word() -> None:
    real = RealTime()
    async with connected(real_s=real, stream=StreamRules(idle_s=600)) as (box, client):
        real.now_s += 599
        await client.send_message('{"op":"ping"}')
        await receive(client)
        real.now_s += 599
        box.clock.advance(0)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not client.closed
        real.now_s += 2
        box.clock.advance(0)
        with pytest.raises(ConnectionClosed) as caught:
            await client.get_message()
        assert code(caught.value) == 1006
        await until(lambda: box.counts.stream.ended == {"idle": 1})


async def test_a_client_that_does_not_read_is_cut_and_holds_up_nobody() -> None:
    async with connected(stream=StreamRules(unsent_most=200_000, rollover="one")) as (box, client):
        sleeper = await trio.open_tcp_stream("127.0.0.1", box.port)
        sleeper.setsockopt(1, 8, 1024)  # a small receive buffer
        head = "GET /v5/public/linear HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        order = json.dumps({"op": "subscribe", "args": [BTC, "kline.1.ETHUSDT"]}).encode()
        frame = bytes((0x81, 0x80 | len(order))) + bytes(4) + order
        await sleeper.send_all((head + key).encode() + frame)
        await say(client, BTC)
        await receive(client, 2)
        for _ in range(400):
            box.clock.advance(10 * MINUTE)
            await receive(client, 20)
            if box.counts.stream.ended["slow"]:
                break
        assert box.counts.stream.ended == {"slow": 1}
        await sleeper.aclose()


async def test_counts_tell_what_clients_did() -> None:
    async with connected() as (box, client):
        await say(client, BTC, ETH)
        await say(client, "kline.1.NOPE")
        await receive(client, 4)
        async with httpx.AsyncClient() as http:
            counts = (await http.get(f"{box.url}/sandbox/counts")).json()["stream"]
        assert counts["connections"] == {"/v5/public/linear": 1}
        assert (counts["topics"], counts["subscribes"], counts["refusals"], counts["pushes"]) == (2, 2, 1, 2)
        (one,) = counts["open"]
        assert (one["topics"], one["frames"], one["path"]) == (2, 4, "/v5/public/linear")


# --- what goes wrong ---


@pytest.mark.parametrize(("fault", "status"), [("handshake_403", 403), ("handshake_5xx", 503), ("handshake_page", 200)])
async def test_a_handshake_can_be_refused_so_many_times(fault: str, status: int) -> None:
    faults = Faults(**{fault: 1.0, "stream_times": 2})  # type: ignore[arg-type]
    async with open_sandbox(faults=faults) as box:
        for _ in range(2):
            assert await refusal(box) == status
        async with opened(box):
            assert box.counts.stream.faults == {fault: 2}


async def test_a_connection_is_cut_after_so_many_pushes() -> None:
    async with connected(faults=Faults(cut=1, after_s=1000, after_frames=3)) as (box, client):
        await say(client, BTC)
        await receive(client, 2)
        box.clock.advance(5 * MINUTE)
        with pytest.raises(ConnectionClosed) as caught:
            await receive(client, 20)
        assert code(caught.value) == 1006
        assert box.counts.stream.pushes == 3


@pytest.mark.parametrize(("fault", "said"), [("handshake_nonsense", b"SSH-2.0"), ("handshake_header", b"\xe9\xff\r\n")])
async def test_a_handshake_can_be_answered_with_what_no_server_says(fault: str, said: bytes) -> None:
    async with open_sandbox(faults=Faults(**{fault: 1.0})) as box:  # type: ignore[arg-type]
        async with await trio.open_tcp_stream(box.host, box.port) as stream:
            headers = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE_WITH_KEY.items())
            await stream.send_all(f"GET /v5/public/linear HTTP/1.1\r\nHost: box\r\n{headers}\r\n".encode())
            assert said in b"".join([bytes(part) async for part in stream])
        assert box.counts.stream.handshakes_refused == {fault: 1}


async def test_a_connection_can_end_with_a_word() -> None:
    async with connected(faults=Faults(closing=1, after_s=0.01)) as (_, client):
        with pytest.raises(ConnectionClosed) as caught:
            await client.get_message()
        assert code(caught.value) == 1001


async def test_behind_its_close_frame_a_connection_says_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    server, client = (WSConnection(each) for each in (ConnectionType.SERVER, ConnectionType.CLIENT))
    connection = Connection(ours, server, 10_000, 10)  # type: ignore[arg-type]  # without a handshake
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run, lambda text: None, lambda: None)
        for _ in range(2):
            connection.close()
        client.receive_data(bytes(await theirs.receive_some()))
        assert [type(each) for each in client.events()] == [CloseConnection]
        # A client whose ping was under way, and one that closes by itself at the same time.
        for frame in (b"\x89\x80\x00\x00\x00\x00", b"\x88\x82\x00\x00\x00\x00\x03\xe8"):
            await theirs.send_all(frame)
    assert (connection.ended_by, connection.unsent) == ("closed", 0)


async def test_connections_are_cut_by_the_minute() -> None:
    real = RealTime()
    async with connected(faults=Faults(cut_per_minute=2), real_s=real) as (box, client):
        await say(client, BTC)
        await receive(client, 2)
        real.now_s += 1000
        with pytest.raises(ConnectionClosed):
            await receive(client)
        assert box.counts.stream.faults == {"cut": 1}


async def test_all_connections_can_be_cut_at_will() -> None:
    async with connected() as (box, client):
        await until(lambda: bool(box.counts.stream.open))
        assert box.cut_connections() == 1
        with pytest.raises(ConnectionClosed):
            await client.get_message()


async def test_a_mute_connection_stays_open_and_swallows_pings() -> None:
    async with connected(faults=Faults(mute=1, after_frames=1)) as (box, client):
        await say(client, BTC)
        await receive(client, 2)
        box.clock.advance(MINUTE)
        await client.send_message('{"op":"ping"}')
        with trio.move_on_after(0.05) as scope:
            await client.get_message()
        assert scope.cancelled_caught
        assert not client.closed
        assert box.counts.stream.faults == {"mute": 1}
        box.cut_connections()


@pytest.mark.parametrize(("fault", "heard"), [("ack_missing", ["push"]), ("ack_late", ["push", "ack"]), ("lost", [])])
async def test_acknowledgements_go_astray(fault: str, heard: list[str]) -> None:
    async with connected(faults=Faults(**{fault: 1.0})) as (box, client):  # type: ignore[arg-type]
        await say(client, BTC)
        await client.send_message('{"op":"ping"}')
        messages: list[str] = []
        while (message := (await receive(client))[0]).get("op") != "ping":
            messages.append("push" if "topic" in message else "ack")
        assert list(dict.fromkeys(messages)) == heard  # on a slow machine a second push may come before the answer
        assert box.counts.stream.topics == (0 if fault == "lost" else 1)


async def test_topics_are_refused_by_name() -> None:
    async with connected(faults=Faults(refused_topics=("ETHUSDT",))) as (_, client):
        await say(client, BTC, ETH)
        assert (await receive(client))[0]["ret_msg"] == f"error:handler not found,topic:{ETH}"


async def test_answers_may_name_nothing() -> None:
    async with connected(faults=Faults(ack_nameless=1, refused_topics=("ETHUSDT",), refusal_nameless=True)) as heard:
        box, client = heard
        await client.send_message(f'{{"op":"subscribe","req_id":"mine","args":["{ETH}"]}}')
        assert {"error:handler not found", ""} <= set((await receive(client))[0].values())
        await client.send_message(f'{{"op":"subscribe","req_id":"mine","args":["{BTC}"]}}')
        assert (await receive(client))[0]["req_id"] == ""
        assert box.counts.stream.faults == {"refused_topics": 1, "refusal_nameless": 1, "ack_nameless": 1}


async def test_pushes_can_be_anything() -> None:
    async with connected() as (box, client):
        await say(client, BTC)
        _, honest = await receive(client, 2)

        async def faulty(kind: str) -> str | bytes:
            box.faults = Faults(**{f"push_{kind}": 1.0})  # type: ignore[arg-type]
            await say(client, BTC, op="unsubscribe")
            await client.get_message()
            await say(client, BTC)
            await client.get_message()
            return await client.get_message()

        with pytest.raises(json.JSONDecodeError):
            json.loads(await faulty("malformed"))
        assert "close" not in json.loads(await faulty("incomplete"))["data"][0]
        assert isinstance(json.loads(await faulty("mistyped"))["data"][0]["start"], str)
        binary = await faulty("binary")
        assert isinstance(binary, bytes)
        assert json.loads(binary)["data"] == honest["data"]
        future = json.loads(await faulty("future"))
        assert (future["data"][0]["confirm"], future["ts"] > NOW + 6 * DAY) == (True, True)
        await receive(client)
        assert json.loads(await faulty("beyond"))["data"][0]["start"] > 10**18
        await receive(client)
        assert json.loads(await faulty("unknown")).get("topic") != BTC
        assert (await receive(client))[0]["data"] == honest["data"]


def test_what_is_unknown_has_another_topic_or_none() -> None:
    kinds = [json.loads(corrupt_push("unknown", f'{{"ts":{number}}}')).get("topic") for number in (1, 2)]
    assert kinds == [None, "system.status"]


async def test_a_listing_opens_while_it_runs() -> None:
    listed: dict[str, int | str] = {"linear:ETHUSDT": NOW + MINUTE}
    async with connected(listed=listed) as (box, client):
        await say(client, ETH)
        assert (await receive(client))[0]["success"] is False
        box.clock.advance(MINUTE)
        await say(client, ETH)
        ack, push = await receive(client, 2)
        assert ack["success"]
        assert push["topic"] == ETH


async def test_it_speaks_tls(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    async with open_sandbox(tls=True, ca_file=ca_file, start_time=NOW, rate=0) as box:
        context = ssl.create_default_context(cafile=str(ca_file))
        assert box.ws_url("spot").startswith("wss://")
        async with open_websocket_url(box.ws_url("spot"), ssl_context=context) as client:
            await say(client, BTC)
            assert (await receive(client))[0]["ret_msg"] == "subscribe"
