"""Mending what is stored: which rows of a file stay, which go, and which candles are then wanted anew.

Nothing is fetched here. The candles of rows that had to go are wanted and no longer held, so the reconciler has them
fetched like any others, and the writer puts them in their places. The order of things is what a crash must not change:
first the ledger learns what is wanted, then what goes is kept beside the file, then the file is replaced in one step.
A plan can be made and shown without doing any of it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.missing import not_due
from collector.core.planning import wanted
from collector.core.rows import candles_in, open_of_line
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import counted
from collector.errors import LeftAlone, StorageError
from collector.integrity.demand import Demand
from collector.integrity.examination import Examination, examine, split_rows
from collector.integrity.recheck import Recheck, Refetch, find_disagreements, refetches_of
from collector.integrity.samples import Draw
from collector.logs import get_logger
from collector.machine.clock import THIS_CLOCK, LocalClock
from collector.machine.disk import THIS_DISK, Disk
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.data_directory import OWN, checked_identity, refuse_if_locked
from collector.storage.defects import Kind
from collector.storage.inspection import Bytes, Checkpoint, file_exists, mmap_file
from collector.storage.ledger import Ledger, LedgerSnapshot, read_ledger
from collector.storage.recovery import recover
from collector.storage.stored import as_of_ms, known_series

log = get_logger(__name__)

_TIME_IS_WRONG = {Kind.OFF_GRID, Kind.UNCLOSED, Kind.DATETIME}

Chosen = Callable[[Series], bool]


@attrs.frozen
class Plan:
    """What is to be done about one series.

    `foreign` says what becomes of a file that is not as it should be as a whole, which its opening sees to. `held` is
    what its sound rows cover, `wanted` what the series is to hold afterwards, if the exchange has it, and `to_fetch`
    what of it is asked for. `left_alone` is whether the file is not touched as long as that is not allowed.
    """

    series: Series
    examination: Examination
    foreign: str | None
    held: Spans
    wanted: Spans
    to_fetch: Spans
    left_alone: bool = False

    @property
    def removed(self) -> int:
        """How many rows go."""
        return len(self.examination.unsound) + len(self.examination.surplus)

    @property
    def needs_rewrite(self) -> bool:
        """Whether the file itself is not as the writer would have written it."""
        return bool(self.foreign or self.removed or self.examination.counts or not self.examination.in_order)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return self.needs_rewrite or bool(self.to_fetch)

    def __str__(self) -> str:
        parts = []
        if self.foreign:
            parts.append(self.foreign)
        elif self.removed:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.examination.counts.items())
            parts.append(f"{counted(self.removed, 'row')} {'goes' if self.removed == 1 else 'go'} ({kinds})")
        if not (self.foreign or self.examination.in_order):
            parts.append("rows are put in order")
        if self.to_fetch:
            candles = candles_in(self.series.timeframe, self.to_fetch)
            fetched = "fetched then" if self.left_alone else "fetched"
            parts.append(f"{counted(candles, 'candle')} {'is' if candles == 1 else 'are'} {fetched}")
        return f"{self.series.file_name}: {', '.join(parts) or 'is as it should be'}"


def show_plans(
    settings: Settings,
    chosen: Chosen,
    demand: Demand | None = None,
    clock: LocalClock = THIS_CLOCK,
    disk: Disk = THIS_DISK,
) -> Iterator[Plan | Refetch]:
    """What would be done, as far as can be told without asking the exchange; nothing is changed.

    Raises:
        DirectoryInUse: a collector owns the directory.
        SettingsError: it holds another market's candles; a repair would be refused.
        StorageError: a file or the ledger cannot be read.
    """
    refuse_if_locked(disk, settings.data_dir)
    checked_identity(disk, settings.data_dir / OWN, settings.exchange, settings.category)
    saved = read_ledger(settings.data_dir, settings.category, disk=disk)
    now_ms = max(clock.now_ms(), saved.newest_ms)
    store = Store(settings.data_dir, disk)
    asked_ms = as_of_ms(disk, settings.data_dir, saved, now_ms)
    saved.want((demand or Demand(settings)).spans(known_series(disk, settings.data_dir, saved.coverage), asked_ms))
    every_series = stored_series(store, saved.coverage, chosen)
    for series in every_series:
        with _reading(disk, store.path(series)) as (data, refused):
            plan = _plan(settings, series, data, refused, saved.coverage[series], saved.checkpoints.get(series), now_ms)
        if plan:
            yield plan
    yield from refetches_of(find_disagreements(disk, settings, every_series, asked_ms))


def stored_series(store: Store, coverage: CoverageIndex, chosen: Chosen) -> list[Series]:
    """The series that have a file, or of which the ledger says that something is wanted."""
    wanted = {series for series, record in coverage if record.wanted}
    return sorted(filter(chosen, wanted | set(store.every_series())))


@attrs.frozen
class Stock:
    """What a directory holds, in the hands of its owner."""

    store: Store
    ledger: Ledger
    coverage: CoverageIndex
    checkpoints: dict[Series, Checkpoint]


Stamp = tuple[int, int, int]


def _stamp(path: Path) -> Stamp | None:
    """What changes whenever the bytes of a file do; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@attrs.frozen
