"""What is said and where it ends up: console, file and journal, masked, counted, and never in anybody's way."""

import errno
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from rich.console import Console

from collector.commands.standard_streams import ignoring_write_errors, is_journal
from collector.core.errors import SettingsError, StorageError
from collector.logs import (
    ConsoleHandler,
    JournalHandler,
    LogFile,
    background,
    flush_suppressed,
    get_logger,
    open_logs,
)
from collector.machine.disk import Disk
from collector.pipeline.service import follow_settings
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings
from tests.support.market import ClockByHand
from tests.support.users import NOBODY, as_user, needs_root, open_place

log = get_logger("collector.tests")


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=40)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def kept(logs_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (logs_dir / "collector.log").read_text().splitlines()]


@pytest.fixture
def _foreign_structlog() -> Iterator[None]:
    structlog.configure(processors=[], wrapper_class=structlog.BoundLogger)
    yield
    structlog.reset_defaults()


def test_unasked_nothing_is_printed() -> None:
    script = "from collector.logs import get_logger; get_logger('x').error('ban', until=1)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_host_program_reads_event_and_facts(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("ban", until="12:10", reason="too many visits")
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("collector.tests", "ban until=12:10 reason='too many visits'")


def test_a_percent_sign_is_only_a_percent_sign(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("100%s done", part="5%d")
    assert caplog.messages == ["100%s done part=5%d"]


def test_a_fact_may_have_any_name(console: Console) -> None:
    with open_logs(None, ConsoleHandler(console)):
        log.info("renamed", name="a", msg="b", args="c", level="d")
    assert printed(console)[9:] == "info    renamed name=a msg=b args=c\n"


@pytest.mark.usefixtures("_foreign_structlog")
def test_the_host_s_own_structlog_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("collector.other").warning("ban", until=1)
    assert caplog.messages == ["ban until=1"]


def test_the_console_shows_one_line_with_the_time_of_day(console: Console) -> None:
    with open_logs(None, ConsoleHandler(console)):
        log.info("connected", topics=300, text="two\nlines \x1b[31m", series="BTCUSDT_60 and more than the width")
    time, rest = printed(console)[:8], printed(console)[8:]
    assert [len(part) for part in time.split(":")] == [2, 2, 2]
    assert rest.startswith(r" info    connected topics=300 text='two\nlines \x1b[31m' series=")
    assert rest.count("\n") == 1


@pytest.mark.parametrize("width", [40, 80, 160])
def test_lines_break_at_words_on_a_terminal(width: int) -> None:
    terminal = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, _environ={})
    with open_logs(None, ConsoleHandler(terminal)):
        log.warning("connection lost", topics=6, why="cannot connect to the stream of the exchange: connection refused")
    first, *others = printed(terminal).splitlines()
    assert first[8:].startswith(" warning connection lost")
    assert all(len(line) <= width for line in [first, *others])
    assert all(line.startswith(" " * (2 if width < 60 else 17)) for line in others)
    assert " ".join([first, *map(str.strip, others)]).endswith("stream of the exchange: connection refused'")


def test_people_read_a_sentence_and_programs_the_facts(
    tmp_path: Path, console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    with open_logs(LogFile(tmp_path), ConsoleHandler(console)):
        log.info("history complete", sentence="history complete: 1,000 candles", candles=1000)
    assert printed(console)[9:] == "info    history complete: 1,000 candles\n"
    (entry,) = kept(tmp_path)
    assert list(entry) == ["time", "level", "logger", "event", "candles"]
    assert caplog.messages == ["history complete candles=1000"]


def test_colour_is_for_terminals() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, color_system="standard", _environ={})
    with open_logs(None, ConsoleHandler(terminal)):
        log.warning("ban")
    assert "\x1b[33mwarning" in printed(terminal)


