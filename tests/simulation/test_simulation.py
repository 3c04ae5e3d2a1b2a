"""Short lives under the virtual clock: every promise is kept, and the same seed gives the same life."""

import json

import pytest

from tests.simulation.test_runs import simulated


@pytest.mark.parametrize("part", ["1/4", "2/4", "3/4", "4/4"])
def test_five_hours_with_faults_of_every_kind(part: str) -> None:
    """Four of these are twenty hours, and have every kind among them; each takes one process."""
    status, said = simulated(
        "--deal", "--part", part, "--length", "0.65", "--calm", "1.02", "--processes", "1", "--json"
    )
    report = json.loads(said)
    assert not status, report["broken"]
    assert report["counted_hours"] >= 5, report["uncounted"]


def test_what_was_found_is_not_found_again() -> None:
    status, said = simulated("--seeds", "--length", "0.4", "--calm", "1.02", "--processes", "1", "--shrink", "0")
    assert not status, said


@pytest.mark.slow
@pytest.mark.parametrize("which", ["--each", "--seeds"])
def test_every_kind_alone_and_every_seed_that_found_something(which: str) -> None:
    status, said = simulated(which)
    assert not status, said


@pytest.mark.slow
def test_a_hundred_hours() -> None:
    status, said = simulated("--hours", "100", "--seed", "7")
    assert not status, said


def _traces(hash_seed: int) -> list[str]:
    """Those of two lives."""
    run = ["--seed", "11", "--runs", "2", "--length", "0.2", "--calm", "0.1", "--trace", "--processes", "1"]
    # A broken promise is for other tests to tell, and to shorten.
    _, said = simulated(*run, "--shrink", "0", PYTHONHASHSEED=str(hash_seed))
    assert "the run ended" not in said, said
    assert "hardly a row came" not in said
    return [line.partition(": trace ")[2] for line in said.splitlines() if ": trace " in line]


def test_the_same_seed_gives_the_same_life() -> None:
    """Also in a process in which sets of texts have another order."""
    first, other = _traces(1)
    assert _traces(2) == [first, other]
    assert first != other
