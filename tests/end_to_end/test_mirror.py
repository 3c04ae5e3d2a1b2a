"""A real collector keeps a real PostgreSQL equal to its files, whatever becomes of the server meanwhile."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from collector.core import pacing
from collector.core.errors import SettingsError
from collector.monitoring import monitor
from collector.monitoring.report import Report
from collector.pipeline import flush_queue, mirror
from collector.pipeline.service import serve
from collector.sandbox import Faults, Sandbox
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings
from tests.end_to_end.test_status import Collecting, collecting, fast_box, is_up_to_date, settings_for_status
from tests.support.live_market import fast_box as box_of_rate
from tests.support.market import until
from tests.support.mirrors import differences, table_rows
from tests.support.servers import PostgresServer, connected, own_postgres


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_INTERVAL_S", 0.05)
    monkeypatch.setattr(pacing, "_RETRY_PAUSE_S", 0.05)
    monkeypatch.setattr(pacing, "_LONGEST_RETRY_PAUSE_S", 0.2)
    monkeypatch.setattr(mirror, "_GATHER_S", 0.02)
    monkeypatch.setattr(mirror, "_GAPS_EVERY_S", 0.1)
    monkeypatch.setattr(flush_queue, "_SAVE_AFTER_S", 0.1)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with own_postgres(tmp_path_factory.mktemp("pg")) as started:
        yield started


def is_mirrored(report: Report) -> bool:
    """Whether the database has everything, but for the last moment."""
    return (
        is_up_to_date(report) and report.mirror.connected and report.mirror.comparing == 0 and report.mirror.lag_s < 1
    )


@asynccontextmanager
async def mirroring(box: Sandbox, directory: Path, url: str, **changes: object) -> AsyncIterator[Collecting]:
    settings = settings_for_status(box, directory, database_url=url, **changes)
    async with collecting(settings) as run:
        await run.is_so(is_mirrored)
        yield run


async def grows(run: Collecting, candles: int = 3) -> None:
    before = (await run.report()).writing.candles
    await run.is_so(lambda report: report.writing.candles >= before + candles)


def gaps(database: str) -> list[tuple[str, str, str, int]]:
    with connected(database) as connection:
        found: list[tuple[str, str, str, int]] = connection.execute(
            "SELECT symbol, timeframe, state, candles FROM gaps"
        ).fetchall()
    return found


async def test_a_reload_gives_a_database_and_takes_a_refused_one(tmp_path: Path, database: str) -> None:
    given = [database.replace("/postgres?", "/nothing?"), database]
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path)
        request = ReloadRequest(lambda: attrs.evolve(settings, database_url=given.pop(0)))
        async with collecting(settings, reload_request=request) as run:
            await run.is_so(is_up_to_date)
            request.request()
            refused = await run.is_so(lambda report: report.mirror.refused and report.state == "degraded")
            request.request()
            report = await run.is_so(lambda report: is_mirrored(report) and report.state == "healthy")
    assert "does not exist" in "".join(refused.reasons)
    assert (report.mirror.trouble, report.mirror.refused) == ("", False)
    assert differences(database, settings.data_dir) == []


async def test_under_the_limit_trimmed_rows_leave_the_table(tmp_path: Path, database: str) -> None:
    async with fast_box() as box, mirroring(box, tmp_path, database, limit_to_50_entries=True) as run:
        await grows(run)
    assert len(table_rows(database)) == 4 * 50
    assert differences(database, run.settings.data_dir) == []


def test_a_start_without_the_driver_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    settings = Settings(data_dir=tmp_path, database_url="postgresql://db/x")
    with pytest.raises(SettingsError, match=r"pip install 'collector\[postgres\]'"):
        trio.run(partial(serve, settings, once=False))


def assert_equal(settings: Settings) -> None:
    assert differences(settings.database_url, settings.data_dir) == []
    assert len(table_rows(settings.database_url)) > 2000


async def test_a_collector_fills_a_table_and_its_gaps_and_says_so(
    tmp_path: Path, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    address = database.replace("postgres:@", "postgres:s3cret-word@")
    async with fast_box() as box:
        box.faults = Faults(holes=("BTCUSDT/1:2024-05-15T08:00..2024-05-15T08:03",))
        async with mirroring(box, tmp_path, address) as run:
            with trio.fail_after(20):
                await until(lambda: ("BTCUSDT", "1", "absent", 3) in gaps(database))
            report = await run.is_so(lambda report: is_mirrored(report) and report.mirror.rows > 2000)
            metrics, now = (await run.get("/metrics")).text, (await run.get("/api/now")).json()
            shown = [(await run.get(path)).text for path in ("/", "/status", "/healthz", "/metrics", "/api/now")]
    assert "s3cret" not in f"{caplog.text} {shown} {run.settings!r}"
    assert_equal(run.settings)
    assert report.mirror.place == "postgresql:///postgres"
    assert "collector_mirror_connected 1.0" in metrics
    assert now["status"]["mirror"]["place"] == report.mirror.place


async def test_a_server_that_is_stopped_and_killed_gets_everything_in_the_end(
    tmp_path: Path, server: PostgresServer
) -> None:
    async with fast_box() as box, mirroring(box, tmp_path, server.address) as run:
        away = await while_down(run, server.stop, server.start)
        await while_down(run, server.kill, server.start)
    assert (away.state, away.mirror.refused) == ("healthy", False)
    assert_equal(run.settings)


@pytest.mark.slow
async def test_a_minute_without_a_server_and_kills_within_commits(tmp_path: Path, server: PostgresServer) -> None:
    random, ways = Random(18), [server.kill, lambda: end_connections(server.address)]
    async with box_of_rate(rate=20) as box:
        async with mirroring(box, tmp_path, server.address) as run:
            await trio.to_thread.run_sync(server.stop)
            await trio.sleep(60)
            await trio.to_thread.run_sync(server.start)
            await run.is_so(is_mirrored)
            for _ in range(10):
                await copying_begins(run)
                await trio.sleep(random.uniform(0, 0.05))
                await trio.to_thread.run_sync(random.choice(ways))
                await trio.to_thread.run_sync(server.start)
                await run.is_so(is_mirrored)
        assert_equal(run.settings)
        with connected(server.address) as connection:
            connection.execute("DELETE FROM candles WHERE open_time < '2024-05-15 06:00'")
        async with mirroring(box, tmp_path, server.address) as run:
            await grows(run)
    assert_equal(run.settings)  # the next start has found what was deleted


async def while_down(run: Collecting, stop: Callable[[], None], start: Callable[[], None]) -> Report:
    """The report of a time without the server; the mirror has caught up when this returns."""
    await trio.to_thread.run_sync(stop)
    await grows(run)
    away = await run.is_so(lambda report: report.mirror.away_s > 0)
    await trio.to_thread.run_sync(start)
    await run.is_so(is_mirrored)
    return away


async def copying_begins(run: Collecting) -> None:
    """Waits until candles have just closed."""
    before = (await run.report()).writing.candles
    await run.is_so(lambda report: report.writing.candles > before)


def end_connections(address: str) -> None:
    with connected(address) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'collector'"
        )
