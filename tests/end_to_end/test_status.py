"""The status of a real collector on a real exchange in a box: its numbers are the box's, its words are the right ones.

A minute there is a third of a second here. The monitor looks twenty times a second, so that nobody has to wait for it.
"""

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
import trustme
from prometheus_client.parser import text_string_to_metric_families

from collector.bybit import retrying
from collector.bybit.rest_protocol import STATUS
from collector.commands.status_client import fetch_status
from collector.commands.status_table import status_table
from collector.core import pacing
from collector.core.candle import DAY_MS, Series
from collector.core.errors import NoStatus, StorageError
from collector.core.missing import State
from collector.core.text import moment_text
from collector.machine import THIS_MACHINE
from collector.machine.disk import THIS_DISK
from collector.machine.local_socket import LocalSocket
from collector.monitoring import health, monitor, status
from collector.monitoring.announcement import announced
from collector.monitoring.local_socket import status_socket
from collector.monitoring.probes import Probes
from collector.monitoring.report import Report
from collector.monitoring.sd_notify import NotifySocket
from collector.page import endpoint
from collector.pipeline import maintenance, startup
from collector.pipeline.service import ServeOptions, serve
from collector.sandbox import Faults, Limits, Maintenance, Sandbox
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.data_directory import write_identity
from collector.storage.ledger import Ledger, open_ledger
from tests.support.live_market import fast_box as box_of_rate
from tests.support.live_market import live_settings, wrongs
from tests.support.market import KLINE, settings_for, until

MB = 1_000_000


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_INTERVAL_S", 0.05)
    monkeypatch.setattr(retrying, "backoff_s", lambda tries, jitter: 0.01 * tries)
    monkeypatch.setattr(pacing, "_RETRY_PAUSE_S", 0.01)


def fast_box(**options: object) -> AbstractAsyncContextManager[Sandbox]:
    return box_of_rate(rate=180, **options)  # type: ignore[arg-type]


def at(settings: Settings) -> LocalSocket:
    """Where the collector of these settings answers."""
    return status_socket(THIS_MACHINE.network, settings.data_dir)


@attrs.define
class Machine:
    memory_mb: int = 100
    disk_mb: int = 9_000

    @property
    def probes(self) -> Probes:
        return Probes(lambda: self.memory_mb * MB, lambda: self.disk_mb * MB)


@attrs.frozen
class Collecting:
    """A collector at work, seen from outside."""

    settings: Settings
    url: str
    client: httpx.AsyncClient

    async def report(self) -> Report:
        return (await trio.to_thread.run_sync(fetch_status, THIS_DISK, self.settings.data_dir))[0]

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(self.url + path)

    async def is_so(self, condition: Callable[[Report], object]) -> Report:
        """The first report of which it is true; waits for it."""
        report = await self.report()
        with trio.move_on_after(20):
            while not condition(report):
                await trio.sleep(0.02)
                report = await self.report()
        assert condition(report), report
        return report


@asynccontextmanager
async def collecting(
    settings: Settings,
    machine: Machine | None = None,
    reload_request: ReloadRequest | None = None,
    probes: Probes | None = None,
) -> AsyncIterator[Collecting]:
    """What the command `run` does, stopped on leaving; entered when its status is served."""
    stop = trio.Event()

    async def work() -> None:
        measured = probes or (machine or Machine()).probes
        await serve(
            settings,
            once=False,
            options=ServeOptions(stop=stop, status=True, probes=measured, reload_request=reload_request),
        )

    async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False) as client:
        nursery.start_soon(work)
        with trio.fail_after(20):
            await until(lambda: announced(THIS_DISK, settings.data_dir) is not None)
        where = announced(THIS_DISK, settings.data_dir)
        assert where is not None
        yield Collecting(settings, where[1], client)
        stop.set()


def settings_for_status(box: Sandbox, directory: Path, **changes: object) -> Settings:
    return live_settings(box, directory, **({"listen": "127.0.0.1:0"} | changes))


