"""The commands as a person meets them: what they say when something is in the way, and the status they end with.

Every complaint is made of sentences on stderr, each on its own line, and never a traceback. Most cases call the command
line in this process, which is the same code; what only a process can show (signals, a full disk) starts one.
"""

import fcntl
import json
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import termios
import tomllib
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import attrs
import pytest
import trio
import typer

from collector.commands import app
from collector.commands.options import Options, with_options
from collector.commands.signals import until_signal
from collector.core.candle import MINUTE_MS
from collector.core.rows import HEADER
from collector.errors import SettingsError
from collector.machine.disk import THIS_DISK
from collector.pipeline.outcome import Outcome
from collector.sandbox import Faults, Hole, Limits, Sandbox, build_exchange, open_sandbox
from collector.settings.settings import Settings
from collector.storage.ledger import open_ledger
from tests.campaign.counting import hang_bell
from tests.campaign.process import clean_environment, command, heard, open_collector, variables
from tests.campaign.truth import asked_spans, differences, foreign_rows, held_spans, series_of, truth_of, whole_lines
from tests.support.defects import changed
from tests.support.market import KLINE, fetch, kline_faults, market, served, settings_for, until

ROOT = Path(__file__).parents[2]
_NOBODY = 65534
_PATIENCE_S = 20  # for something that takes a second; only a defect waits so long
_BAN_S = 3  # the exchange's is ten minutes

Said = tuple[int, str, str]
"""Exit status, stdout, stderr."""
Command = Callable[..., Said]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with served(market()) as box:
        yield box


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line with settings and arguments, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def called(settings: Settings | None, *arguments: str, **changes: str) -> Said:
        with monkeypatch.context() as here:
            for name, value in (variables(settings) if settings else {}).items():
                here.setenv(name, value)
            for key, value in changes.items():
                here.setenv(f"COLLECTOR_{key.upper()}", value)
            here.setattr("sys.argv", ["collector", *arguments])
            with pytest.raises(SystemExit) as ended:
                app.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), said.out, said.err

    return called


def complaints(err: str) -> list[str]:
    """The sentences of the command itself, without the log lines before them."""
    return [line.removeprefix("collector: ") for line in err.splitlines() if line.startswith("collector: ")]


# What was asked for does not exist, or makes no sense.


def test_a_symbol_that_does_not_exist_is_named_and_nothing_is_collected(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    status, _, err = say(settings_for(box.url, tmp_path, symbols=["NOSUCHUSDT"]), "fetch")
    assert status == 2
    (sentence,) = complaints(err)
    assert "NOSUCHUSDT" in sentence
    assert "symbols" in sentence


def test_beside_a_symbol_that_does_not_exist_the_others_are_collected(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path)
    status, _, err = say(settings, "fetch", "--symbols", "BTCUSDT,NOSUCHUSDT")
    assert status == 1
    assert "not listed by the exchange: NOSUCHUSDT" in complaints(err)
    assert differences(box, settings) == []


def test_what_did_not_come_is_said_also_when_only_warnings_are_wanted(say: Command, tmp_path: Path) -> None:
    with served(market()) as box:
        box.faults = Faults(http_5xx=1.0, paths=(KLINE,))
        settings = settings_for(box.url, tmp_path, bulk_max_retries=1)
        status, _, err = say(settings, "fetch", "--quiet")
    assert status == 1
    assert any(line.startswith("still missing: ") for line in complaints(err))
    assert "retries" not in err


def test_live_without_the_stream_is_refused_since_nothing_would_ever_come(say: Command, tmp_path: Path) -> None:
    status, _, err = say(None, "run", "--mode", "live", "--no-websocket")
    assert status == 2
    assert complaints(err) == ["[collection] mode: live is what the stream brings, and enable_websocket is off"]


@pytest.mark.parametrize("is_there", [True, False])
def test_the_first_line_says_which_file_and_directories_were_taken(
    say: Command, box: Sandbox, tmp_path: Path, is_there: bool
) -> None:
    if is_there:
        (tmp_path / "settings.ini").write_text("[storage]\nlogs_dir = elsewhere\n")
    options = ["--rest-url", box.url, "--data-dir", "candles", "--symbols", "BTCUSDT", "--timeframes", "D"]
    _, _, err = say(None, "fetch", *options)
    settings, logs_dir = (
        (tmp_path / "settings.ini", tmp_path / "elsewhere") if is_there else ("none", tmp_path / "logs")
    )
    first = err.splitlines()[0]
    assert first.endswith(f"started settings={settings} data_dir={tmp_path}/candles logs_dir={logs_dir}")


def test_more_days_than_the_limit_leaves_are_said_to_be_cut(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, limit_to_50_entries=True)
    for days, cut in (("1", False), ("100", True)):
        status, _, err = say(settings, "fetch", "--timeframes", "60", "--days", days)
        assert status == 0
        assert ("more days than limit_to_50_entries keeps" in err) == cut
    assert len((settings.data_dir / "BTCUSDT_60.csv").read_text().splitlines()) == 51


@pytest.mark.parametrize("arguments", ["check", "gaps", "repair --dry-run", "fetch"])
def test_a_variable_that_is_no_setting_is_warned_of_by_every_command(
    say: Command, box: Sandbox, tmp_path: Path, arguments: str
) -> None:
    settings = settings_for(box.url, tmp_path)
    settings.data_dir.mkdir(exist_ok=True)
    _, _, err = say(settings, *arguments.split(), data_dirs="elsewhere")
    assert "COLLECTOR_DATA_DIRS is not a setting; did you mean COLLECTOR_DATA_DIR?" in err


def test_a_settings_file_that_is_gone_at_a_reload_is_a_mistake_and_not_all_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Options] = []
    app = typer.Typer()
    app.command()(with_options(lambda options: seen.append(options)))
    (tmp_path / "settings.ini").write_text("[collection]\nfetch_all_symbols = false\n")
    app([], standalone_mode=False)
    (tmp_path / "settings.ini").unlink()
    with pytest.raises(SettingsError, match=r"settings\.ini cannot be read: No such file"):
        seen[0].load()


