"""Whether a data directory's files are complete and right.

Each is examined, and compared with all finer ones. What the ledger says was held or is wanted is missed in the files
too: a file may look right and have lost its head, its tail or all of it. The check only reads, and may run beside a
collector: a line that is just being written is no defect. Whatever is wrong with a file, even that it is unreadable or
gone, is a finding in its report.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.errors import DirectoryInUse, StorageError
from collector.core.rows import open_of_line
from collector.core.spans import Span
from collector.integrity.demand import Demand
from collector.integrity.examination import Examination, examine
from collector.integrity.expectation import Expectation
from collector.integrity.findings import FileReport, totals
from collector.integrity.finer_files import FinerFiles, Flawless
from collector.integrity.results import DirectoryCheck, FileCheck
from collector.machine.clock import THIS_CLOCK, LocalClock
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.workers import Workers
from collector.settings.settings import Settings
from collector.storage.data_directory import refuse_if_absent, refuse_if_locked
from collector.storage.defects import Kind
from collector.storage.file_bytes import open_bytes
from collector.storage.inspection import Bytes

_REREAD_EVERY_S = 0.05  # between two looks at a line that is being written
_REREAD_S = 3.0  # for all such looks of one check; a writer takes microseconds, the ledger follows within seconds


@attrs.define
class DataIntegrityChecker:
    """Checks the files in the data directory of the settings.

    Without `fetch_all_symbols`, each symbol that the settings list is wanted in every timeframe and day in force,
    fetched or still unfetched; of all others, what the last run wanted. Days count back from the exchange's time as
    the ledger knows it, or else from ours.

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
    _workers: Workers = attrs.field(factory=Workers, kw_only=True)
    _expected: Expectation | None = attrs.field(default=None, init=False)
    _flawless: Flawless = attrs.field(factory=Flawless, init=False)
    _reread_s: float = attrs.field(default=0.0, init=False)

    def check_single_file(self, name: str | Path) -> FileCheck:
        """One file, by its name in the data directory (`BTCUSDT_60.csv`, `BTCUSDT_60`) or by a path.

        Returns:
            `has_issues`: whether anything is wrong. Gaps that the exchange cannot fill (`absent`, `before-listing` and
            `delisted` in the ledger) are listed, but are no issue by themselves.
            `gaps`: the first 1000, each with `position` (of the row after it), `previous_timestamp` and
            `current_timestamp` (of the rows around it), `start_ms` and `end_ms` (what is missing opens from the one on
            and before the other), `expected_interval`, `actual_interval`, `gap_duration` (the difference),
            `missing_candles`, `gap_minutes`, `states` (candles by state in the ledger) and `state` (the least settled
            of them; `pending` where the ledger is silent). Beside what is missing between rows, these are the
            candles before the first row and after the last that the ledger misses and that may still come; the
            timestamp of an absent row is None then, and so are both intervals. Left out after the last row
            is what closed less than `stale_after_s` before the ledger was saved and was never held: it may be about
            to be written.
            `duplicate_count`: rows whose time another row has already.
            `invalid_candles`: the first 1000 defects that keep a row from being a closed candle of the series, each
            with `position`, `timestamp`, `kind` and `what`.

            Beside these: `file`, `rows`, `gap_count`, `missing_candles`, `invalid_count`, `out_of_order_count`,
            `misplaced` (duplicates and rows out of order, like invalid candles), `line_ends` (ranges of
            rows that end as on Windows), `defects` (counts by kind), `finer` (the files it was compared with),
            `disagreements` (the first 1000, each with `timestamp_ms`, `column`, `coarse`, `fine` and the file `finer`),
            `disagreement_count`, `exchange_disagreements` and `exchange_disagreement_count` (those that the exchange
            itself has: a repair read both sides again, at
            `exchange_confirmed_ms` or later; they are no issue), `looks_like` (another timeframe, if the rows seem to
            be of that), and `problem` (why the rows are unknown, if so).

        Raises:
            FileNotFoundError: there is no such file, whatever the ledger says of it.
            SettingsError: the data directory holds the candles of another category.
        """
        path = self._path(name)
        if path is None:
            raise FileNotFoundError(f"there is no file {name}, neither here nor in {self.settings.data_dir}")
        (report,) = self.check_each([path])
        return report.record()

    def check_all_files(self) -> DirectoryCheck:
        """Every CSV file of the data directory, and every missing one.

        Missing is a file of which candles are wanted.

        Returns:
            `files_checked`, `files_with_issues`, `total_gaps`, `total_duplicates`, `total_invalid_candles`, and for
            every file with issues, gaps or disagreements, by its name in `issues`, what `check_single_file` returns.
            Beside these: `total_rows`, `total_missing_candles`, `total_disagreements`, `total_exchange_disagreements`,
            and `ledger_problem`: why the ledger is unreadable, if so. What is missing outside the rows is then unknown
            and uncounted.

        Raises:
            SettingsError: there is no such directory, it cannot be read, or it holds the candles of another category.
        """
        reports = list(self.check_each(self.files()))
        return totals(reports, self.ledger_problem)

    @property
    def ledger_problem(self) -> str | None:
        """Why the ledger could not be read at the last check, if so."""
        return self._expected.problem if self._expected else None

    def files(self) -> list[Path]:
        """The CSV files of the data directory, and missing ones.

        They come by series. Missing is a file of which candles are wanted.

        Raises:
            SettingsError: there is no such directory, it cannot be read, or it holds the candles of another category.
        """
        refuse_if_absent(self.settings.data_dir)
        expected = self._read_ledger()
        paths = map(self.settings.data_dir.joinpath, self._disk.names(self.settings.data_dir))
        present = {path for path in paths if path.suffix == ".csv"}
        return sorted(present | set(expected.gone(present)), key=_order)

    def check_each(self, paths: Sequence[Path]) -> Iterator[FileReport]:
        """One file after another; symbols that stand together are checked together, several at once.

        Raises:
            SettingsError: the data directory holds the candles of another category.
        """
        self._read_ledger()
        self._reread_s, self._flawless = _REREAD_S, Flawless()
        of_symbols = [list(group) for _, group in groupby(paths, key=_symbol)]
        return self._workers.chained([self._each(group) for group in of_symbols])

    def rows_in(self, series: Series, span: Span) -> bytes:
        """The valid rows of a series in a span, as text.

        Empty if its file is gone.
        """
        path = self.settings.data_dir / series.file_name
        try:
            with open_bytes(self._disk, path) as data:
                text = self._no_file_read_yet().rows(series, path, data)
        except OSError:
            return b""
        return b"".join(line for line in text.splitlines(keepends=True) if open_of_line(line) in span)

    def _each(self, paths: Iterable[Path]) -> Iterator[FileReport]:
        finer = self._no_file_read_yet()
        for path in paths:
            yield self._report(path, finer)

    def _no_file_read_yet(self) -> FinerFiles:
        return FinerFiles(self._disk, self.settings.data_dir, self._examined, self._flawless)

    def _path(self, name: str | Path) -> Path | None:
        places = [Path(name), self.settings.data_dir / name]
        places += [place.with_name(f"{place.name}.csv") for place in places if place.name]
        return next((place for place in places if place.is_symlink() or (place.exists() and place.name)), None)

    def _read_ledger(self) -> Expectation:
        self._expected = Expectation.read(self._disk, self.settings, self._demand, self._now_ms())
        return self._expected

    @property
    def _expectation(self) -> Expectation:
        return self._expected or self._read_ledger()

    def _report(self, path: Path, finer: FinerFiles) -> FileReport:
        series = Series.of_file(path.name)
        if series is None:
            return FileReport(path.name, "its name is not that of a series: <SYMBOL>_<TIMEFRAME>.csv")
        try:
            with self._look(path, series) as (data, examination):
                if examination.flawless:
                    self._flawless.note(path, data)
                report = self._with_missing(FileReport(path.name, None, series, examination), path, series)
                return attrs.evolve(report, comparisons=finer.compare(series, path, data, examination))
        except FileNotFoundError:
            why = "never fetched" if series in self._expectation.never_fetched else "there is no such file"
            return self._with_missing(FileReport(path.name, why, series), path, series)
        except OSError as error:
            return FileReport(path.name, f"it cannot be read: {error.strerror or error}", series)

    def _with_missing(self, report: FileReport, path: Path, series: Series) -> FileReport:
        """The report with the ledger's word on missing candles."""
        present, expected = report.examination.present, self._expectation
        gaps = expected.missing(path, series, present)
        return attrs.evolve(report, known_gaps=gaps, outside=expected.outside(series, gaps, present))

    @contextmanager
    def _look(self, path: Path, series: Series) -> Iterator[tuple[Bytes, Examination]]:
        """Reads a file, again while its end may be growing."""
        while True:
            with open_bytes(self._disk, path) as data:
                examination = self._examined(series, data)
                if not self._may_change(examination, path, len(data)):
                    yield data, examination
                    return
            self._clock.pause(_REREAD_EVERY_S)
            self._reread_s -= _REREAD_EVERY_S
            self._read_ledger()

    def _examined(self, series: Series, data: Bytes) -> Examination:
        return examine(series, data, self._closed_by_ms, self._demand.chosen(series))

    @property
    def _closed_by_ms(self) -> int:
        return max(self._now_ms(), self._expectation.newest_ms)

    def _may_change(self, examination: Examination, path: Path, size: int) -> bool:
        at_the_end = examination.counts and examination.counts.keys() <= {Kind.TORN, Kind.UNCLOSED}
        if not at_the_end or self._reread_s <= 0:
            return False
        return path.stat().st_size != size or _is_locked(self._disk, path.parent)


def _order(path: Path) -> tuple[bool, Series | str]:
    """Sorts by series; other files come first, by name."""
    series = Series.of_file(path.name)
    return (True, series) if series else (False, path.name)


def _symbol(path: Path) -> str:
    series = Series.of_file(path.name)
    return series.symbol if series else path.name


def _is_locked(disk: Disk, data_dir: Path) -> bool:
    try:
        refuse_if_locked(disk, data_dir)
    except (DirectoryInUse, StorageError):  # or it may be, for all we can see
        return True
    return False
