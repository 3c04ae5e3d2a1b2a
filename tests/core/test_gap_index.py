"""What is kept of a series' sets is what they say: the same as computed anew, whatever happened to them in between."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core import gap_index
from collector.core.candle import DAY_MS, MINUTE_MS
from collector.core.gap_index import Difference, GapIndex
from collector.core.missing import Gap, InvalidRow, State, not_due, to_ask_alone
from collector.core.rows import candles_in
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import NOTHING, Span, Spans
from tests.support.coverage import MINUTE, NOW, minutes, span

FRAME = MINUTE.timeframe
LATER = st.sampled_from([0, 1_000, 15_000, MINUTE_MS, 60 * MINUTE_MS, DAY_MS, 9 * DAY_MS, -DAY_MS, -1_000])


@pytest.fixture(autouse=True, scope="module")
def kept_of_the_smallest() -> Iterator[None]:
    """Few spans are computed anew in earnest; here nothing is."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gap_index, "_FEW", 0)
        yield


places = st.integers(0, 40)
parts = st.tuples(places, st.integers(1, 12)).map(lambda part: minutes(part[0], part[0] + part[1]))
some = st.lists(parts, max_size=6).map(lambda every: Spans.of(*(each for part in every for each in part)))


@given(st.lists(st.tuples(some, some, st.sampled_from(["both", "whole", "taken"])), min_size=1, max_size=8))
def test_a_difference_is_that_of_the_sets_as_they_are_now(steps: list[tuple[Spans, Spans, str]]) -> None:
    difference, whole, taken = Difference(), NOTHING, NOTHING
    for one, other, changed in steps:
        whole = whole if changed == "taken" else one
        taken = taken if changed == "whole" else other
        assert difference.of(whole, taken) == whole - taken
        assert difference.of(whole, taken) == whole - taken


@st.composite
def gaps(draw: st.DrawFn) -> tuple[Gap, ...]:
    every, at = [], 0
    for state in draw(st.lists(st.sampled_from(State), max_size=8)):
        first = at + draw(st.integers(0, 2))
        at = first + draw(st.integers(1, 3))
        every.append(Gap(span(first, at), state, draw(st.integers(1, 3)), NOW + draw(LATER), "why", NOW))
    return tuple(every)


@given(gaps(), st.lists(LATER, min_size=1, max_size=8))
def test_what_follows_from_gaps_is_the_same_at_any_time(every: tuple[Gap, ...], pauses: list[int]) -> None:
    index, now_ms = GapIndex(FRAME, every), NOW
    assert index.before_listing == tuple(gap for gap in every if gap.state is State.BEFORE_LISTING)
    for pause in pauses:
        now_ms += pause
        coming = [gap.due_ms for gap in every if gap.due_ms is not None and gap.due_ms > now_ms]
        assert index.not_due(now_ms) == not_due(every, now_ms)
        assert index.to_ask_alone(now_ms) == to_ask_alone(every, now_ms)
        assert index.next_due_ms(now_ms) == min(coming, default=None)


def test_the_next_moment_is_the_first_that_is_still_to_come() -> None:
    states = [(State.PENDING, 1), (State.RETRYING, 3), (State.ABSENT, 1), (State.DELISTED, 1)]
    index = GapIndex(FRAME, tuple(Gap(span(0, 1), state, tries, NOW, "why", NOW) for state, tries in states))
    assert index.next_due_ms(NOW) == NOW + 120_000
    assert index.next_due_ms(NOW + 120_000) == NOW + DAY_MS
    assert index.next_due_ms(NOW + DAY_MS) is None


transitions = st.tuples(
    st.sampled_from(["answer", "leave out", "invalid", "fail", "want", "hold", "confirm", "fetch", "end", "reopen"]),
    parts,
    LATER,
)


def happens(record: SeriesCoverage, kind: str, part: Spans, now_ms: int) -> None:
    match kind:
        case "answer":
            record.answer(part, part, now_ms)
        case "leave out":
            record.answer(part, NOTHING, now_ms)
        case "invalid":
            record.answer(
                part, NOTHING, now_ms, [InvalidRow(Span(part[0].start_ms, part[0].start_ms + MINUTE_MS), "x")]
            )
        case "fail":
            record.fail(part, "HTTP 502", now_ms)
        case "want":
            record.want(part)
        case "hold":
            record.hold(record.held - part)
        case "confirm":
            record.confirm(part, record.held | part)
        case "fetch":
            record.start_fetch(part)
        case "end":
            record.end_series()
        case "reopen":
            record.reopen_series()
            record.drop_future_timestamps(now_ms)


@given(st.lists(transitions, min_size=1, max_size=10))
def test_what_is_missing_and_due_follows_from_the_sets_alone(every: list[tuple[str, Spans, int]]) -> None:
    record, now_ms = SeriesCoverage(FRAME, wanted=minutes(0, 50)), NOW + 60 * MINUTE_MS
    for kind, part, pause in every:
        happens(record, kind, part, now_ms := now_ms + pause)
        gaps, lacking = record.gaps, record.wanted - record.held
        unverified = record.verification.due(FRAME, now_ms)
        due = (lacking - not_due(gaps, now_ms)) | unverified
        assert record.due(now_ms) == due - record.in_flight
        assert record.never_asked == lacking - Spans.of(*(gap.span for gap in gaps))
        for state in State:
            mine = [gap for gap in gaps if gap.state is state]
            candles = sum(candles_in(FRAME, Spans((gap.span,))) for gap in mine)
            assert record.gap_index.counts.get(state, (0, 0)) == (len(mine), candles)


def test_gaps_that_stay_are_counted() -> None:
    gaps = [Gap(span(at, at + 3), State.PENDING, tries, NOW, "") for at, tries in ((0, 8), (10, 9), (20, 30))]
    assert GapIndex(MINUTE.timeframe, tuple(gaps)).failing == (2, 6)
    assert GapIndex(MINUTE.timeframe).failing == (0, 0)