def is_up_to_date(report: Report) -> bool:
    return report.doing == "up to date" and report.writing.candles > 0


# The numbers.


def counted(box: Sandbox) -> dict[str, object]:
    """What the exchange counts of us, in our words."""
    of, stream = box.counts.by_outcome, box.counts.stream
    outcomes = {
        "ok": of["ok"],
        "retCode 10006": of["too_many_visits"],
        "HTTP 502": of["http_5xx"],
        "wrong or broken answer": of["malformed"] + of["wrong_symbol"],
        "ban": of["rate_ban"] + of["banned"],
    }
    return {
        "requests": box.counts.requests,
        "outcomes": {outcome: count for outcome, count in outcomes.items() if count},
        "bans": of["rate_ban"],
        "connections": len(stream.open),
        "connects": sum(stream.connections.values()),
        "messages": stream.frames,
        "confirmed": stream.confirmations,
    }


def told(report: Report) -> dict[str, object]:
    """The same, as the collector tells it."""
    requests, stream = report.requests, report.stream
    return {
        "requests": requests.begun,
        "outcomes": requests.outcomes,
        "bans": requests.bans,
        "connections": stream.connections,
        "connects": stream.connects,
        "messages": stream.messages,
        "confirmed": stream.confirmed,
    }


async def test_every_number_that_the_exchange_counts_too_agrees_with_it(tmp_path: Path) -> None:
    faults = Faults(
        paths=("kline",),
        too_many_visits=0.2,
        http_5xx=0.2,
        malformed=0.1,
        wrong_symbol=0.1,
        ban_after=15,
        confirm_missing=0.3,  # so that there is always something to ask for
        confirm_twice=0.5,
        confirm_again_s=5,
    )
    async with fast_box(faults=faults, limits=Limits(ban_s=0.2)) as box:
        settings = settings_for_status(box, tmp_path, bulk_batch_size=1, ban_wait_s=0.3, bulk_max_retries=50)
        async with collecting(settings) as run:
            await run.is_so(lambda report: len(report.requests.outcomes) == 5 and report.stream.confirmed > 4)
            report = await run.is_so(lambda report: told(report) == counted(box))
            requests = report.requests
            assert sum(requests.outcomes.values()) == requests.begun == requests.under_way + requests.begun
            assert requests.retries == requests.begun - requests.outcomes["ok"]
            box.cut_connections()
            await run.is_so(lambda report: (report.stream.connects, report.stream.reconnects) == (2, 1))


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(geo_block=1.0), "the exchange refuses this country or network, nothing is asked before"),
        (Faults(compliance_refused=1.0), "the exchange refuses this country or network, nothing is asked before"),
        (Faults(waf_block=1.0), "the exchange's gateway turns requests away (HTTP 403), nothing is asked before"),
        (Faults(handshake_403=1.0), "the stream refuses this address (HTTP 403), it is tried again in"),
    ],
)
async def test_a_block_degrades_a_live_collector_in_plain_words_and_passes(
    tmp_path: Path, faults: Faults, words: str
) -> None:
    async with fast_box() as box, collecting(settings_for_status(box, tmp_path, ban_wait_s=0.3)) as run:
        await run.is_so(is_up_to_date)
        box.faults = faults
        box.cut_connections()
        await run.is_so(lambda report: any(reason.startswith(words) for reason in report.reasons))
        box.faults = Faults()
        await run.is_so(lambda report: report.state == "healthy" and report.stream.connections > 0)


@pytest.mark.parametrize("fault", ["geo_block", "waf_block", "handshake_403"])
async def test_a_start_that_is_blocked_goes_on_when_the_block_passes(tmp_path: Path, fault: str) -> None:
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, ban_wait_s=0.3)
        settings.data_dir.joinpath(".collector").mkdir(parents=True)
        write_identity(
            THIS_DISK,
            settings.data_dir / ".collector",
            {"exchange": settings.exchange, "category": "linear"},
        )
        box.faults = Faults(**{fault: 1.0}, times=3, stream_times=2)  # type: ignore[arg-type]
        async with collecting(settings) as run:
            await run.is_so(lambda report: report.state == "degraded")
            await run.is_so(lambda report: is_up_to_date(report) and report.stream.connections > 0)