def test_the_file_keeps_json_lines_in_utc(tmp_path: Path, console: Console) -> None:
    with open_logs(LogFile(tmp_path / "new" / "logs"), ConsoleHandler(console)):
        log.info("stored", rows=3, series="BTCUSDT_60", path=Path("x"))
    (entry,) = kept(tmp_path / "new" / "logs")
    assert list(entry) == ["time", "level", "logger", "event", "rows", "series", "path"]
    assert entry["time"].endswith("Z")
    assert entry["event"] == "stored"
    assert (entry["rows"], entry["path"]) == (3, "x")


def test_an_exception_is_told_in_both(tmp_path: Path, console: Console) -> None:
    with open_logs(LogFile(tmp_path), ConsoleHandler(console)):
        try:
            raise OSError("disk full")
        except OSError:
            log.exception("flush failed", series="BTCUSDT_60")
    assert "error   flush failed series=BTCUSDT_60\nTraceback" in printed(console)
    assert kept(tmp_path)[0]["exception"].endswith("OSError: disk full")


def test_quiet_shows_warnings_and_the_file_still_has_everything(tmp_path: Path, console: Console) -> None:
    with open_logs(LogFile(tmp_path), ConsoleHandler(console, quiet=True)):
        log.info("connected")
        log.warning("ban")
    assert printed(console)[9:] == "warning ban\n"
    assert [entry["event"] for entry in kept(tmp_path)] == ["connected", "ban"]


def test_below_the_level_nothing_is_said(tmp_path: Path, console: Console) -> None:
    with open_logs(LogFile(tmp_path), ConsoleHandler(console), level="INFO"):
        log.debug("candle")
    assert printed(console) == ""


def test_secrets_are_masked_everywhere(tmp_path: Path, console: Console) -> None:
    with open_logs(LogFile(tmp_path), ConsoleHandler(console), secrets=["", "hush"]):
        log.error("key hush", url="https://x?key=hush", exc_info=ValueError("hush"))
    assert "hush" not in printed(console) + (tmp_path / "collector.log").read_text()
    assert "key=***" in printed(console)


def test_when_left_the_logs_are_closed_and_the_tree_is_as_before(tmp_path: Path, console: Console) -> None:
    tree = logging.getLogger("collector")
    before = (tree.level, list(tree.handlers))
    with open_logs(LogFile(tmp_path), ConsoleHandler(console), level="debug"):
        pass
    assert (tree.level, tree.handlers) == before


def test_a_directory_that_cannot_be_written_is_a_problem_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(SettingsError, match=r"\[storage\] logs_dir: .*logs cannot be written \(Not a directory\)"):
        open_logs(LogFile(tmp_path / "logs")).__enter__()


# Throttling.


def test_a_storm_of_equal_troubles_becomes_one_line_with_a_count(tmp_path: Path, console: Console) -> None:
    clock = ClockByHand()
    with open_logs(LogFile(tmp_path), ConsoleHandler(console), clock=clock):
        for number in range(313):
            log.warning("connection lost", why="refused", wait_s=number % 2)
        log.info("progress")
        flush_suppressed()
        assert printed(console).count("connection lost") == 2
        clock.at_s = 60.0
        flush_suppressed()
    lines = [line[9:] for line in printed(console).splitlines()]
    assert lines[-2:] == [
        "info    progress",
        "warning connection lost why=refused wait_s=0 again='311 times in 60 s'",
    ]
    assert kept(tmp_path)[-1]["again"] == "311 times in 60 s"