@pytest.mark.parametrize("name", ["module", "script"])
def test_an_interrupt_while_it_is_loading_is_no_traceback(tmp_path: Path, name: str) -> None:
    loading = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'collector.commands.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )
    begun = {"module": "import runpy; runpy.run_module('collector', run_name='__main__')"}
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["collector"]
    begun["script"] = "from {} import {} as main; main()".format(*entry.split(":"))
    ended = subprocess.run([sys.executable, "-c", loading + begun[name]], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "")


INTERRUPTED = {
    "check": "collector.commands.check.totals",
    "gaps": "collector.commands.gaps.find_gaps",
    "symbols": "collector.commands.symbols.list_symbols",
    "status": "collector.commands.status.fetch_status",
    "repair --dry-run": "collector.commands.app.show_plans",
    "systemd-unit": "collector.commands.app.unit_of_this",
    "demo": "collector.commands.app.demonstrate",
    "sandbox": "collector.sandbox.command.build_exchange",
}


@pytest.mark.parametrize("arguments", INTERRUPTED)
def test_a_command_that_is_interrupted_ends_with_status_130(
    say: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    monkeypatch.setattr(INTERRUPTED[arguments], interrupt)
    status, out, err = say(settings, *arguments.split())
    assert (status, out, complaints(err)[-1]) == (130, "", "stopped")


async def test_an_interrupted_repair_does_not_say_that_nothing_was_wrong(tmp_path: Path) -> None:
    exchange = market()
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path)
        await fetch(settings)
        box.faults = Faults(latency_ms=60_000)
        asked = box.counts.requests
        async with open_collector(settings, "repair") as process:
            with trio.fail_after(_PATIENCE_S):
                await bell.reached(asked + 1)
                process.send_signal(signal.SIGINT)
                said = await heard(process)
                assert await process.wait() == 130
    assert "stopped before it was known what is missing" in said
    assert "nothing to repair" not in said


async def test_an_interrupted_check_tells_what_it_has_found_and_ends_with_status_130(tmp_path: Path) -> None:
    exchange = market()
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path)
        await fetch(settings)
        (settings.data_dir / "BTCUSDT_5.csv").write_bytes(b"torn")
        box.faults = Faults(latency_ms=60_000)
        asked = box.counts.requests
        async with open_collector(settings, "check", "--against-exchange", "all") as process:
            with trio.fail_after(_PATIENCE_S):
                await bell.reached(asked + 1)
                process.send_signal(signal.SIGINT)
                said = await heard(process)
                assert await process.wait() == 130
    assert "Traceback" not in said
    assert "2 files with 240 rows checked: 1 with issues" in said
    assert report_of(tmp_path)["files_with_issues"] == 1


def test_an_empty_list_of_symbols_is_refused(say: Command, box: Sandbox, tmp_path: Path) -> None:
    status, _, err = say(settings_for(box.url, tmp_path), "fetch", "--symbols", "")
    assert status == 2
    assert "symbols: it names none" in err


def test_all_problems_of_the_settings_are_reported_together(say: Command, tmp_path: Path) -> None:
    (tmp_path / "settings.ini").write_text(
        "[exchange]\ncategory = margin\n[collection]\ntimeframe = 1\ndays_to_fetch = many\n[storage]\ndata_dir = new\n"
    )
    status, _, err = say(None, "fetch", "--timeframes", "1,7", "--days", "more", "--logs-dir", "")
    assert status == 2
    assert len(complaints(err)) == 5
    for part in ("did you mean timeframes?", "'more'", "'margin'", "'7' is not a timeframe", "logs_dir: '' is not"):
        assert part in err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        "fetch --timeframes 90",
        "fetch --days 0",
        "fetch --mode half",
        "fetch --log-level loud",
        "fetch --nosuch",
        "--settings nosuch.ini",
        "nosuch",
    ],
)
def test_wrong_usage_ends_with_status_2_and_says_why(say: Command, arguments: str) -> None:
    status, out, err = say(None, *arguments.split())
    assert status == 2
    assert arguments.split()[-1].strip("-") in err + out


@pytest.mark.parametrize(
    "arguments",
    [
        "--data-dir check check",
        "--quiet --days 3 check",
        "--data-dir=elsewhere check",
        "--json check --symbols BTCUSDT",
    ],
)
def test_options_may_stand_before_the_command(say: Command, tmp_path: Path, arguments: str) -> None:
    for name in ("check", "candles", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "BTCUSDT_60.csv").write_bytes(HEADER)
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    assert say(settings, *arguments.split())[0] == int("--days" in arguments)
    assert report_of(tmp_path)["files_checked"] == 1


@pytest.mark.parametrize(
    "name",
    ["run", "fetch", "check", "gaps", "repair", "status", "symbols", "systemd-unit", "sandbox", "demo", ""],
)
def test_every_command_explains_itself(say: Command, name: str) -> None:
    status, out, _ = say(None, *([name] if name else []), "--help")
    assert status == 0
    assert "Usage: collector" in out


# The exchange is not there, or is something else.


