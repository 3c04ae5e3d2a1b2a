"""Stop signals that come while the command line is still being loaded."""

import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.commands.early_signals import HeldSignals, held_signals, hold_signals, release_signals
from tests.campaign.process import variables
from tests.commands.command_line import ROOT, complaints
from tests.support.market import settings_for

_SCRIPT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["collector"]
_BEGUN = {
    "module": "import runpy; runpy.run_module('collector', run_name='__main__')",
    "script": "from {} import {} as main; main()".format(*_SCRIPT.split(":")),
}
_LOADING = """
import signal, sys
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # the tests may run under nohup
class Stopping:
    def find_spec(self, name, *_):
        if name == 'collector.commands.app':
            signal.raise_signal(signal.{name})
sys.meta_path.insert(0, Stopping())
"""


def ended(tmp_path: Path, number: signal.Signals, begun: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that got a signal while it was being loaded; nobody is at its exchange's address."""
    settings = settings_for("http://127.0.0.1:9", tmp_path)
    settings.data_dir.mkdir()
    return subprocess.run(
        [sys.executable, "-c", _LOADING.format(name=number.name) + _BEGUN[begun], *arguments],
        env=variables(settings) | {"NOTIFY_SOCKET": str(tmp_path / "notify")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        start_new_session=True,  # without a terminal
    )


@pytest.mark.parametrize("begun", _BEGUN)
def test_run_that_is_stopped_while_it_is_loading_ends_as_at_any_later_time(tmp_path: Path, begun: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        run = ended(tmp_path, signal.SIGTERM, begun, "run")
        manager.setblocking(False)
        told = b""
        while b"STOPPING=1" not in told:
            told += manager.recv(4096)
    assert run.returncode == 0
    assert "stopping, what was received is written first signal=SIGTERM" in run.stderr
    assert complaints(run.stderr)[-1] == "stopped before it was known what is missing"
    assert '"signal": "SIGTERM"' in (tmp_path / "logs" / "collector.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("arguments", ["list", "fetch", "sandbox", "status --json"])
def test_the_other_commands_end_by_the_signal(tmp_path: Path, number: signal.Signals, arguments: str) -> None:
    command = ended(tmp_path, number, "module", *arguments.split())
    assert (command.returncode, command.stdout, command.stderr) == (-number, "", "")


@pytest.fixture
def _handlers() -> Iterator[None]:
    numbers = signal.SIGTERM, signal.SIGHUP
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
def test_what_is_held_comes_once_and_what_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hold_signals()
    for number in (signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    held, came = held_signals(), HeldSignals()
    signal.signal(signal.SIGTERM, came)
    held.deliver()
    held.deliver()
    assert (came.numbers, signal.getsignal(signal.SIGHUP)) == ([signal.SIGTERM], signal.SIG_IGN)


@pytest.mark.usefixtures("_handlers")
def test_release_gives_back_what_is_held_and_no_other_handler() -> None:
    hold_signals()
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    release_signals()
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    assert handlers == (signal.SIG_DFL, signal.default_int_handler)