class _Slow(io.StringIO):
    """Somewhere that takes what is written when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.takes = Event(), Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.takes.wait(5)
        return super().write(text)


def test_counts_are_not_told_while_a_thread_is_in_the_middle_of_a_line() -> None:
    """What it counts is not all in its place then, and the telling fell over it."""
    slow = _Slow()
    with open_logs(None, ConsoleHandler(Console(file=slow))), ThreadPoolExecutor(2) as threads:
        saying = threads.submit(log.warning, "file mended")
        slow.reached.wait(5)
        telling = threads.submit(flush_suppressed)
        with pytest.raises(TimeoutError):
            telling.result(0.05)
        slow.takes.set()
        saying.result(5)
        telling.result(5)


def test_a_log_on_a_frozen_disk_stops_nobody(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_WAIT_S", 0.02)
    monkeypatch.setattr(background, "_QUEUE_LIMIT", 5)
    thawed = Event()
    monkeypatch.setattr(LogFile, "_reopen_if_replaced", lambda _: thawed.wait(5))
    with open_logs(LogFile(tmp_path), ConsoleHandler(console)):
        for number in range(10):
            log.info("stored", number=number)
        assert printed(console).count("stored") == 10
        thawed.set()
    entries = kept(tmp_path)
    assert [entry["number"] for entry in entries[:6]] == [0, 1, 2, 3, 4, 5]
    assert (entries[-1]["event"], entries[-1]["count"]) == ("log lines left out", 4)


def test_a_log_that_stands_for_good_does_not_keep_the_process(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_WAIT_S", 0.02)
    monkeypatch.setattr(background, "_CLOSING_S", 0.02)
    thawed = Event()
    monkeypatch.setattr(LogFile, "_reopen_if_replaced", lambda _: thawed.wait(5))
    with open_logs(LogFile(tmp_path), ConsoleHandler(console)):
        log.info("stored")
    thawed.set()
    assert "stored" in printed(console)


def test_lines_with_a_count_have_the_time_they_are_said_at(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ClockByHand(1_700_000_000.0)
    monkeypatch.setattr("time.time", lambda: clock.at_s)  # by which records are stamped
    monkeypatch.setattr("time.time_ns", lambda: int(clock.at_s * 1e9))  # and from Python 3.13 on
    with open_logs(LogFile(tmp_path), ConsoleHandler(console), clock=clock):
        for _ in range(3):
            log.warning("connection lost")
        clock.at_s += 50
        log.info("new symbols")
        clock.at_s += 20
        flush_suppressed()
    assert [(entry["event"], entry["time"][11:19]) for entry in kept(tmp_path)] == [
        ("connection lost", "22:13:20"),
        ("new symbols", "22:14:10"),
        ("connection lost", "22:14:30"),
    ]


def test_a_storm_is_told_at_the_end(console: Console) -> None:
    with open_logs(None, ConsoleHandler(console)):
        for _ in range(5):
            log.info("no answer", why="refused")
    assert [line[9:] for line in printed(console).splitlines()] == [
        "info    no answer why=refused",
        "info    no answer why=refused again='4 times in 0 s'",
    ]


def test_what_is_no_trouble_is_always_said(console: Console) -> None:
    with open_logs(None, ConsoleHandler(console)):
        for number in range(50):
            log.info("candle replaced", series="BTCUSDT_1", after=number)
    assert printed(console).count("candle replaced") == 50


async def test_who_has_the_settings_read_again_is_told_every_problem_every_time(console: Console) -> None:
    def load() -> Settings:
        raise SettingsError([f"problem {number}" for number in range(8)])

    request = ReloadRequest(load)
    with open_logs(None, ConsoleHandler(console)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_settings, request, nullcontext, never_called)
            for _ in range(2):
                request.request()
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert printed(console).count("problem=") == 16


async def never_called(_: Settings) -> None:
    await trio.lowlevel.checkpoint()
    raise AssertionError


# The journal.


def test_the_journal_gets_priorities_and_no_second_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_logs(LogFile(tmp_path), JournalHandler(), level="debug"):
        log.debug("a")
        log.info("connected", topics=3)
        log.warning("ban", why="too many")
        try:
            raise OSError("disk full")
        except OSError:
            log.exception("failed")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:4] == ["<7>a", "<6>connected topics=3", "<4>ban why='too many'", "<3>failed"]
    assert lines[4] == "<3>Traceback (most recent call last):"
    assert all(line.startswith("<3>") for line in lines[4:])
    assert [entry["level"] for entry in kept(tmp_path)] == ["debug", "info", "warning", "error"]


def test_the_journal_is_known_by_the_stream_it_gave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stream").open("w") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        found = os.fstat(stream.fileno())
        assert is_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not is_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not is_journal({})
    assert not is_journal({"JOURNAL_STREAM": "1:2"})


# Nobody reads, or there is no room.


class _Gone(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_what_nobody_can_read_any_more_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_logs(None, ConsoleHandler(Console(file=ignoring_write_errors(_Gone())))):
        log.warning("ban")
    monkeypatch.setattr("sys.stderr", _Gone())
    with open_logs(None, JournalHandler()):
        log.warning("ban")


def test_a_name_that_is_no_text_stands_in_the_log_all_the_same(tmp_path: Path, console: Console) -> None:
    with open_logs(LogFile(tmp_path), ConsoleHandler(console)):
        log.info("found", file=os.fsdecode(b"\xff.csv"))
    assert kept(tmp_path)[0]["file"] == os.fsdecode(b"\xff.csv")


def test_a_log_directory_that_was_taken_away_is_made_again(tmp_path: Path, console: Console) -> None:
    with open_logs(LogFile(tmp_path / "logs"), ConsoleHandler(console)):
        log.info("before")
        shutil.rmtree(tmp_path / "logs")
        log.info("after")
    assert [entry["event"] for entry in kept(tmp_path / "logs")] == ["after"]


def test_a_log_that_was_moved_away_and_replaced_goes_on_in_its_place(tmp_path: Path, console: Console) -> None:
    with open_logs(LogFile(tmp_path), ConsoleHandler(console)):
        log.info("before")
        (tmp_path / "collector.log").rename(tmp_path / "yesterday.log")
        (tmp_path / "collector.log").touch()
        log.info("after")
    assert [entry["event"] for entry in kept(tmp_path)] == ["after"]
    assert "before" in (tmp_path / "yesterday.log").read_text()


def test_a_log_that_cannot_be_made_again_is_told_of_once_and_found_again_later(
    tmp_path: Path, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    logs_dir = tmp_path / "logs"
    with open_logs(LogFile(logs_dir), ConsoleHandler(console)):
        logs_dir.rename(tmp_path / "old")
        logs_dir.write_text("a file in its place")
        for number in range(3):
            log.info("lost", number=number)
        logs_dir.unlink()
        log.info("found")
    assert capsys.readouterr().err.count("cannot be written") == 1
    assert [entry["event"] for entry in kept(logs_dir)] == ["found"]


def test_a_reader_keeps_what_it_has_open_when_the_log_is_rotated(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.logs.file._FILE_BYTES", 1000)
    with open_logs(LogFile(tmp_path), ConsoleHandler(console)):
        log.info("first")
        with (tmp_path / "collector.log").open() as reader:
            for number in range(50):
                log.info("filled", number=number)
            assert "first" in reader.readline()
            assert reader.read().count("\n") > 3
    assert {path.name for path in tmp_path.iterdir()} == {"collector.log", *(f"collector.log.{n}" for n in range(1, 6))}
    assert all(line.startswith("{") for path in tmp_path.iterdir() for line in path.read_text().splitlines())


def test_a_log_that_cannot_be_rotated_is_told_of_once_and_goes_on_as_it_is(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a container has it mounted from outside."""

    class Mounted(Disk):
        def rename(self, source: Path, target: Path) -> None:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr("collector.logs.file._FILE_BYTES", 1000)
    with open_logs(LogFile(tmp_path, Mounted()), ConsoleHandler(console)):
        for number in range(50):
            log.info("filled", number=number)
    assert [entry["number"] for entry in kept(tmp_path)] == [*range(50)]
    assert capsys.readouterr().err.count("cannot be rotated") == 1


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("https://me:hush@host/x", "https://***@host/x"),
        ("wss://hush@host: lost, and http://a:hush@b:1", "wss://***@host: lost, and http://***@b:1"),
        ("https://host/a@b", "https://host/a@b"),
        ("mail me@host", "mail me@host"),
    ],
)
def test_passwords_in_addresses_are_masked(tmp_path: Path, console: Console, said: str, shown: str) -> None:
    with open_logs(LogFile(tmp_path), ConsoleHandler(console)):
        log.warning("cannot connect", why=said)
    assert "hush" not in printed(console) + (tmp_path / "collector.log").read_text()
    assert kept(tmp_path)[0]["why"] == shown