@contextmanager
def stranger(greeting: bytes) -> Iterator[str]:
    """A server that says the same to everybody; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_greet, args=(server, greeting), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _greet(server: socket.socket, greeting: bytes) -> None:
    while True:
        try:
            client = server.accept()[0]
        except OSError:
            return
        with client:
            client.recv(4096)
            client.sendall(greeting)


def test_a_host_that_cannot_be_reached_ends_fetch_with_status_3(say: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    status, _, err = say(settings_for(f"http://127.0.0.1:{port}", tmp_path), "fetch", bulk_max_retries="1")
    assert status == 3
    (sentence,) = complaints(err)
    assert f"http://127.0.0.1:{port} cannot be reached" in sentence


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<html>hi</html>",
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{"hello": true}',
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"",
    ],
    ids=["ssh", "html", "json", "404", "redirect", "silence"],
)
def test_a_host_that_is_no_exchange_ends_fetch_with_status_3(say: Command, tmp_path: Path, greeting: bytes) -> None:
    with stranger(greeting) as url:
        status, _, err = say(settings_for(url, tmp_path), "fetch", bulk_max_retries="1")
    assert status == 3
    assert len(complaints(err)) == 1


@pytest.mark.parametrize("name", ["run", "fetch", "symbols"])
def test_a_country_that_is_not_served_ends_every_command_with_status_3(
    say: Command, box: Sandbox, tmp_path: Path, name: str
) -> None:
    box.faults = Faults(geo_block=1.0)
    status, _, err = say(settings_for(box.url, tmp_path), name)
    assert status == 3
    (sentence,) = complaints(err)
    assert "country" in sentence


# Directories and disks.


@contextmanager
def without_rights(mode: int) -> Iterator[Path]:
    """A working directory of such a mode, for somebody who is not root."""
    with TemporaryDirectory() as name, chdir(name):
        directory = Path(name)
        (directory / "logs").mkdir()
        (directory / "logs").chmod(0o777)
        directory.chmod(mode)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(_NOBODY)
        try:
            yield directory
        finally:
            if was_root:
                os.seteuid(0)
            directory.chmod(0o755)


@contextmanager
def as_root() -> Iterator[None]:
    """Inside, we have the rights that were given up, if we had them."""
    ours = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(ours)


@pytest.mark.parametrize("key", ["data_dir", "logs_dir"])
def test_a_directory_that_cannot_be_written_is_named(say: Command, box: Sandbox, tmp_path: Path, key: str) -> None:
    with without_rights(0o555) as readonly:
        settings = settings_for(box.url, tmp_path, **({"logs_dir": readonly / "logs"} | {key: readonly / "new"}))
        status, _, err = say(settings, "fetch")
    assert status == 1
    (sentence,) = complaints(err)
    assert sentence.startswith(f"[storage] {key}: {readonly}/new cannot be written (Permission denied; it belongs to ")


@pytest.mark.parametrize("arguments", ["check", "gaps", "gaps --json", "repair", "repair --dry-run"])
def test_a_directory_that_is_not_there_is_not_taken_for_one_without_faults(
    say: Command, tmp_path: Path, arguments: str
) -> None:
    status, out, err = say(settings_for("http://127.0.0.1:1", tmp_path), *arguments.split())
    assert (status, out) == (2, "")
    assert complaints(err) == [f"[storage] data_dir: {tmp_path}/candles does not exist"]
    assert not (tmp_path / "candles").exists()


@pytest.mark.parametrize("arguments", ["gaps", "status", "repair --dry-run"])
def test_a_directory_whose_lock_and_ledger_may_not_be_read_is_no_traceback(
    say: Command, tmp_path: Path, arguments: str
) -> None:
    say(None, *arguments.split(), data_dir=str(tmp_path))  # imports what it needs while we have every right
    with without_rights(0o755) as directory:
        with as_root():
            with open_ledger(THIS_DISK, directory, "sandbox", "linear"):
                pass
            (directory / ".collector").chmod(0)
        status, out, err = say(None, *arguments.split(), data_dir=str(directory), logs_dir=str(directory / "logs"))
        with as_root():
            (directory / ".collector").chmod(0o755)
    assert (status, out) == (1, "")
    (sentence,) = complaints(err)
    assert "Permission denied" in sentence


def test_a_settings_file_that_cannot_be_seen_is_not_taken_for_none(say: Command) -> None:
    with without_rights(0):
        status, _, err = say(None, "fetch")
    assert status == 2
    assert complaints(err) == ["settings.ini cannot be read: Permission denied"]


@pytest.mark.parametrize("key", ["data_dir", "logs_dir"])
def test_a_directory_below_a_file_is_refused(say: Command, box: Sandbox, tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_text("not a directory")
    status, _, err = say(settings_for(box.url, tmp_path, **{key: tmp_path / "file" / "below"}), "fetch")
    assert status == 2
    assert len(complaints(err)) == 1


def test_a_directory_of_another_category_is_refused(say: Command, tmp_path: Path) -> None:
    with served(market(symbols=["BTCUSDT", "spot:BTCUSDT"])) as box:
        assert say(settings_for(box.url, tmp_path), "fetch")[0] == 0
        before = (tmp_path / "candles" / "BTCUSDT_60.csv").read_bytes()
        status, _, err = say(settings_for(box.url, tmp_path, category="spot"), "fetch")
    assert status == 2
    assert "holds candles of sandbox linear" in err
    assert (tmp_path / "candles" / "BTCUSDT_60.csv").read_bytes() == before


@pytest.mark.parametrize("arguments", ["check", "gaps", "repair", "repair --dry-run"])
def test_those_who_only_read_refuse_a_directory_of_another_category_and_no_other(
    say: Command, box: Sandbox, tmp_path: Path, arguments: str
) -> None:
    assert say(settings_for(box.url, tmp_path), "fetch")[0] == 0
    status, out, err = say(settings_for(box.url, tmp_path, category="spot"), *arguments.split())
    assert (status, out) == (2, "")
    assert "holds candles of sandbox linear, not of " in complaints(err)[0]
    elsewhere = settings_for("https://api.bybit.com", tmp_path, ban_wait_s=600)
    assert say(elsewhere, *arguments.split())[0] == (2 if "repair" in arguments else 0)


def test_another_site_without_its_stream_is_refused_before_anything_is_asked(say: Command, tmp_path: Path) -> None:
    settings = attrs.evolve(Settings(rest_url="https://api-testnet.bybit.com"), data_dir=tmp_path / "data")
    status, _, err = say(settings, "run")
    assert status == 2
    assert "[exchange] ws_url: rest_url is a market of its own, api-testnet.bybit.com" in err
    assert not (tmp_path / "data").exists()


def test_a_stream_of_another_category_is_refused(say: Command, box: Sandbox, tmp_path: Path) -> None:
    status, _, err = say(settings_for(box.url, tmp_path), "run", ws_url="ws://127.0.0.1:1/v5/public/spot")
    assert status == 2
    assert complaints(err) == [
        "[exchange] ws_url: ws://127.0.0.1:1/v5/public/spot streams spot, and the category is linear"
    ]


def test_a_second_collector_is_refused_and_told_who_is_there(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    settings.data_dir.mkdir()
    with open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category):
        status, _, err = say(settings, "fetch")
    assert status == 4
    (sentence,) = complaints(err)
    assert f"process {os.getpid()}" in sentence
    assert box.counts.requests == 0


def limited(size: int) -> None:
    """In a new process: no file may grow beyond this."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_files_that_cannot_grow_end_fetch_with_a_sentence_and_room_heals_it(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path, timeframes=["5"])
    ended = subprocess.run(
        command("fetch"),
        env=variables(settings),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(limited, 50_000),
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "what it holds is intact" in complaints(ended.stderr)[-1]
    assert foreign_rows(box, settings) == []
    assert say(settings, "fetch")[0] == 0
    assert differences(box, settings) == []


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """A file system of its own that is soon full, where we may make one."""
    directory.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], check=False).returncode:
        pytest.skip("only root can make a small file system")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def test_a_full_disk_ends_fetch_with_a_sentence_and_room_heals_it(say: Command, box: Sandbox, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "256k") as disk:
        settings = settings_for(box.url, disk, timeframes=["5"], symbols=["BTCUSDT", "ETHUSDT"], low_disk_mb=0)
        status, _, err = say(settings, "fetch")
        assert status == 1
        assert any("disk is full" in sentence for sentence in complaints(err))
        assert foreign_rows(box, settings) == []
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        assert say(settings, "fetch")[0] == 0
        assert differences(box, settings) == []


