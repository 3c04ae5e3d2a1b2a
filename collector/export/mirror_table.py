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
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from collector.core.candle import Series, Timeframe
from collector.core.errors import NotReadable
from collector.core.missing import Gap
from collector.core.rows import LATEST_MS, check_lines
from collector.core.spans import EVER, NOTHING, Span, Spans
from collector.export import mirror_sql as sql
from collector.export.mirror_batch import Batch
from collector.export.months import months_of
from collector.export.postgres import create_candles
from collector.export.postgres_sql import LOCK_CREATION
from collector.feeder.candle_table import has_table_of
from collector.feeder.csv_tail import CsvReader, not_readable, open_csv
from collector.feeder.database import DatabaseAddress, map_database_errors, open_database, parse_database
from collector.feeder.dataset import MONTHS
from collector.feeder.gap_table import GAPS, GAPS_KEY, GAPS_TYPES, SINCE, row_of
from collector.machine.disk import Disk
from collector.storage.fast_check import open_times

if TYPE_CHECKING:
    import psycopg

_FEW_BYTES = 32 * 1024  # of text: the rows of a moment are checked line by line, a history at once
_MOST_BYTES = 4 * 1024 * 1024  # of text in a transaction: 50,000 rows, a second's work for a small server


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
    _disk: Disk
    _directory: Path
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
                left, unreadable = self._gather(wanted, free, batch)
                batch.flush()
            return Copied(self._write(cursor, batch), left, unreadable)

    def _gather(
        self, wanted: Mapping[Series, Spans], free: Collection[Series], batch: Batch
    ) -> tuple[dict[Series, Spans], list[NotReadable]]:
        """Fills a batch; what is left for later, and which files cannot be read."""
        left, unreadable = dict[Series, Spans](), list[NotReadable]()
        for series, spans in wanted.items():
            if series not in free or batch.size >= _MOST_BYTES:
                left[series] = spans
                continue
            try:
                if rest := self._read(series, spans, batch):
                    left[series] = rest
            except NotReadable as error:
                unreadable.append(error)
        return left, unreadable

    def differing(self, series: Series) -> Spans:
        """The months in which the table differs from the file; none if there is no file.

        Of a shared table, months that only the table has differ in nothing; of a series of a later epoch, everything
        may differ.

        Raises:
            NotReadable: it is not a candle file.
        """
        files: dict[int, bytes] = {}
        try:
            with open_csv(self._disk, self._directory / series.file_name) as lines:
                for month in months_of(lines, (0, LATEST_MS)):
                    files[month.month_ms] = sha256(month.text).digest()
        except FileNotFoundError:
            return NOTHING
        with map_database_errors(self._address):
            if not self._own([series]):
                return EVER
            values = [self._category, series.symbol, series.timeframe.name]
            table = dict(self._connection.execute(sql.CHECKSUMS, values, prepare=False).fetchall())
        candidates = files.keys() | (() if self._fence else table.keys())
        months = [each for each in candidates if files.get(each) != table.get(each)]
        return Spans.of(*(Span(each, MONTHS.close(each)) for each in months))

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

    def _read(self, series: Series, spans: Spans, batch: Batch) -> Spans:
        """Adds the rows of spans to a batch; what did not fit. A series whose file is gone keeps its rows."""
        with suppress(FileNotFoundError), open_csv(self._disk, self._directory / series.file_name) as lines:
            every_span = [*spans]
            for place, span in enumerate(every_span):
                if batch.size >= _MOST_BYTES:
                    return Spans.of(*every_span[place:])
                text, read = _rows(lines, span)
                if len(text) <= _FEW_BYTES or not _are_sound(series.timeframe, text):
                    _, sound, defect = check_lines(series.timeframe, text)
                    if defect:
                        raise not_readable(lines.path, f"{defect}, at byte {sound} of a changed span")
                batch.add(series, read, text)
                if read != span:
                    return Spans.of(Span(read.end_ms, span.end_ms), *every_span[place + 1 :])
        return NOTHING

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


def _rows(lines: CsvReader, span: Span) -> tuple[bytes, Span]:
    """The rows of a span, and the part of it that they cover: as much as fits."""
    text = lines.last_rows(span.start_ms, span.end_ms)
    if text is not None:
        return text, span
    start, end = lines.offset(span.start_ms), lines.offset(span.end_ms)
    if end - start <= _MOST_BYTES:
        return b"".join(lines.rows(start, end)), span
    end = lines.offset(lines.opens_at(start + _MOST_BYTES))
    return b"".join(lines.rows(start, end)), Span(span.start_ms, lines.opens_at(end))


def _are_sound(timeframe: Timeframe, text: bytes) -> bool:
    """Whether all lines are rows of ours, each later than the one before."""
    opens = open_times(timeframe, text, LATEST_MS + 1, likely_sound=True)
    return not opens.null_count() and bool((opens.slice(1) > opens.head(-1)).all())


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
        yield MirrorTable(address, category, disk, directory, connection, started, fence, columns)


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
