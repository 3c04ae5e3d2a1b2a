"""The coverage of a series as runs of one state each: what the map draws.

A run is three whole numbers, start, end and the number of its state; runs are disjoint and come by time. What is
neither wanted nor held is in no run. Pure: a market has thousands of series, and all of them are asked for at once.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from collector.core.missing import Gap, State
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import Span, Spans, meeting

HELD, UNVERIFIED = "held", "unverified"
STATES = (
    HELD,
    UNVERIFIED,
    State.PENDING.value,
    State.RETRYING.value,
    State.ABSENT.value,
    State.BEFORE_LISTING.value,
    State.DELISTED.value,
    State.INVALID.value,
)
_NUMBERS = {State(name): number for number, name in enumerate(STATES) if number > 1}
_PENDING = _NUMBERS[State.PENDING]

Run = tuple[int, int, int]


def runs_of(record: SeriesCoverage, start_ms: int, end_ms: int) -> list[int]:
    """The runs of a series in [start, end), one behind the other."""
    held, unverified, gaps = record.held, record.unverified, record.gaps
    never_asked = record.never_asked if record.wanted != held else ()
    runs = list(_held(held, unverified)) if unverified else [(each.start_ms, each.end_ms, 0) for each in held]
    if gaps or never_asked:
        runs += [(gap.span.start_ms, gap.span.end_ms, _NUMBERS[gap.state]) for gap in gaps]
        runs += [(span.start_ms, span.end_ms, _PENDING) for span in never_asked]
        runs.sort()
        runs = list(_joined(runs))
    if runs and (runs[0][0] < start_ms or end_ms < runs[-1][1]):
        runs = list(_within(runs, start_ms, end_ms))
    return list(chain.from_iterable(runs))


def _held(held: Spans, unverified: Spans) -> Iterator[Run]:
    """What is held, in pieces by whether REST has confirmed it."""
    doubted: Sequence[Span] = tuple(unverified)
    for span in held:
        at_ms = span.start_ms
        for each in doubted[meeting(doubted, span)]:
            if at_ms < each.start_ms:
                yield at_ms, each.start_ms, 0
            at_ms = min(each.end_ms, span.end_ms)
            yield max(each.start_ms, span.start_ms), at_ms, 1
        if at_ms < span.end_ms:
            yield at_ms, span.end_ms, 0


def _joined(runs: Sequence[Run]) -> Iterator[Run]:
    """Neighbours of one state as one: gaps differ in more than their state."""
    start_ms, end_ms, number = runs[0]
    for run in runs[1:]:
        if run[2] == number and run[0] == end_ms:
            end_ms = run[1]
        else:
            yield start_ms, end_ms, number
            start_ms, end_ms, number = run
    yield start_ms, end_ms, number


def _within(runs: Sequence[Run], start_ms: int, end_ms: int) -> Iterator[Run]:
    for first, last, number in runs:
        if first < end_ms and start_ms < last:
            yield max(first, start_ms), min(last, end_ms), number


def gaps_within(gaps: Sequence[Gap], start_ms: int, end_ms: int) -> list[Gap]:
    """The gaps that have candles in [start, end), whole."""
    return [gap for gap in gaps if gap.span.start_ms < end_ms and start_ms < gap.span.end_ms]
