"""The exchange's clock: told where to start, as fast as wanted."""

import math

import pytest

from collector.sandbox.clock import Clock, instant_ms


class Monotonic:
    ns = 5_000_000_000

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def real() -> Monotonic:
    return Monotonic()


def test_it_starts_where_it_is_told_and_runs_at_its_rate(real: Monotonic) -> None:
    clock = Clock(1_000_000, rate=20, monotonic_ns=real)
    assert clock.now_ms() == 1_000_000
    real.ns += 3_000_000_000
    assert clock.now_ms() == 1_060_000


def test_it_stands_still_at_rate_0_until_it_is_moved(real: Monotonic) -> None:
    clock = Clock(1_000_000, rate=0, monotonic_ns=real)
    real.ns += 10**12
    assert clock.now_ms() == 1_000_000
    clock.advance(60_000)
    assert clock.now_ms() == 1_060_000


def test_a_change_of_rate_does_not_move_it(real: Monotonic) -> None:
    clock = Clock(0, rate=10, monotonic_ns=real)
    real.ns += 10**9
    clock.rate = 1
    assert clock.now_ms() == 10_000
    real.ns += 10**9
    assert clock.now_ms() == 11_000


def test_it_says_how_long_to_wait_in_real_seconds(real: Monotonic) -> None:
    clock = Clock(0, rate=20, monotonic_ns=real)
    assert clock.seconds_until(60_000) == 3
    assert clock.seconds_until(-1) == 0
    clock.rate = 0
    assert clock.seconds_until(60_000) == math.inf


def test_it_never_runs_backwards(real: Monotonic) -> None:
    clock = Clock(0, monotonic_ns=real)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="cannot run"):
        clock.rate = -1


@pytest.mark.parametrize(
    "text", ["1714566600000", "2024-05-01T12:30", "2024-05-01 12:30:00", "2024-05-01T12:30Z", "2024-05-01T14:30+02:00"]
)
def test_an_instant_is_written_in_many_ways(text: str) -> None:
    assert instant_ms(text) == 1714566600000


def test_what_is_no_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="no instant"):
        instant_ms("tomorrow")
