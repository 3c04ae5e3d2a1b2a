"""The coverage of one series: the states of a candle, and what is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import DAY_MS, MINUTE_MS
from collector.core.coverage import CoverageIndex
from collector.core.missing import Gap, InvalidRow, State, known_invalid, neighbours_joined, settled
from collector.core.series_coverage import fillable, requests_for
from collector.core.spans import NOTHING, Span, Spans
from tests.support.coverage import ETH, HOUR, MINUTE, NOW, SECOND, left_out, minutes, span, states, wanting


def test_what_was_never_asked_for_is_pending() -> None:
    assert states(wanting(0, 10)) == [(minutes(0, 10), State.PENDING)]


def test_what_is_in_flight_is_not_asked_for_again() -> None:
    coverage = wanting(0, 10)
    coverage.ask(MINUTE, minutes(0, 4))
    assert coverage.due(MINUTE, NOW) == minutes(4, 10)
    assert coverage.candles_in_flight == 4
    assert not coverage.idle


def test_what_was_answered_is_held() -> None:
    coverage = wanting(0, 10)
    coverage.ask(MINUTE, minutes(0, 10))
    coverage.answer(MINUTE, span(0, 10), minutes(0, 10), NOW)
    assert coverage.idle
    assert coverage.due(MINUTE, NOW) == NOTHING
    assert coverage.missing(MINUTE) == ()


def test_what_an_answer_leaves_out_is_asked_for_again_over_minutes_and_then_absent() -> None:
    coverage, at = wanting(0, 10), NOW
    asked = []
    while coverage.missing(MINUTE)[0].state is not State.ABSENT:
        assert coverage.due(MINUTE, at)
        asked.append(at)
        coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), at)
        assert coverage.due(MINUTE, at) == NOTHING
        at = coverage[MINUTE].gap_index.next_due_ms(at) or at
    assert states(coverage) == [(minutes(4, 5), State.ABSENT)]
    assert len(asked) >= 3
    assert asked[-1] - asked[0] >= 2 * MINUTE_MS
    assert at - asked[-1] == DAY_MS


def test_an_old_hole_is_absent_at_the_second_answer() -> None:
    coverage, late = wanting(0, 10), NOW + 70 * MINUTE_MS
    coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), late)
    assert states(coverage) == [(minutes(4, 5), State.RETRYING)]
    assert coverage.due(MINUTE, late) == minutes(4, 5)
    coverage.answer(MINUTE, span(4, 5), NOTHING, late + SECOND)
    assert states(coverage) == [(minutes(4, 5), State.ABSENT)]
    assert coverage.due(MINUTE, late + DAY_MS) == NOTHING
    assert coverage.due(MINUTE, late + SECOND + DAY_MS) == minutes(4, 5)


def test_a_hole_across_the_last_hour_is_settled_in_two_parts() -> None:
    coverage, late = wanting(0, 10), NOW + 65 * MINUTE_MS
    coverage.answer(MINUTE, span(0, 10), NOTHING, late)
    coverage.answer(MINUTE, span(0, 10), NOTHING, late + 15 * SECOND)
    assert states(coverage) == [(minutes(0, 5), State.ABSENT), (minutes(5, 10), State.RETRYING)]


def test_a_request_for_neighbours_leaves_out_what_is_not_due() -> None:
    coverage, later = wanting(0, 9), NOW + 20 * MINUTE_MS
    coverage.answer(MINUTE, span(0, 9), minutes(0, 9) - minutes(4, 5), later)
    coverage[MINUTE].mark_unverified(minutes(3, 4) | minutes(5, 6))
    coverage[MINUTE].recheck(NOW)
    due = coverage.due(MINUTE, later)
    assert requests_for(coverage[MINUTE], due, later) == minutes(3, 4) | minutes(5, 6)
    due = coverage.due(MINUTE, later + 15 * SECOND)
    assert requests_for(coverage[MINUTE], due, later + 15 * SECOND) == minutes(3, 6)


def test_an_answer_before_an_absent_candle_is_due_is_no_news() -> None:
    coverage, at = wanting(0, 1), NOW + DAY_MS
    for _ in range(9):
        coverage.answer(MINUTE, span(0, 1), NOTHING, at)
        at += MINUTE_MS
    (gap,) = coverage.missing(MINUTE)
    assert (gap.tries, gap.due_ms) == (2, NOW + 2 * DAY_MS + MINUTE_MS)


def test_holes_and_failures_in_turn_are_not_asked_for_without_end() -> None:
    coverage, at = wanting(0, 1), NOW + DAY_MS
    for turn in range(20):
        if not coverage.due(MINUTE, at):
            break
        if turn % 2:
            coverage.fail(MINUTE, span(0, 1), "HTTP 502", at)
        else:
            coverage.answer(MINUTE, span(0, 1), NOTHING, at)
    assert turn < 5


def test_absent_candles_that_come_up_one_by_one_share_notes() -> None:
    coverage = wanting(0, 180)
    for minute in range(180):
        for seconds in (0, 15, 60, 180):
            coverage.answer(MINUTE, span(minute, minute + 1), NOTHING, NOW + (60 * (minute + 1) + seconds) * SECOND)
    assert len(coverage[MINUTE].gaps) <= 3
    (gap,) = neighbours_joined(coverage.missing(MINUTE))
    assert (gap.span, gap.state) == (span(0, 180), State.ABSENT)


def test_absent_candles_are_asked_for_ever_more_rarely() -> None:
    coverage, at, waits = wanting(0, 1), NOW, []
    for _ in range(9):
        coverage.answer(MINUTE, span(0, 1), NOTHING, at)
        due = coverage[MINUTE].gap_index.next_due_ms(at)
        assert due
        waits.append(due - at)
        at = due
    assert waits == sorted(waits)
    assert waits[-1] == 32 * DAY_MS


def test_an_absent_candle_is_not_forgotten_while_the_rows_around_it_are_there() -> None:
    coverage, at = wanting(0, 10), NOW
    for _ in range(4):
        coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), at)
        at += 200 * SECOND
    assert states(coverage) == [(minutes(4, 5), State.ABSENT)]
    coverage.want(MINUTE, minutes(7, 20))
    assert states(coverage) == [(minutes(4, 5), State.ABSENT), (minutes(10, 20), State.PENDING)]
    assert coverage.due(MINUTE, NOW + 100 * DAY_MS) == minutes(10, 20)
    coverage[MINUTE].hold(minutes(8, 10))  # the rows around it are gone
    coverage.want(MINUTE, minutes(7, 20))
    assert State.ABSENT not in {state for _, state in states(coverage)}


def test_an_invalid_candle_is_not_forgotten_while_the_rows_around_it_are_there() -> None:
    coverage = wanting(0, 10)
    invalid = InvalidRow(span(4, 5), "low 0 is not positive")
    coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), NOW, [invalid])
    coverage.want(MINUTE, minutes(7, 20))
    assert states(coverage) == [(minutes(4, 5), State.INVALID), (minutes(10, 20), State.PENDING)]
    coverage[MINUTE].hold(minutes(8, 10))  # the rows around it are gone
    coverage.want(MINUTE, minutes(7, 20))
    assert State.INVALID not in {state for _, state in states(coverage)}


def test_what_is_lacking_and_wanted_no_longer_stays_on_record_when_it_was_asked_for() -> None:
    coverage, lacking = wanting(0, 10), [InvalidRow(span(4, 5), "low 0 is not positive")]
    coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), NOW, lacking)
    coverage.want(MINUTE, minutes(7, 10))  # while it is asked for once more
    for invalid in (lacking, []):
        coverage.answer(MINUTE, span(3, 6), minutes(3, 4) | minutes(5, 6), NOW + DAY_MS, invalid)
        assert states(coverage) == [(minutes(4, 5), State.INVALID)]
    coverage.fail(MINUTE, span(4, 5), "HTTP 502", NOW + DAY_MS)
    assert states(coverage) == [(minutes(4, 5), State.INVALID)]
    coverage.answer(MINUTE, span(3, 6), minutes(3, 6), NOW + 2 * DAY_MS)
    assert states(coverage) == []


def test_what_an_answer_leaves_out_inside_the_file_and_is_wanted_no_more_is_a_claim_at_once() -> None:
    coverage, at = wanting(0, 10), NOW + 120 * MINUTE_MS
    coverage.want(MINUTE, minutes(7, 10))  # while all ten are on their way
    invalid = InvalidRow(span(2, 3), "low 0 is not positive")
    coverage.answer(MINUTE, span(0, 10), minutes(1, 2) | minutes(3, 5) | minutes(6, 10), at, [invalid])
    assert states(coverage) == [(minutes(2, 3), State.INVALID), (minutes(5, 6), State.ABSENT)]
    assert [gap.tries for gap in coverage[MINUTE].gaps] == [1, 1]
    coverage.want(MINUTE, minutes(8, 10))
    assert states(coverage) == [(minutes(2, 3), State.INVALID), (minutes(5, 6), State.ABSENT)]


@pytest.mark.parametrize("known", [(), (InvalidRow(span(4, 5), "low 0 is not positive"),)])
def test_what_was_left_out_once_and_is_wanted_no_more_explains_a_hole_of_the_file(
    known: tuple[InvalidRow, ...],
) -> None:
    coverage, at = wanting(0, 10), NOW + 120 * MINUTE_MS
    coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), at, known)
    if known:
        coverage.answer(MINUTE, span(4, 5), NOTHING, at + DAY_MS)
    assert states(coverage) == [(minutes(4, 5), State.RETRYING)]
    coverage.want(MINUTE, minutes(4, 10))
    assert states(coverage) == [(minutes(4, 5), State.RETRYING)]
    coverage.want(MINUTE, minutes(5, 10))
    assert states(coverage) == [(minutes(4, 5), State.ABSENT)]
    coverage[MINUTE].hold(minutes(5, 10))  # the rows before it are gone
    coverage.want(MINUTE, minutes(6, 10))
    assert states(coverage) == []


def test_what_rest_may_yet_come_to_have_is_forgotten_when_it_is_wanted_no_more() -> None:
    coverage = wanting(0, 10)
    coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), NOW)
    coverage.want(MINUTE, minutes(5, 10))
    assert states(coverage) == []


def test_to_want_more_before_a_file_is_read_forgets_nothing_that_is_on_record() -> None:
    coverage, at = wanting(0, 10), NOW + 120 * MINUTE_MS
    coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), at, [InvalidRow(span(4, 5), "low 0")])
    coverage.want(MINUTE, minutes(7, 10))
    coverage[MINUTE].held = NOTHING  # as at a start
    coverage.want_also(MINUTE, minutes(3, 4) | minutes(10, 12))
    assert coverage[MINUTE].wanted == minutes(3, 4) | minutes(7, 12)
    assert [(gap.span, gap.state) for gap in coverage[MINUTE].gaps] == [(span(4, 5), State.INVALID)]


def test_of_an_ended_series_nothing_behind_its_end_is_wanted_beside_others() -> None:
    coverage = wanting(0, 10)
    coverage.answer(MINUTE, span(0, 10), minutes(2, 8), NOW + 120 * MINUTE_MS)
    coverage.delist([MINUTE.symbol])
    coverage.want_also(MINUTE, minutes(-5, 20))
    assert coverage[MINUTE].wanted == minutes(-5, 10)


def test_what_rest_may_yet_come_to_have_is_no_claim_where_it_is_not_wanted() -> None:
    coverage = wanting(0, 10)
    coverage.want(MINUTE, minutes(0, 5))  # a clock that went back
    coverage.answer(MINUTE, span(0, 10), minutes(0, 7) | minutes(8, 10), NOW)
    assert states(coverage) == []


def test_a_claim_outlives_a_request_that_fails_while_the_candle_is_wanted_no_more() -> None:
    coverage, lacking = wanting(0, 10), [InvalidRow(span(4, 5), "low 0 is not positive")]
    coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), NOW, lacking)
    coverage.fail(MINUTE, span(4, 5), "HTTP 502", NOW + DAY_MS)
    assert states(coverage) == [(minutes(4, 5), State.PENDING)]
    coverage.want(MINUTE, minutes(7, 10))
    assert states(coverage) == [(minutes(4, 5), State.INVALID)]


def test_an_absent_candle_that_comes_after_all_is_held_and_forgotten() -> None:
    coverage = wanting(0, 10)
    coverage.answer(MINUTE, span(0, 10), minutes(1, 10), NOW)
    coverage.answer(MINUTE, span(0, 1), minutes(0, 1), NOW + DAY_MS)
    assert coverage.missing(MINUTE) == ()


def test_a_failed_request_is_due_again_at_once_and_then_later() -> None:
    coverage = wanting(0, 10)
    coverage.fail(MINUTE, span(0, 10), "HTTP 502", NOW)
    assert coverage.missing(MINUTE)[0].why == "HTTP 502"
    assert coverage.due(MINUTE, NOW) == minutes(0, 10)
    coverage.fail(MINUTE, span(0, 10), "HTTP 502", NOW)
    assert coverage.due(MINUTE, NOW) == NOTHING
    assert coverage.due(MINUTE, NOW + MINUTE_MS) == minutes(0, 10)


parts = st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda part: span(part[0], part[0] + part[1]))


steps = st.lists(st.tuples(st.sampled_from(["answer", "leave out", "fail"]), parts), max_size=12)


@given(steps)
def test_every_wanted_candle_is_held_or_on_record_exactly_once(happened: list[tuple[str, Span]]) -> None:
    coverage, at = wanting(0, 60), NOW
    for kind, part in happened:
        at += SECOND
        if kind == "fail":
            coverage.fail(MINUTE, part, "HTTP 502", at)
        else:
            coverage.answer(MINUTE, part, Spans((part,)) if kind == "answer" else NOTHING, at)
    gaps = coverage.missing(MINUTE)
    assert Spans.of(*(gap.span for gap in gaps)) | (coverage[MINUTE].held & coverage[MINUTE].wanted) == minutes(0, 60)
    assert sum(gap.span.end_ms - gap.span.start_ms for gap in gaps) == sum(
        part.end_ms - part.start_ms for part in coverage[MINUTE].wanted - coverage[MINUTE].held
    )


def test_a_delisted_series_of_which_nothing_was_wanted_can_be_wanted() -> None:
    """It was streamed only, its file is gone, and the exchange had once left a candle out."""
    coverage = wanting(0, 10)
    for seconds in (0, 15, 60, 180):
        coverage.answer(MINUTE, span(0, 10), minutes(0, 4) | minutes(5, 10), NOW + seconds * SECOND)
    coverage.want_nothing([MINUTE])
    coverage[MINUTE].hold(NOTHING)
    coverage.delist(["BTCUSDT"])
    coverage.want_nothing([MINUTE])
    coverage.want(MINUTE, minutes(0, 10))
    assert states(coverage) == [(minutes(0, 10), State.PENDING)]


def test_what_left_the_file_is_told_from_what_was_never_fetched() -> None:
    coverage = wanting(0, 10)
    coverage[MINUTE].hold(minutes(0, 6), minutes(4, 8))
    coverage[MINUTE].hold(minutes(1, 6))
    reasons = [(gap.span, gap.why) for gap in coverage.missing(MINUTE)]
    stored = "stored before, and in the file no more"
    assert reasons == [(span(0, 1), stored), (span(6, 10), f"in part {stored}")]
    coverage[MINUTE].hold(minutes(0, 8))
    assert [(gap.span, gap.why) for gap in coverage.missing(MINUTE)] == [(span(8, 10), "never fetched")]
    assert {gap.why for gap in coverage[MINUTE].missing("its disk is away")} == {"its disk is away"}


def test_a_series_is_known_by_anything_that_was_wanted_held_or_asked_for() -> None:
    coverage = wanting(0, 10)
    assert coverage[MINUTE].is_known is True
    assert coverage[HOUR].is_known is False
    coverage[ETH].hold(minutes(0, 1))
    assert coverage[ETH].is_known
    left_out(coverage, 3, 4)
    coverage[MINUTE].wanted = NOTHING
    assert coverage[MINUTE].is_known


def test_nothing_is_wanted_behind_the_end_of_a_delisted_series() -> None:
    coverage = wanting(0, 10)
    coverage.answer(MINUTE, span(0, 10), minutes(0, 2) | minutes(3, 8), NOW + 2 * DAY_MS)
    coverage.delist(["BTCUSDT"])
    assert states(coverage) == [(minutes(2, 3), State.RETRYING), (minutes(8, 10), State.DELISTED)]
    coverage.want(MINUTE, minutes(-5, 20))
    assert coverage[MINUTE].wanted == minutes(-5, 10)
    coverage.want(MINUTE, minutes(3, 20))
    assert coverage[MINUTE].wanted == minutes(-5, 10)


def test_what_failed_and_is_wanted_no_more_is_forgotten_though_rows_are_around_it() -> None:
    coverage = wanting(0, 10)
    coverage[MINUTE].hold(minutes(0, 4) | minutes(5, 10))
    coverage.fail(MINUTE, span(4, 5), "HTTP 502", NOW)
    coverage.want(MINUTE, minutes(7, 20))
    assert states(coverage) == [(minutes(10, 20), State.PENDING)]


def test_what_the_exchange_does_not_have_is_settled() -> None:
    coverage = wanting(0, 20)
    left_out(coverage, 3, 4)
    coverage[MINUTE].set_listing_date(NOW, NOW + MINUTE_MS, NOW)
    coverage.answer(MINUTE, span(8, 9), NOTHING, NOW, [InvalidRow(span(8, 9), "low is not positive")])
    coverage.fail(MINUTE, span(12, 13), "HTTP 502", NOW)
    coverage.answer(MINUTE, span(14, 15), NOTHING, NOW)
    assert settled(coverage[MINUTE].gaps) == minutes(0, 1) | minutes(3, 4) | minutes(8, 9)


def test_a_row_that_is_no_candle_is_on_record_with_its_defect() -> None:
    coverage = wanting(0, 3)
    coverage.answer(MINUTE, span(0, 3), minutes(0, 1), NOW, [InvalidRow(span(1, 2), "low is not positive")])
    assert states(coverage) == [(minutes(1, 2), State.INVALID), (minutes(2, 3), State.RETRYING)]
    assert coverage.missing(MINUTE)[0].why == "the exchange's own row is no candle: low is not positive"


def test_what_is_known_to_be_no_candle_is_told_of_a_request() -> None:
    coverage = wanting(0, 3)
    coverage.answer(MINUTE, span(0, 3), minutes(0, 1), NOW, [InvalidRow(span(1, 2), "low is not positive")])
    assert known_invalid(coverage[MINUTE].gaps, minutes(0, 3)) == minutes(1, 2)
    assert known_invalid(coverage[MINUTE].gaps, minutes(2, 3)) == NOTHING


def test_a_candle_before_the_listing_refutes_it_for_all_that_follows() -> None:
    coverage = wanting(0, 20)
    coverage[MINUTE].set_listing_date(NOW, NOW + 10 * MINUTE_MS, NOW)
    coverage.answer(MINUTE, span(10, 20), minutes(10, 20), NOW)
    assert states(coverage) == [(minutes(0, 10), State.BEFORE_LISTING)]
    coverage[MINUTE].hold(minutes(3, 5) | minutes(10, 20))
    assert states(coverage) == [(minutes(0, 3), State.BEFORE_LISTING), (minutes(5, 10), State.PENDING)]


def test_a_request_goes_over_what_is_held_and_not_wanted() -> None:
    coverage = CoverageIndex()
    coverage.want(MINUTE, minutes(0, 2) | minutes(5, 7))
    coverage[MINUTE].hold(minutes(2, 5))
    assert requests_for(coverage[MINUTE], coverage.due(MINUTE, NOW), NOW) == minutes(0, 7)


def test_a_hole_reaches_from_the_first_that_is_wanted() -> None:
    coverage = CoverageIndex()
    assert fillable(coverage[MINUTE], NOW, NOW + MINUTE_MS, NOTHING) == NOTHING
    coverage.want(MINUTE, minutes(2, 3) | minutes(8, 12))
    left_out(coverage, 10, 11)
    everything = NOW, NOW + 12 * MINUTE_MS
    assert fillable(coverage[MINUTE], *everything, minutes(4, 5)) == minutes(2, 4) | minutes(5, 10) | minutes(11, 12)


def test_a_candle_of_the_stream_is_not_missing_any_more() -> None:
    coverage = wanting(0, 3)
    coverage.fail(MINUTE, span(0, 3), "HTTP 502", NOW)
    coverage[MINUTE].confirm(minutes(1, 2), held=minutes(1, 2))
    assert [(gap.span, gap.tries) for gap in coverage.missing(MINUTE)] == [(span(0, 1), 1), (span(2, 3), 1)]


def test_what_is_left_out_behind_the_last_candle_of_a_delisted_series_will_not_come() -> None:
    coverage = CoverageIndex()
    coverage.delist(["BTCUSDT"])
    coverage.want(MINUTE, minutes(0, 10))
    coverage.answer(MINUTE, span(0, 10), minutes(0, 2) | minutes(3, 8), NOW)
    assert states(coverage) == [(minutes(2, 3), State.RETRYING), (minutes(8, 10), State.DELISTED)]
    coverage.want(ETH, minutes(0, 10))
    coverage.answer(ETH, span(0, 10), minutes(0, 8), NOW)
    assert states(coverage, ETH) == [(minutes(8, 10), State.RETRYING)]


def test_a_delisted_series_of_which_nothing_came_is_delisted_as_a_whole() -> None:
    coverage = wanting(0, 10)
    coverage.answer(MINUTE, span(0, 10), NOTHING, NOW)
    coverage.delist(["BTCUSDT"])
    assert states(coverage) == [(minutes(0, 10), State.DELISTED)]


def test_the_limit_lets_go_of_old_candles_of_a_delisted_series_too() -> None:
    coverage = wanting(0, 10)
    coverage.answer(MINUTE, span(0, 10), minutes(0, 8), NOW + 2 * DAY_MS)
    coverage.delist(["BTCUSDT"])
    coverage.stop_wanting(MINUTE, minutes(5, 10).bounds.start_ms)
    assert coverage[MINUTE].wanted == minutes(5, 10)
    coverage[MINUTE].hold(minutes(5, 8))
    assert coverage.due(MINUTE, NOW + 2 * DAY_MS) == NOTHING
    assert states(coverage) == [(minutes(8, 10), State.DELISTED)]


def test_what_closes_later_than_now_is_wanted_of_no_series() -> None:
    coverage, now_ms = wanting(0, 10), minutes(0, 6).bounds.end_ms + SECOND
    coverage.want(ETH, minutes(0, 10))
    coverage.fail(ETH, span(0, 10), "not closed yet by the exchange's clock", now_ms)
    coverage.want(HOUR, Spans.between(NOW - 120 * MINUTE_MS, NOW - 60 * MINUTE_MS))
    for series in (MINUTE, ETH, HOUR):
        coverage.drop_future_timestamps(series, now_ms)
    assert coverage[MINUTE].wanted == coverage[ETH].wanted == minutes(0, 6)
    assert states(coverage, ETH) == [(minutes(0, 6), State.PENDING)]
    assert coverage.outdated == {MINUTE, ETH}


def test_the_future_of_a_delisted_series_is_dropped_too() -> None:
    coverage = wanting(0, 10)
    coverage.answer(MINUTE, span(0, 10), minutes(0, 3), NOW + 2 * DAY_MS)
    coverage.delist(["BTCUSDT"])
    coverage.drop_future_timestamps(MINUTE, minutes(0, 6).bounds.end_ms)
    assert coverage[MINUTE].wanted == minutes(0, 6)
    assert states(coverage) == [(minutes(3, 6), State.DELISTED)]


def claim(state: State, first: int, behind: int) -> Gap:
    """What another collector was told."""
    return Gap(span(first, behind), state, 2, NOW, "why", NOW)


def test_what_another_collector_knows_to_lack_is_not_due_and_in_flight_no_more() -> None:
    coverage = wanting(0, 20)
    coverage.ask(MINUTE, minutes(0, 20))
    coverage.take_gaps(MINUTE, (claim(State.BEFORE_LISTING, 0, 5), claim(State.ABSENT, 7, 9)))
    assert coverage[MINUTE].in_flight == minutes(5, 7) | minutes(9, 20)
    coverage.cancel_fetch(MINUTE, minutes(0, 20))
    assert coverage.due(MINUTE, NOW + DAY_MS - 1) == minutes(5, 7) | minutes(9, 20)
    assert coverage.due(MINUTE, NOW + DAY_MS) == minutes(0, 20)
    assert coverage[MINUTE].gap_index.listing_ms == minutes(5, 6)[0].start_ms
    assert not coverage[MINUTE].listing_unknown(minutes(5, 6)[0].start_ms)


def test_what_another_collector_knows_to_lack_hides_no_candle_that_is_held() -> None:
    coverage = wanting(0, 20)
    coverage[MINUTE].hold(minutes(3, 4) | minutes(8, 9))
    coverage.take_gaps(MINUTE, (claim(State.BEFORE_LISTING, 0, 6), claim(State.ABSENT, 7, 30)))
    assert states(coverage)[0] == (minutes(0, 3), State.BEFORE_LISTING)
    assert [part for part in states(coverage) if part[1] is State.ABSENT] == [
        (minutes(7, 8), State.ABSENT),
        (minutes(9, 20), State.ABSENT),
    ]
    coverage[MINUTE].hold(minutes(1, 2) | minutes(3, 4) | minutes(8, 10))
    assert coverage.due(MINUTE, NOW) == minutes(2, 3) | minutes(4, 7)


def test_a_symbol_that_trades_has_no_delisted_gap_of_another_collector() -> None:
    coverage = wanting(0, 20)
    coverage.take_gaps(MINUTE, (claim(State.ABSENT, 2, 3), claim(State.DELISTED, 10, 20)))
    assert coverage.due(MINUTE, NOW) == minutes(0, 2) | minutes(3, 20)
    coverage.delist(["BTCUSDT"])
    coverage[MINUTE].hold(minutes(0, 10))
    coverage.take_gaps(MINUTE, (claim(State.DELISTED, 10, 20),))
    assert states(coverage) == [(minutes(10, 20), State.DELISTED)]
