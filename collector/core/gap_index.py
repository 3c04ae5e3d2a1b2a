"""What follows from the gaps of a series, and from what it wants and holds, kept as long as they stay the same.

A series may have many thousand gaps, and is looked at every minute, by several. Tuples of gaps and sets of spans are
immutable: one that is the same object says the same, and of two that differ a little all but that little is kept. Pure.
"""

from bisect import bisect_right
from collections import Counter
from functools import cached_property

import attrs

from collector.core.candle import TIMEFRAMES, Timeframe
from collector.core.listing_dates import claimed_ms
from collector.core.missing import Gap, State, not_due, to_ask_alone
from collector.core.spans import NOTHING, Spans

_FEW = 64  # spans whose difference is made faster than looked up


@attrs.define(eq=False)
class GapIndex:
    """What follows from one tuple of gaps, each of it computed when it is first asked for."""

    _timeframe: Timeframe
    gaps: tuple[Gap, ...] = ()
    _passed: int = 0  # how many were due when what is not due was last asked for
    _rest: Spans = attrs.field(init=False)  # was not due then

    @_rest.default
    def _all(self) -> Spans:
        return self.spans

    @cached_property
    def spans(self) -> Spans:
        """Every gap's span."""
        return Spans.of(*(gap.span for gap in self.gaps))

    @cached_property
    def before_listing(self) -> tuple[Gap, ...]:
        """Those before the first candle that the exchange has."""
        return tuple(gap for gap in self.gaps if gap.state is State.BEFORE_LISTING)

    @property
    def listing_ms(self) -> int | None:
        """The listing date on record.

        None if the exchange was never asked, or has all that is wanted.
        """
        return claimed_ms(self.before_listing)

    @cached_property
    def _retrying(self) -> tuple[Gap, ...]:
        return tuple(gap for gap in self.gaps if gap.state is State.RETRYING)

    @cached_property
    def _by_due(self) -> list[tuple[int, Gap]]:
        dated = ((gap.due_ms, gap) for gap in self.gaps)
        return sorted(((due_ms, gap) for due_ms, gap in dated if due_ms is not None), key=_due_ms)

    def not_due(self, now_ms: int) -> Spans:
        """The spans to ask for later, or never (see `missing.not_due`)."""
        passed = bisect_right(self._by_due, now_ms, key=_due_ms)
        if passed < self._passed:  # the clock went back
            self._rest = not_due(self.gaps, now_ms)
        elif passed > self._passed:
            self._rest -= Spans.of(*(gap.span for _, gap in self._by_due[self._passed : passed]))
        self._passed = passed
        return self._rest

    def next_due_ms(self, now_ms: int) -> int | None:
        """The next moment at which a gap is due."""
        at = bisect_right(self._by_due, now_ms, key=_due_ms)
        return self._by_due[at][0] if at < len(self._by_due) else None

    def to_ask_alone(self, now_ms: int) -> Spans:
        """The spans to keep out of other requests (see `missing.to_ask_alone`)."""
        return to_ask_alone(self._retrying, now_ms)

    @cached_property
    def counts(self) -> dict[State, tuple[int, int]]:
        """How many gaps, and how many candles in them, are in each state."""
        spans, candles = Counter(gap.state for gap in self.gaps), Counter[State]()
        for gap in self.gaps:
            candles[gap.state] += self._timeframe.count(gap.span.start_ms, gap.span.end_ms)
        return {state: (count, candles[state]) for state, count in spans.items()}

    @cached_property
    def failing(self) -> tuple[int, int]:
        """How many gaps stay since their requests fail, and how many candles are in them."""
        staying = [gap.span for gap in self.gaps if gap.stays]
        return len(staying), sum(self._timeframe.count(span.start_ms, span.end_ms) for span in staying)


_NO_GAPS = GapIndex(TIMEFRAMES["1"])  # of any timeframe


def _due_ms(dated: tuple[int, Gap]) -> int:
    return dated[0]


@attrs.define(eq=False)
class Difference:
    """The difference of two sets, of which each changes a little at a time."""

    _whole: Spans = NOTHING
    _taken: Spans = NOTHING
    _left: Spans = NOTHING

    def of(self, whole: Spans, taken: Spans) -> Spans:
        """What is in the one and lacks in the other."""
        if whole is self._whole and taken is self._taken:
            return self._left
        if len(taken) < _FEW:
            self._left = whole - taken
        else:
            less, more = self._whole - whole, whole - self._whole
            back = self._taken - taken
            left = self._left - less - (taken - self._taken)
            self._left = left | (more - taken) | ((back & whole) if back else back)
        self._whole, self._taken = whole, taken
        return self._left


@attrs.define(eq=False)
class SeriesIndex:
    """What follows from the sets of one series."""

    _gaps: GapIndex = _NO_GAPS
    _lacking: Difference = attrs.field(factory=Difference)
    _due: Difference = attrs.field(factory=Difference)
    _never_asked: Difference = attrs.field(factory=Difference)

    def of(self, timeframe: Timeframe, gaps: tuple[Gap, ...]) -> GapIndex:
        """What follows from its gaps."""
        if not gaps:
            return _NO_GAPS
        if gaps is not self._gaps.gaps:
            self._gaps = GapIndex(timeframe, gaps)
        return self._gaps

    def due(self, wanted: Spans, held: Spans, index: GapIndex, now_ms: int) -> Spans:
        """What is wanted and lacks, but for the gaps that are not due."""
        lacking = self._lacking.of(wanted, held)
        return self._due.of(lacking, index.not_due(now_ms)) if index.gaps and lacking else lacking

    def never_asked(self, wanted: Spans, held: Spans, index: GapIndex) -> Spans:
        """What is wanted, lacks, and is in no gap."""
        return self._never_asked.of(self._lacking.of(wanted, held), index.spans)
