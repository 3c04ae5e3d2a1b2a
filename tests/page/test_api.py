"""The API over stored files, on a real server: its answers are what the files and the ledger say."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import httpx
import polars as pl
import pytest
import trio

from collector import DataFeeder
from collector.core.candle import Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.spans import Spans
from collector.machine import THIS_MACHINE
from collector.page import source as sources
from collector.page.endpoint import serve_stored
from collector.page.source import StoredSource
from collector.pipeline.service import serve
from collector.sandbox import Faults, Hole, open_sandbox
from collector.settings.settings import Settings
from collector.storage.ledger import open_ledger
from tests.support.market import market, settings_for, until

HOUR, DAY = 3_600_000, 86_400_000
OPENED_MS = 1715774400000 - 10 * DAY
HOLE = Hole.named("BTCUSDT/60:2024-05-11T06:00..2024-05-11T09:00")
HOLE_MS = (1715407200000, 1715418000000)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Ten days of two symbols in hours, quarters and days, with a hole that the exchange has too."""
    directory = tmp_path_factory.mktemp("stored")

    async def fetch() -> Settings:
        async with open_sandbox(market(faults=Faults(holes=(HOLE,)))) as box:
            symbols, timeframes = ["BTCUSDT", "ETHUSDT"], ["15", "60", "D"]
            settings = settings_for(box.url, directory, symbols=symbols, timeframes=timeframes)
            await serve(settings, once=True)
            return settings

    return trio.run(fetch)


@asynccontextmanager
async def viewed(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    source = StoredSource(settings.data_dir, settings.category, THIS_MACHINE)
    urls: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stored, source, THIS_MACHINE, 0, urls.append)
        await until(lambda: bool(urls))
        async with httpx.AsyncClient(base_url=urls[0], trust_env=False, timeout=20) as client:
            yield client
        nursery.cancel_scope.cancel()


async def test_series_are_as_the_command_list_has_them(stored: Settings) -> None:
    async with viewed(stored) as client:
        said = (await client.get("/api/series", params={"timeframe": "60"})).json()["series"]
    assert [each["symbol"] for each in said] == ["BTCUSDT", "ETHUSDT"]
    first = said[0]
    assert (first["rows"], first["holes"], first["first_ms"], first["percent"]) == (237, 1, OPENED_MS, 100.0)
    assert first["bytes"] == (stored.data_dir / "BTCUSDT_60.csv").stat().st_size
    assert first["gaps"]["absent"] == 3


async def test_coverage_comes_as_runs_of_one_state(stored: Settings) -> None:
    async with viewed(stored) as client:
        said = (await client.get("/api/coverage", params={"timeframe": "60", "symbol": "BTCUSDT"})).json()
    (series,) = said["series"]
    runs = [series["runs"][at : at + 3] for at in range(0, len(series["runs"]), 3)]
    absent = said["states"].index("absent")
    assert [*HOLE_MS, absent] in runs
    held = [run for run in runs if run[2] == 0]
    assert held[0][0] == OPENED_MS
    assert all(one[1] <= other[0] for one, other in pairwise(runs))


async def test_coverage_of_a_span_is_cut_to_it(stored: Settings) -> None:
    start, end = HOLE_MS[0] - HOUR, HOLE_MS[0] + HOUR
    asked: dict[str, Any] = {"timeframe": "60", "symbol": "BTCUSDT", "start": start, "end": end}
    async with viewed(stored) as client:
        said = (await client.get("/api/coverage", params=asked)).json()
    absent = said["states"].index("absent")
    assert said["series"][0]["runs"] == [start, HOLE_MS[0], 0, HOLE_MS[0], end, absent]


