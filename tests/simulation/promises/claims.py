"""What the ledger claims, held against the disk and against what is wanted: P2, and that it never runs ahead.

A span that the ledger calls held has to be in what would be left of the file if the power failed at this moment. What
the ledger says of a series is older than the file, so it may claim a row less; where the limit is on, now and then, it
may claim rows that newer ones have pushed out since.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from collector.core.candle import Series, Timeframe
from collector.core.errors import StorageError
from collector.core.missing import Gap, State
from collector.core.request_windows import NEWEST, wanted
from collector.core.rows import candles_in, covered_spans
from collector.core.spans import Span, Spans
from collector.integrity.demand import Demand
from collector.integrity.gaps import find_gaps
from collector.machine.disk import THIS_DISK
from collector.settings.settings import Settings
from collector.storage.ledger_reading import read_ledger
from collector.storage.recovery import valid_rows
from collector.storage.stored import as_of_ms
from tests.simulation.promises.reader import rows_of_file, sound_opens
from tests.simulation.promises.truths import TruthsOfTheBox

if TYPE_CHECKING:
    from tests.simulation.world import World


@attrs.frozen
class Content:
    """What a file holds: its bytes, their rows, and what these cover."""

    data: bytes
    rows: dict[int, bytes]
    covered: Spans

    @classmethod
    def of(cls, series: Series, data: bytes) -> "Content":
        rows = dict(rows_of_file(data))
        return cls(data, rows, covered_spans(series.timeframe, list(rows)))


HeldRows = dict[tuple[Series, int], Content]


@attrs.frozen
class Parts:
    """What a file of a timeframe covers: up to its first bad row, and with the good rows behind it."""

    first_ms: int | None
    sound: Spans
    valid: Spans

    @classmethod
    def of(cls, frame: Timeframe, data: bytes) -> "Parts":
        opens = sound_opens(frame, data)
        sound = covered_spans(frame, opens)
        if opens and data.count(b"\n") == len(opens) + 1:
            return cls(opens[0], sound, sound)
        # Rows that stand behind a bad one, or have Windows line ends, are in it too until a start deals with them.
        valid = covered_spans(frame, sorted(valid_rows(frame, data)))
        return cls(min((open_ms for open_ms, _ in rows_of_file(data)), default=None), sound, valid)


_parts_of = lru_cache(maxsize=64)(Parts.of)  # most files are as they were when somebody last asked


def every_series(settings: Settings) -> list[Series]:
    """What is collected."""
    return [Series(symbol, frame) for symbol in settings.symbols for frame in settings.timeframes]


def traded(world: "World", series: Series) -> tuple[int, int]:
    """From when until when the exchange has candles of a series."""
    listing = world.box.source.listings("linear")[series.symbol]
    return series.timeframe.floor(listing.listed_ms), listing.end_ms


def ahead(world: "World", truths: TruthsOfTheBox, known: HeldRows, taken: Callable[[Series], Spans]) -> Iterator[str]:
    """Where the ledger calls more held, or verified, than a power cut would leave. `known` remembers files; left out
    is what others have taken out of them."""
    saved = read_ledger(world.settings.data_dir, world.settings.category)
    for series, checkpoint in saved.checkpoints.items():
        for place, data in enumerate(world.disk.contents.certain(series.file_name)):
            if (before := known.get((series, place))) is None or before.data != data:
                known[series, place] = Content.of(series, data)
            file, claimed = known[series, place], checkpoint.held
            if world.plan.trims and file.covered:
                claimed = claimed.within(file.covered[0].start_ms, claimed.bounds.end_ms)
            claimed -= taken(series)
            if more := claimed - file.covered:
                yield f"the ledger calls {series} held where nothing is synced: {list(more)[:2]}"
            verified = claimed - saved.coverage[series].unverified
            for at in truths.falsified & file.rows.keys():
                if at in verified and not truths.is_true(series, at, file.rows[at]):
                    yield f"the ledger calls {series} verified, and synced is {file.rows[at]!r}"


def unrecorded(world: "World", but: Collection[Series] = ()) -> Iterator[str]:
    """Closed candles in the wanted span that are neither in the file nor on record as missing, as `gaps` tells it; left
    out are files in which others have written."""
    settings = world.settings
    if settings.mode == "live":  # only what the stream brings is wanted
        return
    try:
        saved = read_ledger(settings.data_dir, settings.category)
        gaps = list(find_gaps(settings.data_dir, settings.category, Demand(settings), world.machine.clock))
    except StorageError as trouble:
        yield f"the gaps cannot be told: {trouble}"
        return
    now_ms = as_of_ms(THIS_DISK, settings.data_dir, saved, world.machine.clock.now_ms())
    for series in every_series(settings):
        if series not in but:
            gaps_here = [gap.missing for gap in gaps if gap.series == series]
            yield from _unrecorded_of(world, series, gaps_here, saved.coverage[series].wanted, now_ms)


def _unrecorded_of(world: "World", series: Series, gaps: Sequence[Gap], ledger: Spans, now_ms: int) -> Iterator[str]:
    """The same of one series, of which the ledger wants so much."""
    path = world.settings.data_dir / series.file_name
    file = _parts_of(series.timeframe, path.read_bytes() if path.exists() else b"")
    if both := Spans.of(*(gap.span for gap in gaps)) & file.sound:
        yield f"{series} is said to miss what its file holds: {list(both)[:2]}"
    for gap in gaps:
        if gap.state is State.BEFORE_LISTING and file.first_ms is not None and file.first_ms < gap.span.start_ms:
            yield f"{series} is thought to begin behind rows that it has: {gap}"
    named = Spans.of(*(_named_by(gap, now_ms) for gap in gaps))
    if rest := _due(world, series, ledger, file.valid, now_ms) - file.valid - named:
        yield f"{series} has candles that are neither held nor on record: {list(rest)[:2]}"


def _due(world: "World", series: Series, ledger: Spans, held: Spans, now_ms: int) -> Spans:
    """What has to be held or on record of a series."""
    settings, frame = world.settings, series.timeframe
    due = wanted(frame, now_ms, settings.history_days, newest_only=settings.newest_only)
    # What the ledger wants may have closed just now; beyond, some time is allowed.
    until_ms = max(ledger.bounds.end_ms if ledger else 0, now_ms - int(settings.stale_after_s * 1000))
    if settings.fetch_all_symbols:  # what is wanted beyond the ledger, a list of symbols alone says
        due &= ledger
    settled = due.within(*traded(world, series)).within(0, frame.floor(until_ms))
    start_ms = frame.shift(settled[0].start_ms, 1) if settled else 0  # the ledger is up to a candle older
    # A list of symbols says what is wanted without the limit; without one, only a ledger saved since it went off.
    limited = settings.newest_only or (settings.fetch_all_symbols and candles_in(frame, ledger) <= NEWEST)
    if limited and candles_in(frame, held) >= NEWEST:  # or more, where commits of it are lost
        start_ms = max(start_ms, held[0].start_ms)
    return settled.within(start_ms, now_ms)


def _named_by(gap: Gap, now_ms: int) -> Span:
    """The candles that a gap stands for: what is delisted ends there."""
    ended = gap.state is State.DELISTED
    return Span(gap.span.start_ms, max(gap.span.end_ms, now_ms)) if ended else gap.span
