"""The number of files that may be open: raised to what the user may have, and never lowered."""

import resource

import pytest

from collector.machine import open_limit
from collector.machine.open_limit import most_open, raise_open_limit

NONE = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Limits of a process, in place of those of this one."""
    held = {"limits": (0, 0)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: held["limits"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: held.update(limits=limits))
    return held


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, 1_000_000), (65_536, 1_000_000)),
        ((1024, NONE), (65_536, NONE)),
        ((70_000, 1_000_000), (70_000, 1_000_000)),
        ((NONE, NONE), (NONE, NONE)),
    ],
)
def test_as_many_as_the_user_may_have(
    limits: dict[str, tuple[int, int]], before: tuple[int, int], after: tuple[int, int]
) -> None:
    limits["limits"] = before
    raise_open_limit()
    assert limits["limits"] == after


def test_a_system_that_refuses_leaves_it_as_it_is(
    limits: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    limits["limits"] = (256, NONE)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_open_limit()
    assert most_open() == 256


def test_no_limit_is_a_large_one(limits: dict[str, tuple[int, int]]) -> None:
    limits["limits"] = (NONE, NONE)
    assert most_open() == 65_536


def test_where_there_are_no_limits_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_limit, "resource", None)
    raise_open_limit()
    assert most_open() == 0
