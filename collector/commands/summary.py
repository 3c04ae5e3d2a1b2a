"""The summary: what a collection came to, in words.

The caller prints it.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from collector.core.candle import Series
from collector.core.missing import Gap
from collector.core.rows import candles_in
from collector.core.spans import Spans
from collector.core.text import counted, duration_text, moment_text
from collector.pipeline.outcome import Outcome

_SHOWN = 10


def summary_lines(outcome: Outcome) -> Iterator[str]:
    """What was collected, its cost, the troubles on the way, and what is still missing."""
    yield from _done(outcome)
    yield from left_lines(outcome)


def _done(outcome: Outcome) -> Iterator[str]:
    counters = outcome.counters
    yield f"{counted(counters.rows, 'candle')} of {counted(outcome.series, 'series')} in {_took(outcome.seconds)}"
    yield _history(outcome)
    if outcome.connections:
        again = max(0, counters.subscriptions - outcome.connections)
        over = f"{counted(outcome.connections, 'connection')}, {counted(again, 'reconnect')}"
        yield f"  live:     {counted(counters.streamed, 'candle')} over {over}"
    if counters.troubles:
        met = ", ".join(f"{count:,} × {kind}" for kind, count in sorted(counters.troubles.items()))
        yield f"  troubles: {met}"
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


def _history(outcome: Outcome) -> str:
    counters, complete_s = outcome.counters, outcome.complete_after_s
    parts = [f"  history:  {counted(counters.history, 'candle')}", counted(counters.requests, "request")]
    if counters.retries:
        parts.append(counted(counters.retries, "retry"))
    if complete_s is not None and counters.history:
        parts.append(f"complete after {_took(complete_s)} ({counters.history / max(complete_s, 0.1):,.0f} candles/s)")
    return ", ".join(parts)


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration_text(seconds)


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
