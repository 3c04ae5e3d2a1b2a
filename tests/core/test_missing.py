"""What is on record as missing: when it is asked for again, and what an answer makes of it."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import DAY_MS, MINUTE_MS
from collector.core.missing import (
    Claim,
    Gap,
    State,
    attempts_reset,
    before_listing,
    ended,
    expired,
    failed,
    invalid,
    known_invalid,
    left_out,
    neighbours_joined,
    not_due,
    spans_met,
    still_wanted,
    to_ask_alone,
    update_gaps,
    with_others,
    without,
)
from collector.core.spans import NOTHING, Span, Spans
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
        (gap(State.BEFORE_LISTING, tries=5), 1),
    ],
)
def test_a_request_that_fails_counts_on_from_what_failed_or_was_left_out(before: Gap | None, tries: int) -> None:
    assert failed(before, span(0, 2), NOW, "HTTP 502") == Gap(span(0, 2), State.PENDING, tries, NOW, "HTTP 502", NOW)


@pytest.mark.parametrize("state", [State.ABSENT, State.INVALID])
def test_a_claim_stands_behind_the_requests_for_it_that_fail(state: State) -> None:
    claim = gap(state, 0, 4, tries=2, asked_ms=NOW - DAY_MS)
    once = failed(claim, span(1, 3), NOW, "HTTP 502")
    assert (once.state, once.tries, once.due_ms, once.why) == (State.PENDING, 1, 0, "HTTP 502")
    twice = failed(once, span(1, 3), NOW + 1, "HTTP 503")
    assert (twice.state, twice.tries, twice.why) == (State.PENDING, 2, "HTTP 503")
    assert twice.as_claimed == once.as_claimed == claim.cut_to(span(1, 3))
    assert attempts_reset(twice).as_claimed == twice.as_claimed


@pytest.mark.parametrize("state", [State.PENDING, State.RETRYING, State.BEFORE_LISTING, State.DELISTED])
def test_without_a_claim_that_the_exchange_lacks_it_only_the_failure_counts(state: State) -> None:
    after = failed(gap(state, tries=2), span(0, 2), NOW, "HTTP 502")
    assert after.as_claimed is after


def test_the_answer_after_requests_that_failed_goes_on_from_the_claim() -> None:
    absent = gap(State.ABSENT, 0, 4, tries=2, asked_ms=NOW - 2 * DAY_MS)
    pending = failed(absent, span(1, 3), NOW - 1, "HTTP 502")
    assert left_out(pending, span(1, 3), NOW) == left_out(absent, span(1, 3), NOW)
    bad = gap(State.INVALID, 0, 4, tries=2, asked_ms=NOW - 2 * DAY_MS)
    pending = failed(bad, span(1, 2), NOW - 1, "HTTP 502")
    assert invalid(pending, span(1, 2), NOW, "x") == invalid(bad, span(1, 2), NOW, "x")


def test_a_claim_whose_request_failed_is_a_claim_again_where_it_is_wanted_no_more() -> None:
    claim = gap(State.ABSENT, 2, 8, tries=2)
    pending = failed(claim, span(2, 8), NOW, "HTTP 502")
    kept = still_wanted((pending,), spans(5, 6) | spans(7, 20), spans(0, 2) | spans(8, 10))
    assert kept == (
        claim.cut_to(span(2, 5)),
        pending.cut_to(span(5, 6)),
        claim.cut_to(span(6, 7)),
        pending.cut_to(span(7, 8)),
    )
    assert still_wanted((pending,), spans(5, 20), spans(8, 10)) == (pending.cut_to(span(5, 8)),)


def test_of_gaps_only_the_last_of_which_is_wanted_the_others_go() -> None:
    both = gap(State.RETRYING, 0, 2), gap(State.RETRYING, 6, 8)
    assert still_wanted(both, spans(5, 10), NOTHING) == both[1:]
    assert still_wanted(both, spans(0, 5), NOTHING) == both[:1]


def test_neighbours_of_which_only_one_was_claimed_stay_apart() -> None:
    pending = failed(None, span(0, 2), NOW, "HTTP 502")
    claimed = failed(gap(State.ABSENT, 2, 4), span(2, 4), NOW, "HTTP 502")
    assert [*neighbours_joined((pending, claimed))] == [pending, claimed]


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
    before = (gap(State.PENDING, 0, 10, tries=4), gap(State.ABSENT, 20, 21))
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


def test_only_what_counts_its_tries_is_asked_for_alone() -> None:
    every = [gap(state, 2 * place, 2 * place + 1, tries=3) for place, state in enumerate(State)]
    assert to_ask_alone(every, NOW) == spans(2, 3)  # retrying
    assert to_ask_alone(every, NOW + 120 * SECOND - 1) == spans(2, 3)
    assert to_ask_alone(every, NOW + 120 * SECOND) == NOTHING


def test_an_invalid_row_is_counted_again_only_when_it_is_due() -> None:
    first = invalid(None, span(0, 3), NOW, "low is not positive")
    early_ms = NOW + DAY_MS - MINUTE_MS - 1
    assert invalid(first, span(0, 3), early_ms, "another") is first
    assert invalid(first, span(1, 2), early_ms, "another") == attrs.evolve(first, span=span(1, 2))
    assert invalid(first, span(0, 3), early_ms + 1, "another").tries == 2
    assert left_out(first, span(0, 3), early_ms).state is State.RETRYING


def test_invalid_rows_are_known_where_they_are_asked_for() -> None:
    every = tuple(gap(state, 3 * place, 3 * place + 2) for place, state in enumerate(State))
    assert known_invalid(every, spans(0, 100)) == spans(9, 11)
    assert known_invalid(every, spans(10, 11)) == spans(10, 11)
    assert known_invalid(every, spans(11, 100)) == NOTHING
    assert known_invalid(every, NOTHING) == NOTHING


def after_answers(one: Gap, other: Gap) -> tuple[Gap, ...]:
    asked = Spans((other.span,))
    return update_gaps((one,), asked, asked, lambda _, __: other)


def joined_by_answers(one: Gap, other: Gap) -> list[Span]:
    return [each.span for each in after_answers(one, other)]


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
    (both,) = after_answers(one, other)
    assert both == Gap(span(0, 2), state, 7, NOW - HOUR + 1, "why", NOW - 5 * DAY_MS)
    assert len(joined_by_answers(one, attrs.evolve(other, asked_ms=NOW - HOUR))) == 2
    (all_three,) = neighbours_joined([one, attrs.evolve(other, asked_ms=0), gap(state, 2, 3)])
    assert (all_three.span, all_three.asked_ms) == (span(0, 3), 0)


# Of another collector


def test_what_another_collector_was_told_is_due_when_it_would_have_been_there() -> None:
    claim = Gap(span(2, 5), State.ABSENT, 6, NOW - DAY_MS, "why", NOW - 9 * DAY_MS)
    (taken,) = with_others((), (claim,), Spans.of(span(0, 9)))
    assert (taken, taken.due_ms) == (claim, NOW + 8 * DAY_MS)


def test_of_two_collectors_the_later_answer_counts() -> None:
    ours = (gap(State.ABSENT, 0, 4, asked_ms=NOW), gap(State.RETRYING, 6, 8, asked_ms=NOW + 2))
    others = (gap(State.ABSENT, 0, 2, asked_ms=NOW - 1), gap(State.INVALID, 2, 7, asked_ms=NOW + 1))
    assert with_others(ours, others, Spans.of(span(0, 9))) == (
        ours[0].cut_to(span(0, 2)),
        others[1].cut_to(span(2, 6)),
        ours[1],
    )


def test_a_request_that_failed_is_no_later_answer() -> None:
    claim = Claim(State.ABSENT, 1, NOW - DAY_MS, "why", NOW - DAY_MS)
    never, later = gap(State.PENDING, 0, 2, asked_ms=NOW), attrs.evolve(gap(State.PENDING, 2, 4), claim=claim)
    other = gap(State.ABSENT, 0, 4, asked_ms=NOW - 1)
    assert with_others((never, later), (other,), Spans.of(span(0, 4))) == (other,)


span_sets = st.lists(st.builds(lambda at, size: span(at, at + size), st.integers(0, 40), st.integers(1, 9)), max_size=6)
others_gaps = st.lists(
    st.tuples(
        st.integers(0, 30), st.integers(1, 6), st.sampled_from([State.ABSENT, State.RETRYING]), st.integers(0, 3)
    ),
    max_size=6,
)


def disjoint(parts: list[tuple[int, int, State, int]]) -> tuple[Gap, ...]:
    """Gaps that do not overlap."""
    gaps: list[Gap] = []
    for at, size, state, asked in sorted(parts, key=lambda part: part[0]):
        if not gaps or gaps[-1].span.end_ms <= span(at, at + 1).start_ms:
            gaps.append(gap(state, at, at + size, asked_ms=NOW + asked * DAY_MS))
    return tuple(gaps)


def minute_by_minute(gaps: Iterable[Gap]) -> dict[int, tuple[State, int]]:
    return {
        ms: (each.state, each.asked_ms)
        for each in gaps
        for ms in range(each.span.start_ms, each.span.end_ms, MINUTE_MS)
    }


@given(others_gaps, others_gaps, span_sets)
def test_two_records_join_as_they_would_minute_by_minute(
    ours: list[tuple[int, int, State, int]], others: list[tuple[int, int, State, int]], possible: list[Span]
) -> None:
    mine, theirs, spans = disjoint(ours), disjoint(others), Spans.of(*possible)
    expected = minute_by_minute(mine)
    for ms, found in minute_by_minute(theirs).items():
        if ms in spans and (ms not in expected or expected[ms][1] < found[1]):
            expected[ms] = found
    assert minute_by_minute(with_others(mine, theirs, spans)) == expected


# In one sweep


def naively_updated(
    gaps: Iterable[Gap], asked: Spans, still_missing: Spans, change: Callable[[Gap | None, Span], Gap]
) -> list[Gap]:
    """What `update_gaps` says, gap by gap and without a thought for time."""
    result, new = list[Gap](), still_missing
    for each in gaps:
        whole = Spans((each.span,))
        result += [attrs.evolve(each, span=part) for part in whole - asked]
        result += [change(each, part) for part in whole & still_missing]
        new -= whole
    return sorted([*result, *(change(None, part) for part in new)], key=lambda each: each.span)


steps = st.tuples(
    span_sets, span_sets, st.sampled_from([State.PENDING, State.ABSENT]), st.sampled_from([NOW, NOW + DAY_MS])
)


@given(st.lists(steps, max_size=6))
def test_a_sweep_says_what_looking_at_every_gap_says(steps: list[tuple[list[Span], list[Span], State, int]]) -> None:
    gaps, naive = tuple[Gap, ...](), list[Gap]()
    for spans_asked, spans_missing, state, at_ms in steps:
        asked = Spans.of(*spans_asked)
        still_missing = asked & Spans.of(*spans_missing)

        def change(before: Gap | None, part: Span, state: State = state, at_ms: int = at_ms) -> Gap:
            return Gap(part, state, 1, at_ms, before.state if before else "new", before.since_ms if before else at_ms)

        gaps, naive = (
            update_gaps(gaps, asked, still_missing, change),
            naively_updated(naive, asked, still_missing, change),
        )
        minute = [(place, each.state, each.why, each.asked_ms) for each in gaps for place in minutes_in(each.span)]
        assert minute == [
            (place, each.state, each.why, each.asked_ms) for each in naive for place in minutes_in(each.span)
        ]
        alike = [(each.span, each.state, each.why, each.asked_ms) for each in gaps]
        assert all(
            one[0].end_ms < other[0].start_ms or (one[0].end_ms == other[0].start_ms and one[1:] != other[1:])
            for one, other in pairwise(alike)
        )
        assert spans_met(gaps, asked) & asked == still_missing


def minutes_in(span: Span) -> range:
    return range(span.start_ms, span.end_ms, MINUTE_MS)


@given(span_sets, span_sets)
def test_gaps_outside_of_spans_keep_all_else(some: list[Span], others: list[Span]) -> None:
    gaps = tuple(Gap(each, State.ABSENT, 1, NOW, str(number)) for number, each in enumerate(Spans.of(*some)))
    rest = without(gaps, Spans.of(*others))
    assert Spans.of(*(each.span for each in rest)) == Spans.of(*some) - Spans.of(*others)
    whys = {place: each.why for each in gaps for place in minutes_in(each.span)}
    assert all(whys[place] == each.why for each in rest for place in minutes_in(each.span))


def test_a_gap_stays_when_its_requests_have_failed_for_an_hour() -> None:
    gap, now = failed(None, span(0, 1), T0, "no answer"), T0
    while not gap.stays:
        now = max(now, gap.due_ms or 0)
        gap = failed(gap, gap.span, now, "no answer")
    assert now - T0 >= 60 * MINUTE_MS
    assert gap.due_ms == now + 60 * MINUTE_MS
    assert not attrs.evolve(gap, state=State.ABSENT).stays