async def test_gaps_have_their_state_and_reason(stored: Settings) -> None:
    async with viewed(stored) as client:
        said = (await client.get("/api/gaps", params={"symbol": "BTCUSDT", "state": "absent"})).json()
    (gap,) = [each for each in said["gaps"] if each["timeframe"] == "60"]
    assert (gap["start_ms"], gap["end_ms"], gap["candles"]) == (*HOLE_MS, 3)
    assert gap["why"] == "the exchange's answer leaves it out"
    assert said["more"] is False


async def test_candles_are_those_of_the_file_in_both_formats(stored: Settings) -> None:
    asked: dict[str, Any] = {
        "symbol": "ETHUSDT",
        "timeframe": "60",
        "start": OPENED_MS,
        "end": OPENED_MS + 5 * HOUR,
    }
    async with viewed(stored) as client:
        said = (await client.get("/api/candles", params=asked)).json()
        arrow = await client.get(
            "/api/candles", params=asked, headers={"Accept": "application/vnd.apache.arrow.stream"}
        )
        same = await client.get("/api/candles", params=asked | {"format": "arrow"})
    frame = DataFeeder(stored.data_dir).frame("ETHUSDT", "60", start=OPENED_MS, end=OPENED_MS + 5 * HOUR)
    assert [row[4] for row in said["candles"]] == frame["close"].to_list()
    assert [row[0] for row in said["candles"]] == [OPENED_MS + hour * HOUR for hour in range(5)]
    assert (said["candle_timeframe"], said["merged"]) == ("60", 1)
    assert pl.read_ipc_stream(BytesIO(arrow.content)).rows() == [tuple(row) for row in said["candles"]]
    assert arrow.content == same.content


def corrected(stored: Settings, directory: Path, series: Series) -> Settings:
    """A copy of what is stored, of which a candle was revised and two were repaired: at hours 5, 20 and 21."""
    copied = attrs.evolve(stored, data_dir=directory / "corrected")
    shutil.copytree(stored.data_dir, copied.data_dir)
    coverage = CoverageIndex()
    with open_ledger(THIS_MACHINE.disk, copied.data_dir, copied.exchange, copied.category) as ledger:
        checkpoints = ledger.load(coverage)
        corrections = coverage[series].corrections
        corrections.add_revised(Spans.between(OPENED_MS + 5 * HOUR, OPENED_MS + 6 * HOUR))
        corrections.add_repaired(Spans.between(OPENED_MS + 20 * HOUR, OPENED_MS + 22 * HOUR))
        ledger.save(coverage, {series: checkpoints[series]})
    return copied


