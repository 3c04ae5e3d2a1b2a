"""The book: what is missing is what is wanted and neither held, nor in flight, nor known to be absent."""

from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import DAY_MS, MINUTE_MS, Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.missing import InvalidRow, State, neighbours_joined
from collector.core.planning import windows
from collector.core.spans import NOTHING, Span, Spans

MINUTE = Series("BTCUSDT", timeframe("1"))
HOUR = Series("BTCUSDT", timeframe("60"))
NOW = 1_700_000_000_000 // DAY_MS * DAY_MS
SECOND = 1000


def minutes(first: int, behind: int) -> Spans:
    return Spans.between(NOW + first * MINUTE_MS, NOW + behind * MINUTE_MS)


def span(first: int, behind: int) -> Span:
    return minutes(first, behind)[0]


def wanting(first: int, behind: int) -> CoverageIndex:
    coverage = CoverageIndex()
    coverage.want(MINUTE, minutes(first, behind))
    return coverage


def states(coverage: CoverageIndex, series: Series = MINUTE) -> list[tuple[Spans, State]]:
    return [(Spans((gap.span,)), gap.state) for gap in coverage.missing(series)]


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
        at = coverage.next_due_ms(at) or at
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
    assert coverage[MINUTE].requests(due, later) == minutes(3, 4) | minutes(5, 6)
    due = coverage.due(MINUTE, later + 15 * SECOND)
    assert coverage[MINUTE].requests(due, later + 15 * SECOND) == minutes(3, 6)


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


def test_an_absent_candle_is_due_at_once_when_asked_anew() -> None:
    coverage, late = wanting(0, 1), NOW + DAY_MS
    for _ in range(2):
        coverage.answer(MINUTE, span(0, 1), NOTHING, late)
    assert coverage.due(MINUTE, late) == NOTHING
    coverage.expire_claims([MINUTE])
    assert coverage.due(MINUTE, late) == minutes(0, 1)
    coverage.answer(MINUTE, span(0, 1), NOTHING, late + SECOND)
    assert states(coverage) == [(minutes(0, 1), State.ABSENT)]
    assert coverage.due(MINUTE, late + 2 * SECOND) == NOTHING


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
        due = coverage.next_due_ms(at)
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


def test_before_listing_is_a_claim_of_one_series_as_deep_as_was_asked() -> None:
    coverage = wanting(0, 120)
    coverage.want(HOUR, minutes(-60, 120))
    coverage[MINUTE].set_listing_date(NOW, NOW + 90 * MINUTE_MS, NOW)
    assert coverage.due(MINUTE, NOW) == minutes(90, 120)
    assert coverage.due(HOUR, NOW) == minutes(-60, 120)
    assert states(coverage) == [(minutes(0, 90), State.BEFORE_LISTING), (minutes(90, 120), State.PENDING)]
    assert coverage.due(MINUTE, NOW + DAY_MS) == minutes(0, 120)
    coverage.want(MINUTE, minutes(-500, 120))
    assert coverage.due(MINUTE, NOW) == minutes(-500, 0) | minutes(90, 120)


