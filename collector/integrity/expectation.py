"""What the ledger and the settings expect of the files.

Every wanted candle should be there, and some are known to be missing for a reason.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.errors import StorageError
from collector.core.missing import SETTLED, Gap
from collector.core.spans import NOTHING, Spans
from collector.integrity.demand import Demand
from collector.machine.disk import Disk
from collector.settings.settings import Settings
from collector.storage.ledger_reading import LedgerSnapshot, read_ledger
from collector.storage.stored import as_of_ms, known_series


@attrs.frozen
class Expectation:
    """The ledger, read once, and what the settings demand.

    `problem` says why the ledger could not be read, if so: the gaps of the files are then unexplained. `as_of_ms` is
    the time from which days of history count back.
    """

    settings: Settings
    demand: Demand
    saved: LedgerSnapshot
    problem: str | None
    as_of_ms: int
    never_fetched: Collection[Series]

    @classmethod
    def read(cls, disk: Disk, settings: Settings, demand: Demand, now_ms: int) -> "Expectation":
        """Reads the ledger of the settings' data directory.

        Raises:
            SettingsError: the directory holds the candles of another category.
        """
        saved, problem = LedgerSnapshot(CoverageIndex(), {}), None
        try:
            saved = read_ledger(settings.data_dir, settings.category, disk=disk)
        except StorageError as error:
            problem = str(error)
        saved.take_part(settings.shard)
        known = known_series(disk, settings.data_dir, saved.coverage)
        moment_ms = as_of_ms(disk, settings.data_dir, saved, now_ms)
        demanded = demand.spans(known, moment_ms)
        saved.want(demanded)
        return cls(settings, demand, saved, problem, moment_ms, frozenset(demanded.keys() - known))

    @property
    def newest_ms(self) -> int:
        """An instant that had passed at the last save.

        It is the exchange's time.
        """
        return self.saved.newest_ms

    def gone(self, present: Collection[Path]) -> Iterator[Path]:
        """The absent files of which candles are missing."""
        directory = self.settings.data_dir
        paths = {series: directory / series.file_name for series in self.saved.coverage.records}
        gone = {series: path for series, path in paths.items() if path not in present}
        return (path for series, path in gone.items() if self.outside(series, self.missing(path, series)))

    def missing(self, path: Path, series: Series, present: Spans = NOTHING) -> tuple[Gap, ...]:
        """What the ledger misses of a file with these rows.

        Nothing of a file in another directory.
        """
        return self.saved.missing(series, present) if _are_same(path.parent, self.settings.data_dir) else ()

    def outside(self, series: Series, gaps: Iterable[Gap], present: Spans = NOTHING) -> Spans:
        """What is missing outside the rows and may still come.

        That is before the first row, after the last, or in place of all, in the dates of the demand.

        A candle that closed shortly before the ledger was saved may be on its way: it is missing once the collector
        itself would call it stale, or if it was held.
        """
        missing = Spans.of(*(gap.span for gap in gaps if gap.state not in SETTLED))
        if present:
            missing -= Spans((present.bounds,))
        missing &= self.demand.chosen(series)
        if not missing or series in self.never_fetched:
            return missing
        checkpoint = self.saved.checkpoints.get(series)
        stale_ms = self.as_of_ms - int(self.settings.stale_after_s * 1000)
        due = missing.within(missing.bounds.start_ms, series.timeframe.floor(stale_ms))
        return due | (missing & checkpoint.held) if checkpoint else due


def _are_same(directory: Path, other: Path) -> bool:
    try:
        return directory.samefile(other)
    except OSError:
        return False
