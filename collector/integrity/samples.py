"""Stretches of what is stored, to compare with the exchange."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from random import Random
from typing import Any

import attrs

from collector.core.candle import Series
from collector.core.merging import same_numbers
from collector.core.request_windows import windows
from collector.core.rows import lines_by_time
from collector.core.spans import EVER, Span, Spans
from collector.core.text import moment_text

ALL = inf  # stretches


@attrs.frozen
class Draw:
    """How many stretches to draw, and from which seed.

    The same seed draws the same stretches again.
    """

    most: float
    seed: int

    @property
    def amount(self) -> str:
        """How many, as the command line has it."""
        return "all" if self.most == ALL else f"{self.most:.0f}"


@attrs.frozen
class Sample:
    """A stretch of candles between a file's first and last row, at most a page."""

    series: Series
    span: Span


@attrs.frozen
class Difference:
    """A candle whose stored and exchange rows differ.

    None stands for an absent row.
    """

    series: Series
    timestamp_ms: int
    stored: str | None
    exchange: str | None

    def sentence(self) -> str:
        rows = [row or "no such row" for row in (self.stored, self.exchange)]
        return f"{self.series} {moment_text(self.timestamp_ms)}: stored is {rows[0]}; the exchange has {rows[1]}"


@attrs.frozen
class Uncompared:
    """A stretch that could not be compared, and why."""

    series: Series
    span: Span
    why: str

    def sentence(self) -> str:
        start, end = moment_text(self.span.start_ms), moment_text(self.span.end_ms)
        return f"{self.series} {start} to {end} could not be compared: {self.why}"


def draw_samples(
    stored: Iterable[tuple[Series, Spans]], draw: Draw, chosen: Callable[[Series], Spans] = lambda _: EVER
) -> list[Sample]:
    """Draws that many disjoint stretches of the files that hold these candles.

    `ALL` draws all of them, as does a number beyond all there are. Gaps between the rows of a file are part of the
    stretches: the exchange may have rows there. `chosen` says which candles of a series are asked about.
    """
    hulls = [(series, Spans((spans.bounds,)) & chosen(series)) for series, spans in sorted(stored) if spans]
    every = [Sample(series, span) for series, bounds in hulls for span in windows(series.timeframe, bounds)]
    if draw.most >= len(every):
        return every
    return sorted(Random(draw.seed).sample(every, int(draw.most)), key=_place)


def differences(sample: Sample, stored: bytes, exchange: bytes) -> Iterator[Difference]:
    """Compares rows number by number, however they are written."""
    ours, theirs = lines_by_time(stored), lines_by_time(exchange)
    for open_ms in sorted(ours.keys() | theirs.keys()):
        own, their = ours.get(open_ms), theirs.get(open_ms)
        if own is None or their is None or not same_numbers(own, their):
            texts = [row.decode().rstrip("\n") if row else None for row in (own, their)]
            yield Difference(sample.series, open_ms, *texts)


def audit_record(seed: int, samples: Sequence[Sample], found: Sequence[Difference | Uncompared]) -> dict[str, Any]:
    """What was asked and what differs, as plain values."""
    timeframes = [(each.series.timeframe, each.span) for each in samples]
    differing = [each for each in found if isinstance(each, Difference)]
    uncompared = [each for each in found if isinstance(each, Uncompared)]
    return {
        "seed": seed,
        "requests": len(samples),
        "candles": sum(timeframe.count(span.start_ms, span.end_ms) for timeframe, span in timeframes),
        "difference_count": len(differing),
        "differences": [{**attrs.asdict(each), "series": each.series.name} for each in differing],
        "uncompared": [{**attrs.asdict(each), "series": each.series.name} for each in uncompared],
    }


def _place(sample: Sample) -> tuple[Series, Span]:
    return sample.series, sample.span
