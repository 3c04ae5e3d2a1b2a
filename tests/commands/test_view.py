"""The command `view`, as users run it: it prints where the page is, serves it, and ends well when it is stopped."""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from tests.commands.command_line import Command, complaints

CANDLES = b"timestamp,datetime,open,high,low,close,volume,turnover\n1715774400000,2024-05-15 12:00:00,1,2,1,2,3,4\n"


def test_view_serves_the_page_and_ends_well_when_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_60.csv").write_bytes(CANDLES)
    command = [sys.executable, "-m", "collector", "view", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urlopen(f"{url}/api/series", timeout=20) as answer:
            assert b'"symbol":"BTCUSDT"' in answer.read()
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=20)
        assert (process.returncode, rest) == (0, "")
        assert complaints(err) == ["the page is served there until Ctrl-C"]


def test_a_directory_that_is_not_there_is_refused(say: Command, tmp_path: Path) -> None:
    status, out, err = say(None, "view", "--data-dir", str(tmp_path / "nothing"))
    assert (status, out) == (2, "")
    assert "nothing" in err


def test_a_port_that_is_taken_is_refused(say: Command, tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_60.csv").write_bytes(CANDLES)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = say(None, "view", "--data-dir", str(tmp_path), "--port", str(port))
    assert (status, out) == (2, "")
    assert complaints(err) == [f"--port {port} cannot be served at: Address already in use"]
