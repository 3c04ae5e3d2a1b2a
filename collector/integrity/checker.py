"""Whether the files of a data directory are complete and right: each examined, and compared with all finer ones.

What the ledger says was held or is wanted is missed in the files too: a file may look right and have lost its head, its
tail or all of it. It only reads, and it may do so beside a running collector: a line that is just being written is no
defect. Whatever is wrong with a file, even that it cannot be read or is gone, is a finding and never an error.
"""

import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.disagreements import Known
from collector.core.missing import SETTLED, Gap
from collector.core.rows import HEADER, open_of_line
from collector.core.spans import NOTHING, Span, Spans
from collector.errors import DirectoryInUse, StorageError
from collector.integrity.cross_timeframe import Contradiction, Disagreement, Lines, contradictions, finer_timeframes
from collector.integrity.demand import Demand
from collector.integrity.examination import MOST, Examination, examine, split_rows
from collector.integrity.findings import Comparison, FileReport, totals
from collector.machine.clock import THIS_CLOCK, LocalClock
from collector.machine.disk import THIS_DISK, Disk
from collector.settings.settings import Settings
from collector.storage.data_directory import refuse_if_absent, refuse_if_locked
from collector.storage.defects import Kind
from collector.storage.ledger import LedgerSnapshot, read_disagreements, read_ledger
from collector.storage.stored import as_of_ms, known_series

_AGAIN_S = 0.05  # between two looks at a line that is being written
_END = 256  # bytes: some two rows
_PATIENCE_S = 3.0  # for all such looks of one check; a writer takes microseconds, the ledger follows within seconds


