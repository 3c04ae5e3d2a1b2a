"""The coverage index: what concerns many series, and who waits for what is in flight."""

from collector.core.candle import DAY_MS, MINUTE_MS
from collector.core.coverage import CoverageIndex
from collector.core.missing import State
from collector.core.spans import NOTHING
from tests.support.coverage import ETH, HOUR, MINUTE, NOW, SECOND, left_out, minutes, span, states, wanting


def test_an_expired_claim_is_due_at_once() -> None:
    coverage, late = wanting(0, 1), NOW + DAY_MS
    for _ in range(2):
        coverage.answer(MINUTE, span(0, 1), NOTHING, late)
    assert coverage.due(MINUTE, late) == NOTHING
    coverage.expire_claims([MINUTE])
    assert coverage.due(MINUTE, late) == minutes(0, 1)
    coverage.answer(MINUTE, span(0, 1), NOTHING, late + SECOND)
    assert states(coverage) == [(minutes(0, 1), State.ABSENT)]
    assert coverage.due(MINUTE, late + 2 * SECOND) == NOTHING


def test_the_last_landing_calls_whoever_waits() -> None:
    coverage, calls = wanting(0, 10), list[str]()
    coverage.ask(MINUTE, minutes(0, 10))
    coverage.when_idle(lambda: calls.append("idle"))
    coverage.answer(MINUTE, span(0, 5), minutes(0, 5), NOW)
    assert calls == []
    coverage.fail(MINUTE, span(5, 8), "x", NOW)
    coverage.cancel_fetch(MINUTE, minutes(8, 10))
    assert calls == ["idle"]
    assert coverage.candles_in_flight == 0
    coverage.when_idle(lambda: calls.append("still"))
    coverage.ask(MINUTE, minutes(20, 21))
    coverage.cancel_fetch(MINUTE, minutes(20, 21))
    assert calls == ["idle", "still"]  # each once


def test_what_was_taken_out_of_a_file_stays_wanted_however_little_else_is() -> None:
    coverage = wanting(0, 10)
    coverage.want_quarantined(MINUTE, minutes(-20, -10))
    assert coverage[MINUTE].wanted == minutes(-20, -10) | minutes(0, 10)
    coverage.want_nothing([MINUTE])
    assert coverage[MINUTE].wanted == minutes(-20, -10)


def test_a_file_that_is_left_alone_is_asked_for_no_more_and_says_why() -> None:
    coverage = wanting(0, 10)
    coverage.ask(MINUTE, minutes(0, 4))
    coverage.skip(MINUTE, "somebody else's")
    assert coverage.idle
    assert coverage.due(MINUTE, NOW) == NOTHING
    (gap,) = coverage.missing(MINUTE)
    assert (gap.why, gap.tries, gap.asked_ms) == ("somebody else's", 0, 0)


def test_what_newer_candles_have_taken_the_place_of_is_wanted_no_more() -> None:
    coverage = CoverageIndex()
    coverage.stop_wanting(MINUTE, NOW)
    coverage.want(MINUTE, minutes(0, 5) | minutes(10, 20))
    coverage.stop_wanting(MINUTE, NOW - MINUTE_MS)
    assert coverage[MINUTE].wanted == minutes(0, 5) | minutes(10, 20)
    coverage.stop_wanting(MINUTE, NOW + 3 * MINUTE_MS)
    assert coverage[MINUTE].wanted == minutes(3, 5) | minutes(10, 20)


def test_the_next_that_is_due_is_still_to_come() -> None:
    coverage = wanting(0, 10)
    assert coverage[MINUTE].gap_index.next_due_ms(NOW) is None
    left_out(coverage, 0, 1, NOW + DAY_MS)
    for _ in range(2):
        coverage.fail(MINUTE, span(1, 2), "HTTP 502", NOW + DAY_MS)
    coverage.fail(MINUTE, span(3, 4), "HTTP 502", NOW)  # due at once
    assert coverage[MINUTE].gap_index.next_due_ms(NOW + DAY_MS) == NOW + DAY_MS + 30 * SECOND


def test_only_what_trades_no_more_ends() -> None:
    coverage = wanting(0, 10)
    coverage.want(ETH, minutes(0, 10))
    for series in (MINUTE, ETH):
        coverage.answer(series, span(0, 10), minutes(0, 2) | minutes(3, 8), NOW + 2 * DAY_MS)
    coverage.delist(["BTCUSDT"])
    assert states(coverage)[-1] == (minutes(8, 10), State.DELISTED)
    assert states(coverage, ETH)[-1] == (minutes(8, 10), State.RETRYING)
    coverage.want(MINUTE, minutes(-5, 10))
    coverage.answer(MINUTE, span(-5, 0), NOTHING, NOW + 2 * DAY_MS)  # not behind the end
    assert states(coverage)[0] == (minutes(-5, 0), State.RETRYING)
    coverage.delist(["ETHUSDT"])
    coverage.relist(["BTCUSDT"])
    assert states(coverage)[-1] == (minutes(8, 10), State.PENDING)
    assert states(coverage)[1] == (minutes(2, 3), State.RETRYING)
    assert states(coverage, ETH)[-1] == (minutes(8, 10), State.DELISTED)
    coverage.answer(MINUTE, span(8, 10), NOTHING, NOW + 2 * DAY_MS)
    assert states(coverage)[-1] == (minutes(8, 10), State.RETRYING)