def test_a_disk_that_is_nearly_full_ends_fetch_before_it_is_full(say: Command, box: Sandbox, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "4m") as disk:
        settings = settings_for(box.url, disk, low_disk_mb=5)
        status, _, err = say(settings, "fetch")
        assert status == 1
        assert any("pending, the disk is nearly full" in sentence for sentence in complaints(err))
        assert box.counts.by_path[KLINE] == 0
        assert say(settings, "fetch", low_disk_mb="1")[0] == 0
        assert differences(box, settings) == []


def test_a_log_that_cannot_be_written_does_not_stop_the_collection(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "NOSUCHUSDT"])
    settings.logs_dir.mkdir()
    (settings.logs_dir / "collector.log").symlink_to("/dev/full")
    status, _, err = say(settings, "fetch")
    assert status == 1
    assert err.count("the log") == 1
    assert differences(box, attrs.evolve(settings, symbols=["BTCUSDT"])) == []


# Files that are not as we left them.


def spoiled(settings: Settings, spoil: Callable[[bytes], bytes]) -> Path:
    """The file of the first series, changed by somebody else."""
    path = settings.data_dir / "BTCUSDT_60.csv"
    path.write_bytes(spoil(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: b"time,price\n1,2\n",
        lambda text: text.replace(b"timestamp", b"Timestamp"),
        lambda text: b"\x89PNG\r\n" + text,
    ],
    ids=["csv", "header", "binary"],
)
def test_a_file_that_is_not_ours_is_set_aside_and_fetched_anew(
    say: Command, box: Sandbox, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    (path,) = {spoiled(settings, spoil)}
    foreign = path.read_bytes()
    status, _, err = say(settings, "fetch")
    assert status == 0
    assert "set aside as BTCUSDT_60.csv.set-aside-1" in err
    assert path.with_name("BTCUSDT_60.csv.set-aside-1").read_bytes() == foreign
    assert differences(box, settings) == []


def test_a_file_that_would_lose_rows_is_replaced_only_if_that_is_allowed(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"])
    say(settings, "fetch")
    path = spoiled(settings, lambda text: text.replace(b",", b";"))
    foreign = path.read_bytes()
    status, _, err = say(settings, "fetch")
    assert (status, path.read_bytes()) == (1, foreign)
    assert any(sentence.startswith("BTCUSDT_60.csv is left as it is (its first line") for sentence in complaints(err))
    status, _, err = say(settings, "fetch", "--allow-replace")
    assert (status, differences(box, settings)) == (0, [])
    assert path.with_name("BTCUSDT_60.csv.set-aside-1").read_bytes() == foreign


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-20],
        lambda text: text + b"17157",
        lambda text: text[:-500] + bytes(500),
        lambda text: text + bytes(70_000),
        lambda text: text[:30],
        lambda text: b"",
        lambda text: text[: text.rindex(b"\n", 0, 9_000) + 1],
    ],
    ids=["cut", "torn", "zero-filled", "zeros-behind", "half-a-header", "empty", "rows-lost"],
)
def test_the_traces_of_a_crash_are_mended(
    say: Command, box: Sandbox, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    spoiled(settings, spoil)
    assert say(settings, "fetch")[0] == 0
    assert differences(box, settings) == []


def test_a_kill_before_a_file_was_trimmed_does_not_stop_the_next_start(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path, limit_to_50_entries=True)
    say(settings, "fetch")
    box.clock.advance(2 * 60 * MINUTE_MS)
    file = settings.data_dir / "BTCUSDT_60.csv"
    first_ms = int(whole_lines(file)[1].split(b",")[0])
    file.write_bytes(box.truth("BTCUSDT", "60", first_ms, box.clock.now_ms()))
    assert len(whole_lines(file)) == 53
    assert say(settings, "fetch")[0] == 0
    assert len(whole_lines(file)) == 51


def test_a_limit_never_cuts_a_longer_file_unless_it_is_allowed_to(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    before = (settings.data_dir / "BTCUSDT_60.csv").read_bytes()
    status, _, err = say(settings, "fetch", limit_to_50_entries="true")
    assert status == 2
    assert "BTCUSDT_60.csv holds 240 rows" in err
    assert "--allow-trim" in err
    assert (settings.data_dir / "BTCUSDT_60.csv").read_bytes() == before
    box.clock.advance(60 * MINUTE_MS)
    assert say(settings, "fetch", "--allow-trim", limit_to_50_entries="true")[0] == 0
    assert len(whole_lines(settings.data_dir / "BTCUSDT_60.csv")) == 51


# Symbols.


def test_symbols_shows_what_the_exchange_lists(say: Command, box: Sandbox, tmp_path: Path) -> None:
    status, out, err = say(settings_for(box.url, tmp_path), "symbols")
    assert status == 0
    assert out.split()[:7] == ["symbol", "status", "kind", "base", "quote", "settles", "in"]
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["BTCUSDT", "ETHUSDT"]
    assert complaints(err) == ["2 symbols trade in linear"]


def test_symbols_for_the_machine_are_json_and_nothing_else(say: Command, box: Sandbox, tmp_path: Path) -> None:
    status, out, _ = say(settings_for(box.url, tmp_path), "symbols", "--json")
    assert status == 0
    assert [each["symbol"] for each in json.loads(out)] == ["BTCUSDT", "ETHUSDT"]
    assert not (tmp_path / "candles").exists()


# What is missing.


def test_gaps_names_what_the_exchange_left_out_and_nothing_else(say: Command, tmp_path: Path) -> None:
    hole = Hole.named("BTCUSDT/60:2024-05-11T06:00..2024-05-11T09:00")
    with served(market(faults=Faults(holes=(hole,)))) as box:
        settings = settings_for(box.url, tmp_path)
        assert say(settings, "fetch")[0] == 0
    status, out, err = say(settings, "gaps")
    assert status == 0
    told = " ".join(out.splitlines()[1].split())
    assert told.startswith("BTCUSDT_60 absent 2024-05-11 06:00:00 2024-05-11 09:00:00 3 ")
    assert complaints(err) == ["3 candles absent"]
    assert [gap["candles"] for gap in json.loads(say(settings, "gaps", "--json", "--state", "absent")[1])] == [3]
    assert json.loads(say(settings, "gaps", "--json", "--state", "retrying")[1]) == []
    assert json.loads(say(settings, "gaps", "--json", "--symbols", "BTCUSDT")[1])[0]["state"] == "absent"
    assert complaints(say(settings, "gaps", "--state", "retrying", "--state", "pending")[2]) == [
        "nothing is retrying or pending"
    ]


def test_a_repair_that_cannot_do_all_does_not_say_that_nothing_is_to_do(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "NOSUCH"])
    say(settings, "fetch")
    status, _, err = say(settings, "repair")
    assert (status, complaints(err)[-2:]) == (1, ["not listed by the exchange: NOSUCH", "no file was changed"])
    (settings.data_dir / "BTCUSDT_60.csv").unlink()
    (settings.data_dir / "BTCUSDT_60.csv").mkdir()
    status, _, err = say(settings, "repair", "--dry-run", "--symbols", "BTCUSDT")
    assert (status, complaints(err)) == (0, ["no file would be changed"])


def test_gaps_of_a_directory_that_holds_nothing_say_so(say: Command, tmp_path: Path) -> None:
    (tmp_path / "candles").mkdir()
    settings = settings_for("http://127.0.0.1:9", tmp_path, fetch_all_symbols=True)
    assert complaints(say(settings, "gaps")[2]) == [f"no candle file is stored in {tmp_path / 'candles'}"]
    assert not any((tmp_path / "candles").iterdir())


# Repair.


def test_repair_mends_a_file_and_says_what_it_did_and_where_the_rest_is(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path)
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    path.parent.mkdir()
    assert say(settings, "repair")[0] == 2
    say(settings, "fetch")
    assert complaints(say(settings, "repair")[2])[-1] == "nothing to repair"
    good = path.read_bytes()
    path.write_bytes(good.replace(b",", b";", 7) + b"torn")
    status, out, _ = say(settings, "repair", "--dry-run")
    assert (status, out) == (
        0,
        "BTCUSDT_60.csv: is set aside (its first line is not our header), 240 candles are fetched\n",
    )
    path.write_bytes(good + b"torn")
    status, _, err = say(settings, "repair")
    assert status == 0
    assert complaints(err)[-1] == "1 file was mended or completed"
    assert "BTCUSDT_60.csv: 1 row goes (1 torn)" in err
    assert path.read_bytes() == good
    assert (tmp_path / "candles" / "BTCUSDT_60.csv.removed-1").read_bytes() == b"torn"


def test_repair_that_could_not_fetch_everything_says_so_by_its_status(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path, bulk_max_retries=1)
    say(settings, "fetch")
    path = settings.data_dir / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:50] + lines[53:]))
    box.faults = kline_faults({"http_5xx": 1.0})
    status, _, err = say(settings, "repair")
    assert status == 1
    assert "BTCUSDT_60.csv: 3 candles are fetched" in err


