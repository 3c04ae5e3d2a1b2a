"""A range of dates: the candles that open in it, and what of it is in the future."""

import pytest

from collector.core.candle import DAY_MS, MINUTE_MS, TIMEFRAMES
from collector.core.date_range import DateRange
from collector.core.rows import LATEST_MS
from collector.core.spans import Spans
from tests.support.candles import T0, spans

HOUR = TIMEFRAMES["60"]
MINUTE = TIMEFRAMES["1"]


def test_the_start_is_in_and_the_end_is_not() -> None:
    assert DateRange(T0, T0 + 3 * MINUTE_MS).candles(MINUTE) == spans(0, 3)


def test_a_candle_that_opens_before_the_range_is_not_in_it() -> None:
    assert DateRange(T0 + 1, T0 + 2 * HOUR.step_ms + 1).candles(HOUR) == spans(1, 3, HOUR)  # type: ignore[operator]


def test_without_an_end_every_later_candle_is_in_it() -> None:
    (only,) = DateRange(T0).candles(MINUTE)
    assert only.start_ms == T0
    assert only.end_ms >= LATEST_MS


@pytest.mark.parametrize(
    ("end_ms", "now_ms", "wanted"),
    [
        (None, T0, Spans()),
        (None, T0 + 3 * MINUTE_MS - 1, spans(0, 2)),
        (None, T0 + 3 * MINUTE_MS, spans(0, 3)),
        (T0 + 2 * MINUTE_MS, T0 + DAY_MS, spans(0, 2)),
        (T0 + DAY_MS, T0 + 2 * MINUTE_MS, spans(0, 2)),
    ],
)
def test_only_what_has_closed_is_wanted(end_ms: int | None, now_ms: int, wanted: Spans) -> None:
    assert DateRange(T0, end_ms).wanted(MINUTE, now_ms) == wanted


@pytest.mark.parametrize(
    ("dates", "problem"),
    [
        (DateRange(T0 - 1), None),
        (DateRange(T0), "--start: 2023-11-15 00:00:00 is in the future; it is 2023-11-15 00:00:00 UTC now"),
        (DateRange(T0 + DAY_MS), "--start: 2023-11-16 00:00:00 is in the future; it is 2023-11-15 00:00:00 UTC now"),
        (DateRange(T0 - DAY_MS, T0), None),
        (DateRange(T0 - DAY_MS, T0 + DAY_MS), None),  # to the end of the day that is running
        (
            DateRange(T0 - DAY_MS, T0 + DAY_MS + 1000),
            "--end: 2023-11-16 00:00:01 is in the future; it is 2023-11-15 00:00:00 UTC now, and without --end "
            "everything up to now is meant",
        ),
    ],
)
def test_what_is_in_the_future_is_named(dates: DateRange, problem: str | None) -> None:
    assert dates.problem(T0) == problem


def test_the_end_of_the_day_that_is_running_is_no_mistake_at_any_time_of_it() -> None:
    late_ms = T0 + DAY_MS - 1
    assert DateRange(T0, T0 + DAY_MS).problem(late_ms) is None
    assert DateRange(T0, T0 + DAY_MS + 1).problem(late_ms) is not None
