"""The coverage of a series as runs of one state each: what the map draws.

A run is three whole numbers, start, end and the number of its state; runs are disjoint and come by time. What is
neither wanted nor held is in no run. Pure: a market has thousands of series, and all of them are asked for at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import attrs
import msgspec

from collector.core.candle import Series
from collector.core.missing import Gap, State
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import Span, Spans

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
_END = (1 << 62, 1 << 62, 0)


def runs_of(record: SeriesCoverage, start_ms: int, end_ms: int) -> list[int]:
    """The runs of a series in [start, end), one behind the other."""
    runs = _runs(record)
    if runs and (runs[0][0] < start_ms or end_ms < runs[-1][1]):
        runs = [
            (max(first, start_ms), min(last, end_ms), number)
            for first, last, number in runs
            if first < end_ms and start_ms < last
        ]
    return list(chain.from_iterable(runs))


def _runs(record: SeriesCoverage) -> list[Run]:
    held, unverified, gaps, wanted = record.held, record.unverified, record.gaps, record.wanted
    runs = list(_held(held, unverified)) if unverified else [(each.start_ms, each.end_ms, 0) for each in held]
    if gaps:
        runs += [(gap.span.start_ms, gap.span.end_ms, _NUMBERS[gap.state]) for gap in gaps]
        runs.sort()
    if held is wanted or not wanted:
        return list(_joined(runs)) if gaps else runs
    return list(_joined(_with_pending(runs, wanted)))


def _held(held: Spans, unverified: Spans) -> Iterator[Run]:
    """What is held, in pieces by whether REST has confirmed it."""
    doubted = iter(unverified)
    each = next(doubted, None)
    for span in held:
        at_ms, last_ms = span.start_ms, span.end_ms
        while each is not None and each.start_ms < last_ms:
            if at_ms < each.start_ms:
                yield at_ms, each.start_ms, 0
            at_ms = each.end_ms
            yield each.start_ms, at_ms, 1
            each = next(doubted, None)
        if at_ms < last_ms:
            yield at_ms, last_ms, 0


def _with_pending(runs: list[Run], wanted: Spans) -> Iterator[Run]:
    """The runs, and between them what is wanted and was never asked for."""
    spans = iter(wanted)
    span = next(spans)
    at_ms = span.start_ms
    for run in (*runs, _END):
        while at_ms < run[0]:
            if at_ms < span.end_ms:
                yield at_ms, min(run[0], span.end_ms), _PENDING
            if run[0] <= span.end_ms:
                break
            span = next(spans, _NO_MORE)
            at_ms = max(at_ms, span.start_ms)
        if run is not _END:
            yield run
            at_ms = max(at_ms, run[1])


_NO_MORE = Span(_END[0], _END[0] + 1)


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    """Neighbours of one state as one: gaps differ in more than their state."""
    start_ms, end_ms, number = -1, -1, -1
    for run in runs:
        if run[2] == number and run[0] == end_ms:
            end_ms = run[1]
            continue
        if number >= 0:
            yield start_ms, end_ms, number
        start_ms, end_ms, number = run
    if number >= 0:
        yield start_ms, end_ms, number


# By importance: where several states share a cell of a coarse map, the last of them shows, as in static/words.js.
_IMPORTANCE = ("before-listing", "delisted", "held", "unverified", "absent", "invalid", "pending", "retrying")
_RANKS = [_IMPORTANCE.index(state) for state in STATES]


def coarsened(runs: Sequence[int], cell_ms: int) -> list[int]:
    """The runs on a grid.

    The most important state fills a cell.
    """
    made: list[Run] = []
    for at in range(0, len(runs), 3):
        start_ms, end_ms = runs[at] // cell_ms * cell_ms, -(-runs[at + 1] // cell_ms) * cell_ms
        number = runs[at + 2]
        if made and start_ms < made[-1][1]:
            first_ms, last_ms, before = made[-1]
            if _RANKS[number] > _RANKS[before]:
                made[-1] = first_ms, start_ms, before
                if first_ms == start_ms:
                    made.pop()
            else:
                start_ms = last_ms
        if start_ms < end_ms:
            made.append((start_ms, end_ms, number))
    return list(chain.from_iterable(_joined(made)))


_Sets = tuple[Spans, Spans, tuple[Gap, ...], Spans]


@attrs.frozen(eq=False)
class RunCache:
    """The runs of each series as JSON, kept while its sets are the same objects: a change replaces them."""

    _kept: dict[Series, tuple[_Sets, msgspec.Raw]] = attrs.field(factory=dict)

    def of(self, series: Series, record: SeriesCoverage) -> msgspec.Raw:
        """All runs of a series."""
        held, unverified, gaps, wanted = record.held, record.verification.unverified, record.gaps, record.wanted
        kept = self._kept.get(series)
        if kept is not None:
            sets = kept[0]
            if sets[0] is held and sets[1] is unverified and sets[2] is gaps and sets[3] is wanted:
                return kept[1]
        made = msgspec.Raw(msgspec.json.encode({"symbol": series.symbol, "runs": runs_of(record, 0, _END[0])}))
        self._kept[series] = (held, unverified, gaps, wanted), made
        return made


def gaps_meeting(gaps: Sequence[Gap], start_ms: int, end_ms: int) -> list[Gap]:
    """The gaps that have candles in [start, end), whole."""
    return [gap for gap in gaps if gap.span.start_ms < end_ms and start_ms < gap.span.end_ms]
