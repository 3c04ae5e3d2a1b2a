"""Span sets behave like sets of instants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.spans import NOTHING, Span, Spans

spans = st.builds(lambda start, length: Span(start, start + length), st.integers(0, 60), st.integers(1, 20))
span_sets = st.lists(spans, max_size=8).map(lambda many: Spans.of(*many))


def instants(spans: Spans) -> set[int]:
    return {ms for span in spans for ms in range(span.start_ms, span.end_ms)}


@given(st.lists(spans, max_size=8))
def test_a_union_of_spans_holds_exactly_their_instants(many: list[Span]) -> None:
    assert instants(Spans.of(*many)) == {ms for span in many for ms in range(span.start_ms, span.end_ms)}


@given(span_sets, span_sets)
def test_set_arithmetic_agrees_with_sets_of_instants(a: Spans, b: Spans) -> None:
    assert instants(a | b) == instants(a) | instants(b)
    assert instants(a - b) == instants(a) - instants(b)
    assert instants(a & b) == instants(a) & instants(b)


def test_a_difference_of_sets_that_end_alike_but_for_a_span_between() -> None:
    ours = Spans.of(Span(0, 2), Span(4, 5), Span(6, 7), Span(8, 9))
    assert ours - Spans.of(Span(0, 1), Span(4, 5), Span(8, 9)) == Spans.of(Span(1, 2), Span(6, 7))


@given(span_sets, span_sets)
def test_equal_coverage_is_equal_whatever_way_it_came_about(a: Spans, b: Spans) -> None:
    assert (a - b) | (a & b) == a
    assert a | b == b | a


@given(span_sets)
def test_the_normal_form_is_sorted_disjoint_and_never_touching(a: Spans) -> None:
    pairs = list(zip(a, list(a)[1:], strict=False))
    assert all(before.end_ms < after.start_ms for before, after in pairs)


@given(span_sets, st.integers(-5, 90))
def test_membership_is_that_of_the_set(a: Spans, ms: int) -> None:
    assert (ms in a) == (ms in instants(a))


@given(span_sets, spans)
def test_a_span_is_covered_if_all_its_instants_are_in_one_span(a: Spans, span: Span) -> None:
    assert a.covers(span.start_ms, span.end_ms) == (instants(Spans((span,))) <= instants(a))


def test_a_span_is_covered_to_its_last_instant_and_not_beyond() -> None:
    a = Spans.of(Span(10, 20), Span(30, 40))
    assert [a.covers(*ends) for ends in [(10, 20), (10, 21), (9, 20), (0, 5), (25, 26)]] == [True] + [False] * 4


@given(span_sets, span_sets)
def test_what_fills_the_gaps_leaves_none(wanted: Spans, held: Spans) -> None:
    missing = wanted - held
    assert wanted - (held | missing) == NOTHING
    assert missing & held == NOTHING


def test_a_span_is_never_empty() -> None:
    with pytest.raises(ValueError, match="must end after it starts"):
        Span(5, 5)
    assert Spans.between(5, 5) == NOTHING


def test_the_hull_of_nothing_is_an_error() -> None:
    assert Spans.of(Span(1, 2), Span(5, 9)).bounds == Span(1, 9)
    with pytest.raises(ValueError, match="no bounds"):
        _ = NOTHING.bounds


def test_a_set_ends_where_its_last_span_does() -> None:
    assert Spans.of(Span(1, 2), Span(5, 9)).end_ms == 9
    assert NOTHING.end_ms == 0
