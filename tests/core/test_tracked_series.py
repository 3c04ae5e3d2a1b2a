"""The tracked series: each once, in the order in which they were added."""

from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import TIMEFRAMES, Series
from collector.core.tracked_series import TrackedSeries

series = st.builds(Series, st.sampled_from("ABC"), st.sampled_from([*TIMEFRAMES.values()]))


@given(st.lists(st.lists(series, max_size=6), max_size=6), series)
def test_every_series_is_tracked_once_in_the_order_of_its_adding(batches: list[list[Series]], other: Series) -> None:
    tracked = TrackedSeries()
    for batch in batches:
        tracked.add(batch)
    added = [each for batch in batches for each in batch]
    assert list(tracked) == sorted(set(added), key=added.index)
    assert len(tracked) == len(set(added))
    assert (other in tracked) == (other in added)


def test_it_can_be_walked_over_again_after_an_addition() -> None:
    first, second = Series("A", TIMEFRAMES["1"]), Series("B", TIMEFRAMES["1"])
    tracked = TrackedSeries()
    tracked.add([first])
    assert list(tracked) == list(tracked) == [first]
    tracked.add(iter([second, first]))
    assert list(tracked) == [first, second]
