"""The page of a collector at work: its memory is what is told, and nobody who reads holds it up."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from collector.core.rows import LATEST_MS
from collector.monitoring import monitor
from collector.page import connection
from collector.page.assets import asset
from collector.page.server import HttpServer
from collector.sandbox import Faults
from tests.end_to_end.test_status import Collecting, collecting, is_up_to_date, settings_for_status
from tests.support.live_market import fast_box, wrongs


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_INTERVAL_S", 0.05)


async def test_a_running_collector_tells_what_it_holds_and_closes(tmp_path: Path) -> None:
    async with fast_box() as box, collecting(settings_for_status(box, tmp_path)) as run:
        await run.is_so(is_up_to_date)
        (series,) = (await run.get("/api/coverage?timeframe=1&symbol=BTCUSDT")).json()["series"]
        assert series["runs"][0] % 60_000 == 0
        now = (await run.get("/api/now")).json()
        assert (now["status"]["state"], len(now["samples"]["at_ms"])) == ("healthy", 1)
        next_ms = (await run.get("/api/candles?symbol=BTCUSDT&timeframe=1")).json()["candles"][-1][0] + 60_000
        found = await run.client.get(
            f"{run.url}/api/candles?symbol=BTCUSDT&timeframe=1&start={next_ms}&wait=20", timeout=30
        )
        assert found.json()["candles"][0][0] == next_ms
        assert (await run.get("/")).status_code == 200


async def test_a_candle_that_the_exchange_corrects_is_named_as_revised(tmp_path: Path) -> None:
    faults = Faults(confirm_revised=1.0, confirm_again_s=2)
    async with fast_box(faults=faults) as box, collecting(settings_for_status(box, tmp_path)) as run:
        await run.is_so(lambda report: report.writing.revisions > 0)
        said = (await run.get("/api/candles?symbol=BTCUSDT&timeframe=1")).json()
        said["revised"] += (await run.get("/api/candles?symbol=ETHUSDT&timeframe=1")).json()["revised"]
        assert said["revised"]
        assert all((end - start) % 60_000 == 0 for start, end in said["revised"])
        assert said["repaired"] == []


async def test_readers_that_do_not_read_delay_no_candle(tmp_path: Path) -> None:
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path)
        async with collecting(settings) as run:
            await run.is_so(is_up_to_date)
            port, stuck = int(run.url.rpartition(":")[2]), []
            for _ in range(8):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                await stream.send_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                stuck.append(stream)
            before = (await run.report()).writing.candles
            report = await run.is_so(lambda report: report.writing.candles >= before + 4)
            assert report.state == "healthy"
            assert report.stream.reconnects == 0
            for stream in stuck:
                await trio.aclose_forcefully(stream)
        assert wrongs(box, settings, late=1) == []


HEAD = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = b"/static/lightweight-charts.mjs"
POLL = b"/api/candles?symbol=BTCUSDT&timeframe=1&start=%d&wait=60" % LATEST_MS
UNREAD = (
    LARGE,
    b"/api/candles?symbol=ETHUSDT&timeframe=1&limit=10000",
    b"/api/coverage?timeframe=1",
    b"/api/series",
    b"/metrics",
)


@asynccontextmanager
async def asked(run: Collecting, *paths: bytes) -> AsyncIterator[list[trio.SocketStream]]:
    """Connections on which something is asked for, and nothing read yet."""
    streams: list[trio.SocketStream] = []
    try:
        for path in paths:
            streams.append(await trio.open_tcp_stream("127.0.0.1", int(run.url.rpartition(":")[2])))
            streams[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            await streams[-1].send_all(HEAD % path)
        yield streams
    finally:
        for stream in streams:
            stream.socket.close()


async def trickle(run: Collecting) -> None:
    """Sends a head a letter at a time, and begins anew when it is cut off."""
    while True:
        async with await trio.open_tcp_stream("127.0.0.1", int(run.url.rpartition(":")[2])) as stream:
            with suppress(trio.BrokenResourceError):
                for at in range(len(HEAD)):
                    await stream.send_all(HEAD[at : at + 1])
                    await trio.sleep(0.05)


def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the system keep next to nothing of what is sent: who does not read is felt at once."""
    serve = HttpServer._serve_client

    async def serve_narrowly(server: HttpServer, stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        await serve(server, stream)

    monkeypatch.setattr(HttpServer, "_serve_client", serve_narrowly)


async def rest_of(stream: trio.SocketStream) -> bytes:
    said = b""
    with trio.fail_after(20), suppress(trio.BrokenResourceError):
        async for part in stream:
            said += part
    return said


async def test_readers_of_every_kind_delay_no_candle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """Events and answers that nobody reads, heads that trickle in, and many long polls, all at once."""
    narrow(monkeypatch)
    monkeypatch.setattr(connection, "_RESPONSE_TIMEOUT_S", 2.0)
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path)
        async with collecting(settings) as run:
            await run.is_so(is_up_to_date)
            for _ in range(8):
                nursery.start_soon(trickle, run)
            async with asked(run, *UNREAD * 4, *(POLL, b"/api/events") * 10) as streams:
                before = (await run.report()).writing.candles
                report = await run.is_so(lambda report: report.writing.candles >= before + 10)
                assert (report.state, report.stream.reconnects) == ("healthy", 0)
                unread = await rest_of(streams[0])
            assert 0 < len(unread) < len(asset("lightweight-charts.mjs"))  # it was stuck, and is cut off
            nursery.cancel_scope.cancel()
        assert wrongs(box, settings, late=1) == []