def test_an_exchange_that_disagrees_with_itself_is_settled_by_one_repair(say: Command, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    for name in ("1", "60"):
        text = market().truth("BTCUSDT", name, 1_715_731_200_000, 1_715_774_400_000)
        (recorded / f"BTCUSDT_{name}.csv").write_bytes(text)
    header, *rows = (recorded / "BTCUSDT_60.csv").read_bytes().splitlines(keepends=True)
    odd = [changed(row, 7, "1.25") for row in rows[:3]]
    (recorded / "BTCUSDT_60.csv").write_bytes(b"".join([header, *odd, *rows[3:]]))
    with served(build_exchange(replay=recorded, start_time=1_715_774_430_000, rate=0)) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1", "60"], days_to_fetch=1)
        say(settings, "fetch")
        status, out, err = say(settings, "check")
        assert (status, "collector repair" in out) == (1, True)
        status, _, err = say(settings, "repair")
        assert (status, complaints(err)[-1]) == (0, "no file was changed")
        assert complaints(err)[-2].startswith("on 3 candles the exchange's own timeframes disagree")
    status, out, err = say(settings, "check")
    assert (status, out.count("\n")) == (0, 1)
    assert complaints(err)[0].endswith("nothing is wrong; on 3 values the exchange's own timeframes disagree")


def test_symbols_can_be_chosen_and_named_alone_for_another_command(say: Command, tmp_path: Path) -> None:
    with served(market(symbols=["BTCUSDT", "ETHUSDT", "BTCPERP"])) as box:
        settings = settings_for(box.url, tmp_path)
        assert say(settings, "symbols", "--names", "--match", "btc*")[1] == "BTCPERP\nBTCUSDT\n"
        assert json.loads(say(settings, "symbols", "--names", "--json", "--quote", "USDT")[1]) == ["BTCUSDT", "ETHUSDT"]
        assert json.loads(say(settings, "symbols", "--json", "--new-since", "2099-01-01")[1]) == []
        assert complaints(say(settings, "symbols", "--kind", "futures")[2]) == ["0 of 3 symbols trade in linear"]
        assert say(settings, "symbols", "--new-since", "yesterday")[0] == 2


# Completion in a shell.


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("sy", ["symbols", "systemd-unit"]), ("run --da", ["--data-dir", "--days"]), ("fetch --mode r", ["recent"])],
)
def test_commands_options_and_values_are_completed(
    say: Command, monkeypatch: pytest.MonkeyPatch, typed: str, completed: list[str]
) -> None:
    monkeypatch.setenv("_COLLECTOR_COMPLETE", "complete_bash")  # as the script that bash is given asks
    monkeypatch.setenv("COMP_WORDS", f"collector {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    status, out, _ = say(None)
    assert (status, sorted(word.split(":")[0] for word in out.split())) == (0, completed)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_script_that_it_is_given(tmp_path: Path) -> None:
    program = tmp_path / "collector"
    program.write_text("#!/bin/sh\nexec " + shlex.join(command()) + ' "$@"\n')
    program.chmod(0o755)
    script = """eval "$(collector --show-completion bash)"
        COMP_WORDS=(collector fetch --mode r); COMP_CWORD=3
        $(complete -p collector | sed 's/.*-F \\([^ ]*\\).*/\\1/') collector
        printf '%s\\n' "${COMPREPLY[@]}" """
    environment = clean_environment() | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["recent"]


def report_of(directory: Path) -> dict[str, object]:
    newest = max((directory / "logs" / "integrity_reports").iterdir())
    report: dict[str, object] = json.loads(newest.read_text())
    return report


def test_check_of_what_was_collected_finds_nothing(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, timeframes=["15", "60"])
    say(settings, "fetch")
    status, out, err = say(settings, "check", "--against-exchange", "3")
    assert (status, out) == (0, "")
    assert complaints(err)[0].startswith("2 files with 1,200 rows checked: nothing is wrong; 0 of ")
    assert report_of(tmp_path)["files_checked"] == 2


def test_check_names_every_finding_and_ends_with_status_1(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], *lines[6:9], lines[8], *lines[9:]]))
    (tmp_path / "candles" / "foo\x1b[2J.csv").write_text("x")
    status, out, err = say(settings, "check")
    assert status == 1
    assert [line.rpartition("(")[2] for line in out.splitlines()[1:]] == ["duplicate)", "pending)"]
    assert "foo?[2J.csv: its name" in out
    assert complaints(err)[0] == "2 files with 240 rows checked: 2 with issues"
    status, out, _ = say(settings, "check", "--json", "--symbols", "BTCUSDT")
    found = json.loads(out)
    assert status == 1
    assert list(found["issues"]) == ["BTCUSDT_60.csv"]
    assert (found["total_gaps"], found["total_duplicates"]) == (1, 1)
    assert report_of(tmp_path) == {"checked_at": report_of(tmp_path)["checked_at"], **found}


