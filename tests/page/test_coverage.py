"""Runs: every candle is in the run of its state, whatever sets there are."""

from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import TIMEFRAMES, Series
from collector.core.missing import Gap, State
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import Span, Spans
from collector.page.coverage import STATES, RunCache, runs_of

MINUTE = 60_000
SETS = ["none", "wanted", "held", "unverified", "absent", "retrying", "before-listing"]


def record_of(candles: list[str]) -> SeriesCoverage:
    def spans(*names: str) -> Spans:
        return Spans.of(*(Span(at * MINUTE, (at + 1) * MINUTE) for at, name in enumerate(candles) if name in names))

    record = SeriesCoverage(TIMEFRAMES["1"], wanted=spans(*SETS[1:]), held=spans("held", "unverified"))
    record.mark_unverified(spans("unverified"))
    record.gaps = tuple(
        Gap(Span(at * MINUTE, (at + 1) * MINUTE), State(name), 1, 0, "why")
        for at, name in enumerate(candles)
        if name in SETS[4:]
    )
    return record


def painted(runs: list[int], length: int) -> list[str]:
    said = ["none"] * length
    for at in range(0, len(runs), 3):
        for candle in range(runs[at] // MINUTE, runs[at + 1] // MINUTE):
            assert said[candle] == "none"
            said[candle] = STATES[runs[at + 2]]
    return said


def expected(candles: list[str]) -> list[str]:
    return ["pending" if name == "wanted" else name for name in candles]


@given(st.lists(st.sampled_from(SETS), max_size=30))
def test_every_candle_is_in_the_run_of_its_state(candles: list[str]) -> None:
    runs = runs_of(record_of(candles), 0, 10**13)
    assert painted(runs, len(candles)) == expected(candles)
    assert all(runs[at + 1] != runs[at + 3] or runs[at + 2] != runs[at + 5] for at in range(0, len(runs) - 3, 3)), (
        "neighbours of one state are one run"
    )


@given(st.lists(st.sampled_from(SETS), min_size=1, max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_a_span_has_the_part_of_the_runs_within_it(candles: list[str], first: int, last: int) -> None:
    said = painted(runs_of(record_of(candles), first * MINUTE, last * MINUTE), len(candles))
    within = range(first, last)
    assert said == [name if at in within else "none" for at, name in enumerate(expected(candles))]


def test_kept_runs_follow_every_change() -> None:
    record, series, cache = record_of(["held", "wanted"]), Series("BTCUSDT", TIMEFRAMES["1"]), RunCache()
    before = cache.of(series, record)
    assert cache.of(series, record) is before
    record.confirm(Spans.between(MINUTE, 2 * MINUTE), Spans.between(0, 2 * MINUTE))
    assert bytes(cache.of(series, record)) == b'{"symbol":"BTCUSDT","runs":[0,60000,0,60000,120000,1]}'
