"""The survey: how late every series is and how much is missing, whether it is walked at once or in pieces."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import MINUTE_MS, Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.missing import Gap, State
from collector.core.spans import NOTHING, Span, Spans
from collector.monitoring.lag import LagScan, LagSummary, Late, MissingCount
from tests.support.candles import BTC, T0, span, spans

NOW = T0 + 100 * MINUTE_MS + 3_000  # 3 s after the close of candle 99
STALE_AFTER_MS = 5 * MINUTE_MS
ETH = Series("ETHUSDT", timeframe("1"))
BTC_5 = Series("BTCUSDT", timeframe("5"))


ALL = spans(0, 100)


def coverage(held: Spans, wanted: Spans = ALL, in_flight: Spans = NOTHING, *gaps: Gap) -> CoverageIndex:
    """What is known of one series."""
    coverage = CoverageIndex()
    record = coverage[BTC]
    record.wanted, record.held, record.in_flight, record.gaps = wanted, held, in_flight, gaps
    return coverage


def scan(coverage: CoverageIndex, *every_series: Series, now_ms: int = NOW, began_ms: int = T0) -> LagSummary:
    scanner = LagScan(coverage, now_ms, began_ms, STALE_AFTER_MS)
    scanner.add(every_series or (BTC,))
    return scanner.summary()


def update_gaps(state: State, first: int, behind: int) -> Gap:
    return Gap(span(first, behind), state, 4, T0, "why")


def test_a_series_that_holds_every_closed_candle_is_not_late() -> None:
    assert scan(coverage(held=spans(0, 100))).late == {"1": Late()}


def test_the_lag_is_how_long_the_next_candle_has_been_due() -> None:
    assert scan(coverage(held=spans(0, 99))).late["1"].overdue_ms == 3_000
    assert scan(coverage(held=spans(0, 90))).late["1"].overdue_ms == 9 * MINUTE_MS + 3_000


def test_a_series_without_a_candle_is_late_by_all_that_is_wanted() -> None:
    assert scan(coverage(held=NOTHING)).late["1"].overdue_ms == 99 * MINUTE_MS + 3_000


def test_a_hole_further_back_makes_nothing_late_and_is_missing() -> None:
    summary = scan(coverage(held=spans(0, 40) | spans(50, 100)))
    assert summary.late["1"] == Late()
    assert summary.missing[State.PENDING] == MissingCount(1, 10)


@pytest.mark.parametrize("state", [State.ABSENT, State.BEFORE_LISTING, State.DELISTED])
def test_a_candle_that_will_not_come_is_waited_for_by_nobody(state: State) -> None:
    summary = scan(coverage(spans(0, 90), spans(0, 100), NOTHING, update_gaps(state, 90, 99)))
    assert summary.late["1"].overdue_ms == 3_000
    assert summary.missing[state] == MissingCount(1, 9)


@pytest.mark.parametrize("history", [True, False])
def test_a_delisted_series_is_not_late_once_its_end_is_known(history: bool) -> None:
    """What it is asked for and does not come is delisted; nothing is wanted after that."""
    coverage = CoverageIndex()
    if history:
        coverage.want(BTC, spans(0, 90))
    coverage[BTC].hold(spans(0, 80))
    coverage.delist(["BTCUSDT"])
    if history:
        assert scan(coverage).late["1"].overdue_ms > 0
        coverage.answer(BTC, span(80, 90), NOTHING, NOW)
        coverage.want(BTC, spans(0, 100))
    assert scan(coverage, now_ms=NOW + 10**9).late["1"] == Late()
    coverage.relist(["BTCUSDT"])
    assert scan(coverage).late["1"].overdue_ms > 0


@pytest.mark.parametrize("state", [State.PENDING, State.RETRYING])
def test_a_candle_that_may_still_come_is_late(state: State) -> None:
    summary = scan(coverage(spans(0, 90), spans(0, 100), NOTHING, update_gaps(state, 90, 100)))
    assert summary.late["1"].overdue_ms == 9 * MINUTE_MS + 3_000


def test_what_is_on_its_way_is_told_from_what_nobody_asks_for() -> None:
    late = Late(9 * MINUTE_MS + 3_000, "BTCUSDT_1", 1)
    asked = scan(coverage(held=spans(0, 90), in_flight=spans(90, 100)))
    assert (asked.asked, asked.unasked) == (late, Late())
    unasked = scan(coverage(held=spans(0, 90), in_flight=spans(10, 20)))
    assert (unasked.asked, unasked.unasked) == (Late(), late)


def test_without_a_history_only_what_closed_since_the_start_can_be_late() -> None:
    nothing_wanted = coverage(held=spans(0, 10), wanted=NOTHING)
    assert scan(nothing_wanted, began_ms=NOW - 30_000).late["1"] == Late()
    assert scan(nothing_wanted, began_ms=NOW - 120_000).late["1"].overdue_ms == 3_000
    assert scan(coverage(held=NOTHING, wanted=NOTHING)).late["1"] == Late()


def test_every_timeframe_names_its_slowest_series() -> None:
    of_two = coverage(held=spans(0, 98))
    of_two[ETH].wanted, of_two[ETH].held = spans(0, 100), spans(0, 90)
    of_two[BTC_5].wanted = of_two[BTC_5].held = spans(0, 20, BTC_5.timeframe)
    summary = scan(of_two, BTC, BTC_5, ETH)
    assert summary.series == {"1": 2, "5": 1}
    assert (summary.late["1"].slowest, summary.late["1"].stale) == ("ETHUSDT_1", 1)
    assert summary.late["5"] == Late()


places = st.integers(0, 99)
some = st.lists(st.tuples(places, st.integers(1, 30)), max_size=4).map(
    lambda pairs: Spans.of(*(Span(T0 + first * MINUTE_MS, T0 + (first + count) * MINUTE_MS) for first, count in pairs))
)


@given(st.lists(st.tuples(some, some), min_size=1, max_size=12), st.integers(1, 12))
def test_a_walk_in_pieces_finds_what_a_walk_at_once_finds_and_changes_nothing(
    every: list[tuple[Spans, Spans]], step: int
) -> None:
    whole = CoverageIndex()
    for number, (held, in_flight) in enumerate(every):
        record = whole[Series(f"A{number}USDT", BTC.timeframe)]
        record.wanted, record.held, record.in_flight = spans(0, 100), held, in_flight
    every_series, before = list(whole.records), {series: attrs.evolve(record) for series, record in whole}
    scanner = LagScan(whole, NOW, T0, STALE_AFTER_MS)
    for at in range(0, len(every_series), step):
        scanner.add(every_series[at : at + step])
    assert scanner.summary() == scan(whole, *every_series)
    assert whole.records == before
    assert scanner.summary().late["1"].overdue_ms == (scanner.summary().asked | scanner.summary().unasked).overdue_ms
