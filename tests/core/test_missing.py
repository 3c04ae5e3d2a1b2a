"""What is on record as missing: when it is asked for again, and what an answer makes of it."""

import attrs
import pytest

from collector.core.candle import DAY_MS, MINUTE_MS
from collector.core.missing import (
    Gap,
    State,
    attempts_reset,
    before_listing,
    ended,
    expired,
    failed,
    invalid,
    left_out,
    neighbours_joined,
    next_due_ms,
    not_due,
    to_ask_alone,
    update_gaps,
)
from collector.core.spans import NOTHING, Span
from tests.support.candles import T0, span, spans

SECOND = 1000
HOUR = 60 * MINUTE_MS
NOW = T0 + 30 * MINUTE_MS
CLAIMED = [State.ABSENT, State.INVALID, State.BEFORE_LISTING]


def gap(state: State, first: int = 0, behind: int = 1, tries: int = 1, asked_ms: int = NOW) -> Gap:
    return Gap(span(first, behind), state, tries, asked_ms, "why", asked_ms)


def test_what_failed_is_due_at_once_and_then_after_pauses_of_up_to_an_hour() -> None:
    due = [gap(State.PENDING, tries=tries).due_ms for tries in range(13)]
    assert due[:2] == [0, 0]
    assert [(each or 0) - NOW for each in due[2:]] == [
        seconds * SECOND for seconds in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600)
    ]


def test_what_was_left_out_is_due_after_fifteen_seconds_then_longer_and_settled_after_three_minutes() -> None:
    retrying = [gap(State.RETRYING, tries=tries) for tries in (1, 2, 3)]
    assert [(each.due_ms or 0) - NOW for each in retrying] == [15 * SECOND, 45 * SECOND, 120 * SECOND]
    assert [each.settles_ms - NOW for each in retrying] == [180 * SECOND, 165 * SECOND, 120 * SECOND]


def test_what_closed_an_hour_before_it_was_left_out_is_due_at_once() -> None:
    closed_ms = T0 + MINUTE_MS
    assert gap(State.RETRYING, asked_ms=closed_ms + HOUR).due_ms == 0
    assert gap(State.RETRYING, asked_ms=closed_ms + HOUR - 1).due_ms == closed_ms + HOUR - 1 + 15 * SECOND


@pytest.mark.parametrize("state", CLAIMED)
def test_a_claim_is_due_after_a_day_and_then_after_as_long_as_it_has_stood(state: State) -> None:
    claim = gap(state)
    assert claim.due_ms == NOW + DAY_MS
    assert attrs.evolve(claim, since_ms=NOW - 5 * DAY_MS).due_ms == NOW + 6 * DAY_MS
    assert attrs.evolve(claim, since_ms=NOW - 500 * DAY_MS).due_ms == NOW + 64 * DAY_MS
    assert attrs.evolve(claim, since_ms=NOW + 5 * DAY_MS).due_ms == NOW + DAY_MS  # a clock was wrong


def test_the_states_have_the_words_that_other_peoples_scripts_look_for() -> None:
    assert list(State) == ["pending", "retrying", "absent", "invalid", "before-listing", "delisted"]


def test_what_is_delisted_is_never_due() -> None:
    assert gap(State.DELISTED).due_ms is None


def test_an_answer_up_to_a_minute_before_a_claim_is_due_renews_it() -> None:
    claim = gap(State.ABSENT)
    early_ms = NOW + DAY_MS - MINUTE_MS
    assert claim.left_out_again(early_ms - 1) is claim
    again = claim.left_out_again(early_ms)
    assert (again.state, again.tries, again.asked_ms, again.since_ms) == (State.ABSENT, 2, early_ms, NOW)


def test_a_young_candle_is_absent_at_the_fourth_answer_without_it_and_an_old_one_at_the_second() -> None:
    young = gap(State.RETRYING)
    for tries, state in [(2, State.RETRYING), (3, State.RETRYING), (4, State.ABSENT)]:
        young = young.left_out_again(NOW + tries)
        assert (young.state, young.tries, young.asked_ms) == (state, tries, NOW + tries)
        assert young.since_ms == (NOW if state is State.RETRYING else NOW + 4)
    assert young.why == "the exchange's answer leaves it out"
    old_ms = T0 + MINUTE_MS + HOUR
    assert gap(State.RETRYING).left_out_again(old_ms).state is State.ABSENT
    assert gap(State.RETRYING).left_out_again(old_ms - 1).state is State.RETRYING


