"""What has changed in a series since its reader was last told.

Candles that come late, are verified, revised or repaired, and gaps that come, go or are settled, change what a chart
shows far from the newest candle. Pure.
"""

from functools import reduce
from operator import or_

import attrs

from collector.core.missing import Gap
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import NOTHING, Span, Spans


@attrs.frozen
class Snapshot:
    """What is told of a series, as of one moment."""

    held: Spans
    unverified: Spans
    gaps: tuple[Gap, ...]
    revised: Spans
    repaired: Spans
    rewritten: tuple[int, int]

    @classmethod
    def of(cls, record: SeriesCoverage, file: int = 0) -> "Snapshot":
        """The snapshot of a coverage, and of the file of this number."""
        corrections = record.corrections
        sets = record.held, record.unverified, record.gaps, corrections.revised, corrections.repaired
        return cls(*sets, (file, corrections.count))

    def changed_since(self, before: "Snapshot") -> Span | None:
        """From the first candle that is otherwise to the last; all of them where the file alone says which."""
        sets = (
            (self.held, before.held),
            (self.unverified, before.unverified),
            (self.revised, before.revised),
            (self.repaired, before.repaired),
        )
        changed = reduce(or_, (_differing(*both) for both in sets))
        if self.gaps != before.gaps:
            changed = reduce(or_, (Spans((gap.span,)) for gap in {*self.gaps} ^ {*before.gaps}), changed)
        if not changed and self.rewritten != before.rewritten:
            changed = self.held
        return changed.bounds if changed else None


NO_SERIES = Snapshot(NOTHING, NOTHING, (), NOTHING, NOTHING, (0, 0))


def _differing(ours: Spans, theirs: Spans) -> Spans:
    return NOTHING if ours is theirs else (ours - theirs) | (theirs - ours)