@pytest.mark.parametrize(
    ("bounds", "revised", "repaired"),
    [((0, 240), [(5, 6)], [(20, 22)]), ((5, 21), [(5, 6)], [(20, 21)]), ((6, 20), [], []), ((0, 1), [], [])],
)
async def test_candles_that_were_put_right_are_named(
    stored: Settings,
    tmp_path: Path,
    bounds: tuple[int, int],
    revised: list[tuple[int, int]],
    repaired: list[tuple[int, int]],
) -> None:
    start_ms, end_ms = (OPENED_MS + each * HOUR for each in bounds)
    asked: dict[str, Any] = {"symbol": "ETHUSDT", "timeframe": "60", "start": start_ms, "end": end_ms}
    async with viewed(corrected(stored, tmp_path, Series("ETHUSDT", timeframe("60")))) as client:
        said = (await client.get("/api/candles", params=asked)).json()
    found = [
        [tuple((ms - OPENED_MS) // HOUR for ms in each) for each in said[kind]] for kind in ("revised", "repaired")
    ]
    assert found == [revised, repaired]


@pytest.mark.parametrize(
    ("bounds", "first", "last"),
    [
        ({}, 237, 239),
        ({"end": OPENED_MS + 100 * HOUR}, 97, 99),
        ({"start": OPENED_MS + 7 * HOUR}, 7, 9),
        ({"start": HOLE_MS[0] - HOUR}, 137, 142),
    ],
)
async def test_an_open_span_gives_the_candles_next_to_its_bound(
    stored: Settings, bounds: dict[str, int], first: int, last: int
) -> None:
    async with viewed(stored) as client:
        asked: dict[str, Any] = {"symbol": "BTCUSDT", "timeframe": "60", "limit": 3, **bounds}
        said = (await client.get("/api/candles", params=asked)).json()["candles"]
    assert [len(said), said[0][0], said[-1][0]] == [3, OPENED_MS + first * HOUR, OPENED_MS + last * HOUR]


@pytest.mark.parametrize("limit", [300, 100, 11, 5, 1])
async def test_a_long_span_comes_whole_in_fewer_candles(stored: Settings, limit: int) -> None:
    monday_ms = OPENED_MS + 12 * HOUR
    asked: dict[str, Any] = {
        "symbol": "ETHUSDT",
        "timeframe": "15",
        "start": monday_ms,
        "end": 10**13 - 1,
        "limit": limit,
    }
    async with viewed(stored) as client:
        said = (await client.get("/api/candles", params=asked)).json()
    rows, frame = said["candles"], DataFeeder(stored.data_dir).frame("ETHUSDT", "15", start=monday_ms)
    assert 0 < len(rows) <= limit
    assert (said["candle_timeframe"], said["merged"]) != ("15", 1)
    assert rows[-1][4] == frame["close"][-1]
    if limit > 1:  # a month reaches over the start
        assert max(row[2] for row in rows) == frame["high"].max()
        assert min(row[3] for row in rows) == frame["low"].min()
        assert (rows[0][0], rows[0][1]) == (monday_ms, frame["open"][0])
        assert sum(row[5] for row in rows) == pytest.approx(frame["volume"].sum())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/coverage", 400),
        ("/api/coverage?timeframe=7", 400),
        ("/api/coverage?timeframe=5", 404),
        ("/api/coverage?timeframe=60&symbol=btc", 400),
        ("/api/coverage?timeframe=60&symbol=XRPUSDT", 404),
        ("/api/candles?symbol=../etc&timeframe=60", 400),
        ("/api/candles?symbol=BTCUSDT&timeframe=1", 404),
        ("/api/candles?symbol=BTCUSDT&timeframe=60&start=x", 400),
        (f"/api/candles?symbol=BTCUSDT&timeframe=60&start={OPENED_MS}&end={OPENED_MS - 1}", 400),
        (f"/api/candles?symbol=BTCUSDT&timeframe=60&start={OPENED_MS // 1000}", 400),
        (f"/api/coverage?timeframe=60&end={OPENED_MS * 1000}", 400),
        (f"/api/gaps?start={OPENED_MS // 1000}", 400),
        ("/api/gaps?start=0", 200),
        ("/api/candles?symbol=BTCUSDT&timeframe=60&limit=0", 400),
        ("/api/candles?symbol=BTCUSDT&timeframe=60&format=xml", 400),
        ("/api/candles?symbol=BTCUSDT&timeframe=60&symbol=BTCUSDT", 400),
        ("/api/gaps?stat=absent", 400),
        ("/api/gaps?state=lost", 400),
        ("/api/events?symbol=XRPUSDT", 404),
        ("/api/events?only=candles", 400),
        ("/api/nothing", 404),
        ("/status", 404),
        ("/healthz", 200),
        ("/", 200),
        ("/static/app.js", 200),
    ],
)
async def test_a_wrong_question_is_refused_with_the_reason(stored: Settings, path: str, status: int) -> None:
    async with viewed(stored) as client:
        answer = await client.get(path)
    assert answer.status_code == status
    if status in (400, 404) and path.startswith("/api/") and "nothing" not in path:
        assert answer.json()["error"]


@pytest.mark.parametrize("path", ["/static/../api.py", "/static/%2e%2e/api.py", "/static/..%2fapi.py"])
async def test_a_path_that_climbs_leads_nowhere(stored: Settings, path: str) -> None:
    async with viewed(stored) as client, reading(client, path) as said:  # httpx would resolve it
        assert (await said(b"\r\n\r\n")).startswith(b"HTTP/1.1 404")