def test_what_is_left_out_for_the_first_time_is_retrying() -> None:
    new = Gap(span(0, 1), State.RETRYING, 1, NOW, "the exchange's answer leaves it out", NOW)
    assert left_out(None, span(0, 1), NOW) == new
    assert left_out(gap(State.PENDING, tries=3), span(0, 1), NOW) == new
    assert left_out(gap(State.INVALID, tries=3), span(0, 1), NOW) == new
    assert left_out(gap(State.DELISTED, tries=3), span(0, 1), NOW) == new


@pytest.mark.parametrize("state", [State.RETRYING, State.ABSENT, State.BEFORE_LISTING])
def test_what_is_left_out_again_is_so_for_the_part_that_was_asked_for(state: State) -> None:
    before = gap(state, 0, 9, tries=3, asked_ms=NOW - 2 * DAY_MS)
    after = left_out(before, span(4, 5), NOW)
    assert (after.span, after.tries) == (span(4, 5), 4)
    assert after.state is (State.ABSENT if state is State.RETRYING else state)


def test_a_claim_made_again_stands_since_it_was_first_made() -> None:
    first = before_listing(None, span(0, 5), NOW)
    assert first == Gap(span(0, 5), State.BEFORE_LISTING, 1, NOW, "the exchange has no earlier candle", NOW)
    again = before_listing(first, span(0, 3), NOW + DAY_MS)
    assert again == attrs.evolve(first, span=span(0, 3), tries=2, asked_ms=NOW + DAY_MS)
    other = invalid(again, span(0, 1), NOW + DAY_MS, "low is not positive")
    assert (other.state, other.tries, other.since_ms) == (State.INVALID, 1, NOW + DAY_MS)
    assert other.why == "the exchange's own row is no candle: low is not positive"
    assert invalid(other, span(0, 1), NOW + 2 * DAY_MS, "x").tries == 2


@pytest.mark.parametrize(
    ("before", "tries"),
    [
        (None, 1),
        (gap(State.PENDING, tries=3), 4),
        (gap(State.RETRYING, tries=2), 3),
        (gap(State.ABSENT, tries=5), 1),
        (gap(State.INVALID, tries=5), 1),
    ],
)
def test_a_request_that_fails_counts_on_from_what_failed_or_was_left_out(before: Gap | None, tries: int) -> None:
    assert failed(before, span(0, 2), NOW, "HTTP 502") == Gap(span(0, 2), State.PENDING, tries, NOW, "HTTP 502", NOW)


def test_only_claims_are_due_at_once_when_somebody_wants_to_know() -> None:
    assert [expired(gap(state)).asked_ms for state in State] == [NOW, NOW, 0, 0, 0, NOW]


def test_a_process_that_has_not_failed_yet_tries_twice_at_once() -> None:
    assert [attempts_reset(gap(State.PENDING, tries=tries)).tries for tries in (1, 2, 9)] == [1, 1, 1]
    assert attempts_reset(gap(State.RETRYING, tries=3)).tries == 3


def test_what_lies_behind_the_last_candle_of_a_symbol_that_trades_no_more_is_delisted() -> None:
    every = [
        gap(State.DELISTED, 0, 1),  # given up before a later candle came
        gap(State.ABSENT, 1, 2),
        gap(State.PENDING, 5, 6, tries=3),
        gap(State.RETRYING, 6, 7, tries=3),
        gap(State.ABSENT, 7, 8, tries=2),
        gap(State.BEFORE_LISTING, 8, 9),
        gap(State.DELISTED, 9, 10),
    ]
    after = ended(every, span(5, 6).start_ms)
    assert [(each.span, each.state, each.tries) for each in after] == [
        (span(1, 2), State.ABSENT, 1),
        (span(5, 6), State.PENDING, 3),
        (span(6, 8), State.DELISTED, 1),
        (span(8, 9), State.BEFORE_LISTING, 1),
        (span(9, 10), State.DELISTED, 1),
    ]
    (last,) = ended([gap(State.RETRYING, 5, 6)], span(5, 6).start_ms)
    assert (last.state, last.why) == (State.DELISTED, "the symbol trades no more")
    assert ended([gap(State.DELISTED, 5, 6)], span(5, 6).start_ms)[0].state is State.DELISTED


