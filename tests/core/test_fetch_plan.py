"""The plan of a fetch: numbers from spans."""

import pytest

from collector.core.candle import Series
from collector.core.fetch_plan import DiskRoom, FetchPlan, plan_series
from collector.core.planning import PAGE
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import NOTHING, Spans

HOUR = Series.named("BTCUSDT_60")
HOUR_MS = 3_600_000
BEGIN = HOUR.timeframe.floor(1_700_000_000_000)


def hours(first: int, behind: int) -> Spans:
    return Spans.between(BEGIN + first * HOUR_MS, BEGIN + behind * HOUR_MS)


def planned(due: Spans, held: Spans = NOTHING, listed: int | None = None) -> tuple[int, int]:
    record = SeriesCoverage(HOUR.timeframe)
    record.want(due | held)
    record.hold(held)
    listed_ms = None if listed is None else BEGIN + listed * HOUR_MS
    plan = plan_series(HOUR, record, due, BEGIN + 10_000 * HOUR_MS, listed_ms)
    return plan.candles, plan.requests


@pytest.mark.parametrize(
    ("due", "held", "listed", "candles", "requests"),
    [
        (NOTHING, NOTHING, None, 0, 0),
        (hours(0, PAGE), NOTHING, None, PAGE, 1),
        (hours(0, PAGE + 1), NOTHING, None, PAGE + 1, 2),
        (hours(0, 10) | hours(20, 30), hours(10, 20), None, 20, 1),  # holes of one page share a request
        (hours(0, 10), hours(5, 15), None, 5, 1),  # what is held is read again
        (hours(0, 3000), NOTHING, 2500, 500, 2),  # the pages since the listing, and a question for it
        (hours(0, 10), NOTHING, 20, 0, 2),  # nothing before the listing
        (hours(10, 20), NOTHING, 0, 10, 1),
    ],
)
def test_a_series_is_planned_by_what_is_missing_of_it(
    due: Spans, held: Spans, listed: int | None, candles: int, requests: int
) -> None:
    assert planned(due, held, listed) == (candles, requests)


@pytest.mark.parametrize(
    ("free", "reserve", "fits"),
    [(None, 0, True), (1000, 0, True), (999, 0, False), (1500, 500, True), (1499, 500, False)],
)
def test_a_plan_fits_if_the_disk_keeps_its_reserve(free: int | None, reserve: int, fits: bool) -> None:
    record = SeriesCoverage(HOUR.timeframe)
    record.want(hours(0, 10))
    of_series = plan_series(HOUR, record, hours(0, 10), BEGIN, None)
    plan = FetchPlan((of_series,), 2, 0.01, 100.0, DiskRoom(free, reserve, "/"))
    assert (plan.bytes, plan.requests, round(plan.seconds, 6), plan.fits) == (1000, 3, 0.03, fits)
    assert FetchPlan((), 2, 0.01, 100.0, DiskRoom(0, reserve, "/")).fits
