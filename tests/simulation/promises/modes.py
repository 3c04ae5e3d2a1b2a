"""What holds in whichever mode the collector runs: what was taken out of a file is wanted back, and what is streamed is
in the files soon; in mode live nothing else is wanted, nor is it on record as missing."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from collector.core.candle import MINUTE_MS, Series
from collector.core.errors import StorageError
from collector.core.missing import SETTLED, settled
from collector.core.rows import covered_spans
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import NOTHING, Spans
from collector.integrity.gaps import SeriesGap, find_gaps
from collector.storage.recovery import valid_rows
from tests.simulation.promises.claims import every_series, traded

if TYPE_CHECKING:
    from tests.simulation.world import World

_SUBSCRIBED_MS = MINUTE_MS  # after a start
_STANDS_MS = 4 * MINUTE_MS  # after the close of a candle; it waits two minutes for what lies before it


def pieces_of(directory: Path) -> dict[str, list[Path]]:
    """What was taken out of files and waits beside them, by the name of the file."""
    found: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("*.csv.*.pending")):
        found.setdefault(path.name.partition(".csv.")[0], []).append(path)
    return found


def forgotten(series: Series, record: SeriesCoverage, pieces: list[Path]) -> Iterator[str]:
    """Candles that were taken out of an open file and that nobody wants back."""
    rows = {at for piece in pieces for at in valid_rows(series.timeframe, piece.read_bytes())}
    known = record.held | record.wanted | settled(record.gaps)
    if lost := covered_spans(series.timeframe, sorted(rows)) - known:
        yield f"what was taken out of {series} is wanted by nobody: {list(lost)[:2]}"


def unwanted(world: "World") -> Iterator[str]:
    """What a collector in mode live wants that no stream brings, once it has begun."""
    wanted = set(every_series(world.settings))
    for series, record in _begun(world):
        missing = [gap for gap in record.missing("") if gap.state not in SETTLED] if series in wanted else []
        if record.held and missing:
            yield f"{series} is waited for in mode live: {missing[0]}"


def let_go(world: "World") -> Iterator[str]:
    """What `gaps` tells to be missing and a collector in mode live waits for no more, a while after it has saved."""
    meddling, known = world.witness.meddling, dict(_begun(world))
    if not known:
        return
    try:
        told = list(find_gaps(world.settings.data_dir, world.settings.category))
    except StorageError as trouble:
        yield f"the gaps cannot be told: {trouble}"
        return
    for gap in told:
        if gap.series in known and not meddling.overwritten[gap.series]:
            yield from wanted_no_more(gap, known[gap.series], meddling.taken(gap.series))


def wanted_no_more(told: SeriesGap, record: SeriesCoverage, taken: Spans = NOTHING) -> Iterator[str]:
    """A gap that is told, if the collector does not wait for it; others may have taken something out of the file."""
    waited = Spans.of(*(gap.span for gap in record.missing()))
    if told.missing.state not in SETTLED and Spans((told.missing.span,)) - waited - taken:
        yield f"{told.series} is on record as missing, and wanted no more: {told.missing}"


def _begun(world: "World") -> Iterable[tuple[Series, SeriesCoverage]]:
    """What a collector knows of its series, once it has begun and has nothing taken out of files to put back."""
    process = world.process
    begun = process.report is not None and process.report().doing != "starting"
    if not begun or process.coverage is None or pieces_of(world.settings.data_dir):
        return ()
    return process.coverage


def standing(world: "World", streamed_s: float) -> Iterator[str]:
    """Series whose files do not grow, although they have been streamed for so long."""
    now_ms = world.box.clock.now_ms()
    streamed_ms = now_ms - 1000 * min(streamed_s, trio.current_time() - world.process.began_s) + _SUBSCRIBED_MS
    for series in every_series(world.settings):
        path, frame = world.settings.data_dir / series.file_name, series.timeframe
        opens = sorted(valid_rows(frame, path.read_bytes())) if path.exists() else []
        closed_ms = frame.floor(min(now_ms - _STANDS_MS, traded(world, series)[1]))  # the last that is due
        if opens and frame.close(opens[-1]) < closed_ms and closed_ms > streamed_ms:
            yield f"{series} stands still at {opens[-1]} although it is streamed"