def test_check_says_that_the_ledger_cannot_be_read(say: Command, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    (settings.data_dir / ".collector").mkdir(parents=True)
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    (settings.data_dir / ".collector" / "ledger.db").write_bytes(b"no database" * 1000)
    status, out, err = say(settings, "check")
    assert (status, out.count("\n")) == (1, 1)
    assert "could not be read" in out
    assert complaints(err)[0].endswith("nothing is wrong in them; the ledger cannot be read")


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        (slice(20, None), "before row 0: 20 candles are missing, 2024-05-05 12:00:00 to 2024-05-06 07:00:00 (pending)"),
        (
            slice(-20),
            "after the last row: 20 candles are missing, 2024-05-14 16:00:00 to 2024-05-15 11:00:00 (pending)",
        ),
        (slice(0), "240 candles are missing, 2024-05-05 12:00:00 to 2024-05-15 11:00:00 (pending)"),
        (None, "there is no such file"),
    ],
)
def test_check_misses_what_was_held_though_the_rows_that_are_left_are_right(
    say: Command, box: Sandbox, tmp_path: Path, keep: slice | None, told: str
) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    header, *lines = path.read_bytes().splitlines(keepends=True)
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(b"".join([header, *lines[keep]]))
    status, out, err = say(settings, "check")
    assert (status, out.splitlines()[0]) == (1, f"BTCUSDT_60.csv: {told}")
    assert ": 1 with issues" in complaints(err)[0]
    say(settings, "repair")
    assert say(settings, "check")[0] == 0