@asynccontextmanager
async def front(box: Sandbox) -> AsyncIterator["Front"]:
    """A way to an exchange in a box that can be in a state of its own."""
    front = Front(box.port)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    front.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, front.serve, listeners)
        yield front
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Front:
    """Says what a captive portal, a proxy or nobody says, and leads to the exchange when it says nothing."""

    _port: int
    says: bytes | None = None
    url: str = ""

    async def serve(self, client: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with client:
                if (says := self.says) is not None:
                    await client.receive_some()
                    await client.send_all(says)
                    return
                async with await trio.open_tcp_stream("127.0.0.1", self._port) as exchange, trio.open_nursery() as both:
                    both.start_soon(_pump, exchange, client)
                    await _pump(client, exchange)
                    both.cancel_scope.cancel()


async def _pump(source: trio.SocketStream, target: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for chunk in source:
            await target.send_all(chunk)


def http(status: str, body: bytes = b"", header: str = "X: y") -> bytes:
    return f"HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


PORTAL = b"<html><form>Accept the terms of this hotel</form></html>"


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (b"", "broke off"),
        (http("200 OK", PORTAL), "not the exchange's JSON"),
        (http("302 Found", header="Location: http://portal.example/"), "HTTP 302"),
        (http("407 Proxy Authentication Required"), "HTTP 407"),
        (http("502 Bad Gateway", PORTAL), "HTTP 502"),
        (http("511 Network Authentication Required", PORTAL), "HTTP 511"),
    ],
)
async def test_a_start_waits_for_a_network_that_is_not_there_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: bytes, words: str
) -> None:
    monkeypatch.setattr(health, "_UNSERVED_S", 0.1)
    async with fast_box() as box, front(box) as way:
        way.says = says
        ws_url = box.ws_url().replace(box.url[len("http") :], way.url[len("http") :])
        async with collecting(settings_for_status(box, tmp_path, rest_url=way.url, ws_url=ws_url)) as run:
            report = await run.is_so(lambda report: report.state == "degraded")
            assert report.doing == "starting"
            assert any("cannot be asked" in reason and words in reason for reason in report.reasons)
            way.says = None
            await run.is_so(lambda report: is_up_to_date(report) and report.state == "healthy")


async def test_a_certificate_is_waited_for_and_never_trusted_before_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_UNSERVED_S", 0.1)
    store = tmp_path / "store.pem"
    trustme.CA().cert_pem.write_to_path(str(store))
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    async with fast_box(tls_ca=tmp_path / "ca.pem") as box, collecting(settings_for_status(box, tmp_path)) as run:
        report = await run.is_so(lambda report: report.state == "degraded")
        assert any("its TLS certificate cannot be trusted" in reason for reason in report.reasons)
        assert box.counts.requests == 0
        (tmp_path / "ca.pem").replace(store)
        await run.is_so(lambda report: is_up_to_date(report) and report.stream.connections > 0)


def refusing(times: list[int]) -> Callable[..., AbstractContextManager[Ledger]]:
    """A ledger on a disk that cannot be written as long as there is a number in the list."""

    def open_refused(*args: Any, **options: Any) -> AbstractContextManager[Ledger]:
        if times:
            raise StorageError("candles/.collector cannot be used (Read-only file system)")
        return open_ledger(*args, **options)

    return open_refused


