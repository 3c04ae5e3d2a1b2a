"""Many states of the disk after one power cut: each is opened as the collector opens it, and judged.

A run can live on in one of them alone. The others are copies, which the run never sees: with them, it is the same run.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.errors import CollectorError
from collector.core.rows import HEADER, check_lines, covered_spans
from collector.core.spans import Spans
from collector.machine.disk import Disk
from collector.machine.own_files import OWN
from collector.storage.csv_store import Store
from collector.storage.journal import FILE
from collector.storage.journal_format import decode_blocks
from collector.storage.ledger import open_ledger
from collector.storage.series_file import SeriesFile
from tests.simulation.promises.accusations import moment
from tests.simulation.promises.claims import every_series
from tests.simulation.promises.reader import rows_of_file, sound_opens

if TYPE_CHECKING:
    from tests.simulation.world import World

_SAID = 3  # times, about one power cut
_checked_lines = lru_cache(maxsize=64)(check_lines)  # a file is the same in many of the states


def examine(world: "World") -> None:
    """Looks at as many states of this moment as the plan says, and says in the report what is wrong."""
    dice, wrong = Random(f"states {world.plan.seed} {world.report.states}"), list[str]()
    for _ in range(world.plan.states):
        with TemporaryDirectory(dir=world.settings.data_dir.parent) as scratch:
            world.disk.contents.write_state(Path(scratch), dice)
            if world.damage:
                world.damage(Path(scratch) / OWN, dice)
            wrong += _opened(world, Path(scratch))
        world.report.states += 1
    world.report.wrong += [f"{moment()}: after a power cut: {each}" for each in wrong[:_SAID]]


def _opened(world: "World", directory: Path) -> Iterator[str]:
    settings, coverage, disk = world.settings, CoverageIndex(), Disk()
    left = sorted(path.name for path in directory.iterdir())
    try:
        with open_ledger(disk, directory, settings.exchange, settings.category) as ledger:
            checkpoints = ledger.load(coverage)
            store = Store(directory, disk)
            for series in every_series(settings):
                checkpoint = checkpoints.get(series)
                file, _ = store.open(series, checkpoint)
                yield from _judged(world, series, file, checkpoint.held if checkpoint else Spans())
                _, again = store.open(series, file.checkpoint())
                if again:
                    yield f"{series} is mended twice: {again.what}"
    except CollectorError as trouble:
        yield f"it cannot be opened: {trouble!r}, with {left}"


def _judged(world: "World", series: Series, file: SeriesFile, claimed: Spans) -> Iterator[str]:
    """What is wrong with a file after its opening: nothing torn, lost or invented, and as the ledger has it."""
    data = file.path.read_bytes() if file.path.exists() else b""
    opens, _, why = _checked_lines(series.timeframe, data[len(HEADER) :])
    if data and (why or not data.startswith(HEADER)):
        yield f"{series} is not sound: {why or data[:40]!r}"
        return
    certain = world.disk.contents.certain(series.file_name)
    path = world.settings.data_dir / series.file_name
    written = path.read_bytes() if path.exists() else b""
    had = [written, *certain, *world.disk.contents.unsynced(series.file_name), *_journaled(world, series)]
    if found := invented(data, had):
        yield f"{series} has rows that it never had: {found[:2]}"
    synced = [set(sound_opens(series.timeframe, each)) for each in certain]
    if synced and (lost := set.intersection(*synced).difference(opens)):
        yield f"{series} has lost rows that were synced: {sorted(lost)[:2]}"
    kept = {open_ms for open_ms, _ in rows_of_file(written)} & _settled(world, series)
    if lost := kept.difference(opens):
        yield f"{series} has lost rows that were written a minute before: {sorted(lost)[:2]}"
    covered = covered_spans(series.timeframe, opens)
    if covered != file.held:
        yield f"{series} holds {covered}, and is thought to hold {file.held}"
    if world.plan.trims and covered:
        claimed = claimed.within(covered[0].start_ms, claimed.bounds.end_ms) if claimed else claimed
    if more := claimed - covered - world.witness.meddling.taken(series):
        yield f"the ledger calls {series} held where it is not: {list(more)[:2]}"


def invented(data: bytes, had: Iterable[bytes]) -> list[bytes]:
    """The rows of a sound file that are whole in none of these bytes.

    Behind zeros that an earlier power cut has left a row is still whole; the journal may have those before it.
    """
    known = {line.rpartition(b"\0")[2] for each in had for line in each.splitlines()}
    return sorted({*data[len(HEADER) :].splitlines()} - known)


def _settled(world: "World", series: Series) -> frozenset[int]:
    """The rows that have been in a file for so long that no power cut takes them, unless others had a hand in it, or
    what the journal has of them is damaged."""
    meddling = world.witness.meddling
    is_own = not (world.plan.trims or world.damage or meddling.overwritten[series] or meddling.taken(series))
    return world.witness.flushing.settled(series) if is_own else frozenset()


def _journaled(world: "World", series: Series) -> Iterator[bytes]:
    """The rows of a file that are in the journal, whether an earlier power cut took them of the file or not."""
    path = world.settings.data_dir / OWN / FILE
    data = path.read_bytes() if path.is_file() else b""
    market = f"{world.settings.exchange} {world.settings.category}"
    return (entry.text for entry in decode_blocks(market, data) if entry.name == series.name)