class RepairResult:
    """What a repair came to: files whose bytes are others than before, candles of which it is on record now that the
    exchange's own timeframes disagree on them, and rows that were to be compared and that the exchange did not send."""

    files: int = 0
    settled: int = 0
    unmatched: int = 0


@attrs.define
class Repair:
    """Mends the files of a directory that the caller owns. Everything here blocks.

    What was done is in `plans`, one for each series that had something to mend or to fetch.
    """

    _disk: Disk
    _settings: Settings
    chosen: Chosen
    _demand: Demand
    _draw: Draw | None = None  # what to compare with the exchange, beyond what looks wrong
    plans: list[Plan | Refetch] = attrs.field(factory=list)
    _recheck: Recheck = attrs.field(
        default=attrs.Factory(lambda self: Recheck(self._disk, self._settings, self._draw), takes_self=True), init=False
    )
    _stored: dict[Series, Spans] = attrs.field(factory=dict)  # what the sound rows of each file cover
    _stamps: dict[Path, Stamp | None] = attrs.field(factory=dict)  # of every file, before it was touched

    def demanded(self, stock: Stock, now_ms: int) -> tuple[dict[Series, Spans], set[str]]:
        """What is wanted beyond what the last run wanted, and the symbols of which nothing was ever fetched."""
        known = known_series(self._disk, self._settings.data_dir, stock.coverage)
        asked_ms = as_of_ms(
            self._disk, self._settings.data_dir, LedgerSnapshot(stock.coverage, stock.checkpoints), now_ms
        )
        spans = self._demand.spans(known, asked_ms)
        spans = {series: each for series, each in spans.items() if self.chosen(series)}
        return spans, {series.symbol for series in spans} - {series.symbol for series in known}

    def refetch(self, stock: Stock, every_series: Iterable[Series], now_ms: int) -> list[Series]:
        """Has candles read again on which mended files do not agree, or that are to be compared; of which series."""
        stored = {series: self._stored[series] for series in every_series}
        refetches = list(self._recheck.refetches(stored, now_ms))
        for refetch in refetches:
            self._touch(stock.store.path(refetch.series))
            self.plans.append(refetch)
            log.info("mending", plan=str(refetch))
            stock.coverage.want(refetch.series, stock.coverage[refetch.series].wanted | refetch.spans)
            stock.coverage[refetch.series].mark_unverified(refetch.spans)
        return [refetch.series for refetch in refetches]

    def finish(self, stock: Stock, now_ms: int) -> RepairResult:
        """Puts on record what the exchange itself has so, now that both sides were read again; what came of it all."""
        settled = self._recheck.settle(stock.ledger, stock.coverage, now_ms)
        changed = [path.name for path, stamp in self._stamps.items() if _stamp(path) != stamp]
        return RepairResult(len(changed), settled, self._recheck.unmatched(stock.coverage))

    def _touch(self, path: Path) -> None:
        self._stamps.setdefault(path, _stamp(path))

    def repair(self, stock: Stock, series: Series, now_ms: int) -> None:
        """Leaves the sound rows of a file and no others, in order, and has the rest wanted.

        Raises:
            StorageError: the disk refuses; the file is as it was.
        """
        self._touch(stock.store.path(series))
        record, checkpoint = stock.coverage[series], stock.checkpoints.get(series)
        with _reading(self._disk, stock.store.path(series)) as (data, refused):
            plan = _plan(self._settings, series, data, refused, record, checkpoint, now_ms)
            stock.coverage.want(series, plan.wanted)
            self._stored[series] = plan.held
            if plan:
                self.plans.append(plan)
                log.info("mending", plan=str(plan))
            if plan.needs_rewrite:
                self._replace(stock, plan, data or b"")

    def _replace(self, stock: Stock, plan: Plan, data: Bytes) -> None:
        series = plan.series
        stock.checkpoints.pop(series, None)
        stock.ledger.save(stock.coverage, {series: None})
        if plan.foreign:  # the writer opens it next: it mends the whole, sets it aside, or leaves it alone
            return
        stay, go = split_rows(data, plan.examination)
        if beside := stock.store.remove_rows(series, sorted(stay, key=open_of_line), go):
            log.info("what was removed is kept", series=str(series), file=beside.name)


