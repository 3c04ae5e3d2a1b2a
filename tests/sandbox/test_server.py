"""The box on the network, as a foreign client sees it."""

import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import h11
import httpx
import pytest
import trio

from collector.machine import THIS_MACHINE
from collector.sandbox import Faults, Sandbox, open_sandbox
from collector.sandbox.rest.http import Wire, serve_http

from .asking import NOW

KLINE = "/v5/market/kline?symbol=BTCUSDT&interval=60&limit=1000"


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with open_sandbox(start_time=NOW, rate=0) as opened:
        yield opened


@pytest.fixture
async def client(box: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=box.url, timeout=5) as opened:
        yield opened


async def answer_to(box: Sandbox, said: bytes) -> bytes:
    """All that is answered, until the connection is closed."""
    stream = await trio.open_tcp_stream("127.0.0.1", box.port)
    async with stream:
        await stream.send_all(said)
        return b"".join([chunk async for chunk in stream])


async def test_a_client_gets_a_page(box: Sandbox, client: httpx.AsyncClient) -> None:
    reply = await client.get(KLINE)
    assert reply.json()["time"] == NOW
    assert len(reply.json()["result"]["list"]) == 1000
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.headers["date"] == "Wed, 01 May 2024 12:51:30 GMT"
    assert not [name for name in reply.headers if name.startswith("x-bapi")]


async def test_a_connection_is_kept_for_the_next_request(box: Sandbox, client: httpx.AsyncClient) -> None:
    for _ in range(5):
        await client.get("/v5/market/time")
    assert (box.counts.connections, box.counts.connections_open) == (1, 1)
    assert box.counts.requests == 5


