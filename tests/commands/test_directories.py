"""Commands whose directories, locks or disks are in the way."""

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import pytest

from collector.machine.disk import THIS_DISK
from collector.sandbox import Sandbox
from collector.settings.settings import Settings
from collector.storage.ledger import open_ledger
from tests.campaign.process import command, variables
from tests.campaign.truth import differences, foreign_rows
from tests.commands.command_line import NOBODY, Command, complaints
from tests.support.market import KLINE, market, served, settings_for


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
            os.seteuid(NOBODY)
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
    sentence = f"[storage] data_dir: {tmp_path}/candles does not exist"
    assert status == 2
    assert complaints(err) == [sentence]
    if "--json" in arguments:
        assert json.loads(out) == {"error": sentence}
    else:
        assert out == ""
    assert not (tmp_path / "candles").exists()


@pytest.mark.parametrize("arguments", ["gaps", "list", "status", "repair --dry-run"])
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


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        ("fetch", {"symbols": ["BTCUSTD"]}),
        ("run", {"symbols": ["BTCUSTD"]}),
        ("run --end 2024-05-01", {}),
        ("fetch --start 2024-05-16", {}),
    ],
)
def test_a_refused_command_leaves_nothing(
    say: Command, box: Sandbox, tmp_path: Path, arguments: str, changes: dict[str, object]
) -> None:
    settings = settings_for(box.url, tmp_path / "new", **changes)
    assert say(settings, *arguments.split())[0] == 2
    assert [*tmp_path.iterdir()] == []


def test_a_refused_command_leaves_what_was_there(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, symbols=["BTCUSTD"])
    settings.data_dir.mkdir()
    (settings.logs_dir / "integrity_reports").mkdir(parents=True)
    assert say(settings, "fetch")[0] == 2
    assert settings.data_dir.is_dir()
    assert [path.name for path in settings.logs_dir.iterdir()] == ["integrity_reports"]


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


@pytest.mark.parametrize("arguments", ["check", "clean", "gaps", "list", "repair", "repair --dry-run"])
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
    uncounted = {name: text for name, text in variables(settings).items() if not name.startswith("COVERAGE_")}
    ended = subprocess.run(
        command("fetch"),
        env=uncounted,  # what counts the lines writes a file, too
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
    with small_disk(tmp_path / "small", "256k") as disk:  # of one file alone: the plan sees the room of the directory
        settings = settings_for(box.url, tmp_path, timeframes=["5"], symbols=["BTCUSDT", "ETHUSDT"], low_disk_mb=0)
        settings.data_dir.mkdir(parents=True)
        (settings.data_dir / "ETHUSDT_5.csv").symlink_to(disk / "ETHUSDT_5.csv")
        (disk / "other").write_bytes(bytes(128 * 1024))
        status, _, err = say(settings, "fetch")
        assert status == 1
        assert any("disk is full" in sentence for sentence in complaints(err))
        assert foreign_rows(box, settings) == []
        (disk / "other").unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        assert say(settings, "fetch")[0] == 0
        assert differences(box, settings) == []


def test_a_fetch_that_cannot_fit_is_refused_and_room_heals_it(say: Command, box: Sandbox, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "256k") as disk:
        settings = settings_for(box.url, disk, timeframes=["5"], symbols=["BTCUSDT", "ETHUSDT"], low_disk_mb=0)
        status, _, err = say(settings, "fetch")
        assert status == 1
        assert any("does not fit on the disk" in sentence and str(disk) in sentence for sentence in complaints(err))
        assert box.counts.by_path[KLINE] == 0
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        assert say(settings, "fetch")[0] == 0
        assert differences(box, settings) == []


def test_room_that_is_to_stay_free_is_no_room(say: Command, box: Sandbox, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "4m") as disk:
        settings = settings_for(box.url, disk, low_disk_mb=5)
        status, _, err = say(settings, "fetch")
        assert status == 1
        assert any("does not fit on the disk" in sentence and "low_disk_mb" in sentence for sentence in complaints(err))
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
