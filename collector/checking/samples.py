"""Random stretches of what is stored, to be held against the exchange, and what differs in them."""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

import attrs

from collector.candle import Series
from collector.coverage import Span, Spans, moment_text
from collector.merging import same_numbers
from collector.planning import PAGE
from collector.rows import candles_in, lines_by_time


@attrs.frozen
class Sample:
    """A stretch of candles that are all stored, of at most a page."""

    series: Series
    span: Span


@attrs.frozen
class Difference:
    """A candle of which the exchange has another row than the file; None where there is no row."""

    series: Series
    timestamp_ms: int
    stored: str | None
    exchange: str | None

    def sentence(self) -> str:
        rows = [row or "no such row" for row in (self.stored, self.exchange)]
        return f"{self.series} {moment_text(self.timestamp_ms)}: stored is {rows[0]}; the exchange has {rows[1]}"


def draw_samples(stored: Iterable[tuple[Series, Spans]], count: int, random: Random) -> list[Sample]:
    """So many stretches; every stored candle is as likely as any other to be where one begins."""
    choices = [(series, spans, candles_in(series.timeframe, spans)) for series, spans in sorted(stored)]
    weights = [candles for _, _, candles in choices]
    if not any(weights):
        return []
    drawn = random.choices(choices, weights, k=count)
    return sorted((_stretch(series, spans, random.randrange(candles)) for series, spans, candles in drawn), key=_place)


def differences(sample: Sample, stored: bytes, exchange: bytes) -> Iterator[Difference]:
    """Compares rows, text with text; a number that is only written in another way is the same."""
    ours, theirs = lines_by_time(stored), lines_by_time(exchange)
    for open_ms in sorted(ours.keys() | theirs.keys()):
        own, their = ours.get(open_ms), theirs.get(open_ms)
        if own is None or their is None or not same_numbers(own, their):
            texts = [row.decode().rstrip("\n") if row else None for row in (own, their)]
            yield Difference(sample.series, open_ms, *texts)


def audit_record(seed: int, samples: Sequence[Sample], found: Sequence[Difference]) -> dict[str, Any]:
    """What was asked and what differs, as plain values."""
    frames = [(each.series.timeframe, each.span) for each in samples]
    return {
        "seed": seed,
        "requests": len(samples),
        "candles": sum(frame.count(span.start_ms, span.end_ms) for frame, span in frames),
        "difference_count": len(found),
        "differences": [{**attrs.asdict(each, recurse=False), "series": each.series.name} for each in found],
    }


def _stretch(series: Series, spans: Spans, candle: int) -> Sample:
    """The stretch that begins with a candle, counted through all spans."""
    frame = series.timeframe
    for span in spans:
        candles = frame.count(span.start_ms, span.end_ms)
        if candle < candles:
            start_ms = frame.shift(span.start_ms, candle)
            return Sample(series, Span(start_ms, min(span.end_ms, frame.shift(start_ms, PAGE))))
        candle -= candles
    raise ValueError("there are not so many candles")


def _place(sample: Sample) -> tuple[Series, Span]:
    return sample.series, sample.span
