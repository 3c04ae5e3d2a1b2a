"""The page of a collector at work: its memory is what is told, and nobody who reads holds it up."""

import json
import socket
from pathlib import Path

import pytest
import trio

from collector.monitoring import monitor
from collector.sandbox import Faults
from tests.end_to_end.test_status import collecting, is_up_to_date, settings_for_status
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