def test_check_against_the_exchange_names_what_differs(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].rpartition(b",")[0] + b",1\n"
    path.write_bytes(b"".join(lines))
    assert say(settings, "check")[0] == 0
    status, out, _ = say(settings, "check", "--against-exchange", "1", "--seed", "1")
    assert status == 1
    assert out.startswith("BTCUSDT_60 2024-05-15 11:00:00: stored is ")
    status, out, _ = say(settings, "check", "--against-exchange", "1", "--seed", "1", "--json")
    audit = json.loads(out)["against_exchange"]
    assert (status, audit["seed"], audit["requests"], audit["difference_count"]) == (1, 1, 1, 1)
    assert audit["differences"][0]["series"] == "BTCUSDT_60"
    gone = settings_for("http://127.0.0.1:1", tmp_path, bulk_max_retries=1)
    assert say(gone, "check", "--against-exchange", "1")[0] == 3


def test_what_a_check_found_in_the_files_is_told_when_the_exchange_cannot_be_asked(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    path.write_bytes(path.read_bytes()[:-1])
    gone = settings_for("http://127.0.0.1:1", tmp_path, bulk_max_retries=1)
    status, out, err = say(gone, "check", "--against-exchange", "1")
    assert (status, report_of(tmp_path)["files_with_issues"]) == (3, 1)
    assert out.startswith("BTCUSDT_60.csv: ")
    assert "1 with issues" in complaints(err)[0]


def test_check_of_an_empty_directory_says_so_and_of_none_ends_with_status_2(say: Command, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path)
    assert say(settings, "check")[0] == 2
    settings.data_dir.mkdir()
    status, out, err = say(settings, "check")
    assert (status, out) == (2, "")
    assert complaints(err) == [f"[storage] data_dir: no candle file is stored in {settings.data_dir}"]


def test_check_shows_the_first_files_and_counts_the_others(say: Command, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    for number in range(50):
        (settings.data_dir / f"A{number}USDT_1.csv").write_bytes(b"x\n" * 1000)
    status, out, _ = say(settings, "check", keep_reports="2")
    assert status == 1
    assert len(out.splitlines()) == 41
    assert out.splitlines()[-1] == "and 10 more files; the report has them all"
    for _ in range(2):
        say(settings, "check", keep_reports="2")
    assert len(list((tmp_path / "logs" / "integrity_reports").iterdir())) == 2


def test_where_nobody_can_be_told_anything_the_status_still_says_it(tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    closed = f"exec {shlex.join(command('check'))} <&- >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", closed], env=variables(settings), check=False).returncode == 0


# Streams that are not there, or take nothing.


def with_a_torn_file(tmp_path: Path) -> Settings:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(b"torn")
    return settings


def piped(settings: Settings, shell: str, **others: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of it, with `$collector` for the command line."""
    script = f'collector() {{ {shlex.join(command())} "$@"; }}; {shell}'
    environment = variables(settings) | others
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        ("check", ""),
        ("check --json", "1"),
        ("symbols --help", "1"),
        *(
            pytest.param(arguments, unbuffered, marks=pytest.mark.slow)  # the same ways out, crosswise
            for arguments, unbuffered in (("check", "1"), ("check --json", ""), ("symbols --help", ""))
        ),
    ],
)
def test_a_stdout_that_cannot_be_written_is_no_traceback(tmp_path: Path, arguments: str, unbuffered: str) -> None:
    ended = piped(with_a_torn_file(tmp_path), f"collector {arguments} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert ended.returncode == 1
    assert complaints(ended.stderr)[-1] == "stdout cannot be written: No space left on device"
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


@pytest.mark.parametrize(("quiet", "told"), [([], 2), (["--quiet"], 1)])
def test_a_check_whose_report_cannot_be_written_says_so_and_what_it_found(
    say: Command, tmp_path: Path, quiet: list[str], told: int
) -> None:
    settings = with_a_torn_file(tmp_path)
    (tmp_path / "file").write_text("not a directory")
    status, out, err = say(settings, "check", *quiet, logs_dir=str(tmp_path / "file" / "below"))
    assert (status, out) == (
        1,
        "BTCUSDT_60.csv: this collector would not have written it: its first line is not our header\n",
    )
    assert complaints(err)[0].startswith("the report was not written: [storage] logs_dir: ")
    assert len(complaints(err)) == told
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    assert say(settings, "check", *quiet, logs_dir=str(tmp_path / "file" / "below"))[0] == 0


def test_the_report_of_a_check_is_kept_also_when_nobody_reads_what_it_found(tmp_path: Path) -> None:
    ended = piped(with_a_torn_file(tmp_path), "collector check --quiet | true")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert report_of(tmp_path)["files_with_issues"] == 1


def test_what_is_for_a_person_never_comes_out_among_what_is_for_the_machine(tmp_path: Path) -> None:
    settings = with_a_torn_file(tmp_path)
    ended = piped(settings, "collector check --json 2>&-")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["files_with_issues"] == 1
    assert "1 with issues" in piped(settings, "collector check >&-").stderr


# Signals, to a process of its own.


def has_newest(box: Sandbox, settings: Settings) -> bool:
    (series,) = series_of(settings)
    return whole_lines(settings.data_dir / f"{series}.csv")[-1:] == truth_of(box, settings, series).splitlines()[-1:]


async def test_run_keeps_up_with_the_exchange_until_a_signal_ends_it_with_status_0(tmp_path: Path) -> None:
    async with open_sandbox(market(start_time="2024-05-15T12:30:58")) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1"], days_to_fetch=2)
        async with open_collector(settings, "run") as process:
            with trio.fail_after(_PATIENCE_S):
                await until(partial(has_newest, box, settings))
                box.clock.advance(10 * MINUTE_MS)
                await until(partial(has_newest, box, settings))
                process.send_signal(signal.SIGTERM)
                said = await heard(process)
                assert await process.wait() == 0
        assert "Traceback" not in said
        assert "nothing wanted is missing" in complaints(said)
        first_ms = held_spans(settings, series_of(settings)[0]).bounds.start_ms
        true = box.truth("BTCUSDT", "1", first_ms, box.clock.now_ms())
        assert (settings.data_dir / "BTCUSDT_1.csv").read_bytes() == true


async def test_run_waits_for_an_exchange_that_is_not_there_yet(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    settings = settings_for(f"http://127.0.0.1:{port}", tmp_path, bulk_max_retries=1)
    async with open_collector(settings, "run") as process:
        with trio.fail_after(_PATIENCE_S):
            await heard(process, "cannot be reached")
            async with open_sandbox(market(), port=port) as box:
                await until(partial(has_newest, box, settings))
                process.send_signal(signal.SIGTERM)
                await heard(process)
                assert await process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_lets_fetch_write_what_it_has_and_the_next_start_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    exchange = market()
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1"], days_to_fetch=12, bulk_batch_size=2)
        async with open_collector(settings, "fetch") as process:
            with trio.fail_after(_PATIENCE_S):
                await bell.reached(9)
                box.faults = Faults(latency_ms=60_000)  # nothing more comes before the signal does
                process.send_signal(number)
                said = await heard(process)
                assert await process.wait() == 130
        assert "Traceback" not in said
        assert any(line.startswith("still missing: ") for line in complaints(said))
        assert foreign_rows(box, settings) == []
        held = held_spans(settings, series_of(settings)[0])
        assert held
        box.counts.clear()
        box.faults = Faults()
        assert (await fetch(settings)).complete
        assert not asked_spans(box, series_of(settings)[0]) & held
        assert differences(box, settings) == []


def in_a_window() -> None:
    """In a new process that leads its session: stdin is the terminal it belongs to."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_window_that_is_closed_ends_run_with_status_0(tmp_path: Path) -> None:
    window, terminal = os.openpty()
    with served(market(rate=1)) as box:
        settings = settings_for(box.url, tmp_path)
        process = subprocess.Popen(
            command("run"),
            env=variables(settings),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=in_a_window,
        )
        os.close(terminal)
        while not (settings.data_dir / "BTCUSDT_60.csv").exists():
            os.read(window, 4096)  # the display, which never stands still
        os.close(window)
        try:
            assert process.wait(_PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()
    assert "signal" in (settings.logs_dir / "collector.log").read_text()


async def test_a_second_signal_ends_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    async def deaf(*, stop: trio.Event) -> Outcome:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep_forever()
        raise AssertionError

    with trio.fail_after(_PATIENCE_S), pytest.raises(KeyboardInterrupt):
        await until_signal(deaf)


def test_a_ban_is_waited_out_across_a_kill_and_a_new_start(say: Command, tmp_path: Path) -> None:
    with served(market(faults=Faults(ban_after=6), limits=Limits(ban_s=_BAN_S))) as box:
        # One request at a time: what is on its way when the ban is spoken cannot be called back.
        settings = settings_for(box.url, tmp_path, timeframes=["1"], ban_wait_s=_BAN_S, bulk_batch_size=1)
        with subprocess.Popen(command("fetch"), env=variables(settings), stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert any("rate ban" in line for line in process.stderr)
            process.kill()
        status, _, err = say(settings, "fetch")  # here, since the ban would be over before a process has started
        assert status == 0
        assert "a rate ban or block from before is still on" in err
        assert box.counts.by_outcome["rate_ban"] == 1
        assert box.counts.during_ban == 0
        assert differences(box, settings) == []


@pytest.mark.slow
def test_the_demo_finds_every_file_equal(tmp_path: Path) -> None:
    ended = subprocess.run(
        command("demo", "--data-dir", str(tmp_path)), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0
    assert ended.stderr.count("equal to the exchange, byte for byte") == 12
    assert "7 candles on record as missing: this exchange hides them on purpose" in ended.stderr
