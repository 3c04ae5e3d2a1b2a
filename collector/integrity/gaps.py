"""What is missing, for a person to read: each gap with state and reason.

The ledger says what is wanted and what was asked for; the files say what is held, since the ledger may be seconds
behind them. It only reads, and may run beside a collector.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.errors import SkipFile
from collector.core.missing import NEVER_FETCHED, Gap, State, gaps_within, neighbours_joined
from collector.core.spans import EVER, NOTHING, Spans
from collector.core.text import counted, moment_text
from collector.integrity.demand import Demand
from collector.machine.clock import THIS_CLOCK, LocalClock
from collector.machine.disk import THIS_DISK, Disk
from collector.storage.data_directory import refuse_if_absent
from collector.storage.inspection import Checkpoint, file_exists, mmap_file, valid_checkpoint
from collector.storage.ledger_reading import read_ledger
from collector.storage.recovery import recover
from collector.storage.stored import as_of_ms, known_series


@attrs.frozen
class SeriesGap:
    """A span of one series that is wanted and missing."""

    series: Series
    missing: Gap

    @property
    def candles(self) -> int:
        return self.series.timeframe.count(self.missing.span.start_ms, self.missing.span.end_ms)

    @property
    def asked(self) -> str:
        """When the exchange was last asked, by its own clock."""
        if self.missing.asked_ms:
            return moment_text(self.missing.asked_ms)
        return "never" if self.missing.why == NEVER_FETCHED else "not yet"

    def record(self) -> dict[str, object]:
        """The same for a machine: epoch milliseconds, half-open spans."""
        return {
            "symbol": self.series.symbol,
            "timeframe": self.series.timeframe.name,
            "state": self.missing.state.value,
            "start_ms": self.missing.span.start_ms,
            "end_ms": self.missing.span.end_ms,
            "candles": self.candles,
            "tries": self.missing.tries,
            "asked_ms": self.missing.asked_ms or None,
            "due_ms": self.missing.due_ms,
            "why": self.missing.why,
        }


def find_gaps(
    data_dir: Path,
    category: str,
    demand: Demand | None = None,
    clock: LocalClock = THIS_CLOCK,
    disk: Disk = THIS_DISK,
) -> Iterator[SeriesGap]:
    """Everything that is wanted or was held, and is missing from the files.

    It comes by series and time; with a demand, what that wants is wanted too, and of its dates only is told. Days count
    back from the exchange's time as the ledger knows it, or else from ours.

    Raises:
        SettingsError: there is no such directory, it cannot be read, or it holds the candles of another category.
        StorageError: the ledger cannot be read.
    """
    refuse_if_absent(data_dir)
    saved = read_ledger(data_dir, category, disk=disk)
    if demand:
        now_ms = as_of_ms(disk, data_dir, saved, clock.now_ms())
        saved.want(demand.spans(known_series(disk, data_dir, saved.coverage), now_ms))
    for series in sorted(saved.coverage.records):
        file = held_in_file(disk, data_dir / series.file_name, series, saved.checkpoints.get(series))
        saved.coverage[series].damage = file.damage
        chosen = demand.chosen(series) if demand else EVER
        missing = neighbours_joined(gaps_within(saved.missing(series, file.held), chosen))
        yield from (SeriesGap(series, _skipped(each, file.alone) if file.alone else each) for each in missing)


def gaps_summary(gaps: Sequence[SeriesGap]) -> str:
    """One line: how many candles are missing, by state."""
    candles = Counter[str]()
    for gap in gaps:
        candles[gap.missing.state] += gap.candles
    return ", ".join(f"{counted(count, 'candle')} {state}" for state, count in candles.items()) or "nothing is missing"


def _skipped(missing: Gap, why: str) -> Gap:
    """The gap with the reason for which its file is left alone."""
    return attrs.evolve(missing, why=why) if missing.state is State.PENDING else missing


@attrs.frozen
class HeldInFile:
    """What a file holds, as the next start would take it.

    `alone` is why the file is left alone or cannot be read, if so: then nothing of it counts. `damage` is what becomes
    of it where a row is bad, and the rows behind that do not count.
    """

    held: Spans
    alone: str = ""
    damage: str = ""

    @property
    def problem(self) -> str:
        """What somebody should know of the file."""
        return self.alone or self.damage


def held_in_file(disk: Disk, path: Path, series: Series, checkpoint: Checkpoint | None) -> HeldInFile:
    """What a file holds; nothing where it cannot be read."""
    try:
        file_exists(path)
        with mmap_file(disk, path) as data:
            found = recover(series.timeframe, data, valid_checkpoint(path, checkpoint))
    except SkipFile as refusal:
        return HeldInFile(NOTHING, alone=str(refusal))
    except OSError as error:
        return HeldInFile(NOTHING, alone=f"{path} could not be read ({error.strerror})")
    fate = f"its file {found.fate}"
    if found.loses_rows:
        return HeldInFile(NOTHING, alone=fate)
    return HeldInFile(found.held, damage=fate if found.rest else "")
