"""Pacing: the budget never bursts, back-off grows, and one odd time does not move the exchange's clock."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.core.pacing import (
    TIMER_SLACK_S,
    Budget,
    ClockDrift,
    ExchangeClock,
    backoff_s,
    request_interval_s,
    retry_pause_s,
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
@example(delay_ms=0.0, in_flight=291)  # 308 intervals of 5 s / 308 are 5 s, less a rounding error
def test_the_exchanges_limit_holds_whatever_the_settings_say(delay_ms: float, in_flight: int) -> None:
    interval = request_interval_s(delay_ms, in_flight)
    begun = [turn * interval for turn in range(1200)]
    within = sum(1 for start in begun if start < 5 - 1e-9)
    assert within + in_flight < 600  # the in-flight ones may arrive bunched, and one by a late timer
    assert interval >= delay_ms / 1000


def test_requests_are_no_slower_than_the_delay_and_the_limit_ask_for() -> None:
    assert request_interval_s(250, 20) == 0.25
    assert request_interval_s(0, 20) == 5 / 579
    assert request_interval_s(0, 599) == request_interval_s(0, 10_000) == 5


def test_the_first_request_starts_at_once_and_the_second_after_the_interval() -> None:
    first_s, budget = Budget(0.010).reserve(0.0)
    assert (first_s, budget.reserve(0.0)[0]) == (0.0, 0.010)


@given(st.floats(0, 0.999))
def test_back_off_doubles_up_to_sixteen_seconds_with_jitter(jitter: float) -> None:
    for tries, about in enumerate([1, 2, 4, 8, 16, 16, 16], start=1):
        assert about * 0.75 <= backoff_s(tries, jitter) < about * 1.25
    assert backoff_s(1, jitter=0.9) == pytest.approx(1.2)


def test_the_exchanges_time_is_carried_on_by_our_own_clock() -> None:
    clock = ExchangeClock.first_observed(1_000_000, now_s=10.0)
    assert clock.now_ms(10.0) == 1_000_000
    assert clock.now_ms(12.5) == 1_002_500


def test_the_exchanges_time_never_runs_backwards_with_ours() -> None:
    assert ExchangeClock.first_observed(1_000_000, now_s=10.0).now_ms(5.0) == 1_000_000


def test_a_time_a_millisecond_ahead_is_the_time() -> None:
    assert ExchangeClock.first_observed(1_000_000, now_s=10.0).observe(1_000_001, now_s=10.0).now_ms(10.0) == 1_000_001


def test_a_late_reply_still_names_a_time_that_has_come() -> None:
    clock = ExchangeClock.first_observed(1_000_000, now_s=10.0).observe(1_090_000, now_s=110.0)
    assert clock.newest_ms == 1_090_000
    assert clock.now_ms(110.0) == 1_100_000


def test_a_reply_that_was_long_under_way_does_not_set_the_clock_back() -> None:
    clock = ExchangeClock.first_observed(1_000_000, now_s=10.0).observe(1_000_900, now_s=11.0)
    assert clock.now_ms(11.0) == 1_001_000
    assert clock.observe(1_050_000, now_s=11.0).now_ms(11.0) == 1_050_000


def test_what_has_come_for_certain_is_the_newest_the_exchange_named() -> None:
    clock = (
        ExchangeClock.first_observed(1_000_000, now_s=10.0).observe(1_000_900, now_s=11.0).observe(999_000, now_s=12.0)
    )
    assert clock.newest_ms == 1_000_900
    assert clock.now_ms(12.0) == 1_002_000


HOUR_MS = 3_600_000


def test_one_time_from_the_far_future_is_not_believed() -> None:
    clock = ExchangeClock.first_observed(1_000_000, now_s=0.0).observe(1_000_000 + 720 * HOUR_MS, now_s=1.0)
    assert not clock.believes
    assert clock.newest_ms == 1_000_000
    clock = clock.observe(1_002_000, now_s=2.0)
    assert clock.believes
    assert clock.newest_ms == 1_002_000


def test_a_jump_that_is_told_twice_has_happened() -> None:
    clock = ExchangeClock.first_observed(1_000_000, now_s=0.0)
    for second in (1.0, 2.0):
        clock = clock.observe(1_000_000 + 8 * HOUR_MS + round(second * 1000), now_s=second)
    assert clock.believes
    assert clock.now_ms(3.0) == 1_000_000 + 8 * HOUR_MS + 3000


def settled_clock(now_s: float = 100.0) -> ExchangeClock:
    """A clock that the exchange has named time and again, an hour at 100 s."""
    clock = ExchangeClock.first_observed(HOUR_MS, now_s)
    for _ in range(20):
        clock = clock.observe(HOUR_MS, now_s)
    return clock


def test_a_clock_that_was_right_for_long_takes_ten_wrong_times_over_half_a_minute_to_move() -> None:
    for seconds, times in ((30.0, 9), (29.0, 10), (29.0, 100)):
        clock = settled_clock()
        for number in range(times):
            now_s = 100.0 + seconds * number / (times - 1)
            clock = clock.observe(100 * HOUR_MS + round((now_s - 100) * 1000), now_s)
            assert not clock.believes
        assert clock.newest_ms == HOUR_MS
    clock = clock.observe(100 * HOUR_MS + 30_000, 130.0)
    assert clock.believes
    assert clock.now_ms(130.0) == 100 * HOUR_MS + 30_000


def test_one_right_time_between_begins_the_count_anew() -> None:
    clock = settled_clock()
    for second in range(200):
        right = second % 10 == 9
        clock = clock.observe((HOUR_MS if right else 100 * HOUR_MS) + second * 1000, 100.0 + second)
        assert clock.believes is right
    assert clock.now_ms(300.0) == HOUR_MS + 200_000


@pytest.mark.parametrize("told", [1, 2, 3, 9])
def test_a_clock_is_moved_by_more_answers_than_it_rests_on(told: int) -> None:
    clock = ExchangeClock.first_observed(HOUR_MS, 0.0)
    for _ in range(told - 1):
        clock = clock.observe(HOUR_MS, 0.0)
    for _ in range(max(2, told) - 1):
        clock = clock.observe(100 * HOUR_MS, 0.0)
        assert not clock.believes
    assert clock.observe(100 * HOUR_MS, 0.0).believes


def test_however_long_a_clock_was_right_ten_answers_over_half_a_minute_move_it() -> None:
    clock = ExchangeClock.first_observed(HOUR_MS, 0.0)
    for _ in range(50):
        clock = clock.observe(HOUR_MS, 0.0)
    for place in range(9):
        clock = clock.observe(100 * HOUR_MS, 4.0 * place)
        assert not clock.believes
    assert clock.observe(100 * HOUR_MS, 36.0).believes


def test_a_fast_clock_gets_far_ahead_by_itself() -> None:
    clock = settled_clock().observe(100 * HOUR_MS, 101.0, fast=True)
    assert not clock.believes
    assert clock.observe(100 * HOUR_MS, 101.0, fast=True).believes


def test_stale_replies_change_nothing_until_nothing_else_comes() -> None:
    clock = ExchangeClock.first_observed(100 * HOUR_MS, now_s=0.0)
    for _ in range(9):
        clock = clock.observe(99 * HOUR_MS, now_s=1.0)
        assert clock.newest_ms == 100 * HOUR_MS
    assert clock.observe(99 * HOUR_MS, now_s=1.0).newest_ms == 99 * HOUR_MS
    assert clock.observe(100 * HOUR_MS, now_s=1.0).observe(99 * HOUR_MS, now_s=1.0).newest_ms == 100 * HOUR_MS


def test_half_an_hour_ahead_is_believed_and_more_only_when_it_is_told_again() -> None:
    clock = ExchangeClock.first_observed(1_000_000, now_s=0.0)
    assert clock.observe(1_000_000 + 30 * 60_000, now_s=0.0).believes
    jump_ms = 1_000_000 + 30 * 60_000 + 1
    clock = clock.observe(jump_ms, now_s=0.0)
    assert not clock.believes
    assert clock.observe(jump_ms + 30 * 60_000, now_s=0.0).believes
    assert not clock.observe(jump_ms + 30 * 60_000 + 1, now_s=0.0).believes


@pytest.mark.parametrize("between_ms", [0, 2_000])
def test_a_jump_is_told_again_only_if_nothing_else_is_told_between(between_ms: int) -> None:
    clock = ExchangeClock.first_observed(HOUR_MS, now_s=0.0)
    for told_ms in (100 * HOUR_MS, HOUR_MS - between_ms, 100 * HOUR_MS):
        clock = clock.observe(told_ms, now_s=0.0)
    assert not clock.believes


@pytest.mark.parametrize(("late_ms", "follows"), [(1_500, False), (1_501, True)])
def test_what_is_told_a_second_and_a_half_late_is_on_time(late_ms: int, follows: bool) -> None:
    clock = ExchangeClock.first_observed(HOUR_MS, now_s=0.0)
    for _ in range(10):
        clock = clock.observe(HOUR_MS - late_ms, now_s=0.0)
    assert (clock.now_ms(0.0) < HOUR_MS) is follows


def test_ten_stale_replies_in_a_row_are_counted_from_the_last_good_one() -> None:
    clock = ExchangeClock.first_observed(100 * HOUR_MS, now_s=0.0)
    for told_ms in [99 * HOUR_MS] * 5 + [100 * HOUR_MS] + [99 * HOUR_MS] * 9:
        clock = clock.observe(told_ms, now_s=0.0)
        assert clock.newest_ms == 100 * HOUR_MS
    assert clock.observe(99 * HOUR_MS, now_s=0.0).newest_ms == 99 * HOUR_MS


@pytest.mark.parametrize(("others", "answers"), [(1, 9), (8, 2), (9, 1), (1000, 1)])
def test_others_who_contradict_the_clock_save_answers_that_do(others: int, answers: int) -> None:
    clock = ExchangeClock.first_observed(100 * HOUR_MS, now_s=0.0)
    for _ in range(others):
        clock = clock.contradicted()
    for _ in range(answers):
        assert clock.newest_ms == 100 * HOUR_MS
        clock = clock.observe(99 * HOUR_MS, now_s=0.0)
    assert clock.newest_ms == 99 * HOUR_MS


@pytest.mark.parametrize("lead_ms", [2_000, 20_000, 20 * 60_000])
def test_a_clock_that_leads_a_little_follows_when_every_answer_says_so(lead_ms: int) -> None:
    clock = ExchangeClock.first_observed(HOUR_MS, now_s=0.0).observe(HOUR_MS + lead_ms, now_s=0.0)
    for second in range(10):
        clock = clock.observe(HOUR_MS + second * 1000, now_s=second)
    assert clock.now_ms(9.0) == clock.newest_ms == HOUR_MS + 9_000


def paces(rate: float, answers: list[tuple[float, float]]) -> list[bool]:
    """Whether a clock counts as fast after each of the answers, that come so long after one another and were so long
    under way."""
    sent, clock, pace, judged = 0.0, ExchangeClock.first_observed(0, 0.0), ClockDrift(0, 0.0), []
    for gap, way in answers:
        sent += gap
        clock = clock.observe(round(sent * rate * 1000), sent + way)
        pace = pace.observe(clock.now_ms(sent + way), sent + way)
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
    pace = ClockDrift(0, 0.0).observe(100_000, 5.0)
    assert pace.fast
    assert not pace.observe(105_000, 10.0).fast


@pytest.mark.parametrize(
    ("exchange_ms", "now_s", "fast"),
    [
        (1_000, 0.0, False),  # a second that the answer was under way
        (1_600, 0.1, True),
        (150_000, 100.0, False),  # half as fast again
        (150_100, 100.0, True),
    ],
)
def test_a_clock_is_fast_if_it_leads_by_more_than_a_second_and_half_the_time(
    exchange_ms: int, now_s: float, fast: bool
) -> None:
    assert ClockDrift(0, 0.0).observe(exchange_ms, now_s).fast is fast


@pytest.mark.parametrize(("after_s", "fast"), [(3.9, False), (4.0, True)])
def test_a_clock_is_judged_anew_from_an_answer_after_four_seconds_on(after_s: float, fast: bool) -> None:
    pace = ClockDrift(0, 0.0).observe(round(after_s * 1000), after_s)
    assert pace.observe(round(after_s * 1000) + 1_700, after_s + 0.5).fast is fast


def test_patience_grows_to_a_minute_and_has_no_end() -> None:
    assert [retry_pause_s(times) for times in (1, 2, 3, 4, 5, 6, 1000, 10**6)] == [3, 6, 12, 24, 48, 60, 60, 60]
