"""Spans of time and sets of them: what is held, absent, wanted, missing.

All spans are half-open, [start, end), in integer epoch milliseconds. `Spans` is kept in one normal form (sorted,
disjoint, apart, each longer than zero), so two sets that cover the same instants are equal.

Whatever is done with two sets looks only at where they meet, which is found by bisection: the rest is copied as it is.
So a small change of a large set is cheap. Pure.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

import attrs


@attrs.frozen
class Span:
    """The instants from `start_ms` up to but excluding `end_ms`.

    Earlier starts sort first.
    """

    start_ms: int
    end_ms: int = attrs.field()

    @end_ms.validator
    def _is_after_start(self, _: object, end_ms: int) -> None:
        if end_ms <= self.start_ms:
            raise ValueError(f"a span must end after it starts: [{self.start_ms}, {end_ms})")

    def __contains__(self, ms: int) -> bool:
        return self.start_ms <= ms < self.end_ms

    def __lt__(self, other: "Span") -> bool:  # several times as fast as what attrs makes
        return (self.start_ms, self.end_ms) < (other.start_ms, other.end_ms)


@attrs.frozen
class Spans:
    """A set of instants as disjoint spans in order of time.

    Build it with `Spans.of(...)`.
    """

    _spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, *spans: Span) -> "Spans":
        """The union of any spans, in any order."""
        return cls(tuple(_normal(sorted(spans, key=_start))))

    @classmethod
    def between(cls, start_ms: int, end_ms: int) -> "Spans":
        """One span, or the empty set where the end precedes the start."""
        return cls((Span(start_ms, end_ms),)) if end_ms > start_ms else cls()

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> Span:
        return self._spans[index]

    def __contains__(self, ms: int) -> bool:
        at = bisect_right(self._spans, ms, key=_start)
        return at > 0 and ms < self._spans[at - 1].end_ms

    def __or__(self, other: "Spans") -> "Spans":
        ours, theirs = self._spans, other._spans
        if not ours or not theirs:
            return self if ours else other
        last, first = ours[-1], theirs[0]
        if last.end_ms < first.start_ms:  # the common cases: something new at the end
            return Spans(ours + theirs)
        if last.end_ms == first.start_ms:
            return Spans((*ours[:-1], Span(last.start_ms, first.end_ms), *theirs[1:]))
        if self.covers(first.start_ms, theirs[-1].end_ms):
            return self
        if len(ours) < len(theirs):
            ours, theirs = theirs, ours
        at = meeting(ours, Span(theirs[0].start_ms - 1, theirs[-1].end_ms + 1))  # neighbours join
        return Spans(ours[: at.start] + tuple(_normal(sorted(ours[at] + theirs, key=_start))) + ours[at.stop :])

    def __sub__(self, other: "Spans") -> "Spans":
        ours, theirs = self._spans, other._spans
        if not ours or not theirs:
            return self
        at = meeting(ours, other.bounds)
        if at.start == at.stop:
            return self
        removed = theirs[meeting(theirs, Span(ours[at.start].start_ms, ours[at.stop - 1].end_ms))]
        return Spans(ours[: at.start] + tuple(_difference(*_unlike(ours[at], removed))) + ours[at.stop :])

    def __and__(self, other: "Spans") -> "Spans":
        ours, theirs = self._spans, other._spans
        if not ours or not theirs:
            return NOTHING
        return Spans(tuple(_common(ours[meeting(ours, other.bounds)], theirs[meeting(theirs, self.bounds)])))

    def within(self, start_ms: int, end_ms: int) -> "Spans":
        """The part that lies in [start, end)."""
        return self & Spans.between(start_ms, end_ms)

    @property
    def end_ms(self) -> int:
        """Where the last span ends.

        0 for the empty set.
        """
        return self._spans[-1].end_ms if self._spans else 0

    def covers(self, start_ms: int, end_ms: int) -> bool:
        """Whether one of the spans holds all of [start, end)."""
        at = bisect_right(self._spans, start_ms, key=_start)
        return at > 0 and end_ms <= self._spans[at - 1].end_ms

    @property
    def bounds(self) -> Span:
        """The one span from the first instant to the last.

        Raises:
            ValueError: the set is empty.
        """
        if not self._spans:
            raise ValueError("an empty set has no bounds")
        return Span(self._spans[0].start_ms, self._spans[-1].end_ms)


NOTHING = Spans()
EVER = Spans((Span(0, 2**53),))  # every candle there can be
_start, _end = attrgetter("start_ms"), attrgetter("end_ms")


def meeting(spans: Sequence[Span], other: Span) -> slice:
    """The places of sorted, disjoint spans that share instants with another."""
    first = bisect_right(spans, other.start_ms, key=_end)
    return slice(first, bisect_left(spans, other.end_ms, first, key=_start))


def _normal(spans: Iterable[Span]) -> Iterator[Span]:
    """Joins spans that overlap or touch; they come sorted."""
    current: Span | None = None
    for span in spans:
        if current is None or span.start_ms > current.end_ms:
            if current is not None:
                yield current
            current = span
        else:
            current = Span(current.start_ms, max(current.end_ms, span.end_ms))
    if current is not None:
        yield current


def _unlike(ours: tuple[Span, ...], theirs: tuple[Span, ...]) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Both without the spans that they begin and end with alike: all but a few, of a large set before and after."""
    first = _alike(ours, theirs)
    ours, theirs = ours[first:], theirs[first:]
    last = _alike(ours[::-1], theirs[::-1])
    return ours[: len(ours) - last], theirs[: len(theirs) - last]


def _alike(ours: tuple[Span, ...], theirs: tuple[Span, ...]) -> int:
    """How many spans at the start are the same, found by halving: tuples compare fast."""
    sure, most = 0, min(len(ours), len(theirs))
    while sure < most:
        middle = (sure + most + 1) // 2
        if ours[sure:middle] == theirs[sure:middle]:
            sure = middle
        else:
            most = middle - 1
    return sure


def _difference(kept: tuple[Span, ...], removed: tuple[Span, ...]) -> Iterator[Span]:
    at = 0
    for span in kept:
        start = span.start_ms
        while at < len(removed) and removed[at].end_ms <= start:
            at += 1
        ahead = at
        while ahead < len(removed) and removed[ahead].start_ms < span.end_ms:
            if removed[ahead].start_ms > start:
                yield Span(start, removed[ahead].start_ms)
            start = removed[ahead].end_ms
            ahead += 1
        if start == span.start_ms:
            yield span
        elif start < span.end_ms:
            yield Span(start, span.end_ms)


def _common(ours: tuple[Span, ...], theirs: tuple[Span, ...]) -> Iterator[Span]:
    place = at = 0
    while place < len(ours) and at < len(theirs):
        one, other = ours[place], theirs[at]
        start, end = max(one.start_ms, other.start_ms), min(one.end_ms, other.end_ms)
        if start < end:
            yield Span(start, end)
        if one.end_ms == end:
            place += 1
        if other.end_ms == end:
            at += 1
