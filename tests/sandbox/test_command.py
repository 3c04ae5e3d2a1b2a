"""The command: one line once it answers, a clean end, and one sentence when it cannot start."""

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

HEADER = "timestamp,datetime,open,high,low,close,volume,turnover\n"
RUN = "import typer; from collector.sandbox.command import sandbox; typer.run(sandbox)"
UNTIL = "sandbox: it is served there until Ctrl-C\n"


def start(options: Sequence[str], before: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", before + RUN, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_prints_its_address_serves_and_stops_when_told() -> None:
    options = ["--port", "0", "--symbols", "BTCUSDT,spot:ETHUSDC", "--start-time", "2023-05-01", "--rate", "0"]
    options += ["--two-in-one", "0.5", "--confirm-lag-ms", "150", "--refused-topic", "ETHUSDC"]
    options += ["--maintenance", "2023-05-01T12:00..2023-05-01T14:00=Upgrade"]
    with start(
        [*options, "--listed", "linear:BTCUSDT=2023-04-30T12:00", "--http-429", "1", "--faults-only", "/time"]
    ) as box:
        assert box.stdout is not None
        line = box.stdout.readline()
        assert line.startswith("sandbox: http://127.0.0.1:")
        url = line.removeprefix("sandbox: ").strip()
        reply = httpx.get(f"{url}/v5/market/kline?symbol=BTCUSDT&interval=60&start=0&limit=1")
        assert reply.json()["result"]["list"][0][0] == "1682856000000"
        assert httpx.get(f"{url}/v5/market/time").status_code == 429
        (announced,) = httpx.get(f"{url}/v5/system/status").json()["result"]["list"]
        assert (announced["title"], announced["begin"]) == ("Upgrade", "1682942400000")
        box.send_signal(signal.SIGINT)
        assert box.communicate() == ("", UNTIL)
    assert box.returncode == 0


def test_a_replay_says_what_it_passes_over(tmp_path: Path) -> None:
    for name, text in (("notes.csv", "a\n"), ("BTCUSDT_60.csv", f"{HEADER}1700006400000,x,1,1,1,1,0,0\n")):
        (tmp_path / name).write_text(text)
    with start(["--port", "0", "--replay", str(tmp_path)]) as box:
        assert box.stdout is not None
        assert box.stdout.readline().startswith("sandbox: http://127.0.0.1:")
        box.send_signal(signal.SIGINT)
        assert box.communicate() == ("", f"sandbox: passed over in {tmp_path}, no series: notes.csv\n{UNTIL}")


def test_tls_without_its_package_is_one_sentence_and_status_2() -> None:
    with start(["--port", "0", "--tls"], "import sys; sys.modules['trustme'] = None; ") as box:
        assert box.communicate() == (
            "",
            "sandbox: TLS needs the package trustme: pip install 'collector[sandbox-tls]'\n",
        )
    assert box.returncode == 2


def test_a_taken_port_is_one_sentence_and_status_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, start(["--port", str(taken.getsockname()[1])]) as box:
        out, error = box.communicate()
    assert box.returncode == 2
    assert out == ""
    assert error.startswith("sandbox: cannot serve on 127.0.0.1:")
    assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong", ["--dropped=2", "--over-limit=x", "--hole=x", "--listed=X=1", "--start-time=x", "--port=65536"]
)
def test_a_bad_option_is_one_sentence_and_status_2(wrong: str) -> None:
    with start([wrong]) as box:
        out, error = box.communicate()
    assert (box.returncode, out, error.count("\n")) == (2, "", 1)