async def test_who_waits_when_the_collector_stops_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    narrow(monkeypatch)
    async with fast_box() as box, AsyncExitStack() as stack:
        async with collecting(settings_for_status(box, tmp_path)) as run:
            await run.is_so(is_up_to_date)
            paths = (b"/api/events?only=status", POLL, LARGE)
            events, poll, unread = await stack.enter_async_context(asked(run, *paths))
            begun = await events.receive_some()
            assert (await run.get("/healthz")).status_code == 200
            stopped_s = trio.current_time()
        assert trio.current_time() - stopped_s < 4
        head, _, body = (await rest_of(poll)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert json.loads(body) == {"error": "the collector is stopping"}
        assert (begun + await rest_of(events)).endswith(b"\r\n0\r\n\r\n")
        assert len(await rest_of(unread)) < len(asset("lightweight-charts.mjs"))
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []


async def test_who_waits_beyond_the_places_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.page.api._MAX_WAITING", 1)
    async with fast_box() as box, collecting(settings_for_status(box, tmp_path)) as run:
        await run.is_so(is_up_to_date)
        async with await trio.open_tcp_stream("127.0.0.1", int(run.url.rpartition(":")[2])) as stream:
            await stream.send_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await stream.receive_some()
            assert (await run.get("/api/events")).status_code == 503


async def test_the_candle_in_progress_is_told_while_somebody_looks(tmp_path: Path) -> None:
    async with fast_box() as box, collecting(settings_for_status(box, tmp_path)) as run:
        await run.is_so(is_up_to_date)
        said = b""
        async with await trio.open_tcp_stream("127.0.0.1", int(run.url.rpartition(":")[2])) as stream:
            await stream.send_all(b"GET /api/events?symbol=BTCUSDT&timeframe=5 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with trio.fail_after(10):
                while b"event: forming" not in said or not said.endswith(b"\n\n\r\n"):
                    said += await stream.receive_some()
        told = json.loads(said.partition(b"event: forming\ndata: ")[2].partition(b"\n")[0])
        assert (told["symbol"], told["timeframe"], told["candle"][0] % 300_000) == ("BTCUSDT", "5", 0)
        assert told["candle"][3] <= told["candle"][4] <= told["candle"][2]