async def test_it_packs_only_for_those_who_can_unpack(client: httpx.AsyncClient) -> None:
    plain = await client.get(KLINE, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for no in ("gzip;q=0", "identity, GZIP; q=0.0", "br"):
        assert "content-encoding" not in (await client.get(KLINE, headers={"Accept-Encoding": no})).headers
    for yes in ("gzip", "deflate, gzip;q=0.5", "GZIP;q=1.0, *;q=0"):
        assert "content-encoding" in (await client.get(KLINE, headers={"Accept-Encoding": yes})).headers
    async with client.stream("GET", KLINE) as gzipped:
        raw = b"".join([chunk async for chunk in gzipped.aiter_raw()])
    assert zlib.decompress(raw, 31) == plain.content
    assert len(raw) * 2 < len(plain.content)


async def test_statuses_and_methods_arrive(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v5/market/nothing")).status_code == 404
    assert (await client.get("/")).status_code == 404
    refused = await client.post("/v5/market/time", json={})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert (await client.request("GET", "/v5/market/time", json={})).status_code == 403


async def test_counts_truth_and_faults_are_on_the_same_port(box: Sandbox, client: httpx.AsyncClient) -> None:
    query = "symbol=BTCUSDT&interval=D&start=2024-04-28&end=2024-05-02"
    truth = await client.get(f"/sandbox/truth?{query}")
    assert truth.content == box.truth("BTCUSDT", "D", "2024-04-28", "2024-05-02")
    assert truth.text.count("\n") == 4
    await client.post("/sandbox/faults", json={"http_429": 1})
    assert (await client.get("/v5/market/time")).status_code == 429
    assert (await client.get("/sandbox/counts")).json()["by_outcome"] == {"http_429": 1}
    assert (await client.delete("/sandbox/faults")).json()["http_429"] == 0
    assert (await client.get("/sandbox/clock")).json() == {"now_ms": NOW, "rate": 0}
    moved = await client.post("/sandbox/clock", json={"advance_ms": 60_000})
    assert moved.json()["now_ms"] == box.clock.now_ms() == NOW + 60_000
    assert (await client.post("/sandbox/clock", json={"hands": 2})).status_code == 400
    assert (await client.post("/sandbox/clock", json={"advance_ms": 1e18})).status_code == 400
    assert (await client.post("/sandbox/clock", json={"rate": 1e300})).status_code == 400
    assert (await client.post("/sandbox/faults", json={"topics": [5]})).status_code == 400
    assert (await client.delete("/sandbox/counts")).json()["requests"] == 0
    assert (await client.get("/sandbox/truth?symbol=NO&interval=1")).status_code == 400
    assert (await client.get("/sandbox/nothing")).status_code == 404


async def test_a_dropped_connection_has_no_answer(box: Sandbox, client: httpx.AsyncClient) -> None:
    box.faults = Faults(dropped=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(KLINE)


async def test_a_reset_connection_is_an_error(box: Sandbox, client: httpx.AsyncClient) -> None:
    box.faults = Faults(reset=1)
    with pytest.raises(httpx.ReadError):
        await client.get(KLINE)


async def test_a_truncated_body_ends_before_its_length(box: Sandbox, client: httpx.AsyncClient) -> None:
    box.faults = Faults(truncated=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        await client.get(KLINE)


async def test_a_dripped_body_comes_whole_in_the_end(box: Sandbox, client: httpx.AsyncClient) -> None:
    box.faults = Faults(dripped=1, drip_s=0.001)
    before = trio.current_time()
    assert (await client.get(KLINE)).json()["retCode"] == 0
    assert trio.current_time() - before >= 0.02


async def test_a_stalled_request_is_never_answered(box: Sandbox, client: httpx.AsyncClient) -> None:
    box.faults = Faults(stalled=1)
    with pytest.raises(httpx.ReadTimeout):
        await client.get(KLINE, timeout=httpx.Timeout(5, read=0.05))
    box.faults = Faults(stalled=1, stall_s=0.01)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(KLINE)


async def test_latency_holds_the_answer_back(box: Sandbox, client: httpx.AsyncClient) -> None:
    box.faults = Faults(latency_ms=50)
    before = trio.current_time()
    await client.get("/v5/market/time")
    assert trio.current_time() - before >= 0.05


async def test_nonsense_is_a_bad_request(box: Sandbox) -> None:
    answer = await answer_to(box, b"what is the price?\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_a_head_is_refused_without_a_body_and_the_connection_stays(
    box: Sandbox, client: httpx.AsyncClient
) -> None:
    refused = await client.head("/v5/market/time")
    assert (refused.status_code, refused.content) == (405, b"")
    assert (await client.get("/v5/market/time")).status_code == 200
    assert box.counts.connections == 1


@pytest.mark.parametrize(
    "said",
    [
        b"what is the price?\r\n\r\n",
        b"GET /v5/market/time HTTP/1.1\r\n\r\n",
        b"HEAD /v5/market/time HTTP/1.1\r\nHost: box\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_client_that_talks_nonsense_and_is_gone_harms_nobody(
    box: Sandbox, client: httpx.AsyncClient, said: bytes
) -> None:
    rude = await trio.open_tcp_stream("127.0.0.1", box.port)
    rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends a reset
    await rude.send_all(said)
    await rude.aclose()
    assert (await client.get("/v5/market/time")).status_code == 200


async def test_two_requests_in_one_segment_get_two_answers(box: Sandbox) -> None:
    request = b"GET /v5/market/time HTTP/1.1\r\nHost: box\r\n"
    answer = await answer_to(box, request + b"\r\n" + request + b"Connection: close\r\n\r\n")
    assert answer.count(b'"retCode":0') == 2


@pytest.mark.parametrize("parts", [(b"\r\n",), (b"\r", b"\n"), (b"\r\n\r\n", b"\n")])
async def test_empty_lines_before_a_request_are_ignored(box: Sandbox, parts: tuple[bytes, ...]) -> None:
    request = b"GET /v5/market/time HTTP/1.1\r\nHost: box\r\n\r\n"
    wire = Wire(box.exchange.respond, box.clock.now_ms, lambda: 1.0, THIS_MACHINE.network)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, theirs, "10.0.0.1", wire)
        for _ in range(2):  # also between two requests
            for part in parts:
                await ours.send_all(part)
                await trio.testing.wait_all_tasks_blocked()
            await ours.send_all(request)
            assert (await ours.receive_some()).startswith(b"HTTP/1.1 200 ")
        await ours.send_eof()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://box/v5/market/time", 200),
        (b"HTTPS://api.bybit.com:443/v5/market/time?x=http://y/", 200),
        (b"http://box", 404),
        (b"http://box?symbol=BTCUSDT", 404),
        (b"//box/v5/market/time", 404),
        (b"*", 404),
        (b"//v5/market/time", 200),
        (b"http://box//v5//market/time/?x=//", 200),
        (b"/v5/market/time/", 200),
        (b"/v5/market/ti/me", 404),
    ],
)
async def test_a_target_may_be_a_whole_address_and_have_too_many_slashes(
    box: Sandbox, target: bytes, status: int
) -> None:
    answer = await answer_to(box, b"GET %b HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n" % target)
    assert answer.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("target", [b"ws://box/v5/public/linear", b"//v5/public/linear", b"/v5/public/linear/?x=1"])
async def test_so_may_the_target_of_a_handshake(box: Sandbox, target: bytes) -> None:
    head = b"Host: box\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    stream = await trio.open_tcp_stream("127.0.0.1", box.port)
    async with stream:
        await stream.send_all(b"GET %b HTTP/1.1\r\n" % target + head + b"Sec-WebSocket-Key: ")
        await stream.send_all(b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")


UPGRADE = b"Upgrade: websocket\r\n"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (UPGRADE + b"Connection: keep-alive\r\nConnection: Upgrade\r\n", 101),
        (UPGRADE + b"Connection: keep-alive, upgrade\r\n", 101),
        (b"Upgrade: WebSocket, h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n", 101),
        (b"Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nConnection: close\r\n", 101),
        (UPGRADE + b"Connection: keep-alive\r\n", 400),
    ],
)
async def test_a_handshake_may_list_more_than_the_websocket(box: Sandbox, lines: bytes, status: int) -> None:
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", box.port) as stream:
        await stream.send_all(b"GET /v5/public/linear HTTP/1.1\r\nHost: box\r\n" + lines + key)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 %d " % status)


async def test_an_old_client_is_answered_and_let_go(box: Sandbox) -> None:
    answer = await answer_to(box, b"GET /v5/market/time HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_clients_trust_the_authority_it_names(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    async with open_sandbox(tls=True, ca_file=ca_file) as box:
        context = ssl.create_default_context(cafile=str(ca_file))
        async with httpx.AsyncClient(base_url=box.url, verify=context) as client:
            assert (await client.get("/v5/market/time")).json()["retCode"] == 0
            reply = await client.get(f"https://localhost:{box.port}/v5/market/time")
            assert reply.status_code == 200
        assert box.url.startswith("https://")


@pytest.mark.parametrize(
    "host",
    [
        *(
            "api.bybit.com",
            "api-testnet.bybit.com",
            "api.bytick.com",
            "stream.bybit.com",
            "api.bybit.nl",
            "stream.bybit.tr",
        ),
        *("stream.bybit.kz", "api.bybit.ae", "stream.bybit.eu", "api.bybit.id", "api.bybitgeorgia.ge", "api.manepa.jp"),
    ],
)
async def test_a_client_led_here_by_its_resolver_finds_the_exchange_s_name(tmp_path: Path, host: str) -> None:
    ca_file = tmp_path / "ca.pem"
    async with open_sandbox(tls=True, ca_file=ca_file) as box:
        raw = await trio.open_tcp_stream("127.0.0.1", box.port)
        context = ssl.create_default_context(cafile=str(ca_file))
        async with trio.SSLStream(raw, context, server_hostname=host, https_compatible=True) as stream:
            await stream.send_all(f"GET /v5/market/time HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_does_not_speak_tls_or_trust_it_harms_nobody(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    async with open_sandbox(tls=True, ca_file=ca_file) as box, httpx.AsyncClient() as stranger:
        with pytest.raises(httpx.ConnectError):
            await stranger.get(f"{box.url}/v5/market/time")
        with pytest.raises(httpx.HTTPError):
            await stranger.get(f"http://127.0.0.1:{box.port}/v5/market/time")
        context = ssl.create_default_context(cafile=str(ca_file))
        async with httpx.AsyncClient(verify=context) as client:
            assert (await client.get(f"{box.url}/v5/market/time")).status_code == 200


async def test_a_connection_that_wants_to_be_a_websocket_is_handed_on(box: Sandbox) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def upgrade(stream: trio.abc.Stream, head: h11.Request, after: bytes) -> None:
        seen.append((head.target, after))
        await stream.send_all(b"over to you")

    wire = Wire(box.exchange.respond, box.clock.now_ms, lambda: 1.0, THIS_MACHINE.network, upgrade)
    ours, theirs = trio.testing.memory_stream_pair()
    head = b"GET /v5/public/linear HTTP/1.1\r\nHost: box\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    await ours.send_all(head + b"early")
    await serve_http(theirs, "10.0.0.1", wire)
    assert seen == [(b"/v5/public/linear", b"early")]
    assert await ours.receive_some() == b"over to you"


async def test_a_taken_port_is_an_error(box: Sandbox) -> None:
    with pytest.raises(OSError, match="use"):
        async with open_sandbox(port=box.port):
            pass


async def test_when_it_is_left_its_connections_are_closed() -> None:
    async with open_sandbox() as box:
        stream = await trio.open_tcp_stream("127.0.0.1", box.port)
        await stream.send_all(b"GET /v5/market/time HTTP/1.1\r\nHost: box\r\n\r\n")
        await stream.receive_some()
    assert await stream.receive_some() == b""
    assert box.counts.connections_open == 0
    await stream.aclose()
