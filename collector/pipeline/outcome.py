"""What a collection came to, in numbers and in words. Pure: it counts and prints nothing itself."""

from collections.abc import Iterator, Sequence
from itertools import islice

import attrs

from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.missing import Gap
from collector.core.rows import candles_in
from collector.core.spans import Spans
from collector.core.text import counted, moment_text
from collector.integrity.repair import RepairResult

_SHOWN = 10


@attrs.frozen
class Outcome:
    """What a collection came to.

    `missing` has every wanted candle that is not in a file and may still come, `absent` those that the exchange was
    asked for again and does not have, `invalid` those of which its own row is no candle, `unknown` the symbols asked
    for that are not listed. `looked` is whether it came as far as finding out what is missing.
    """

    counters: Counters
    seconds: float
    series: int
    missing: tuple[tuple[Series, Gap], ...]
    absent: tuple[tuple[Series, Gap], ...]
    unknown: tuple[str, ...]
    looked: bool
    stopped: bool
    invalid: tuple[tuple[Series, Gap], ...] = ()
    left_alone: tuple[str, ...] = ()  # why files were not touched, a sentence each
    mended: RepairResult = attrs.field(factory=RepairResult)

    @property
    def vitals(self) -> Counters:
        """The former name of `counters`."""
        return self.counters

    @property
    def complete(self) -> bool:
        return self.looked and not self.missing and not self.unknown and not self.left_alone


def summary_lines(outcome: Outcome) -> Iterator[str]:
    """What was collected, what it took, what went wrong on the way, and what is still missing."""
    yield from _done(outcome)
    yield from left_lines(outcome)


def _done(outcome: Outcome) -> Iterator[str]:
    counters = outcome.counters
    rate = counters.rows / outcome.seconds if outcome.seconds else 0
    yield (
        f"{counted(counters.rows, 'candle')} of {counted(outcome.series, 'series')} in {outcome.seconds:.1f} s "
        f"({rate:,.0f} rows/s), {counted(counters.requests, 'request')}, {counted(counters.retries, 'retry')}"
    )
    if counters.troubles:
        met = ", ".join(f"{count:,} × {kind}" for kind, count in sorted(counters.troubles.items()))
        yield f"troubles met on the way: {met}"
    if counters.revisions:
        was = (
            "was not as the exchange has it, and was"
            if counters.revisions == 1
            else "were not as the exchange has them, and were"
        )
        yield f"{counted(counters.revisions, 'stored candle')} {was} replaced"
    if outcome.absent:
        yield f"the exchange does not have {_amount(outcome.absent)}; asked again ever more rarely"
    if outcome.invalid:
        yield f"the exchange's own rows for {_amount(outcome.invalid)} are no candles; asked again ever more rarely"
    if outcome.complete:
        settled = outcome.absent or outcome.invalid
        yield "nothing else that was wanted is missing" if settled else "nothing wanted is missing"


def left_lines(outcome: Outcome) -> Iterator[str]:
    """What was wanted and did not come; nothing where all did."""
    if outcome.unknown:
        yield f"not listed by the exchange: {', '.join(outcome.unknown)}"
    for why in outcome.left_alone:
        alone = [(series, gap) for series, gap in outcome.missing if gap.why == why]
        yield f"{why} (until then {_amount(alone)} stay missing)" if alone else why
    if not outcome.looked:
        yield "stopped before it was known what is missing"
    missing = [(series, gap) for series, gap in outcome.missing if gap.why not in outcome.left_alone]
    if not missing:
        return
    yield f"still missing: {_amount(missing)}, each on record; the next start asks for them again"
    for series, gap in islice(missing, _SHOWN):
        start, end = moment_text(gap.span.start_ms), moment_text(gap.span.end_ms)
        yield f"  {series} {start} to {end}: {gap.state}, {gap.why}"
    if len(missing) > _SHOWN:
        yield f"  and {len(missing) - _SHOWN:,} more"


def _amount(gaps: Sequence[tuple[Series, Gap]]) -> str:
    candles = sum(candles_in(series.timeframe, Spans((gap.span,))) for series, gap in gaps)
    return f"{counted(candles, 'candle')} in {counted(len(gaps), 'span')}"