# What was planted where the log is to be.


def planted_link(path: Path) -> None:
    path.with_name("foreign").write_text("theirs\n")
    path.symlink_to("foreign")


def planted_second_name(path: Path) -> None:
    path.with_name("foreign").write_text("theirs\n")
    path.hardlink_to(path.with_name("foreign"))


@pytest.mark.parametrize("plant", [planted_link, planted_second_name, os.mkfifo, Path.mkdir])
@pytest.mark.parametrize("at_the_start", [True, False])
def test_what_was_planted_in_its_place_is_rotated_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plant: Callable[[Path], object], at_the_start: bool
) -> None:
    if at_the_start:
        plant(tmp_path / "collector.log")
    with open_logs(LogFile(tmp_path)):
        if not at_the_start:
            (tmp_path / "collector.log").unlink()
            plant(tmp_path / "collector.log")
        log.info("written")
    assert [entry["event"] for entry in kept(tmp_path)] == ["written"]
    assert "collector.log.1 now" in capsys.readouterr().err
    assert os.path.lexists(tmp_path / "collector.log.1")
    if (tmp_path / "foreign").exists():
        assert (tmp_path / "foreign").read_text() == "theirs\n"


def test_a_directory_of_logs_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "logs").symlink_to("real")
    with open_logs(LogFile(tmp_path / "logs")):
        log.info("written")
    assert [entry["event"] for entry in kept(tmp_path / "real")] == ["written"]


