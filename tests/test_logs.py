import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from rich.console import Console

from collector.errors import SettingsError
from collector.logs import get_logger, open_logs

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
    with open_logs(None, console=console):
        log.info("renamed", name="a", msg="b", args="c", level="d")
    assert printed(console)[9:] == "info    renamed name=a msg=b args=c\n"


@pytest.mark.usefixtures("_foreign_structlog")
def test_the_host_s_own_structlog_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("collector.other").warning("ban", until=1)
    assert caplog.messages == ["ban until=1"]


def test_the_console_shows_one_line_with_the_time_of_day(console: Console) -> None:
    with open_logs(None, console=console):
        log.info("connected", topics=300, text="two\nlines \x1b[31m", series="BTCUSDT_60 and more than the width")
    time, rest = printed(console)[:8], printed(console)[8:]
    assert [len(part) for part in time.split(":")] == [2, 2, 2]
    assert rest.startswith(r" info    connected topics=300 text='two\nlines \x1b[31m' series=")
    assert rest.count("\n") == 1


def test_colour_is_for_terminals() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, color_system="standard", _environ={})
    with open_logs(None, console=terminal):
        log.warning("ban")
    assert "\x1b[33mwarning" in printed(terminal)


def test_the_file_keeps_json_lines_in_utc(tmp_path: Path, console: Console) -> None:
    with open_logs(tmp_path / "new" / "logs", console=console):
        log.info("stored", rows=3, series="BTCUSDT_60", path=Path("x"))
    (entry,) = kept(tmp_path / "new" / "logs")
    assert list(entry) == ["time", "level", "logger", "event", "rows", "series", "path"]
    assert entry["time"].endswith("Z")
    assert entry["event"] == "stored"
    assert (entry["rows"], entry["path"]) == (3, "x")


def test_an_exception_is_told_in_both(tmp_path: Path, console: Console) -> None:
    with open_logs(tmp_path, console=console):
        try:
            raise OSError("disk full")
        except OSError:
            log.exception("flush failed", series="BTCUSDT_60")
    assert "error   flush failed series=BTCUSDT_60\nTraceback" in printed(console)
    assert kept(tmp_path)[0]["exception"].endswith("OSError: disk full")


def test_quiet_shows_warnings_and_the_file_still_has_everything(tmp_path: Path, console: Console) -> None:
    with open_logs(tmp_path, quiet=True, console=console):
        log.info("connected")
        log.warning("ban")
    assert printed(console)[9:] == "warning ban\n"
    assert [entry["event"] for entry in kept(tmp_path)] == ["connected", "ban"]


def test_below_the_level_nothing_is_said(tmp_path: Path, console: Console) -> None:
    with open_logs(tmp_path, level="INFO", console=console):
        log.debug("candle")
    assert printed(console) == ""


def test_secrets_are_masked_everywhere(tmp_path: Path, console: Console) -> None:
    with open_logs(tmp_path, console=console, secrets=["", "hush"]):
        log.error("key hush", url="https://x?key=hush", exc_info=ValueError("hush"))
    assert "hush" not in printed(console) + (tmp_path / "collector.log").read_text()
    assert "key=***" in printed(console)


def test_when_left_the_logs_are_closed_and_the_tree_is_as_before(tmp_path: Path, console: Console) -> None:
    tree = logging.getLogger("collector")
    before = (tree.level, list(tree.handlers))
    with open_logs(tmp_path, level="debug", console=console):
        pass
    assert (tree.level, tree.handlers) == before


def test_a_directory_that_cannot_be_written_is_a_problem_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(SettingsError, match=r"\[storage\] logs_dir: .*logs cannot be written: File exists"):
        open_logs(tmp_path / "logs").__enter__()