async def test_a_start_waits_for_a_disk_and_says_so_at_the_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    refuses = [1]
    monkeypatch.setattr(startup, "open_ledger", refusing(refuses))
    said = Said()
    async with fast_box() as box, trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False) as client:
        settings = settings_for_status(box, tmp_path, listen=f"127.0.0.1:{port}")
        stop = trio.Event()
        run = partial(
            serve,
            settings,
            once=False,
            options=ServeOptions(stop=stop, status=True, probes=Machine().probes, notify=said),
        )
        nursery.start_soon(run)
        with trio.fail_after(20):
            await health_says(
                client, port, "the start waits for the disk: candles/.collector cannot be used (Read-only"
            )
            assert any("waits for the disk" in line or "Read-only" in line for line in said.lines)
            refuses.clear()
            await health_says(client, port, "healthy, up to date")
        stop.set()
    assert rows_in(settings) > 2000


async def test_a_stop_while_the_disk_is_waited_for_is_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "open_ledger", refusing([1]))
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        settings = settings_for("http://127.0.0.1:1", tmp_path)
        nursery.start_soon(partial(serve, settings, once=False, options=ServeOptions(stop=stop)))
        await trio.sleep(0.05)
        stop.set()
    assert not settings.data_dir.joinpath(".collector").exists()


async def test_files_that_cannot_be_opened_at_the_start_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals, store_open = [1, 2, 3], Store.open

    def open_refused(self: Store, series: Series, checkpoint: Any) -> Any:
        if refusals and series.name == "ETHUSDT_1":  # others are open by then
            refusals.pop()
            raise StorageError("the disk is full")
        return store_open(self, series, checkpoint)

    monkeypatch.setattr(Store, "open", open_refused)
    async with fast_box() as box, collecting(settings_for_status(box, tmp_path)) as run:
        await run.is_so(lambda report: is_up_to_date(report) and report.state == "healthy")
    assert not refusals


@attrs.frozen
class Said(NotifySocket):
    """Somebody who notes what a service manager is told."""

    lines: list[str] = attrs.field(factory=list)

    def _send(self, *lines: str) -> bool:
        self.lines.extend(lines)
        return True


async def health_says(client: httpx.AsyncClient, port: int, words: str) -> None:
    while True:
        with suppress(httpx.TransportError):
            if words in (await client.get(f"http://127.0.0.1:{port}/healthz")).text:
                return
        await trio.sleep(0.01)


async def test_what_is_written_is_told_by_the_way_it_took(tmp_path: Path) -> None:
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path)
        async with collecting(settings) as run:
            await run.is_so(lambda report: is_up_to_date(report) and report.writing.candles > 3000)  # a day of both
            live = (await run.is_so(lambda report: report.stream.confirm_lags > 2)).stream
        before = rows_in(settings)
        async with collecting(attrs.evolve(settings, days_to_fetch=2, enable_websocket=False)) as run:
            report = await run.is_so(lambda report: is_up_to_date(report) and report.writing.flushes > 0)
        writing = report.writing
        assert 3400 < writing.rewritten < 3500  # the day before, of both symbols
        assert writing.candles == writing.appended + writing.staged + writing.rewritten
        assert rows_in(settings) == before + writing.candles
        assert (report.symbols, report.series, len(report.lags), len(report.gaps)) == (2, 4, 2, len(State))
        assert 0 < live.confirm_lag_s / live.confirm_lags < 2


def rows_in(settings: Settings) -> int:
    return sum(len(path.read_bytes().splitlines()) - 1 for path in settings.data_dir.glob("*.csv"))


NAMES = """
    info healthy start_time_seconds exchange_time_seconds series requests requests_under_way request_retries
    requests_given_up request_budget request_budget_left bans banned_until_seconds stream_connections stream_connects
    stream_reconnects stream_messages stream_malformed stream_unknown stream_refused_topics confirmed_candles
    confirm_lag_seconds candles_written revisions rows_per_second queued_candles queued_answers flush_seconds
    flush_wait_seconds candles_to_fetch lag_seconds missing_spans missing_candles memory_bytes disk_free_bytes
    alerts_sent alert_failures alerts_waiting mirror_connected mirror_rows mirror_commits mirror_failures
    mirror_waiting_series mirror_comparing_series mirror_lag_seconds
"""
OF_THE_PROCESS = """
    process_virtual_memory_bytes process_resident_memory_bytes process_start_time_seconds process_cpu_seconds
    process_open_fds process_max_fds
"""


