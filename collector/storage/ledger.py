"""The ledger: the coverage of every series, as it has to outlive the process.

It may lag behind the files: a crash loses what was unsaved, and the next start reads the files from their checkpoints
on. It says that a candle is held only if that candle was on disk when it was saved.

Whatever is wrong with it (damage, another shape, a later version, a lock of another program, no file), a start goes on:
it is set aside, and a new one takes its place, empty at a start, and made of the coverage in memory at a save.

    ledger_format    rows and bytes, checksums (pure)
    ledger_tables    schema, versions and migration, statements
    ledger_file      the file: opening, replacing
    ledger_reading   the ledger for those who only look
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.disagreements import KnownDisagreements
from collector.core.shards import WHOLE, Shard
from collector.logs import get_logger
from collector.machine.disk import Disk
from collector.storage.data_directory import (
    checked_identity,
    is_claimed,
    lock_directory,
    write_identity,
)
from collector.storage.files import Files
from collector.storage.inspection import Checkpoint
from collector.storage.journal import FILE as JOURNAL
from collector.storage.journal import Journal
from collector.storage.ledger_file import FILE, make_beside, map_errors, open_database, put_in_place, start_empty
from collector.storage.ledger_format import UNREADABLE, StoredGaps, encode_disagreements
from collector.storage.ledger_tables import (
    Rows,
    checkpoints_in,
    coverage_in,
    disagreements,
    entries_of,
    load,
    rows_of,
    write,
)
from collector.storage.put_back import put_back
from collector.storage.sync_many import FileSystems, open_file_systems

log = get_logger(__name__)


@attrs.define
class Ledger:
    """The saved coverage.

    Make it with `open_ledger`, which also locks the directory. Methods raise `StorageError`.
    """

    _disk: Disk
    _directory: Path
    _identity: dict[str, str]
    _database: sqlite3.Connection
    journal: Journal
    file_systems: FileSystems
    _coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    _checkpoints: dict[Series, Checkpoint | None] = attrs.field(factory=dict)  # all that were loaded or saved
    _gaps: dict[Series, StoredGaps] = attrs.field(factory=dict)  # as the table has them: most saves change none

    @property
    def path(self) -> Path:
        return self._directory / FILE

    @property
    def claimed(self) -> bool:
        """Whether it is on record whose candles these are: the exchange has answered before."""
        return is_claimed(self._directory)

    def claim(self) -> None:
        """Records whose candles the directory holds from now on: the exchange has answered."""
        with map_errors(self._directory):
            write_identity(self._disk, self._directory, self._identity)

    def load(self, coverage: CoverageIndex) -> dict[Series, Checkpoint]:
        """Fills in what was saved, and returns the checkpoints; what is held, the files say if they still fit."""
        self._coverage = coverage
        try:
            saved = load(self._database)
        except (sqlite3.Error, *UNREADABLE) as error:
            self._database.close()
            self._database = start_empty(self._disk, self.path, error)
            return {}
        coverage.records.update(coverage_in(saved))
        checkpoints = checkpoints_in(saved)
        self._checkpoints |= checkpoints
        self._gaps |= {series: each.gaps for series, each in saved.items()}
        return checkpoints

    def save(self, coverage: CoverageIndex, checkpoints: dict[Series, Checkpoint | None]) -> None:
        """Saves these series as they are now, all or nothing."""
        self._coverage, self._checkpoints = coverage, self._checkpoints | checkpoints
        current = {series: self._stored_gaps(coverage, series) for series in checkpoints}
        digests = {series: stored.digest for series, stored in current.items()}
        changed = {series: each.gaps for series, each in current.items() if each is not self._gaps.get(series)}
        self._write(Rows(entries_of(coverage.records, checkpoints, digests), changed))
        self._gaps |= current

    def save_disagreements(self, coarser: Series, finer: Series, known: KnownDisagreements) -> None:
        """Saves the candles on which these two series of the exchange disagree, in place of all before."""
        entry = encode_disagreements(coarser.name + finer.name, known)
        self._write(Rows(disagreements=((coarser.name, finer.name, entry),)))

    def _stored_gaps(self, coverage: CoverageIndex, series: Series) -> StoredGaps:
        """The gaps of a series.

        The very object that was saved last where they are still the same.
        """
        saved, gaps = self._gaps.get(series), coverage[series].gaps
        return saved if saved and (saved.gaps is gaps or saved.gaps == gaps) else StoredGaps.of(gaps)

    def _write(self, rows: Rows) -> None:
        """Writes rows; a ledger that refuses them gives way to one made of the coverage in memory."""
        try:
            write(self._database, rows)
        except sqlite3.Error as error:
            with map_errors(self._directory):
                known = (*disagreements(self._database), *rows.disagreements)
                everything = dict.fromkeys(self._coverage.records) | self._checkpoints
                records = {series: self._coverage[series] for series in everything}
                fresh = make_beside(
                    self._disk, self.path, attrs.evolve(rows_of(records, everything), disagreements=known)
                )
                log.warning("the ledger cannot be written, it is set aside and made anew", why=str(error))
                self._database.close()
                self._database = put_in_place(self._disk, fresh, self.path)
                self._gaps.clear()  # the new table has those of every series as they are now


@contextmanager
def open_ledger(
    disk: Disk, data_dir: Path, exchange: str, category: str, shard: Shard = WHOLE, *, allow_shard: bool = False
) -> Iterator[Ledger]:
    """Locks the data directory and opens its ledger while it is entered.

    What a power loss took of the files is put back before.

    Raises:
        DirectoryInUse: another collector owns it.
        SettingsError: it cannot be written, or holds the candles of another exchange, category or shard.
        StorageError: the disk refuses.
    """
    files = Files(disk)
    with ExitStack() as stack:
        own = stack.enter_context(lock_directory(disk, data_dir))
        with map_errors(own):
            identity = checked_identity(disk, own, exchange, category, shard, allow_shard=allow_shard)
            systems = stack.enter_context(open_file_systems(disk, data_dir))
        journal = Journal(files, own / JOURNAL, f"{exchange} {category}")
        put_back(files, systems, data_dir, journal)
        ledger = Ledger(disk, own, identity, open_database(disk, own / FILE), journal, systems)
        try:
            yield ledger
        finally:
            ledger._database.close()