def changed(before: Gap | None, part: Span) -> Gap:
    return Gap(part, State.PENDING, before.tries + 1 if before else 1, NOW + 1, "changed")


def test_an_answer_changes_what_is_still_missing_of_what_was_asked_for_and_forgets_what_came() -> None:
    before = [gap(State.PENDING, 0, 10, tries=4), gap(State.ABSENT, 20, 21)]
    after = update_gaps(before, spans(2, 13), spans(2, 4) | spans(9, 12), changed)
    assert [(each.span, each.tries, each.why) for each in after] == [
        (span(0, 2), 4, "why"),
        (span(2, 4), 5, "changed"),
        (span(9, 10), 5, "changed"),
        (span(10, 12), 1, "changed"),
        (span(20, 21), 1, "why"),
    ]


def test_what_is_due_now_is_due() -> None:
    waiting = gap(State.ABSENT, 0, 1), gap(State.DELISTED, 5, 6), gap(State.PENDING, 8, 9)
    assert not_due(waiting, NOW + DAY_MS - 1) == spans(0, 1) | spans(5, 6)
    assert not_due(waiting, NOW + DAY_MS) == spans(5, 6)
    assert not_due([], NOW) == NOTHING


def test_only_what_counts_its_tries_or_spoils_an_answer_is_asked_for_alone() -> None:
    every = [gap(state, 2 * place, 2 * place + 1, tries=3) for place, state in enumerate(State)]
    assert to_ask_alone(every, NOW) == spans(2, 3) | spans(6, 7)  # retrying and invalid
    assert to_ask_alone(every, NOW + 120 * SECOND - 1) == spans(2, 3) | spans(6, 7)
    assert to_ask_alone(every, NOW + 120 * SECOND) == spans(6, 7)


def test_the_next_moment_is_the_first_that_is_still_to_come() -> None:
    every = gap(State.PENDING), gap(State.RETRYING, tries=3), gap(State.ABSENT), gap(State.DELISTED)
    assert next_due_ms(every, NOW) == NOW + 120 * SECOND
    assert next_due_ms(every, NOW + 120 * SECOND) == NOW + DAY_MS
    assert next_due_ms(every, NOW + DAY_MS) is None


def joined_by_answers(*gaps: Gap) -> list[Span]:
    return [each.span for each in update_gaps(gaps, NOTHING, NOTHING, changed)]


def test_neighbours_share_a_note_only_if_they_were_asked_for_together() -> None:
    one = gap(State.RETRYING, 0, 1)
    assert joined_by_answers(one, gap(State.RETRYING, 1, 2)) == [span(0, 2)]
    for other in (
        gap(State.RETRYING, 2, 3),
        gap(State.RETRYING, 1, 2, tries=2),
        gap(State.RETRYING, 1, 2, asked_ms=NOW + 1),
        gap(State.PENDING, 1, 2),
        attrs.evolve(gap(State.RETRYING, 1, 2), why="another"),
    ):
        assert joined_by_answers(one, other) == [one.span, other.span]


@pytest.mark.parametrize("state", CLAIMED)
def test_claims_made_within_an_hour_share_a_note_that_is_due_with_the_first(state: State) -> None:
    one = attrs.evolve(gap(state, 0, 1, tries=7), since_ms=NOW - 5 * DAY_MS)
    other = gap(state, 1, 2, tries=2, asked_ms=NOW - HOUR + 1)
    (both,) = update_gaps([one, other], NOTHING, NOTHING, changed)
    assert both == Gap(span(0, 2), state, 7, NOW - HOUR + 1, "why", NOW - 5 * DAY_MS)
    assert len(joined_by_answers(one, attrs.evolve(other, asked_ms=NOW - HOUR))) == 2
    (all_three,) = neighbours_joined([one, attrs.evolve(other, asked_ms=0), gap(state, 2, 3)])
    assert (all_three.span, all_three.asked_ms) == (span(0, 3), 0)