async def test_whoever_waits_is_told_of_the_next_candle(
    stored: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_FRESH_S", 0.0)
    lines = (stored.data_dir / "ETHUSDT_60.csv").read_bytes().splitlines(keepends=True)
    path = tmp_path / "ETHUSDT_60.csv"
    path.write_bytes(b"".join(lines[:-1]))
    found: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        found.append(await client.get("/api/candles?symbol=ETHUSDT&timeframe=60&wait=10"))

    async with viewed(Settings(data_dir=tmp_path)) as client, trio.open_nursery() as nursery:
        await client.get("/api/series")
        nursery.start_soon(ask, client)
        await trio.sleep(0.1)
        assert not found
        path.write_bytes(b"".join(lines))
    ((candle,),) = [each.json()["candles"] for each in found]
    assert candle[0] == int(lines[-1].split(b",")[0])


async def test_whoever_waits_in_vain_is_told_so(stored: Settings) -> None:
    async with viewed(stored) as client:
        answer = await client.get("/api/candles?symbol=ETHUSDT&timeframe=60&wait=0")
    assert (answer.status_code, answer.json()["candles"]) == (200, [])


async def test_who_leaves_while_waiting_leaves_the_place_to_others(
    stored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_FRESH_S", 0.0)
    monkeypatch.setattr("collector.page.api._MAX_WAITING", 1)
    asked = "/api/candles?symbol=ETHUSDT&timeframe=60"
    async with viewed(stored) as client:
        async with reading(client, f"{asked}&wait=60"):
            while (await client.get(f"{asked}&wait=0")).status_code != 503:
                pass
        with trio.fail_after(10):
            while (await client.get(f"{asked}&wait=0")).status_code != 200:
                pass


async def test_events_tell_of_candles_that_are_new_in_a_file(
    stored: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_FRESH_S", 0.0)
    lines = (stored.data_dir / "ETHUSDT_60.csv").read_bytes().splitlines(keepends=True)
    path = tmp_path / "ETHUSDT_60.csv"
    path.write_bytes(b"".join(lines[:-2]))
    async with viewed(Settings(data_dir=tmp_path)) as client, reading(client, "/api/events") as said:
        assert b"content-type: text/event-stream" in await said(b"event: status")
        path.write_bytes(b"".join(lines))
        told = (await said(b"event: candle", b"event: candle")).partition(b"event: candle")[2]
    assert [b"[%b," % line.partition(b",")[0] in told for line in lines[-3:]] == [False, True, True]


async def test_a_reader_of_the_status_alone_is_told_no_candles(
    stored: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_FRESH_S", 0.0)
    monkeypatch.setattr("collector.page.events._STATUS_S", 0.0)
    lines = (stored.data_dir / "ETHUSDT_60.csv").read_bytes().splitlines(keepends=True)
    path = tmp_path / "ETHUSDT_60.csv"
    path.write_bytes(b"".join(lines[:-2]))
    async with viewed(Settings(data_dir=tmp_path)) as client, reading(client, "/api/events?only=status") as said:
        await said(b"event: status")
        path.write_bytes(b"".join(lines))
        assert b"event: candle" not in await said(*[b"event: status"] * 3)


@asynccontextmanager
async def reading(client: httpx.AsyncClient, path: str) -> AsyncIterator[Callable[..., Awaitable[bytes]]]:
    """Reads a response that goes on, until each of some words has come."""
    said = b""
    async with await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0) as stream:
        await stream.send_all(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())

        async def come(*words: bytes) -> bytes:
            nonlocal said
            with trio.fail_after(10):
                while any(said.count(word) < words.count(word) for word in words):
                    said += await stream.receive_some()
            return said

        yield come
