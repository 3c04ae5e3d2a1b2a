"""Three collectors in a simulated world. `python -m tests.cluster --hours 200` has more of it."""

import pytest

from tests.cluster.lives import live_alone


def test_whatever_happens_files_and_table_are_the_exchanges_in_the_end() -> None:
    report = live_alone(5, 0.12, verifies=False)
    assert report.wrong == []
    assert report.deaths > 0
    assert report.rows > 10_000


@pytest.mark.slow
def test_the_same_seed_lives_the_same_life() -> None:
    one, two = (live_alone(3, 0.1, verifies=False) for _ in range(2))
    assert one.traces == two.traces
    assert one.wrong == two.wrong == []