def test_a_new_start_tries_at_once_what_failed_or_was_left_out_before() -> None:
    coverage = wanting(0, 10)
    for _ in range(5):
        coverage.fail(MINUTE, span(0, 5), "HTTP 502", NOW)
    coverage[MINUTE].confirm(minutes(5, 6), held=minutes(5, 6))
    coverage.answer(MINUTE, span(5, 6), NOTHING, NOW)
    assert coverage.due(MINUTE, NOW) == minutes(6, 10)
    coverage.reset_attempts()
    assert coverage.due(MINUTE, NOW) == minutes(0, 10)


def test_what_was_asked_for_later_than_now_is_due_and_the_rest_is_not() -> None:
    coverage, later = wanting(0, 10), NOW + 9 * DAY_MS
    left_out(coverage, 0, 1, later)
    left_out(coverage, 2, 3, NOW + 2 * DAY_MS)
    now_ms = NOW + 2 * DAY_MS + SECOND
    coverage[MINUTE].drop_future_timestamps(now_ms)
    assert [gap.asked_ms for gap in coverage.missing(MINUTE) if gap.state is State.ABSENT] == [0, now_ms]
    coverage[MINUTE].drop_future_timestamps(now_ms - 1)
    assert [gap.asked_ms for gap in coverage.missing(MINUTE) if gap.state is State.ABSENT] == [0, 0]


def test_only_the_landing_of_all_series_calls_whoever_waits() -> None:
    coverage, calls = wanting(0, 10), list[str]()
    for series in (MINUTE, ETH):
        coverage.ask(series, minutes(0, 10))
    coverage.when_idle(lambda: calls.append("idle"))
    coverage.cancel_fetch(ETH, minutes(0, 10))
    assert calls == []
    coverage.cancel_fetch(MINUTE, minutes(0, 10))
    assert calls == ["idle"]


def test_a_copied_candle_behind_what_was_left_out_moves_the_end_of_a_delisted_series() -> None:
    coverage = wanting(0, 10)
    coverage.delist([MINUTE.symbol])
    coverage.answer(MINUTE, span(2, 10), NOTHING, NOW + 120 * MINUTE_MS)
    coverage.answer(MINUTE, span(2, 10), NOTHING, NOW + 120 * MINUTE_MS)
    assert [(gap.span, gap.state) for gap in coverage[MINUTE].gaps] == [(span(2, 10), State.DELISTED)]
    coverage[MINUTE].hold(minutes(0, 2) | minutes(8, 9))
    coverage.take_copied(MINUTE, minutes(8, 9), NOTHING)
    assert [(gap.span, gap.state) for gap in coverage[MINUTE].gaps] == [(span(9, 10), State.DELISTED)]


def test_a_copied_candle_ends_no_series_that_trades() -> None:
    coverage = wanting(0, 10)
    for _ in range(2):
        coverage.answer(MINUTE, span(2, 10), NOTHING, NOW + 120 * MINUTE_MS)
    coverage[MINUTE].hold(minutes(0, 2))
    coverage.take_copied(MINUTE, minutes(0, 2), NOTHING)
    assert states(coverage) == [(minutes(2, 10), State.ABSENT)]


def test_a_series_of_which_less_is_wanted_at_its_end_is_outdated() -> None:
    coverage = wanting(0, 10)
    for first, behind in [(0, 20), (5, 20), (5, 25)]:
        coverage.want(MINUTE, minutes(first, behind))
        assert not coverage.outdated
    coverage.want(MINUTE, minutes(5, 24))
    assert coverage.outdated == {MINUTE}
    coverage.outdated.clear()
    coverage.want_nothing([MINUTE, HOUR])
    assert coverage.outdated == {MINUTE}


def test_a_loss_has_the_last_three_minutes_verified_at_once() -> None:
    coverage = wanting(0, 10)
    for place in range(10):
        coverage[MINUTE].confirm(minutes(place, place + 1), held=minutes(0, place + 1))
    coverage.recheck_after_loss([MINUTE], NOW + 10 * MINUTE_MS)
    assert coverage.due(MINUTE, NOW + 10 * MINUTE_MS) == minutes(7, 10)
    coverage.recheck_all([MINUTE])
    assert coverage.due(MINUTE, NOW + 10 * MINUTE_MS) == minutes(0, 10)


def test_what_was_answered_and_what_of_it_before_the_last_pause_is_counted() -> None:
    coverage = wanting(0, 10)

    def counted() -> tuple[int, int, int, int]:
        counts = coverage.series_in_flight, coverage.candles_in_flight
        return *counts, coverage.candles_answered, coverage.answered_before

    assert counted() == (0, 0, 0, 0)
    coverage.ask(MINUTE, minutes(0, 4))
    coverage.answer(MINUTE, span(0, 3), minutes(0, 3), NOW)
    assert counted() == (1, 1, 3, 0)
    coverage.ask(ETH, minutes(0, 10))
    assert counted() == (2, 11, 3, 0)
    coverage.fail(ETH, span(0, 2), "HTTP 502", NOW)
    assert counted() == (2, 9, 5, 0)
    coverage.cancel_fetch(ETH, minutes(2, 10))
    assert counted() == (1, 1, 5, 0)
    coverage.cancel_fetch(MINUTE, minutes(3, 4))
    assert counted() == (0, 0, 5, 0)
    coverage.ask(MINUTE, minutes(4, 6))
    assert counted() == (1, 2, 5, 5)


def test_a_series_of_which_nothing_is_left_to_want_is_outdated() -> None:
    coverage = wanting(0, 10)
    coverage.stop_wanting(MINUTE, NOW + 9 * MINUTE_MS)
    assert not coverage.outdated
    coverage.stop_wanting(MINUTE, NOW + 10 * MINUTE_MS)
    assert coverage.outdated == {MINUTE}
    assert not coverage[MINUTE].wanted
