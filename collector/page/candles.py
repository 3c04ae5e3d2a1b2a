"""Candles of a span for a chart or a script: as they are stored, or merged into fewer.

A span whose start and end are both given comes whole. Where it has more candles than the limit, they come from a
coarser timeframe: from its own file if that holds as much, else merged here. With one bound, or none, the candles next
to the given bound come as they are stored. All of it blocks, and runs in a thread.
"""

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import attrs
import msgspec
import polars as pl

from collector.core.candle import TIMEFRAMES, Series, Timeframe
from collector.core.corrections import Corrections
from collector.core.rows import LATEST_MS, candles_in
from collector.core.spans import NOTHING, Span, Spans
from collector.feeder.columns import NAMES, to_dataframe
from collector.feeder.reader import read_span
from collector.machine.disk import Disk

_FIRST, _MOST, _LEAST, _LAST, _SUM = pl.Expr.first, pl.Expr.max, pl.Expr.min, pl.Expr.last, pl.Expr.sum
_MERGED = dict(zip(NAMES[1:], (_FIRST, _MOST, _LEAST, _LAST, _SUM, _SUM), strict=True))


@attrs.frozen
class Asked:
    """Which candles are wanted: those that open in [start, end), at most so many."""

    series: Series
    start_ms: int | None
    end_ms: int | None
    limit: int

    @property
    def is_whole(self) -> bool:
        """Whether all of the span is wanted, however long it is."""
        return self.start_ms is not None and self.end_ms is not None

    @property
    def span(self) -> Span:
        start_ms, end_ms = self.start_ms or 0, LATEST_MS + 1 if self.end_ms is None else self.end_ms
        return Span(start_ms, max(start_ms + 1, end_ms))


@attrs.frozen(eq=False)
class Candles:
    """The candles, and what each is made of: so many (`merged`) of a timeframe."""

    asked: Asked
    timeframe: Timeframe
    merged: int
    table: pl.DataFrame

    def json(self, forming: tuple[float, ...] | None, corrections: Corrections) -> bytes:
        """All of it, and which of the candles were put right."""
        return msgspec.json.encode(
            {
                "symbol": self.asked.series.symbol,
                "timeframe": self.asked.series.timeframe.name,
                "candle_timeframe": self.timeframe.name,
                "merged": self.merged,
                "columns": NAMES,
                "candles": self.table.rows(),
                "forming": forming,
                "revised": self._within(corrections.revised),
                "repaired": self._within(corrections.repaired),
            }
        )

    def _within(self, spans: Spans) -> list[tuple[int, int]]:
        """Start and end of those among these candles."""
        if not spans or self.table.is_empty():
            return []
        times = self.table["timestamp"]
        within = spans.within(times[0], self.timeframe.shift(times[-1], self.merged))
        return [(each.start_ms, each.end_ms) for each in within]

    def arrow(self) -> bytes:
        """An Arrow stream of the same columns."""
        stream = BytesIO()
        self.table.write_ipc_stream(stream, compat_level=pl.CompatLevel.oldest())
        return stream.getvalue()


def read_candles(disk: Disk, directory: Path, asked: Asked, held: Mapping[Series, Spans]) -> Candles:
    """Reads what is asked for; `held` says what the files of a symbol hold.

    Raises:
        FileNotFoundError: there is no such file.
        NotReadable: it is not a candle file.
    """
    series, ours = asked.series, held.get(asked.series, NOTHING)
    if asked.start_ms is not None and asked.start_ms == asked.end_ms:
        return Candles(asked, series.timeframe, 1, to_dataframe(()))
    if not asked.is_whole:
        table = _read(disk, directory, series, _next_to_bound(asked, ours))
        kept = table.head(asked.limit) if asked.start_ms is not None else table.tail(asked.limit)
        return Candles(asked, series.timeframe, 1, kept)
    plan = _plan(asked, held)
    if plan is not None:
        parts = [_read(disk, directory, each, span) for each, span in plan.parts]
        table = merge(pl.concat(parts), plan.timeframe, plan.merged)
        return Candles(asked, plan.timeframe, plan.merged, table)
    return Candles(asked, series.timeframe, 1, _read(disk, directory, series, asked.span))


