"""Ctrl-C at a terminal: what follows begins a line."""

import os
import pty
import sys
from pathlib import Path
from select import select

import pytest

from collector.core.rows import HEADER
from collector.machine.terminal import erase_echo
from tests.commands.command_line import PATIENCE_S

_CTRL_C = b"\x03"


def last_line(screen: bytes) -> bytes:
    """What the line of the cursor shows."""
    return screen.rpartition(b"\n")[2].rpartition(b"\r\x1b[K")[2]


def at_a_terminal(directory: Path, *arguments: str, until: bytes = b"until Ctrl-C") -> tuple[int, bytes]:
    """Run the command line until it shows a text, press Ctrl-C, and return its status and all it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(directory)
        os.execvpe(sys.executable, [sys.executable, "-m", "collector", *arguments], os.environ | {"TERM": "xterm"})
    screen = b""
    while until not in screen:
        screen += os.read(terminal, 4096)
    os.write(terminal, _CTRL_C)
    try:
        while select([terminal], (), (), PATIENCE_S)[0] and (more := os.read(terminal, 4096)):
            screen += more
    except OSError:  # Linux says so that nobody has the terminal open any more
        pass
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen


@pytest.mark.parametrize("arguments", ["view", "sandbox --port 0"])
def test_what_serves_in_the_foreground_leaves_an_empty_line(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "data").mkdir()
    status, screen = at_a_terminal(tmp_path, *arguments.split())
    assert status == 0
    assert b"^C" in screen
    assert last_line(screen) == b""


def test_a_question_is_ended_by_ctrl_c_and_nothing_is_removed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    leftover = tmp_path / "data" / "BTCUSDT_60.csv.cut-1"
    leftover.write_bytes(HEADER)
    status, screen = at_a_terminal(tmp_path, "clean", until=b"[y/N]")
    assert status == 130
    assert screen.endswith(b"stopped\r\n")
    assert last_line(screen) == b""
    assert leftover.exists()


@pytest.mark.parametrize(("kind", "shown"), [("xterm", b"^C\r\x1b[K"), ("dumb", b"^C\r\n")])
def test_the_echo_is_erased_where_lines_can_be(monkeypatch: pytest.MonkeyPatch, kind: str, shown: bytes) -> None:
    monkeypatch.setenv("TERM", kind)
    theirs, ours = pty.openpty()
    monkeypatch.setattr("collector.machine.terminal._STREAMS", (ours,))
    os.write(ours, b"^C")
    erase_echo()
    read = b""
    while len(read) < len(shown):
        read += os.read(theirs, 100)
    assert read == shown
    os.close(ours)
    os.close(theirs)


def test_a_pipe_is_given_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr("collector.machine.terminal._STREAMS", (writing,))
    erase_echo()
    os.close(writing)
    assert os.read(reading, 100) == b""
    os.close(reading)
