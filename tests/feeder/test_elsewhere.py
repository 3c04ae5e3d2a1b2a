"""The feeder where there is no Linux: a process without what only POSIX systems have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.candles import content, rows

# What Windows lacks. psutil needs `resource` on Linux, and is left out with it.
ELSEWHERE = """
import os, signal, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in [name for name in dir(signal) if name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM")]:
    delattr(signal, name)
for name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "pread", "pwrite", "geteuid", "getuid", "fork",
             "chown", "fchmod", "statvfs", "mkfifo"):
    delattr(os, name)
"""
READ = """
from collector import DataFeeder

feeder = DataFeeder("data", closed_only=True)
print(feeder.symbols(), len(feeder.frame("BTCUSDT", "1")), feeder.refresh())
print(feeder.get_data_at_timestamp("BTCUSDT", "1", "2023-11-15T00:10")["timestamp_ms"], feeder.metadata("BTCUSDT", "1"))
"""


def elsewhere(directory: Path, script: str) -> subprocess.CompletedProcess[str]:
    here = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE + script], cwd=directory, env=here, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "BTCUSDT_1.csv").write_bytes(content(rows(0, 2000)))
    return tmp_path


def test_a_feeder_reads_without_what_only_posix_has(stored: Path) -> None:
    done = elsewhere(stored, READ)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "['BTCUSDT'] 2000 0"
    assert second.startswith("1700006940000 <Metadata first: 2023-11-15 00:00:00 UTC, ")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("from collector import collect", "collector.collect runs on Linux alone: this system has no module fcntl"),
        (
            "import sys; sys.argv[:] = ['collector', 'check']; from collector.__main__ import main; main()",
            "collector: its commands run on Linux alone: this system has no module fcntl",
        ),
    ],
)
def test_what_is_for_linux_says_so(stored: Path, script: str, said: str) -> None:
    done = elsewhere(stored, script)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
