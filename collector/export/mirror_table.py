"""The tables of a mirror: rows of many series in one transaction, and what differs from the files.

Everything here blocks, and belongs in a thread. The files are read after the locks of their series are taken, so that
of two writers the later one has the newer rows; a series that somebody else locks is left for later.

A table that is *shared* by the collectors of a cluster has the rows of all of them. What a file lacks says nothing
then, as an earlier owner of the series may have had it: rows are added and replaced, and none is removed.

An owner that was paused for longer than its lease must not write older values over those of the next one. So each slot
has a *fence* beside the candles: the latest epoch that has compared or written. Every transaction raises the fences of
its slots to its own epochs, and leaves series alone whose fence is later. A fence is locked until the transaction ends,
so no later epoch comes in between. It lies where the candles lie: the leases may be in another database.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from collector.core.candle import Series
from collector.core.errors import NotReadable
from collector.core.missing import Gap
from collector.core.spans import EVER, NOTHING, Spans
from collector.export import mirror_sql as sql
from collector.export.mirror_batch import Batch
from collector.export.mirror_files import MirroredFiles, differing_months
from collector.export.postgres import create_candles
from collector.export.postgres_sql import LOCK_CREATION
from collector.feeder.candle_table import has_table_of
from collector.feeder.database import DatabaseAddress, map_database_errors, open_database, parse_database
from collector.feeder.gap_table import GAPS, GAPS_KEY, GAPS_TYPES, SINCE, row_of
from collector.machine.disk import Disk

if TYPE_CHECKING:
    import psycopg


@attrs.frozen
class Copied:
    """What became of spans: rows that changed, spans left for later, and series that cannot be read."""

    rows: int
    left: Mapping[Series, Spans]
    unreadable: Sequence[NotReadable] = ()


class Table(Protocol):
    """The database as a mirror sees it. Everything blocks, and raises `Unavailable` while it is away."""

    @property
    def started(self) -> str:
        """Says which server and tables these are: another text means that rows may be lost."""

    def copy(self, wanted: Mapping[Series, Spans]) -> Copied:
        """Makes it equal to the files in these spans, as far as one transaction goes."""

    def differing(self, series: Series) -> Spans:
        """The months in which it differs from the file; none if there is no file.

        Raises:
            NotReadable: it is not a candle file.
        """

    def replace_gaps(self, gaps: Mapping[Series, Sequence[Gap]]) -> Collection[Series]:
        """Makes the gaps of these series equal to these; which are left for later."""


# Of a symbol: its slot, and the epoch in which it is this collector's.
Fence = Callable[[str], tuple[int, int]]
# Address, category, files, and the fence where the table is shared.
OpenTable = Callable[[str, str, Disk, Path, Fence | None], AbstractContextManager[Table]]


@attrs.define
class MirrorTable:
    """The tables of an open database."""

    _address: DatabaseAddress
    _category: str
    _files: MirroredFiles
    _connection: "psycopg.Connection[Any]"
    started: str
    _fence: Fence | None = None  # if it is shared with others, whose rows stay
    _gap_columns: Sequence[str] = (*GAPS_TYPES, SINCE)

    def copy(self, wanted: Mapping[Series, Spans]) -> Copied:
        """Makes the table equal to the files in these spans, as far as one transaction goes."""
        with map_database_errors(self._address), self._connection.transaction():
            free, cursor = self._lock(wanted), self._connection.cursor()
            with cursor.copy(sql.COPY) as copy:
                batch = Batch(copy.write)
                left, unreadable = self._files.gather(wanted, free, batch)
                batch.flush()
            return Copied(self._write(cursor, batch), left, unreadable)

    def differing(self, series: Series) -> Spans:
        """The months in which the table differs from the file; none if there is no file.

        Of a shared table, months that only the table has differ in nothing; of a series of a later epoch, everything
        may differ.

        Raises:
            NotReadable: it is not a candle file.
        """
        files = self._files.checksums(series)
        if files is None:
            return NOTHING
        with map_database_errors(self._address):
            if not self._own([series]):
                return EVER
            values = [self._category, series.symbol, series.timeframe.name]
            table = dict(self._connection.execute(sql.CHECKSUMS, values, prepare=False).fetchall())
        return differing_months(files, table, shared=self._fence is not None)

    def replace_gaps(self, gaps: Mapping[Series, Sequence[Gap]]) -> Collection[Series]:
        """Makes the rows of these series in the table of gaps equal to these; which are left for later."""
        with map_database_errors(self._address), self._connection.transaction():
            cursor, own = self._connection.cursor(), self._own(gaps)
            names = [[each.symbol for each in own], [each.timeframe.name for each in own]]
            cursor.execute(sql.REMOVE_GAPS, [*names, self._category], prepare=False)
            with cursor.copy(sql.copy_gaps(self._gap_columns)) as copy:
                for series in own:
                    for gap in gaps[series]:
                        copy.write_row((self._category, *row_of(series, gap))[: len(self._gap_columns)])

            return gaps.keys() - own

    def _own(self, every_series: Iterable[Series]) -> set[Series]:
        """Those that no later epoch has written, and none can write until the end of the transaction."""
        if self._fence is None:
            return set(every_series)
        fences = {series: self._fence(series.symbol) for series in every_series}
        epochs = dict(fences.values())
        slots = [*epochs], [*epochs.values()]
        self._connection.execute(sql.ADD_FENCES, [self._category, slots[0], self._category], prepare=False)
        raised = self._connection.execute(sql.RAISE_FENCES, [*slots, self._category, self._category], prepare=False)
        own = {slot for (slot,) in raised.fetchall()}
        return {series for series, (slot, _) in fences.items() if slot in own}

    def _lock(self, wanted: Mapping[Series, Spans]) -> set[Series]:
        """Locks those that nobody else writes, until the end of the transaction."""
        names = {f"{self._category} {series}": series for series in self._own(wanted)}
        locked = self._connection.execute(sql.TRY_LOCKS, [[*names]], prepare=False).fetchall()
        return {names[name] for name, is_locked in locked if is_locked}

    def _write(self, cursor: "psycopg.Cursor[Any]", batch: Batch) -> int:
        """Makes the table equal to a batch that is staged; how many rows changed."""
        if not batch.spans:
            return 0
        values = {**batch.values, "category": self._category}
        ((removed, has_rows),) = cursor.execute(
            sql.KEEP if self._fence else sql.REMOVE, values, prepare=False
        ).fetchall()
        cursor.execute(sql.UPSERT if has_rows else sql.INSERT, values, prepare=False)
        return int(removed) + cursor.rowcount


@contextmanager
def open_mirror_table(
    url: str, category: str, disk: Disk, directory: Path, fence: Fence | None = None
) -> Iterator[Table]:
    """The tables of candles and gaps in a database, created where they are missing.

    Of shared ones, which have a `fence`, no row of a candle is removed.

    Raises:
        SettingsError, Unavailable, StorageError: as `parse_database` and `open_database`, or a table has another shape.
    """
    address = parse_database(url)
    with open_database(address) as connection:
        with map_database_errors(address):
            create_candles(connection, address)
            columns = _create_gaps(connection, address)
            if fence:
                _create_fences(connection)
            connection.execute(sql.CREATE_STAGING)
            for setting in sql.SESSION:
                connection.execute(setting)
            ((started,),) = connection.execute(sql.STARTED).fetchall()
        files = MirroredFiles(disk, directory)
        yield MirrorTable(address, category, files, connection, started, fence, columns)


def _create_fences(connection: "psycopg.Connection[Any]") -> None:
    with connection.transaction():
        connection.execute(LOCK_CREATION)
        connection.execute(sql.CREATE_FENCES)


def _create_gaps(connection: "psycopg.Connection[Any]", address: DatabaseAddress) -> Sequence[str]:
    """Creates the table of gaps if it is missing, or adds what an older one lacks; its columns."""
    from psycopg.errors import InsufficientPrivilege

    with connection.transaction():
        connection.execute(LOCK_CREATION)
        if not has_table_of(connection, address, GAPS, GAPS_TYPES, GAPS_KEY):
            connection.execute(sql.CREATE_GAPS)
        elif connection.execute(sql.HAS_SINCE).fetchone() != (True,):
            try:
                with connection.transaction():
                    connection.execute(sql.ADD_SINCE)
            except InsufficientPrivilege:  # the table is somebody else's
                return tuple(GAPS_TYPES)
    return *GAPS_TYPES, SINCE
