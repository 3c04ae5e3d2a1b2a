"""The command `status`: what a person and a script are shown of the collector on a data directory, and how it ends."""

import errno
import fcntl
import io
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import cast

import attrs
import pytest
import trio
from rich.console import Console

from collector.commands import app, status_client
from collector.commands.console import print_table, show
from collector.commands.status_table import status_table
from collector.core.errors import DirectoryInUse, StorageError
from collector.machine import THIS_MACHINE
from collector.machine.clock import LocalClock
from collector.machine.disk import THIS_DISK
from collector.machine.local_socket import LocalSocket
from collector.machine.own_files import OWN
from collector.monitoring.announcement import announced
from collector.monitoring.health import HealthState, Problem
from collector.monitoring.local_socket import status_socket
from collector.monitoring.report import GapCount, Lag, Report, decode, encode
from collector.monitoring.status import Reporter
from collector.page.pages import pages_of
from collector.pipeline.service import ServeOptions, serve
from collector.sandbox import Sandbox
from collector.settings.settings import Settings
from collector.storage.data_directory import lock_directory, lock_holder
from collector.storage.ledger import open_ledger
from tests.campaign.process import variables
from tests.support.disks import FullDisk
from tests.support.market import market, served, settings_for

Said = tuple[int, str, str]
"""Exit status, stdout, stderr."""
Ask = Callable[..., Said]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Calls `status` for a data directory."""
    monkeypatch.chdir(tmp_path)

    def called(settings: Settings, *arguments: str) -> Said:
        with monkeypatch.context() as here:
            for name, value in variables(settings).items():
                here.setenv(name, value)
            here.setattr("sys.argv", ["collector", "status", *arguments])
            status = 0
            try:
                app.main()
            except SystemExit as ended:
                status = int(ended.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out, said.err

    return called


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with served(market()) as box:
        yield box


@contextmanager
def collecting(settings: Settings) -> Iterator[None]:
    """The service in a thread of its own, from when its status is served."""
    tell: list[Callable[[], None]] = []
    ready = Event()

    async def work() -> None:
        stop, token = trio.Event(), trio.lowlevel.current_trio_token()
        tell.append(lambda: token.run_sync_soon(stop.set))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(settings, once=False, options=ServeOptions(stop=stop, status=True)))
            # A file has no event; whoever gave up waiting has the service stopped, and then no address comes.
            while announced(THIS_DISK, settings.data_dir) is None and not stop.is_set():  # noqa: ASYNC110
                await trio.sleep(0.01)
            ready.set()

    thread = Thread(target=trio.run, args=(work,))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        tell[0]()
        thread.join()


def settings_of(box: Sandbox, directory: Path) -> Settings:
    return settings_for(box.url, directory, enable_websocket=False, listen="127.0.0.1:0")


def write_address(settings: Settings, run: str, url: str) -> None:
    (settings.data_dir / OWN / "status").write_text(json.dumps({"run": run, "pid": 1, "url": url}))


def test_a_person_is_shown_a_table_and_a_script_the_report(ask: Ask, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_of(box, tmp_path)
    with collecting(settings):
        status, table, _ = ask(settings)
        assert status == 0
        status, text, _ = ask(settings, "--json")
        assert status == 0
    report = decode(text.encode())
    assert encode(report).decode() == text
    assert list(json.loads(text))[:4] == ["run", "pid", "version", "state"]
    assert (report.pid, report.state, report.category) == (os.getpid(), "healthy", "linear")
    titles = [line.split()[0] for line in table.splitlines()]
    assert titles[:3] == ["state", "collecting", "running"]
    assert f"process {os.getpid()}" in table


def test_where_none_is_running_it_says_so_with_status_3(ask: Ask, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_of(box, tmp_path)
    status, out, err = ask(settings)
    assert (status, out, err) == (3, "", f"collector: no collector is running on {settings.data_dir}\n")
    assert not settings.data_dir.exists()


def test_one_that_ended_is_not_running(ask: Ask, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_of(box, tmp_path)
    with collecting(settings):
        pass
    assert ask(settings)[0] == 3


@pytest.mark.parametrize("watch", [(), ("--watch",)])
def test_json_says_why_there_is_no_report(
    ask: Ask, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: tuple[str, ...]
) -> None:
    settings = settings_of(box, tmp_path)

    def answer() -> tuple[int, object]:
        status, out, err = ask(settings, "--json", *watch)
        said = json.loads(out)
        assert said["error"] in err
        return status, said["running"]

    assert answer() == (3, False)
    with open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category):
        assert answer() == (1, True)
        write_address(settings, "x", "http://127.0.0.1:9")
        assert answer() == (1, True)
        with listening(settings.data_dir) as local:
            local.settimeout(0.0)
            monkeypatch.setattr(status_client, "_TIMEOUT_S", 0.05)
            assert answer() == (1, True)
    monkeypatch.setattr(status_client, "lock_holder", refuse)
    assert answer() == (1, None)
    status, out, _ = ask(settings, "--json", "--mode", "half")
    assert (status, json.loads(out)["running"]) == (2, None)


def test_a_directory_that_may_not_be_read_is_json_too(
    ask: Ask, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(box, tmp_path)
    settings.data_dir.mkdir()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(status_client, "lock_holder", refuse)
    status, out, _ = ask(settings, "--json", "--data-dir", str(settings.data_dir))
    assert (status, json.loads(out)["running"]) == (1, None)


def refuse(*_: object) -> None:
    raise StorageError("it is somebody else's")


@contextmanager
def listening(data_dir: Path) -> Iterator[socket.socket]:
    place = status_socket(THIS_MACHINE.network, data_dir)
    with place.bind() as bound:
        yield bound
    place.remove()


def test_who_may_not_look_asks_at_the_port(
    ask: Ask, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    settings = settings_of(box, tmp_path)
    monkeypatch.setattr(status_client, "lock_holder", refuse)
    monkeypatch.setattr(LocalSocket, "connect", denied)
    with collecting(settings):
        assert json.loads(ask(settings, "--json")[1])["running"]


@pytest.mark.parametrize("arguments", [(), ("--watch",)])
def test_one_that_serves_no_status_is_named_by_its_process(
    ask: Ask, box: Sandbox, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    settings = settings_of(box, tmp_path)
    with open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category):
        status, out, err = ask(settings, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"collector: a collector (process {os.getpid()}) is running on {settings.data_dir}")


def test_an_address_where_nobody_answers_or_no_collector_is_not_believed(
    ask: Ask, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_of(box, tmp_path)
    with open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category):
        for url, why in [("http://127.0.0.1:9", "refused"), (box.url, "HTTP 404")]:
            write_address(settings, "x", url)
            status, _, err = ask(settings)
            assert status == 1
            assert f"there is no status at {url}" in err
            assert why in err


def test_the_answer_of_another_collector_is_not_believed(ask: Ask, box: Sandbox, tmp_path: Path) -> None:
    theirs, ours = settings_of(box, tmp_path / "theirs"), settings_of(box, tmp_path / "ours")
    with collecting(theirs), open_ledger(THIS_DISK, ours.data_dir, ours.exchange, ours.category):
        run, url = announced(THIS_DISK, theirs.data_dir) or ("", "")
        write_address(ours, f"not {run}", url)
        status, out, err = ask(ours)
    assert (status, out) == (1, "")
    assert "another one answers" in err


@pytest.mark.parametrize("arguments", [("--watch",), ("--watch", "--json")])
def test_watching_asks_again_until_it_is_interrupted(
    ask: Ask, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    settings, waited = settings_of(box, tmp_path), []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(LocalClock, "pause", lambda _, seconds: wait(seconds))
    with collecting(settings):
        status, out, _ = ask(settings, *arguments)
    assert (status, waited) == (0, [1.0, 1.0, 1.0])
    assert out.count("healthy") == 3
    assert "--json" not in arguments or len(out.splitlines()) == 3


# The table.


@pytest.fixture(scope="module")
def report(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Report:
    settings = settings_of(box, tmp_path_factory.mktemp("report"))
    with collecting(settings):
        return status_client.fetch_status(THIS_DISK, settings.data_dir)[0]


@attrs.frozen
class FakeReporter:
    said: Report

    def report(self) -> Report:
        return self.said


@pytest.mark.parametrize("state", ["healthy", "degraded"])
def test_no_page_forges_a_line_or_holds_a_secret(
    report: Report, state: HealthState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BYBIT_API_KEY", "hush-key")
    nasty = "said\x1b[2J \u202ehush-key\nhealthy at https://me:hush@host"
    said = attrs.evolve(report, state=state, reasons=(nasty,), unserved=nasty, port_trouble=nasty)
    pages = pages_of(cast(Reporter, FakeReporter(said)))
    for path, page in pages.items():
        text = page().body.decode()
        assert "hush" not in text, path
        assert all(line.isprintable() for line in text.split("\n")), path
    lines = pages["/healthz"]().body.decode().splitlines()
    assert lines[1:] == (["said?[2J ?***?healthy at https://***@host"] if state == "degraded" else [])


def shown(report: Report) -> dict[str, str]:
    table = status_table(report)
    titles, words = (list(column.cells) for column in table.columns)
    return {str(title): str(word) for title, word in zip(titles, words, strict=True)}


def test_a_table_says_why_it_is_degraded_and_what_is_late_and_missing(report: Report) -> None:
    ill = attrs.evolve(
        report,
        state="degraded",
        reasons=(Problem("disk", "no space\x1b[31m").text,),
        lags=(Lag("60", 1, "BTCUSDT_60", 3700.0),),
        gaps=(GapCount("absent", 1, 1200),),
    )
    words = shown(ill)
    assert words["state"].startswith("degraded")
    assert words["because"] == "no space?[31m"
    assert words["late"] == "BTCUSDT_60 by 1 h 1 min"
    assert words["missing"] == "1,200 absent in 1 span"


def test_a_table_says_why_there_is_no_stream_and_no_lag_of_nothing(report: Report) -> None:
    why = "cannot connect: Connection refused; tried again in 13 s"
    lost = attrs.evolve(report, stream=attrs.evolve(report.stream, confirmed=0, confirm_lags=0, unconnected=why))
    assert shown(lost)["stream"].endswith(f"; 0 candles confirmed; {why}")
    open_again = attrs.evolve(
        report, stream=attrs.evolve(report.stream, confirmed=4, confirm_lags=2, confirm_lag_s=1.0)
    )
    assert shown(open_again)["stream"].endswith("; 4 candles confirmed, 0.5 s after their close")


def test_who_reads_from_a_pipe_is_given_a_line_for_a_row(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    lags = tuple(Lag(str(minutes), 900, f"1000000BABYDOGEUSDT_{minutes}", 4000.0) for minutes in range(12))
    print_table(status_table(attrs.evolve(report, lags=lags)))
    show(("series", "why"), [("BTCUSDT_60", "the exchange says so; " * 20)])
    out = capsys.readouterr().out.splitlines()
    assert [sum(word in line for line in out) for word in ("BABYDOGE", "exchange says")] == [1, 1]
    assert [line for line in out if line != line.rstrip()] == []


@pytest.mark.parametrize("width", [80, 60])
def test_no_name_or_time_is_broken_on_a_narrow_terminal(report: Report, width: int) -> None:
    late = attrs.evolve(report, lags=(Lag("60", 900, "1000000BABYDOGEUSDT_60", 4000.0),))
    drawn = {}
    for columns in (width, 1000):
        text = io.StringIO()
        Console(file=text, width=columns).print(status_table(late))
        drawn[columns] = text.getvalue()
    assert max(len(line.rstrip()) for line in drawn[width].splitlines()) <= width
    assert sorted(drawn[width].split()) == sorted(drawn[1000].split())
    for moment in re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", drawn[1000]):
        assert moment in drawn[width]


# Who owns a directory.


def test_asking_for_the_owner_does_not_keep_a_collector_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who looks holds the lock at the first try of a collector, and has let go of it at the second."""
    with lock_directory(THIS_DISK, tmp_path):
        pass
    looking = (tmp_path / OWN / "lock").open()
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(LocalClock, "pause", lambda *_: looking.close())
    with lock_directory(THIS_DISK, tmp_path):
        assert lock_holder(THIS_DISK, tmp_path) == str(os.getpid())
    assert lock_holder(THIS_DISK, tmp_path) is None


def test_a_full_disk_does_not_keep_a_directory_from_being_owned(tmp_path: Path) -> None:
    with lock_directory(FullDisk(0), tmp_path):
        assert lock_holder(THIS_DISK, tmp_path) == str(os.getpid())  # the system knows it too


def test_a_directory_that_stays_owned_is_refused(tmp_path: Path) -> None:
    with (
        lock_directory(THIS_DISK, tmp_path),
        pytest.raises(DirectoryInUse, match=f"process {os.getpid()}"),
        lock_directory(THIS_DISK, tmp_path),
    ):
        pass
