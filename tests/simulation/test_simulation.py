"""A short life under the virtual clock: it keeps every promise, and the same seed gives the same life."""

import os
import re
import signal
import subprocess
import sys

_COMMAND = [sys.executable, "-m", "tests.simulation"]


def _simulated(*arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [*_COMMAND, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
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


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    status, said = _simulated("--scenario", "kill,murder")
    assert status == 2
    assert "no 'murder'" in said
    assert "power cut" in said


def test_an_interrupted_command_says_what_it_has_seen() -> None:
    process = subprocess.Popen(
        [*_COMMAND, "--hours", "1000", "--processes", "1", "--length", "0.1", "--calm", "0.1", "--trace"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert "seed 1" in process.stdout.readline()  # one run has ended, and another is under way
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.search(r"^0 simulated hours", said, re.MULTILINE)