def test_the_patient_go_on_without_a_log_that_cannot_be_written_and_keep_it_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readonly = [1]

    def refuse(_: object, path: Path) -> None:
        if readonly:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        path.mkdir(exist_ok=True)

    monkeypatch.setattr("collector.logs.file.make_directory", refuse)
    with pytest.raises(StorageError, match="Read-only"), open_logs(LogFile(tmp_path / "logs")):
        pass
    with open_logs(LogFile(tmp_path / "logs", required=False), ConsoleHandler(Console(file=io.StringIO()))):
        log.info("lost")
        log.info("lost too")
        readonly.clear()
        log.info("kept")
    assert [entry["event"] for entry in kept(tmp_path / "logs")] == ["kept"]
    assert capsys.readouterr().err.count("cannot be written: Read-only file system; going on without it") == 1


@needs_root
def test_a_log_of_root_in_a_directory_of_ours_is_rotated_away(capsys: pytest.CaptureFixture[str]) -> None:
    with open_place() as place:
        (place / "collector.log").write_text("root's\n")
        os.chown(place, NOBODY, NOBODY)
        with as_user(NOBODY), open_logs(LogFile(place)):
            log.info("written")
        assert [entry["event"] for entry in kept(place)] == ["written"]
        assert (place / "collector.log.1").read_text() == "root's\n"
    assert "it belongs to root) and is collector.log.1 now" in capsys.readouterr().err


@needs_root
def test_a_log_of_root_in_a_directory_of_root_is_named_with_its_owner() -> None:
    with open_place() as place:
        (place / "collector.log").write_text("root's\n")
        said = rf"logs_dir: {place}/collector\.log cannot be written \(Permission denied; it belongs to root\)"
        with as_user(NOBODY), pytest.raises(StorageError, match=said):
            open_logs(LogFile(place)).__enter__()
