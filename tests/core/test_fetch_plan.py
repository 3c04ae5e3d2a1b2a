"""The plan of a fetch: numbers from spans."""

import pytest

from collector.core.candle import Series
from collector.core.fetch_plan import DiskRoom, FetchPlan, plan_series
from collector.core.request_windows import PAGE
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


ETH = Series.named("ETHUSDT_60")


def two_series(room: DiskRoom, interval_s: float = 0.02) -> FetchPlan:
    """A plan of many candles of one series, and of two far ones of another."""
    parts = (HOUR, hours(0, 3000)), (ETH, hours(100, 101) | hours(3001, 3002))
    plans = (plan_series(series, SeriesCoverage(series.timeframe), due, BEGIN, None) for series, due in parts)
    return FetchPlan(tuple(plans), 2, interval_s, 91.5, room, ("XUSDT",))


ROOMY = DiskRoom(10**9, 0, "/data")


def test_a_plan_is_told_in_words() -> None:
    plan = two_series(ROOMY, interval_s=1.3)
    assert plan.sentence == (
        "to fetch: 3,002 candles of 2 series, 7 requests, about 9 s, about 275 kB on disk; free: 1 GB on /data"
    )
    assert list(plan.lines()) == [
        ("series", "2 of 2 symbols"),
        ("span", "2023-11-14 22:00:00 to 2024-03-19 00:00:00 UTC"),
        ("candles", "3,002 to fetch; what is stored, or known to be absent, is left out"),
        ("requests", "7"),
        ("time", "about 9 s, 1 a second"),
        ("disk", "about 275 kB"),
        ("free", "1 GB on /data"),
    ]
    assert plan.summary() == {
        "series": "2 of 2 symbols",
        "candles": "3,002",
        "requests": "7",
        "time": "about 9 s",
        "disk": "about 275 kB",
        "free": "1 GB on /data",
    }


def test_a_plan_is_told_to_a_machine() -> None:
    assert two_series(DiskRoom(10**9, 10**8, "/data"), interval_s=0.03).record() == {
        "series": 2,
        "symbols": 2,
        "candles": 3002,
        "requests": 7,
        "seconds": 0.21,
        "requests_per_second": 33.3,
        "bytes": 274683,
        "free_bytes": 10**9,
        "reserve_bytes": 10**8,
        "file_system": "/data",
        "fits": True,
        "start_ms": BEGIN,
        "end_ms": BEGIN + 3002 * HOUR_MS,
        "unknown": ["XUSDT"],
        "plan": [
            {"symbol": "BTCUSDT", "timeframe": "60", "candles": 3000, "requests": 3, "bytes": 274500},
            {"symbol": "ETHUSDT", "timeframe": "60", "candles": 2, "requests": 2, "bytes": 183},
        ],
    }


def test_nothing_to_fetch_has_no_span() -> None:
    plan = FetchPlan((), 2, 0.02, 91.5, DiskRoom(None, 0, "/data"))
    assert (plan.record()["start_ms"], plan.record()["end_ms"], plan.record()["plan"]) == (None, None, [])
    assert plan.sentence == (
        "to fetch: 0 candles of 0 series, 2 requests, about 0 s, about 0 B on disk; free: unknown on /data"
    )
    assert "span" not in dict(plan.lines())
    assert plan.summary()["free"] == "unknown on /data"


@pytest.mark.parametrize(
    ("room", "free"),
    [
        (DiskRoom(10**5, 0, "/data"), "100 kB are free on /data"),
        (DiskRoom(10**5, 10**6, "/data"), "100 kB are free on /data, of which 1 MB stay free (low_disk_mb)"),
        (DiskRoom(0, 0, "/data"), "0 B are free on /data"),
    ],
)
def test_a_refusal_says_what_is_needed_and_what_there_is(room: DiskRoom, free: str) -> None:
    assert two_series(room).refusal == (
        f"the history does not fit on the disk: 3,002 candles need about 275 kB, and {free}; ask for less "
        "(--days or --start, --symbols, --timeframes), or name another place with --data-dir"
    )


@pytest.mark.parametrize(
    ("overhead", "interval_s", "is_long"),
    [(99, 0.01, False), (100, 0.01, True), (4, 1.0, False), (5, 1.0, True), (2, 2.5, True)],
)
def test_five_seconds_or_a_hundred_requests_are_long(overhead: int, interval_s: float, is_long: bool) -> None:
    assert FetchPlan((), overhead, interval_s, 91.5, ROOMY).is_long == is_long


def test_several_series_of_one_symbol_are_of_one() -> None:
    day = Series.named("BTCUSDT_D")
    plans = tuple(plan_series(each, SeriesCoverage(each.timeframe), NOTHING, BEGIN, None) for each in (HOUR, day, ETH))
    assert FetchPlan(plans, 0, 1.0, 91.5, ROOMY).summary()["series"] == "3 of 2 symbols"


def test_one_request_more_asks_for_the_listing_only_where_it_is_unknown() -> None:
    record = SeriesCoverage(HOUR.timeframe)
    record.want(hours(0, 10))
    record.set_listing_date(BEGIN, BEGIN + 2 * HOUR_MS, BEGIN)
    due = hours(2, 10)
    assert plan_series(HOUR, record, due, BEGIN + 10_000 * HOUR_MS, BEGIN + 2 * HOUR_MS).requests == 1


def test_the_span_of_a_series_goes_from_its_first_missing_candle_to_the_last() -> None:
    record = SeriesCoverage(HOUR.timeframe)
    record.want(hours(0, 30))
    record.hold(hours(0, 5))
    plan = plan_series(HOUR, record, hours(0, 10) | hours(20, 22), BEGIN + 10_000 * HOUR_MS, None)
    assert plan.span == hours(5, 22)
