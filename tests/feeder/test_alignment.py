"""Tables of several timeframes, held against what is worked out slowly, candle by candle."""

from datetime import UTC, datetime
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import MINUTE_MS, TIMEFRAMES, Timeframe
from collector.feeder.alignment import SHAPE, aligned, filled, resampled, with_times
from collector.feeder.columns import NAMES, parse_rows, to_dataframe
from tests.support.candles import T0, row

Candle = dict[str, float]

PAIRS = [
    ("1", "5"),
    ("5", "1"),
    ("60", "60"),
    ("60", "240"),
    ("240", "D"),
    ("D", "W"),
    ("D", "M"),
    ("W", "M"),
    ("M", "D"),
]
MADE_OF = [("1", "3"), ("1", "5"), ("30", "60"), ("720", "D"), ("D", "W"), ("720", "W"), ("D", "M"), ("720", "M")]


def candles(timeframe: Timeframe, places: set[int]) -> list[Candle]:
    """Candles counted from T0, with numbers that tell them apart."""
    return [
        dict(zip(NAMES, (timeframe.shift(T0, place), place + 50, place + 90, place + 1, place + 60, 2, 3), strict=True))
        for place in sorted(places)
    ]


def table(timeframe: Timeframe, every: list[Candle]) -> pl.LazyFrame:
    return with_times(timeframe, pl.DataFrame(every, schema=to_dataframe([]).schema))


def moment(ms: float | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


a_place = st.integers(0, 40)


@given(st.sampled_from(PAIRS), st.sets(a_place), st.sets(a_place))
def test_beside_each_candle_stands_the_last_one_that_had_closed_by_its_close(
    names: tuple[str, str], base_places: set[int], other_places: set[int]
) -> None:
    base_frame, other_frame = TIMEFRAMES[names[0]], TIMEFRAMES[names[1]]
    base, others = candles(base_frame, base_places), candles(other_frame, other_places)
    expected = []
    for candle in base:
        known: Candle = {}
        for other in others:
            if other_frame.close(int(other["timestamp"])) <= base_frame.close(int(candle["timestamp"])):
                known = other
        expected.append((candle["close"], moment(known.get("timestamp")), known.get("close")))
    found = aligned(table(base_frame, base).collect(), [(other_frame, table(other_frame, others))])
    assert found.select("close", f"open_time_{other_frame}", f"close_{other_frame}").rows() == expected


@given(st.sets(a_place), st.sets(a_place, min_size=1), st.integers(0, 40))
def test_what_comes_later_changes_nothing_in_an_earlier_row(base: set[int], other: set[int], now: int) -> None:
    minute, five = TIMEFRAMES["1"], TIMEFRAMES["5"]
    now_ms = T0 + now * MINUTE_MS

    def known(timeframe: Timeframe, places: set[int], *, all_of_them: bool) -> pl.LazyFrame:
        every = candles(timeframe, places)
        return table(
            timeframe, [each for each in every if all_of_them or timeframe.close(int(each["timestamp"])) <= now_ms]
        )

    then = aligned(known(minute, base, all_of_them=False).collect(), [(five, known(five, other, all_of_them=False))])
    later = aligned(known(minute, base, all_of_them=True).collect(), [(five, known(five, other, all_of_them=True))])
    assert then.equals(later.head(len(then)))


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_a_candle_closes_where_the_next_one_opens(name: str) -> None:
    frame = TIMEFRAMES[name]
    found = table(frame, candles(frame, set(range(30)))).collect()
    assert found.columns == list(SHAPE)
    assert found["close_time"].to_list() == [moment(frame.shift(T0, place + 1)) for place in range(30)]
    assert found["open_time"].to_list()[1:] == found["close_time"].to_list()[:-1]


@given(st.sampled_from(MADE_OF), st.sets(a_place))
def test_coarser_candles_are_made_of_finer_ones_and_say_which_are_incomplete(
    names: tuple[str, str], places: set[int]
) -> None:
    source, target = TIMEFRAMES[names[0]], TIMEFRAMES[names[1]]
    every = candles(source, places)
    buckets: dict[int, list[Candle]] = {}
    for candle in every:
        buckets.setdefault(target.floor(int(candle["timestamp"])), []).append(candle)
    expected = [
        (
            moment(opens),
            moment(target.close(opens)),
            inside[0]["open"],
            max(each["high"] for each in inside),
            min(each["low"] for each in inside),
            inside[-1]["close"],
            sum(each["volume"] for each in inside),
            sum(each["turnover"] for each in inside),
            len(inside) == source.count(opens, target.close(opens)),
        )
        for opens, inside in buckets.items()
    ]
    found = resampled(source, target, table(source, every))
    assert found.columns == [*SHAPE, "complete"]
    assert found.rows() == expected


@pytest.mark.parametrize(("source", "target"), [("5", "1"), ("60", "60"), ("W", "M"), ("M", "W"), ("3", "5")])
def test_candles_that_are_not_made_of_whole_ones_are_refused(source: str, target: str) -> None:
    with pytest.raises(ValueError, match="are not made of whole candles of timeframe"):
        resampled(TIMEFRAMES[source], TIMEFRAMES[target], table(TIMEFRAMES[source], []))


@given(st.sampled_from(["1", "60", "D", "W", "M"]), st.sets(a_place))
def test_filling_adds_a_flat_candle_for_each_missing_one_and_marks_it(name: str, places: set[int]) -> None:
    frame = TIMEFRAMES[name]
    every = table(frame, candles(frame, places)).collect()
    found = filled(frame, every)
    assert found.filter(~pl.col("filled")).drop("filled").equals(every)
    last = every.head(1)
    for before, after in pairwise(found.rows(named=True)):
        assert after["open_time"] == before["close_time"]
        if after["filled"]:
            assert {after[name] for name in ("open", "high", "low", "close")} == {before["close"]}
            assert (after["volume"], after["turnover"]) == (0, 0)
    assert found.head(1).drop("filled").equals(last)


def test_a_bucket_of_which_nothing_is_there_can_be_filled_and_is_not_complete() -> None:
    minute, five = TIMEFRAMES["1"], TIMEFRAMES["5"]
    made = resampled(minute, five, table(minute, candles(minute, {*range(5), *range(10, 14)})))
    assert filled(five, made).select("complete", "filled").rows() == [(True, False), (False, True), (False, False)]


def test_the_numbers_of_a_file_are_those_of_its_table() -> None:
    found = with_times(TIMEFRAMES["1"], next(parse_rows([row(3).text]))).collect()
    assert found.rows() == [
        (moment(T0 + 180_000), moment(T0 + 240_000), 37003.0, 37003.0, 37003.0, 37003.0, 1.5, 0.00000123)
    ]