@attrs.define
class DataIntegrityChecker:
    """Checks the files in the data directory of the settings.

    Without `fetch_all_symbols`, each symbol that the settings list is wanted in every timeframe and day in force,
    whether any of it was ever fetched or not; of all others, what the last run wanted. Days count back from the
    exchange's time as the ledger knows it, or else from ours.

    `check_single_file` and `check_all_files` return plain values, ready for JSON. Times and intervals are in
    milliseconds, `position` is the number of a row, counted from 0 without the header.
    """

    settings: Settings
    _demand: Demand = attrs.field(
        default=attrs.Factory(lambda self: Demand(self.settings), takes_self=True), kw_only=True
    )
    _clock: LocalClock = attrs.field(default=THIS_CLOCK, kw_only=True)
    _now_ms: Callable[[], int] = attrs.field(
        default=attrs.Factory(lambda self: self._clock.now_ms, takes_self=True), kw_only=True
    )
    _disk: Disk = attrs.field(default=THIS_DISK, kw_only=True)
    _saved: LedgerSnapshot = attrs.field(factory=lambda: LedgerSnapshot(CoverageIndex(), {}), init=False)
    _ledger_problem: str | None = attrs.field(default=None, init=False)
    _wanted_ms: int = attrs.field(default=0, init=False)
    _never_fetched: set[Series] = attrs.field(factory=set, init=False)
    _patience_s: float = attrs.field(default=0.0, init=False)
    # Files that were, by the size they had and the bytes they ended with: a file that has them there still has not been
    # rewritten, since no time stands in it twice.
    _flawless: dict[Path, tuple[int, bytes]] = attrs.field(factory=dict, init=False)
    # The rows of one symbol's finer files, by path, inode, size and time of the last change.
    _lines: dict[tuple[Path, int, int, int], Lines] = attrs.field(factory=dict, init=False)

    def check_single_file(self, name: str | Path) -> dict[str, Any]:
        """One file, by its name in the data directory (`BTCUSDT_60.csv`, `BTCUSDT_60`) or by a path.

        Returns:
            `has_issues`: whether anything is wrong. Gaps that the exchange cannot fill (`absent`, `before-listing` and
            `delisted` in the ledger) are listed, but are no issue by themselves.
            `gaps`: the first 1000, each with `position` (of the row after it), `previous_timestamp` and
            `current_timestamp` (of the rows around it), `start_ms` and `end_ms` (what is missing opens from the one on
            and before the other), `expected_interval`, `actual_interval`, `gap_duration` (the difference),
            `missing_candles`, `gap_minutes`, `states` (candles by state in the ledger) and `state` (the least settled
            of them; `pending` where the ledger knows nothing). Beside what is missing between rows, these are the
            candles before the first row and after the last that the ledger misses and that may still come; the
            timestamp of a row that is not there is None then, and so are both intervals. Left out after the last row
            is what closed less than `stale_after_s` before the ledger was saved and was never held: it may be about
            to be written.
            `duplicate_count`: rows whose time another row has already.
            `invalid_candles`: the first 1000 defects that make a row no closed candle of the series, each with
            `position`, `timestamp`, `kind` and `what`.
            Beside these: `file`, `rows`, `gap_count`, `missing_candles`, `invalid_count`, `out_of_order_count`,
            `misplaced` (duplicates and rows out of order, like invalid candles), `defects` (counts by kind), `finer`
            (the files it was compared with), `disagreements` (the first 1000, each with `timestamp_ms`, `column`,
            `coarse`, `fine` and the file `finer`), `disagreement_count`, `exchange_disagreements` and
            `exchange_disagreement_count` (those that the exchange itself has: a repair read both sides again, at
            `exchange_confirmed_ms` or later; they are no issue), `looks_like` (another timeframe, if the rows seem to
            be of that), and `problem` (why nothing is known of the rows, if so).

        Raises:
            FileNotFoundError: there is no such file, whatever the ledger says of it.
            SettingsError: the data directory holds the candles of another category.
        """
        path = self._path(name)
        if path is None:
            raise FileNotFoundError(f"there is no file {name}, neither here nor in {self.settings.data_dir}")
        (checked,) = self.check_each([path])
        return checked.record()

    def check_all_files(self) -> dict[str, Any]:
        """Every CSV file of the data directory, and every file that is not there although candles of it are wanted.

        Returns:
            `files_checked`, `files_with_issues`, `total_gaps`, `total_duplicates`, `total_invalid_candles` and
            `issues`: for every file with issues, gaps or disagreements, by its name, what `check_single_file` returns.
            Beside these: `total_rows`, `total_missing_candles`, `total_disagreements`, `total_exchange_disagreements`,
            and `ledger_problem`: why the ledger cannot be read, if so. What is missing outside the rows is then unknown
            and not counted.

        Raises:
            SettingsError: there is no such directory, it cannot be read, or it holds the candles of another category.
        """
        checked = list(self.check_each(self.files()))
        return totals(checked, self.ledger_problem)

    @property
    def ledger_problem(self) -> str | None:
        """Why the ledger could not be read when files were last checked, if so."""
        return self._ledger_problem

    def files(self) -> list[Path]:
        """The CSV files of the data directory, by series, and those that should be there.

        Raises:
            SettingsError: there is no such directory, it cannot be read, or it holds the candles of another category.
        """
        refuse_if_absent(self.settings.data_dir)
        self._read_ledger()
        paths = map(self.settings.data_dir.joinpath, self._disk.names(self.settings.data_dir))
        there = {path for path in paths if path.suffix == ".csv"}
        return sorted(there | set(self._gone(there)), key=_order)

    def _gone(self, there: Collection[Path]) -> Iterator[Path]:
        """The files that are not there, and of which candles are missing."""
        paths = {series: self.settings.data_dir / series.file_name for series in self._saved.coverage.records}
        gone = {series: path for series, path in paths.items() if path not in there}
        return (path for series, path in gone.items() if self._outside(series, self._missing(path, series)))

    def check_each(self, paths: Sequence[Path]) -> Iterator[FileReport]:
        """One file after another.

        Raises:
            SettingsError: the data directory holds the candles of another category.
        """
        self._read_ledger()
        self._patience_s = _PATIENCE_S
        self._flawless.clear()
        return self._each(paths)

    def _each(self, paths: Iterable[Path]) -> Iterator[FileReport]:
        try:
            yield from map(self._checked, paths)
        finally:
            self._lines.clear()

    def rows_in(self, series: Series, span: Span) -> bytes:
        """The sound rows of a series that open in a span, as text; empty if there is no such file any more."""
        path = self.settings.data_dir / series.file_name
        try:
            text = self._sound_rows(series, path, _read(self._disk, path))
        except OSError:
            return b""
        return b"".join(line for line in text.splitlines(keepends=True) if open_of_line(line) in span)

    def _path(self, name: str | Path) -> Path | None:
        places = [Path(name), self.settings.data_dir / name]
        places += [place.with_name(f"{place.name}.csv") for place in places if place.name]
        return next((place for place in places if place.is_symlink() or (place.exists() and place.name)), None)

    def _read_ledger(self) -> None:
        try:
            self._saved = read_ledger(self.settings.data_dir, self.settings.category, disk=self._disk)
            self._ledger_problem = None
        except StorageError as error:  # the files say what is held; without it, nothing is known of their gaps
            self._saved, self._ledger_problem = LedgerSnapshot(CoverageIndex(), {}), str(error)
        known = known_series(self._disk, self.settings.data_dir, self._saved.coverage)
        self._wanted_ms = as_of_ms(self._disk, self.settings.data_dir, self._saved, self._now_ms())
        demanded = self._demand.spans(known, self._wanted_ms)
        self._never_fetched = demanded.keys() - known
        self._saved.want(demanded)

    def _checked(self, path: Path) -> FileReport:
        series = Series.of_file(path.name)
        if series is None:
            return FileReport(path.name, "its name is not that of a series: <SYMBOL>_<TIMEFRAME>.csv")
        try:
            data, examination = self._look(path, series)
        except FileNotFoundError:
            why = "never fetched" if series in self._never_fetched else "there is no such file"
            return self._with_missing(FileReport(path.name, why, series), path)
        except OSError as error:
            return FileReport(path.name, f"it cannot be read: {error.strerror or error}", series)
        if examination.flawless:
            self._flawless[path] = len(data), data[-_END:]
        checked = self._with_missing(FileReport(path.name, None, series, examination), path)
        return self._compared(checked, path, data)

    def _with_missing(self, checked: FileReport, path: Path) -> FileReport:
        """With what the ledger knows of the candles that are not in the file."""
        assert checked.series
        gaps = self._missing(path, checked.series, checked.examination.present)
        outside = self._outside(checked.series, gaps, checked.examination.present)
        return attrs.evolve(checked, known_gaps=gaps, outside=outside)

    def _missing(self, path: Path, series: Series, present: Spans = NOTHING) -> tuple[Gap, ...]:
        """What the ledger misses of a file that has rows for these candles; nothing of a file that is not its own."""
        return self._saved.missing(series, present) if _are_same(path.parent, self.settings.data_dir) else ()

    def _outside(self, series: Series, gaps: Iterable[Gap], present: Spans = NOTHING) -> Spans:
        """What is missing before the first row, after the last or in place of all, and may still come.

        A candle that closed shortly before the ledger was saved may be on its way: it is missing once the collector
        itself would call it stale, or if it was held.
        """
        missing = Spans.of(*(gap.span for gap in gaps if gap.state not in SETTLED))
        if present:
            missing -= Spans((present.bounds,))
        if not missing or series in self._never_fetched:
            return missing
        checkpoint = self._saved.checkpoints.get(series)
        stale_ms = self._wanted_ms - int(self.settings.stale_after_s * 1000)
        due = missing.within(missing.bounds.start_ms, series.timeframe.floor(stale_ms))
        return due | (missing & checkpoint.held) if checkpoint else due

    def _look(self, path: Path, series: Series) -> tuple[bytes, Examination]:
        """Reads a file, and reads it again while the end of it may be one that a collector is writing.

        The bytes are read and not mapped: a mapped file that somebody cuts meanwhile would end the process.
        """
        while True:
            data = _read(self._disk, path)
            examination = examine(series, data, max(self._now_ms(), self._saved.newest_ms))
            if not self._may_change(examination, path, len(data)):
                return data, examination
            self._clock.pause(_AGAIN_S)
            self._patience_s -= _AGAIN_S
            self._read_ledger()

    def _may_change(self, examination: Examination, path: Path, size: int) -> bool:
        at_the_end = examination.counts and examination.counts.keys() <= {Kind.TORN, Kind.UNCLOSED}
        if not at_the_end or self._patience_s <= 0:
            return False
        return path.stat().st_size != size or _is_owned(self._disk, path.parent)

    def _compared(self, checked: FileReport, path: Path, data: bytes) -> FileReport:
        """With every finer file of its symbol that is there."""
        assert checked.series
        coarse, comparisons = Lines(checked.series.timeframe, _sound(data, checked.examination)), []
        for timeframe in finer_timeframes(checked.series.timeframe):
            finer = Series(checked.series.symbol, timeframe)
            fine = self._finer_lines(finer, path.with_name(finer.file_name))
            if fine:
                found = contradictions(coarse, fine)
                comparisons.append(
                    _Comparing(self._disk, self.settings.data_dir, checked.series, finer).compared(found)
                )
        return attrs.evolve(checked, comparisons=tuple(comparisons))

    def _finer_lines(self, series: Series, path: Path) -> Lines | None:
        """The sound rows of a finer file, read once for all coarser ones unless it changes; None: there are none."""
        try:
            stamp = path.stat()
            key = path, stamp.st_ino, stamp.st_size, stamp.st_mtime_ns
            if key not in self._lines:
                self._lines = {
                    known: lines for known, lines in self._lines.items() if _is_other_of_symbol(known[0], path, series)
                }
                self._lines[key] = Lines(series.timeframe, self._sound_rows(series, path, _read(self._disk, path)))
        except OSError:
            return None
        return self._lines[key]

    def _sound_rows(self, series: Series, path: Path, data: bytes) -> bytes:
        """The sound rows of a file that has been checked, or has not, or has been rewritten since."""
        size, end = self._flawless.get(path, (0, b""))
        if size and data[size - len(end) : size] == end:
            return data[len(HEADER) : size]
        return _sound(data, examine(series, data, max(self._now_ms(), self._saved.newest_ms)))