def parsed(text: str) -> dict[str, Any]:
    return {family.name.removeprefix("collector_"): family for family in text_string_to_metric_families(text)}


def values(family: Any, label: str) -> dict[str, float]:
    return {sample.labels[label]: sample.value for sample in family.samples}


async def test_prometheus_understands_the_metrics_while_candles_come(tmp_path: Path) -> None:
    async with fast_box(faults=Faults(silent_minutes=True)) as box:
        async with collecting(settings_for_status(box, tmp_path), Machine(memory_mb=123, disk_mb=4567)) as run:
            await run.is_so(is_up_to_date)
            first = parsed((await run.get("/metrics")).text)
            await run.is_so(lambda report: report.stream.confirmed > 2)
            answer = await run.get("/metrics")
            second, report = parsed(answer.text), await run.report()
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert list(second) == [*NAMES.split(), *OF_THE_PROCESS.split()]
        assert second["process_resident_memory_bytes"].samples[0].value > 10 * MB
        assert second["process_start_time_seconds"].samples[0].value <= second["start_time_seconds"].samples[0].value
        assert all(family.documentation.endswith(".") for family in second.values())
        for name, family in second.items():
            if family.type == "counter":
                assert family.samples[0].value >= first[name].samples[0].value
        ways = values(second["candles_written"], "way")
        assert set(ways) == {"append", "stage", "rewrite"}
        assert 0 < sum(ways.values()) <= report.writing.candles
        assert set(values(second["requests"], "outcome")) == {"ok"}
        assert set(values(second["lag_seconds"], "timeframe")) == {"1", "5"}
        assert set(values(second["missing_spans"], "state")) == {gap.state for gap in report.gaps}
        assert second["memory_bytes"].samples[0].value == 123 * MB
        assert second["disk_free_bytes"].samples[0].value == 4567 * MB


# The words.


async def test_an_error_storm_degrades_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_ERRORS_OVER_S", 0.5)
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, errors_per_minute=5, bulk_max_retries=100)
        async with collecting(settings) as run:
            await run.is_so(is_up_to_date)
            assert (await run.get("/healthz")).status_code == 200
            box.faults = Faults(http_5xx=1.0)
            await run.is_so(lambda report: report.state == "degraded")
            answer = await run.get("/healthz")
            assert answer.status_code == 503
            assert "errors in the last minute, most of them: HTTP 502" in answer.text
            box.faults = Faults()
            await run.is_so(lambda report: report.state == "healthy")
            assert (await run.get("/healthz")).status_code == 200


async def test_a_low_disk_stops_history_and_not_live_and_space_brings_history_back(tmp_path: Path) -> None:
    machine = Machine(disk_mb=100)
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, low_disk_mb=500)
        async with collecting(settings, machine) as run:
            report = await run.is_so(lambda report: report.writing.candles > 4)
            assert report.reasons == ("the disk has 100 MB left, which is below 500 MB: history stops, live goes on",)
            assert box.counts.by_path[KLINE] == 0
            await run.is_so(lambda report: {gap.state: gap.candles for gap in report.gaps}["pending"] > 1000)
            machine.disk_mb = 9_000
            await run.is_so(lambda report: report.state == "healthy" and report.writing.rewritten > 1000)
            await run.is_so(lambda report: report.doing == "up to date")
            assert box.counts.by_path[KLINE] > 0
        assert wrongs(box, settings, late=99) == []  # none but those that closed while it stopped


async def test_memory_beyond_its_limit_degrades_and_passes(tmp_path: Path) -> None:
    machine = Machine(memory_mb=2000)
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, enable_websocket=False)
        async with collecting(settings, machine) as run:
            report = await run.is_so(lambda report: report.state == "degraded")
            machine.memory_mb = 200
            await run.is_so(lambda report: report.state == "healthy")
        assert report.reasons == ("2,000 MB of memory are in use, more than 1,024 MB",)


