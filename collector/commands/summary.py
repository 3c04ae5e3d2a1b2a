"""The summary: what a collection came to, in words.

Pure: the caller prints it.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from collector.core.candle import Series
from collector.core.missing import Gap
from collector.core.rows import candles_in
from collector.core.spans import Spans
from collector.core.text import counted, moment_text
from collector.pipeline.outcome import Outcome

_SHOWN = 10


def summary_lines(outcome: Outcome) -> Iterator[str]:
    """What was collected, its cost, the troubles on the way, and what is still missing."""
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
    """What was wanted and is still missing; empty once all is there."""
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