@attrs.define
class _Comparing:
    """Tells disagreements that the exchange is known to have from others, and describes the first of each."""

    _disk: Disk
    _data_dir: Path
    _coarser: Series
    _finer: Series
    _unconfirmed: dict[int, bytes] = attrs.field(factory=dict)
    _known: dict[int, Known] = attrs.field(factory=dict)
    _first: dict[bool, list[Disagreement]] = attrs.field(factory=lambda: {True: [], False: []})
    _counts: dict[bool, int] = attrs.field(factory=lambda: {True: 0, False: 0})

    def compared(self, found: Iterable[Contradiction]) -> Comparison:
        record: dict[int, Known] | None = None
        for each in found:
            if record is None:  # not before: of most files there is nothing to know
                record = read_disagreements(self._disk, self._data_dir, self._coarser, self._finer)
            self._take(each, record.get(each.open_ms))
        return Comparison(
            self._finer,
            self._unconfirmed,
            self._known,
            tuple(self._first[False]),
            tuple(self._first[True]),
            self._counts[False],
            self._counts[True],
        )

    def _take(self, found: Contradiction, known: Known | None) -> None:
        digest = found.digest
        is_known = known is not None and known.digest == digest
        if known and is_known:
            self._known[found.open_ms] = known
        else:
            self._unconfirmed[found.open_ms] = digest
        self._counts[is_known] += len(found.columns)
        if len(self._first[is_known]) < MOST:
            self._first[is_known] += found.disagreements(self._finer.file_name)


def _is_other_of_symbol(known: Path, path: Path, series: Series) -> bool:
    """Whether a path is another one than this, of a file of the same symbol."""
    other = Series.of_file(known.name)
    return known != path and other is not None and other.symbol == series.symbol


def _order(path: Path) -> tuple[bool, Series | str]:
    """By series, and before them, by name, whatever is none."""
    series = Series.of_file(path.name)
    return (True, series) if series else (False, path.name)


def _are_same(directory: Path, other: Path) -> bool:
    try:
        return directory.samefile(other)
    except OSError:
        return False


def _read(disk: Disk, path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for somebody at its other end
        raise OSError("it is not a regular file")
    return disk.read_all(path)


def _is_owned(disk: Disk, data_dir: Path) -> bool:
    try:
        refuse_if_locked(disk, data_dir)
    except (DirectoryInUse, StorageError):  # or it may be, for all we can see
        return True
    return False


def _sound(data: bytes, examination: Examination) -> bytes:
    """The sound rows, in order, without the header."""
    if examination.flawless:
        return data[len(HEADER) :]
    if examination.foreign:
        return b""
    lines, _ = split_rows(data, examination)
    if not examination.in_order:
        lines.sort(key=open_of_line)
    return b"".join(lines)
