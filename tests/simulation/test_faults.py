"""Faults of the exchange that several strikes want at once."""

from tests.simulation.faults.together import combined


def test_a_candle_that_is_shown_as_it_was_is_so_for_no_longer_than_it_may_change() -> None:
    unfinal = {"rest_lag_ms": 1900, "lag_unfinal": True}
    assert combined([{"rest_lag_ms": 600_000}, unfinal]) == unfinal
    late = {"rest_lag_ms": 600_000, "lag_unfinal": False}
    assert combined([{"rest_lag_ms": 8000, "lag_unfinal": False}, late]) == late


def test_shares_of_one_group_are_never_more_than_all() -> None:
    both = combined([{"cut": 1.0}, {"cut": 0.5, "mute": 0.5}])
    assert sum(both.values()) == 1
