"""Pacing: the budget never bursts, back-off grows, and one odd time does not move the exchange's clock."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.pacing import (
    TIMER_SLACK_S,
    WINDOW_REQUESTS,
    WINDOW_S,
    Budget,
    ExchangeClock,
    Pace,
    backoff_s,
    patience_s,
    request_interval_s,
)

gaps = st.lists(st.floats(0, 0.5), min_size=2, max_size=300)


def starts(budget: Budget, arrivals: list[float]) -> list[float]:
    """When requests start that are ready so many seconds after one another."""
    now, begun = 0.0, []
    for gap in arrivals:
        now += gap
        start, budget = budget.reserve(now)
        begun.append(start)
        now = max(now, start) if gap else now
    return begun


@given(gaps, st.floats(0.001, 0.2))
def test_requests_never_start_closer_than_the_interval_less_the_timer_slack(arrivals: list[float], s: float) -> None:
    begun = starts(Budget(s), arrivals)
    assert all(after - before >= s - TIMER_SLACK_S - 1e-9 for before, after in pairwise(begun))


def test_what_a_late_timer_loses_is_made_up_for() -> None:
    budget, now = Budget(0.010), 100.0
    for _ in range(1000):
        start, budget = budget.reserve(now)
        now = start + 0.0015  # each wakes a millisecond and a half late
    assert abs((now - 100.0) - 10.0) < 0.05


def test_a_long_pause_is_not_made_up_for() -> None:
    budget = Budget(0.010).reserve(0.0)[1]
    begun = [0.0] * 100
    for turn in range(100):
        begun[turn], budget = budget.reserve(60.0)
    assert begun[-1] - begun[0] >= 99 * 0.010 - TIMER_SLACK_S - 1e-9


@given(st.floats(0, 50), st.integers(1, 500))
def test_the_exchanges_limit_holds_whatever_the_settings_say(delay_ms: float, in_flight: int) -> None:
    interval = request_interval_s(delay_ms, in_flight)
    begun = [turn * interval for turn in range(2 * WINDOW_REQUESTS)]
    within = sum(1 for start in begun if start < WINDOW_S)
    assert within + in_flight <= WINDOW_REQUESTS  # the in-flight ones may arrive bunched
    assert interval * 1000 >= delay_ms


@given(st.floats(0, 0.999))
def test_back_off_doubles_up_to_sixteen_seconds_with_jitter(jitter: float) -> None:
    for tries, about in enumerate([1, 2, 4, 8, 16, 16, 16], start=1):
        assert about * 0.75 <= backoff_s(tries, jitter) < about * 1.25


def test_the_exchanges_time_is_carried_on_by_our_own_clock() -> None:
    clock = ExchangeClock.first_told(1_000_000, now_s=10.0)
    assert clock.now_ms(10.0) == 1_000_000
    assert clock.now_ms(12.5) == 1_002_500


def test_a_reply_that_was_long_under_way_does_not_set_the_clock_back() -> None:
    clock = ExchangeClock.first_told(1_000_000, now_s=10.0).told(1_000_900, now_s=11.0)
    assert clock.now_ms(11.0) == 1_001_000
    assert clock.told(1_050_000, now_s=11.0).now_ms(11.0) == 1_050_000


def test_what_has_come_for_certain_is_the_newest_the_exchange_named() -> None:
    clock = ExchangeClock.first_told(1_000_000, now_s=10.0).told(1_000_900, now_s=11.0).told(999_000, now_s=12.0)
    assert clock.newest_ms == 1_000_900
    assert clock.now_ms(12.0) == 1_002_000


HOUR_MS = 3_600_000


def test_one_time_from_the_far_future_is_not_believed() -> None:
    clock = ExchangeClock.first_told(1_000_000, now_s=0.0).told(1_000_000 + 720 * HOUR_MS, now_s=1.0)
    assert not clock.believes
    assert clock.newest_ms == 1_000_000
    clock = clock.told(1_002_000, now_s=2.0)
    assert clock.believes
    assert clock.newest_ms == 1_002_000


def test_a_jump_that_is_told_twice_has_happened() -> None:
    clock = ExchangeClock.first_told(1_000_000, now_s=0.0)
    for second in (1.0, 2.0):
        clock = clock.told(1_000_000 + 8 * HOUR_MS + round(second * 1000), now_s=second)
    assert clock.believes
    assert clock.now_ms(3.0) == 1_000_000 + 8 * HOUR_MS + 3000


def test_stale_replies_change_nothing_until_nothing_else_comes() -> None:
    clock = ExchangeClock.first_told(100 * HOUR_MS, now_s=0.0)
    for _ in range(9):
        clock = clock.told(99 * HOUR_MS, now_s=1.0)
        assert clock.newest_ms == 100 * HOUR_MS
    assert clock.told(99 * HOUR_MS, now_s=1.0).newest_ms == 99 * HOUR_MS
    assert clock.told(100 * HOUR_MS, now_s=1.0).told(99 * HOUR_MS, now_s=1.0).newest_ms == 100 * HOUR_MS


@pytest.mark.parametrize("lead_ms", [2_000, 20_000, 20 * 60_000])
def test_a_clock_that_leads_a_little_follows_when_every_answer_says_so(lead_ms: int) -> None:
    clock = ExchangeClock.first_told(HOUR_MS, now_s=0.0).told(HOUR_MS + lead_ms, now_s=0.0)
    for second in range(10):
        clock = clock.told(HOUR_MS + second * 1000, now_s=second)
    assert clock.now_ms(9.0) == clock.newest_ms == HOUR_MS + 9_000


def paces(rate: float, answers: list[tuple[float, float]]) -> list[bool]:
    """Whether a clock counts as fast after each of the answers, that come so long after one another and were so long
    under way."""
    sent, clock, pace, judged = 0.0, ExchangeClock.first_told(0, 0.0), Pace(0, 0.0), []
    for gap, way in answers:
        sent += gap
        clock = clock.told(round(sent * rate * 1000), sent + way)
        pace = pace.told(clock.now_ms(sent + way), sent + way)
        judged.append(pace.fast)
    return judged


answer = st.tuples(st.floats(0, 100), st.floats(0, 20))
answers = st.lists(answer, max_size=50)


@given(st.lists(answer, max_size=9), st.floats(0, 1.001))  # ten late ones in a row are believed
def test_a_clock_that_does_not_run_fast_is_never_taken_for_one(waits: list[tuple[float, float]], rate: float) -> None:
    assert not any(paces(rate, waits))


@given(answers, st.floats(2, 15))
def test_a_clock_that_runs_fast_is_known_by_the_next_answer(waits: list[tuple[float, float]], rate: float) -> None:
    assert paces(rate, [*waits, (100, 0.1)])[-1]
    assert paces(rate, [(5, 0.1)] * 10) == [True] * 10


def test_a_clock_that_runs_fast_no_more_is_known_by_the_next_answer() -> None:
    pace = Pace(0, 0.0).told(100_000, 5.0)
    assert pace.fast
    assert not pace.told(105_000, 10.0).fast


def test_patience_grows_to_a_minute_and_has_no_end() -> None:
    assert [patience_s(times) for times in (1, 2, 3, 4, 5, 6, 1000, 10**6)] == [3, 6, 12, 24, 48, 60, 60, 60]