async def test_while_the_exchange_is_away_at_the_start_it_is_healthy_and_starting(tmp_path: Path) -> None:
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, rest_url="http://127.0.0.1:9", bulk_max_retries=1)
        async with collecting(settings) as run:
            answer = await run.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "healthy, starting\n")


async def test_until_it_is_known_what_is_missing_it_is_starting_and_not_up_to_date(tmp_path: Path) -> None:
    silent = Faults(http_5xx=1.0, paths=("/market/time",))
    async with fast_box(faults=silent) as box, collecting(settings_for_status(box, tmp_path)) as run:
        report = await run.is_so(lambda report: report.series and report.survey_ms and report.stream.confirmed)
    assert report.doing == "starting"


async def test_settings_that_are_read_again_are_what_it_judges_by_and_reports(tmp_path: Path) -> None:
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, bulk_batch_size=1)
        read = attrs.evolve(settings, memory_limit_mb=50, bulk_request_delay_ms=100)
        reload_request = ReloadRequest(lambda: read)
        async with collecting(settings, reload_request=reload_request) as run:
            before = await run.is_so(is_up_to_date)
            reload_request.request()
            after = await run.is_so(lambda report: report.state == "degraded")
    assert before.state == "healthy"
    assert before.requests.budget > after.requests.budget == 50
    assert after.reasons == ("100 MB of memory are in use, more than 50 MB",)
    assert after.machine.memory_limit_bytes == 50 * MB


async def test_while_the_exchange_gives_no_answer_it_is_not_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_WAITING_AFTER_S", 0.1)
    monkeypatch.setattr(retrying, "backoff_s", lambda tries, jitter: 2.0 if tries == 8 else 0.01)
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, bulk_max_retries=20)
        async with collecting(settings) as run:
            await run.is_so(is_up_to_date)
            box.faults = Faults(http_5xx=1.0)
            report = await run.is_so(lambda report: "asked again in 1 s" in report.unserved)
            assert report.doing == "waiting for the exchange"
            assert "cannot be asked since 20" in report.unserved
            assert "HTTP 502; asked again in 1 s" in report.unserved
            assert [words for title, words in shown(report) if title == "exchange"] == [report.unserved]
            box.faults = Faults()
            report = await run.is_so(is_up_to_date)
            assert report.unserved == ""


def shown(report: Report) -> list[tuple[str, str]]:
    titles, words = (list(map(str, column.cells)) for column in status_table(report).columns)
    return list(zip(titles, words, strict=True))


# The address.


async def test_an_address_that_is_taken_is_a_warning_and_collecting_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, listen=f"127.0.0.1:{box.port}", enable_websocket=False)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(settings, once=False, options=ServeOptions(stop=stop, status=True)))
            with trio.fail_after(20):
                await until(lambda: (settings.data_dir / "BTCUSDT_1.csv").exists())
            stop.set()
    assert announced(THIS_DISK, settings.data_dir) is None
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("status port not available, trying again")
    assert "in use" in warning