def _next_to_bound(asked: Asked, held: Spans) -> Span:
    """The span of so many held candles from the given start on, or up to the given end."""
    frame, left, span = asked.series.timeframe, asked.limit, asked.span
    spans = held.within(span.start_ms, span.end_ms)
    if asked.start_ms is not None:
        for each in spans:
            count = frame.count(each.start_ms, each.end_ms)
            if count >= left:
                return Span(span.start_ms, frame.shift(frame.ceil(each.start_ms), left))
            left -= count
        return span
    for each in reversed(tuple(spans)):
        count = frame.count(each.start_ms, each.end_ms)
        if count >= left:
            return Span(frame.shift(frame.ceil(each.end_ms), -left), span.end_ms)
        left -= count
    return span


@attrs.frozen
class _Plan:
    """Which rows to read, and how many candles of a timeframe to make one of."""

    timeframe: Timeframe
    merged: int
    parts: tuple[tuple[Series, Span], ...]


def _plan(asked: Asked, held: Mapping[Series, Spans]) -> _Plan | None:
    """How to show a span with fewer candles; None where it has few enough.

    Merged candles are whole: the first and the last reach over the bounds of the span.
    """
    series, span = asked.series, asked.span
    ours = held.get(series, NOTHING)
    within = ours.within(span.start_ms, span.end_ms)
    if candles_in(series.timeframe, within) <= asked.limit:
        return None
    grids = [series.timeframe, *(each for each in TIMEFRAMES.values() if series.timeframe.fills(each))]
    bounds = within.bounds
    fits = (each for each in grids if _cells(each, bounds, 1) <= asked.limit)
    target, merged = next(fits, grids[-1]), 1
    while _cells(target, bounds, merged) > asked.limit:
        merged += 1
    first, last = target.number_at(bounds.start_ms) // merged, target.number_at(bounds.end_ms - 1) // merged
    whole = Span(target.open_of(first * merged), target.open_of((last + 1) * merged))
    coarser = [each for each in grids[1:] if each == target or each.fills(target)]
    return _Plan(target, merged, tuple(_parts(series, whole, coarser, held)))


def _cells(target: Timeframe, bounds: Span, merged: int) -> int:
    return target.number_at(bounds.end_ms - 1) // merged - target.number_at(bounds.start_ms) // merged + 1


def _parts(
    series: Series, span: Span, coarser: list[Timeframe], held: Mapping[Series, Spans]
) -> Iterator[tuple[Series, Span]]:
    """The files to read: the coarsest that holds all that ours does, and ours for what is newer than its candles."""
    ours = held.get(series, NOTHING).within(span.start_ms, span.end_ms)
    for grid in reversed(coarser):
        other, split_ms = Series(series.symbol, grid), grid.floor(ours.bounds.end_ms)
        theirs = held.get(other, NOTHING)
        if span.start_ms < split_ms and theirs and not ours.within(0, split_ms) - theirs:
            yield other, Span(span.start_ms, split_ms)
            if split_ms < span.end_ms:
                yield series, Span(split_ms, span.end_ms)
            return
    yield series, span


def _read(disk: Disk, directory: Path, series: Series, span: Span) -> pl.DataFrame:
    return to_dataframe(read_span(disk, directory / series.file_name, span.start_ms, span.end_ms).blocks)


def merge(table: pl.DataFrame, target: Timeframe, merged: int) -> pl.DataFrame:
    """Candles as coarser ones, each of so many of a timeframe; it is named by its first open time on that grid."""
    if table.is_empty():
        return table
    times = table["timestamp"]
    number = _numbers(times, target) // merged
    grouped = table.with_columns(number.alias("number")).group_by("number", maintain_order=True)
    made = grouped.agg(how(pl.col(name)) for name, how in _MERGED.items())
    opens = pl.Series("timestamp", [target.open_of(each * merged) for each in made["number"]], dtype=pl.Int64)
    return made.with_columns(opens).select(NAMES)


def _numbers(times: pl.Series, target: Timeframe) -> pl.Series:
    """The numbers of the candles that contain these times."""
    if target.step_ms is not None:
        return (times - target.open_of(0)) // target.step_ms
    dates = times.cast(pl.Datetime("ms"))
    return (dates.dt.year().cast(pl.Int64) - 1970) * 12 + dates.dt.month().cast(pl.Int64) - 1
