"""A short life under the virtual clock: it keeps every promise, and the same seed gives the same life."""

import subprocess
import sys


def _simulated(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "tests.simulation", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def _trace(seed: int) -> str:
    status, said = _simulated("--seed", str(seed), "--runs", "1", "--length", "0.2", "--calm", "0.1", "--trace")
    assert not status, said
    return next(line for line in said.splitlines() if "trace" in line)


def test_an_hour_of_faults_leaves_every_file_right() -> None:
    faults = "kill,kill in a call,power cut,wrong while REST lags,cut,broken answers"
    status, said = _simulated("--seed", "3", "--runs", "1", "--length", "0.7", "--calm", "1", "--scenario", faults)
    assert not status, said


def test_the_same_seed_gives_the_same_life() -> None:
    first = _trace(11)
    assert first == _trace(11)
    assert first != _trace(12)