def test_before_listing_is_asked_for_ever_more_rarely() -> None:
    coverage, at, waits = wanting(0, 1), NOW, []
    for _ in range(8):
        coverage[MINUTE].set_listing_date(NOW, NOW + MINUTE_MS, at)
        due = coverage.next_due_ms(at)
        assert due
        waits.append((due - at) // DAY_MS)
        at = due
    assert waits == [1, 2, 4, 8, 16, 32, 64, 64]


def test_an_older_row_contradicts_a_listing_date() -> None:
    coverage = wanting(0, 100)
    coverage[MINUTE].set_listing_date(NOW, NOW + 90 * MINUTE_MS, NOW)
    coverage[MINUTE].hold(minutes(20, 30))
    assert states(coverage)[:2] == [(minutes(0, 20), State.BEFORE_LISTING), (minutes(30, 100), State.PENDING)]


def test_what_the_exchange_dropped_and_is_held_was_listed() -> None:
    """It keeps only some days of a timeframe."""
    coverage = wanting(0, 100)
    coverage[MINUTE].hold(minutes(20, 60))
    assert coverage[MINUTE].set_listing_date(NOW, NOW + 90 * MINUTE_MS, NOW) == minutes(0, 20)
    assert states(coverage) == [(minutes(0, 20), State.BEFORE_LISTING), (minutes(60, 100), State.PENDING)]


def test_a_listing_date_or_older_rows_need_no_proof() -> None:
    coverage = wanting(-9, 10)
    assert coverage[MINUTE].listing_unknown(NOW)
    coverage[MINUTE].set_listing_date(NOW - 9 * MINUTE_MS, NOW, NOW)
    assert not coverage[MINUTE].listing_unknown(NOW)
    assert coverage[HOUR].listing_unknown(NOW)
    assert coverage[MINUTE].listing_unknown(NOW - MINUTE_MS)
    coverage[MINUTE].hold(minutes(-9, 3))
    assert not coverage[MINUTE].listing_unknown(NOW - 9 * MINUTE_MS)
    assert coverage[MINUTE].listing_unknown(NOW - 10 * MINUTE_MS)


def test_the_last_landing_calls_whoever_waits() -> None:
    coverage, calls = wanting(0, 10), list[str]()
    coverage.on_idle = lambda: calls.append("idle")
    coverage.ask(MINUTE, minutes(0, 10))
    coverage.answer(MINUTE, span(0, 5), minutes(0, 5), NOW)
    assert calls == []
    coverage.fail(MINUTE, span(5, 8), "x", NOW)
    coverage.cancel_fetch(MINUTE, minutes(8, 10))
    assert calls == ["idle"]
    assert coverage.candles_in_flight == 0


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


def test_what_is_put_in_doubt_from_some_moment_on_is_whole_candles() -> None:
    coverage, five = CoverageIndex(), Series("BTCUSDT", timeframe("5"))
    coverage.want(five, minutes(0, 10))
    for first in (0, 5):
        coverage[five].confirm(minutes(first, first + 5), held=minutes(0, first + 5))
    coverage[five].recheck(NOW + 9 * MINUTE_MS + 7 * SECOND)
    assert coverage.due(five, NOW + 10 * MINUTE_MS) == minutes(5, 10)


@attrs.define
class LaggingRest:
    """A stream that confirms every minute, and a REST side that has a candle only `lag_ms` after its close."""

    lag_ms: int
    coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    asked_ms: list[int] = attrs.field(factory=list)

    def run(self, minutes_behind: int, lost_every: int) -> None:
        for minute in range(1, minutes_behind + 1):
            self.coverage.want(MINUTE, minutes(0, minute))
            self.coverage[MINUTE].confirm(minutes(minute - 1, minute), held=minutes(0, minute))
            now_ms = NOW + minute * MINUTE_MS + SECOND
            if minute % lost_every == 0:
                self.coverage[MINUTE].recheck(now_ms - 3 * MINUTE_MS)
            self.ask(now_ms)
            self.ask(now_ms + 20 * SECOND)

    def ask(self, now_ms: int) -> None:
        there = Spans.between(0, MINUTE.timeframe.floor(now_ms - self.lag_ms))
        for span in windows(
            MINUTE.timeframe, self.coverage[MINUTE].requests(self.coverage.due(MINUTE, now_ms), now_ms)
        ):
            self.asked_ms.append(now_ms)
            self.coverage.answer(MINUTE, span, Spans((span,)) & there, now_ms)


@pytest.mark.parametrize("lag_s", [8, 20, 120, 3600, 5 * 3600])
def test_stream_candles_stay_unverified_until_rest_has_them(lag_s: int) -> None:
    rest = LaggingRest(lag_s * SECOND)
    rest.run(24 * 60, lost_every=7)
    assert not rest.coverage[MINUTE].unverified & minutes(0, 24 * 60 - lag_s // 60 - 80)
    assert len(rest.asked_ms) <= 24 * 60 / 7 * 3


def test_a_rest_side_that_stands_still_costs_two_requests_an_hour() -> None:
    rest = LaggingRest(lag_ms=10 * DAY_MS)
    rest.run(15 * 60, lost_every=10_000)
    assert rest.coverage[MINUTE].unverified == minutes(0, 15 * 60)
    assert len(rest.asked_ms) <= 2 * 15 + 8
    pauses = [after - before for before, after in pairwise(rest.asked_ms)]
    assert pauses[:2] < pauses[2:4] < [20 * MINUTE_MS]
    assert max(pauses) <= 31 * MINUTE_MS


def test_an_answer_verifies_only_what_it_contains() -> None:
    coverage = wanting(0, 3)
    for place in range(3):
        coverage[MINUTE].confirm(minutes(place, place + 1), held=minutes(0, place + 1))
    coverage[MINUTE].recheck(NOW)
    coverage.answer(MINUTE, span(0, 3), minutes(0, 2), NOW + 3 * MINUTE_MS)
    assert coverage[MINUTE].unverified == minutes(2, 3)
    assert coverage.due(MINUTE, NOW + 3 * MINUTE_MS + 14 * SECOND) == NOTHING
    assert coverage.due(MINUTE, NOW + 3 * MINUTE_MS + 15 * SECOND) == minutes(2, 3)
    coverage.fail(MINUTE, span(2, 3), "HTTP 502", NOW + 4 * MINUTE_MS)
    assert coverage.due(MINUTE, NOW + 4 * MINUTE_MS + 29 * SECOND) == NOTHING
    assert coverage.due(MINUTE, NOW + 4 * MINUTE_MS + 30 * SECOND) == minutes(2, 3)
    coverage.answer(MINUTE, span(2, 3), minutes(2, 3), NOW + 5 * MINUTE_MS)
    assert coverage[MINUTE].unverified == NOTHING


def test_unwanted_unverified_candles_are_verified_once() -> None:
    """They were confirmed before, and are in the file still."""
    coverage = CoverageIndex()
    coverage[MINUTE].hold(minutes(-200, -100))
    coverage[MINUTE].mark_unverified(minutes(-200, -100))
    asked = []
    for now in range(50):
        coverage.want(MINUTE, minutes(now - 50, now))
        coverage.answer(MINUTE, span(-50, 0), minutes(-50, 0), NOW)
        coverage[MINUTE].confirm(minutes(now, now + 1), held=coverage[MINUTE].held | minutes(now, now + 1))
        due = coverage.due(MINUTE, NOW + (now + 1) * MINUTE_MS + SECOND)
        asked += [(now, each) for each in due]
        for each in due:
            coverage.answer(MINUTE, each, Spans((each,)), NOW + now * MINUTE_MS + SECOND)
    assert asked == [(0, span(-200, -100)), (0, span(0, 1)), (41, span(1, 42))]


def test_what_is_delisted_is_verified_all_the_same() -> None:
    coverage = wanting(0, 3)
    coverage[MINUTE].confirm(minutes(2, 3), held=minutes(0, 3))
    coverage.delist(["BTCUSDT"])
    assert coverage.due(MINUTE, NOW + 60 * MINUTE_MS) == minutes(2, 3)


def test_a_lost_connection_is_not_a_request_while_rest_lags() -> None:
    coverage = wanting(0, 1)
    coverage[MINUTE].confirm(minutes(0, 1), held=minutes(0, 1))
    coverage[MINUTE].recheck(NOW)
    coverage.answer(MINUTE, span(0, 1), NOTHING, NOW + MINUTE_MS)
    coverage[MINUTE].recheck(NOW)
    assert coverage.due(MINUTE, NOW + MINUTE_MS + SECOND) == NOTHING


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


ETH = Series("ETHUSDT", timeframe("1"))


def left_out(coverage: CoverageIndex, first: int, behind: int, at: int = NOW + 2 * DAY_MS) -> None:
    """Has an old hole settled."""
    for seconds in (0, 1):
        coverage.answer(MINUTE, span(first, behind), NOTHING, at + seconds * SECOND)


def test_a_series_is_known_by_anything_that_was_wanted_held_or_asked_for() -> None:
    coverage = wanting(0, 10)
    assert coverage[MINUTE].is_known is True
    assert coverage[HOUR].is_known is False
    coverage[ETH].hold(minutes(0, 1))
    assert coverage[ETH].is_known
    left_out(coverage, 3, 4)
    coverage[MINUTE].wanted = NOTHING
    assert coverage[MINUTE].is_known


def test_a_listing_date_stands_while_nothing_older_is_held() -> None:
    coverage = wanting(0, 100)
    coverage[MINUTE].set_listing_date(NOW, NOW + 50 * MINUTE_MS, NOW)
    coverage.fail(MINUTE, span(60, 70), "HTTP 502", NOW)
    coverage.answer(MINUTE, span(70, 80), NOTHING, NOW + 100 * MINUTE_MS)
    assert states(coverage)[0] == (minutes(0, 50), State.BEFORE_LISTING)
    coverage.answer(MINUTE, span(20, 30), minutes(20, 30), NOW + 101 * MINUTE_MS)
    assert states(coverage)[:2] == [(minutes(0, 20), State.BEFORE_LISTING), (minutes(30, 60), State.PENDING)]
    coverage[MINUTE].hold(minutes(10, 30))
    assert states(coverage)[0] == (minutes(0, 10), State.BEFORE_LISTING)


def test_what_was_taken_out_of_a_file_stays_wanted_however_little_else_is() -> None:
    coverage = wanting(0, 10)
    coverage.want_quarantined(MINUTE, minutes(-20, -10))
    assert coverage[MINUTE].wanted == minutes(-20, -10) | minutes(0, 10)
    coverage.want_nothing([MINUTE])
    assert coverage[MINUTE].wanted == minutes(-20, -10)


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
    assert coverage[MINUTE].settled() == minutes(0, 1) | minutes(3, 4) | minutes(8, 9)


def test_a_row_that_is_no_candle_is_on_record_with_its_defect() -> None:
    coverage = wanting(0, 3)
    coverage.answer(MINUTE, span(0, 3), minutes(0, 1), NOW, [InvalidRow(span(1, 2), "low is not positive")])
    assert states(coverage) == [(minutes(1, 2), State.INVALID), (minutes(2, 3), State.RETRYING)]
    assert coverage.missing(MINUTE)[0].why == "the exchange's own row is no candle: low is not positive"


def test_a_file_that_is_left_alone_is_asked_for_no_more_and_says_why() -> None:
    coverage = wanting(0, 10)
    coverage.ask(MINUTE, minutes(0, 4))
    coverage.leave_alone(MINUTE, "somebody else's")
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


def test_a_request_goes_over_what_is_held_and_not_wanted() -> None:
    coverage = CoverageIndex()
    coverage.want(MINUTE, minutes(0, 2) | minutes(5, 7))
    coverage[MINUTE].hold(minutes(2, 5))
    assert coverage[MINUTE].requests(coverage.due(MINUTE, NOW), NOW) == minutes(0, 7)


def test_a_hole_reaches_from_the_first_that_is_wanted() -> None:
    coverage = CoverageIndex()
    assert coverage[MINUTE].fillable(NOW, NOW + MINUTE_MS, NOTHING) == NOTHING
    coverage.want(MINUTE, minutes(2, 3) | minutes(8, 12))
    left_out(coverage, 10, 11)
    everything = NOW, NOW + 12 * MINUTE_MS
    assert coverage[MINUTE].fillable(*everything, minutes(4, 5)) == minutes(2, 4) | minutes(5, 10) | minutes(11, 12)


def test_the_next_that_is_due_is_that_of_any_series() -> None:
    coverage = wanting(0, 10)
    for series in (ETH, HOUR):
        coverage.want(series, Spans.between(NOW, NOW + 60 * MINUTE_MS))
    assert coverage.next_due_ms(NOW) is None
    left_out(coverage, 0, 1, NOW + DAY_MS)
    for _ in range(2):
        coverage.fail(ETH, span(0, 1), "HTTP 502", NOW + DAY_MS)
    coverage.fail(HOUR, span(0, 60), "HTTP 502", NOW)  # due at once
    assert coverage.next_due_ms(NOW + DAY_MS) == NOW + DAY_MS + 30 * SECOND


def test_a_candle_of_the_stream_is_not_missing_any_more() -> None:
    coverage = wanting(0, 3)
    coverage.fail(MINUTE, span(0, 3), "HTTP 502", NOW)
    coverage[MINUTE].confirm(minutes(1, 2), held=minutes(1, 2))
    assert [(gap.span, gap.tries) for gap in coverage.missing(MINUTE)] == [(span(0, 1), 1), (span(2, 3), 1)]


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
    coverage.drop_future_timestamps(now_ms)
    assert [gap.asked_ms for gap in coverage.missing(MINUTE) if gap.state is State.ABSENT] == [0, now_ms]
    coverage.drop_future_timestamps(now_ms - 1)
    assert [gap.asked_ms for gap in coverage.missing(MINUTE) if gap.state is State.ABSENT] == [0, 0]


@pytest.mark.parametrize(("beyond_ms", "ends"), [(0, False), (1, True)])
def test_a_pause_longer_than_any_is_of_a_clock_that_was_wrong(beyond_ms: int, ends: bool) -> None:
    coverage = wanting(0, 1)
    coverage[MINUTE].verification.paused_until_ms = NOW + 30 * MINUTE_MS + beyond_ms
    coverage.drop_future_timestamps(NOW)
    assert (coverage[MINUTE].verification.paused_until_ms == 0) is ends


def test_what_has_left_the_file_is_not_to_be_verified() -> None:
    coverage = wanting(0, 10)
    coverage.fail(MINUTE, span(0, 10), "HTTP 502", NOW)
    coverage[MINUTE].mark_unverified(minutes(0, 8))
    coverage[MINUTE].hold(minutes(5, 8))
    assert coverage[MINUTE].unverified == minutes(5, 8)
    assert [gap.span for gap in coverage.missing(MINUTE)] == [span(0, 5), span(8, 10)]


def test_the_oldest_row_and_the_latest_listing_date_are_what_tells() -> None:
    coverage = wanting(0, 100)
    coverage[MINUTE].hold(minutes(30, 40) | minutes(50, 60))
    assert coverage[MINUTE].listing_ms is None
    assert not coverage[MINUTE].listing_unknown(NOW + 30 * MINUTE_MS)
    assert coverage[MINUTE].listing_unknown(NOW + 29 * MINUTE_MS)
    assert coverage[MINUTE].set_listing_date(NOW, NOW + 90 * MINUTE_MS, NOW) == minutes(0, 30)
    coverage[MINUTE].set_listing_date(NOW, NOW + 10 * MINUTE_MS, NOW + 9 * DAY_MS)
    left_out(coverage, 80, 81)
    assert coverage[MINUTE].listing_ms == NOW + 30 * MINUTE_MS


def test_only_the_landing_of_all_series_calls_whoever_waits() -> None:
    coverage, calls = wanting(0, 10), list[str]()
    coverage.on_idle = lambda: calls.append("idle")
    for series in (MINUTE, ETH):
        coverage.ask(series, minutes(0, 10))
    coverage.cancel_fetch(ETH, minutes(0, 10))
    assert calls == []
    coverage.cancel_fetch(MINUTE, minutes(0, 10))
    assert calls == ["idle"]


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