@asynccontextmanager
async def local(settings: Settings) -> AsyncIterator[Collecting]:
    """A collector that is asked at its socket."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False) as client:
        nursery.start_soon(
            lambda: serve(settings, once=False, options=ServeOptions(stop=stop, status=True, probes=Machine().probes))
        )
        with trio.fail_after(20):
            await until(lambda: at(settings).is_bound())
        yield Collecting(settings, "", client)
        stop.set()


async def test_status_works_while_the_port_is_taken_and_takes_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_RETRY_S", 0.02)
    async with fast_box() as box:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            settings = settings_for_status(box, tmp_path, listen=listen, enable_websocket=False)
            async with local(settings) as run:
                report = await run.is_so(lambda report: report.port_trouble)
                assert (report.state, report.port_trouble) == ("healthy", "Address already in use")
                taken.close()
                report = await run.is_so(lambda report: report.url)
                assert (report.url, report.port_trouble) == (f"http://{listen}", "")


async def test_an_empty_listen_switches_off_the_port_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with fast_box() as box, local(settings_for_status(box, tmp_path, listen="")) as run:
        await run.is_so(is_up_to_date)
    assert "status served" not in caplog.text
    assert not at(run.settings).is_bound()


async def test_a_socket_that_was_removed_is_bound_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_SOCKET_CHECK_S", 0.02)
    async with fast_box() as box, local(settings_for_status(box, tmp_path, listen="")) as run:
        at(run.settings).remove()
        with trio.fail_after(20):
            await until(lambda: at(run.settings).is_bound())
        await run.report()


async def test_without_a_socket_the_port_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: LocalSocket) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(LocalSocket, "bind", refuse)
    async with fast_box() as box, collecting(settings_for_status(box, tmp_path, enable_websocket=False)) as run:
        await run.report()


async def test_who_may_not_use_the_socket_is_told_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    async with fast_box() as box, local(settings_for_status(box, tmp_path, listen="")) as run:
        monkeypatch.setattr(LocalSocket, "connect", refuse)
        with pytest.raises(NoStatus, match="serves no status at a port, and the socket is for its user and root"):
            await trio.to_thread.run_sync(fetch_status, THIS_DISK, run.settings.data_dir)


async def test_a_command_that_fetches_is_found_too(tmp_path: Path) -> None:
    async with fast_box(faults=Faults(latency_ms=500)) as box:
        settings = settings_for_status(box, tmp_path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(settings, once=True, options=ServeOptions(probes=Machine().probes)))
            with trio.fail_after(20):
                await until(lambda: at(settings).is_bound())
            assert (await trio.to_thread.run_sync(fetch_status, THIS_DISK, settings.data_dir))[0].doing == "starting"
            nursery.cancel_scope.cancel()


async def test_a_script_that_collects_opens_no_port(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with fast_box() as box:
        await serve(settings_for_status(box, tmp_path), once=True)
    assert "status served" not in caplog.text


async def test_the_address_is_forgotten_at_the_end(tmp_path: Path) -> None:
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, enable_websocket=False)
        async with collecting(settings):
            assert announced(THIS_DISK, settings.data_dir) is not None
        assert announced(THIS_DISK, settings.data_dir) is None


async def test_an_announced_maintenance_is_named_in_status_and_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_FIRST_AFTER_S", 0.0)
    monkeypatch.setattr(health, "_UNSERVED_S", 0.2)
    async with fast_box() as box:
        now_ms = box.clock.now_ms()
        box.maintenance = [Maintenance(now_ms - 1, now_ms + 10 * DAY_MS, "Upgrade")]
        until = f"maintenance announced until {moment_text(now_ms + 10 * DAY_MS)} UTC"
        async with collecting(settings_for_status(box, tmp_path, bulk_max_retries=1)) as run:
            report = await run.is_so(lambda report: report.maintenance and is_up_to_date(report))
            assert [(each.title, each.end_ms) for each in report.maintenance] == [("Upgrade", now_ms + 10 * DAY_MS)]
            assert shown_lines(report)["maintenance"].startswith("announced until ")
            answer = await run.get("/healthz")
            assert answer.text.startswith(f"healthy, up to date\n{until}")
            assert box.counts.by_path[STATUS] == 1
            box.faults = Faults(http_5xx=1.0, paths=("market",))
            report = await run.is_so(lambda report: any("cannot be asked" in reason for reason in report.reasons))
            assert any(reason.endswith(f"({until})") for reason in report.reasons)


def shown_lines(report: Report) -> dict[str, str]:
    titles, words = (list(column.cells) for column in status_table(report).columns)
    return {str(title): str(word) for title, word in zip(titles, words, strict=True)}