def _plan(
    settings: Settings,
    series: Series,
    data: Bytes | None,
    refused: str | None,
    record: SeriesCoverage,
    checkpoint: Checkpoint | None,
    now_ms: int,
) -> Plan:
    timeframe = series.timeframe
    found = Examination() if data is None else examine(series, data, now_ms)
    foreign, held, left_alone = refused and f"is left alone ({refused})", found.held, refused is not None
    if data is not None and (found.foreign or found.looks_like):
        whole = recover(timeframe, data, None)
        foreign, left_alone = whole.fate, whole.loses_rows
        held = NOTHING if left_alone else whole.held
    told = [Span(open_ms, timeframe.close(open_ms)) for open_ms in _told(series, found)]
    spans = Spans.of(*record.wanted, *held, *told, *(checkpoint.held if checkpoint else ()))
    if spans:
        wants = Spans((spans.bounds,))
    else:  # nothing tells what the file held
        wants = wanted(timeframe, now_ms, settings.history_days, newest_only=settings.newest_only)
    to_fetch = NOTHING if refused else wants - held - not_due(record.gaps, now_ms)
    return Plan(series, found, foreign, held, wants, to_fetch, left_alone)


def _told(series: Series, found: Examination) -> set[int]:
    """The open times of unsound rows whose time is to be believed: such a row was a candle of this file."""
    not_believed = {defect.row for defect in found.defects if defect.kind in _TIME_IS_WRONG}
    told = {defect.timestamp_ms for defect in found.defects if defect.row not in not_believed}
    return {open_ms for open_ms in told if open_ms is not None and series.timeframe.is_open(open_ms)}


@contextmanager
def _reading(disk: Disk, path: Path) -> Iterator[tuple[Bytes | None, str | None]]:
    """The bytes of a file, None where there is none; and why there can be none, if that is so."""
    try:
        try:
            there, refused = file_exists(path), None
        except LeftAlone as refusal:
            there, refused = False, str(refusal)
        if not there:
            yield None, refused
            return
        with mmap_file(disk, path) as data:
            yield data, None
    except OSError as error:
        raise StorageError(f"{path} could not be read ({error.strerror})") from error
