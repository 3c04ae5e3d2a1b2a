"""The repair of what is stored: files are rewritten, and what is missing is wanted.

The candles of rows that had to go are wanted and missing, so the reconciler has them fetched like any others, and the
writer puts them in their places. A crash at any point must leave a repair that can be repeated, hence the order: first
the ledger learns what is wanted, then what goes is kept beside the file, then the file is replaced in one step.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.changes import Changes
from collector.core.coverage import CoverageIndex
from collector.core.errors import SkipFile
from collector.core.rows import open_of_line
from collector.core.spans import NOTHING, Spans
from collector.integrity.demand import Demand
from collector.integrity.examination import split_rows
from collector.integrity.recheck import Recheck, Refetch, find_disagreements, refetches_of
from collector.integrity.repair_plan import Plan, Planner, open_content
from collector.integrity.samples import Draw
from collector.logs import get_logger
from collector.machine.clock import THIS_CLOCK, LocalClock
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.own_files import OWN
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.data_directory import checked_identity, refuse_if_locked
from collector.storage.inspection import Bytes, Checkpoint, Stamp, stamp_of
from collector.storage.ledger import Ledger
from collector.storage.ledger_reading import LedgerSnapshot, read_ledger
from collector.storage.stored import as_of_ms, known_series

log = get_logger(__name__)

Chosen = Callable[[Series], bool]


def show_plans(
    settings: Settings,
    chosen: Chosen,
    demand: Demand | None = None,
    clock: LocalClock = THIS_CLOCK,
    disk: Disk = THIS_DISK,
) -> Iterator[Plan | Refetch]:
    """What a repair would do, as far as the files and the ledger tell.

    Raises:
        DirectoryInUse: a collector owns the directory.
        SettingsError: it holds another market's candles; a repair would be refused.
        StorageError: the ledger cannot be read.
    """
    refuse_if_locked(disk, settings.data_dir)
    checked_identity(disk, settings.data_dir / OWN, settings.exchange, settings.category, settings.shard)
    saved = read_ledger(settings.data_dir, settings.category, disk=disk)
    now_ms = max(clock.now_ms(), saved.newest_ms)
    store = Store(settings.data_dir, disk)
    asked_ms = as_of_ms(disk, settings.data_dir, saved, now_ms)
    saved.want((demand or Demand(settings)).spans(known_series(disk, settings.data_dir, saved.coverage), asked_ms))
    every_series = stored_series(store, saved.coverage, chosen)
    planner = Planner(settings, saved.coverage, saved.checkpoints, now_ms)
    for series in every_series:
        with open_content(disk, store.path(series)) as content:
            plan = planner.plan(series, content)
        if plan:
            yield plan
    yield from refetches_of(find_disagreements(disk, settings, every_series, asked_ms))


def stored_series(store: Store, coverage: CoverageIndex, chosen: Chosen) -> list[Series]:
    """The series that have a file, or are wanted by the ledger."""
    wanted = {series for series, record in coverage if record.wanted}
    return sorted(filter(chosen, wanted | set(store.every_series())))


@attrs.frozen
class OwnedDirectory:
    """What a directory holds, in the hands of its owner."""

    store: Store
    ledger: Ledger
    coverage: CoverageIndex
    checkpoints: dict[Series, Checkpoint]
    changes: Changes = attrs.field(factory=Changes)


@attrs.frozen
class RepairResult:
    """What a repair came to.

    `files` counts those whose bytes have changed, `settled` the candles now on record as the exchange's own
    disagreements, `unmatched` the compared rows that the exchange did not send.
    """

    files: int = 0
    settled: int = 0
    unmatched: int = 0


@attrs.define
class Repair:
    """The repair of a directory that the caller owns.

    Its methods block.

    What was done is in `plans`, one for each series that had something to repair or to fetch.
    """

    _disk: Disk
    _settings: Settings
    chosen: Chosen
    _demand: Demand
    _draw: Draw | None = None  # what to compare with the exchange, beyond what looks wrong
    plans: list[Plan | Refetch] = attrs.field(factory=list)
    _recheck: Recheck = attrs.field(
        default=attrs.Factory(
            lambda self: Recheck(self._disk, self._settings, self._demand, self._draw), takes_self=True
        ),
        init=False,
    )
    _stored: dict[Series, Spans] = attrs.field(factory=dict)  # what the valid rows of each file cover
    _stamps: dict[Path, Stamp | None] = attrs.field(factory=dict)  # of every file, before it was touched

    def demanded(self, owned: OwnedDirectory, now_ms: int) -> tuple[dict[Series, Spans], set[str]]:
        """What is wanted beyond the last run, and the symbols never fetched before."""
        known = known_series(self._disk, self._settings.data_dir, owned.coverage)
        asked_ms = as_of_ms(
            self._disk, self._settings.data_dir, LedgerSnapshot(owned.coverage, owned.checkpoints), now_ms
        )
        spans = self._demand.spans(known, asked_ms)
        spans = {series: each for series, each in spans.items() if self.chosen(series)}
        return spans, {series.symbol for series in spans} - {series.symbol for series in known}

    def refetch(self, owned: OwnedDirectory, every_series: Iterable[Series], now_ms: int) -> list[Series]:
        """Has candles read again on which files disagree, or that are to be compared.

        Returns:
            Their series.
        """
        stored = {series: self._stored[series] for series in every_series}
        refetches = list(self._recheck.refetches(stored, now_ms))
        for refetch in refetches:
            self._touch(owned.store.path(refetch.series))
            self.plans.append(refetch)
            log.info("mending", plan=str(refetch))
            owned.coverage.want_also(refetch.series, refetch.spans)
            owned.coverage[refetch.series].mark_unverified(refetch.spans)
        return [refetch.series for refetch in refetches]

    def finish(self, owned: OwnedDirectory, now_ms: int) -> RepairResult:
        """Records the exchange's own disagreements, both sides having been read again."""
        settled = self._recheck.settle(owned.ledger, owned.coverage, now_ms)
        changed = [path.name for path, stamp in self._stamps.items() if stamp_of(path) != stamp]
        return RepairResult(len(changed), settled, self._recheck.unmatched(owned.coverage))

    def _touch(self, path: Path) -> None:
        self._stamps.setdefault(path, stamp_of(path))

    def repair(self, owned: OwnedDirectory, series: Series, now_ms: int) -> None:
        """Leaves the valid rows of a file, in order, and has the rest wanted.

        Raises:
            StorageError: the disk refuses; the file is as it was.
        """
        self._touch(owned.store.path(series))
        planner = Planner(self._settings, owned.coverage, owned.checkpoints, now_ms)
        with open_content(self._disk, owned.store.path(series)) as content:
            plan = planner.plan(series, content)
            owned.coverage.want(series, plan.wanted)
            self._stored[series] = plan.held
            if plan:
                self.plans.append(plan)
                log.info("mending", plan=str(plan))
            if plan.needs_rewrite:
                try:
                    self._replace(owned, plan, content.data or b"")
                except SkipFile as refusal:
                    self._skip(owned, series, str(refusal))

    def _skip(self, owned: OwnedDirectory, series: Series, why: str) -> None:
        log.error("file left alone, its series is not collected", series=str(series), why=why)
        self._stored[series] = NOTHING
        owned.coverage[series].hold(NOTHING)
        owned.coverage.skip(series, why)

    def _replace(self, owned: OwnedDirectory, plan: Plan, data: Bytes) -> None:
        series = plan.series
        owned.checkpoints.pop(series, None)
        owned.coverage[series].corrections.add_repaired(plan.repaired)
        owned.ledger.save(owned.coverage, {series: None})
        if plan.foreign:  # the writer opens it next: it mends the whole, sets it aside, or leaves it alone
            return
        stay, go = split_rows(data, plan.examination)
        if removed_path := owned.store.remove_rows(series, sorted(stay, key=open_of_line), go):
            log.info("what was removed is kept", series=str(series), file=removed_path.name)
