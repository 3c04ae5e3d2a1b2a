"""Makes a table in PostgreSQL equal to candle files.

The text of a file goes through COPY into a staging table; there it is compared with the table, and what differs is
written in the same transaction. Nothing is on record beside the rows themselves: a kill loses the batch in progress,
and changes by others are seen. While a series is copied its advisory lock is held, which is taken before the file is
opened: so whoever else copies flushed rows under this lock never has rows in the table that this file lacks.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from collector.core.candle import Series
from collector.core.errors import SettingsError
from collector.export import postgres_sql as sql
from collector.export.months import Month, Selected
from collector.export.results import Result
from collector.feeder.candle_table import has_table
from collector.feeder.database import DatabaseAddress, map_database_errors, open_database

if TYPE_CHECKING:
    import psycopg

_BATCH = 200_000  # rows in a transaction: their staging fits the memory of a small server, and a kill loses seconds


@attrs.frozen
class _Batch:
    """The months of one transaction, and the span that they cover."""

    months: Sequence[Month]
    span: tuple[int, int]

    @property
    def is_large(self) -> bool:
        return sum(month.rows for month in self.months) >= _BATCH


@attrs.define
class PostgresTarget:
    """A database whose table holds the candles, of this category among others."""

    _address: DatabaseAddress
    _category: str
    _connection: "psycopg.Connection[Any]"
    _has_table: bool

    @property
    def place(self) -> str:
        return self._address.shown

    @contextmanager
    def hold(self, series: Series) -> Iterator[None]:
        name = f"{self._category} {series}"
        with map_database_errors(self._address):
            self._connection.execute(sql.LOCK, [name])
        try:
            yield
        finally:
            if not self._connection.broken:
                with map_database_errors(self._address):
                    self._connection.execute(sql.UNLOCK, [name])

    def write(self, chosen: Selected) -> Iterator[Result]:
        for batch in _batches(chosen):
            yield from self._run(chosen.series, batch, writing=True)

    def plan(self, chosen: Selected) -> Iterator[Result]:
        for batch in _batches(chosen):
            yield from self._run(chosen.series, batch, writing=False)

    compare = plan  # every row is compared anyway

    def _run(self, series: Series, batch: _Batch, *, writing: bool) -> Sequence[Result]:
        """What differs in a batch.

        Written and committed when this returns.
        """
        for month in batch.months:
            month.candles(series.timeframe)  # refuses what are no rows
        if not self._has_table:
            return [_result(month, month.rows) for month in batch.months]
        values = self._values(series, batch)
        with map_database_errors(self._address), self._connection.transaction():
            cursor = self._connection.cursor()
            with cursor.copy(sql.COPY) as copy:
                for month in batch.months:
                    copy.write(month.text)
            cursor.execute(sql.IS_EMPTY, values)
            if cursor.fetchone() == (True,):
                if writing and batch.months:
                    cursor.execute(sql.insertion(series.timeframe), values)
                return [_result(month, month.rows) for month in batch.months]
            return self._compare(cursor, series, batch, writing=writing)

    def _compare(
        self, cursor: "psycopg.Cursor[Any]", series: Series, batch: _Batch, *, writing: bool
    ) -> Sequence[Result]:
        values = self._values(series, batch)
        cursor.execute(sql.ANALYZE)
        cursor.execute(sql.comparison(series.timeframe), values)
        found = {month_ms: counts for month_ms, *counts in cursor.fetchall()}
        months = {month.month_ms: month for month in batch.months}
        if writing and any(missing or different for missing, different, *_ in found.values()):
            cursor.execute(sql.upsert(series.timeframe), values)
        if writing and any(extra for _, _, extra, _ in found.values()):
            cursor.execute(sql.removal(series.timeframe), values)
        return [
            _result(months[month_ms], *found.get(month_ms, ()))
            if month_ms in months
            else Result(month_ms, 0, 0, *found[month_ms][:3])
            for month_ms in sorted({*found, *months})
        ]

    def _values(self, series: Series, batch: _Batch) -> Mapping[str, object]:
        start, end = batch.span
        names = {"category": self._category, "symbol": series.symbol, "timeframe": series.timeframe.name}
        return {**names, "start": start, "end": end}


def _batches(chosen: Selected) -> Iterator[_Batch]:
    """The months of a series in batches, which cover the span without a hole."""
    start_ms, end_ms = chosen.span
    months: list[Month] = []
    for month in chosen.months:
        batch = _Batch(tuple(months), (start_ms, month.start_ms))
        if batch.is_large:
            yield batch
            months, start_ms = [], month.start_ms
        months.append(month)
    yield _Batch(tuple(months), (start_ms, end_ms))


def _result(month: Month, missing: int = 0, different: int = 0, extra: int = 0, newer: int = 0) -> Result:
    return Result(month.month_ms, month.rows, len(month.text), missing, different, extra, newer=newer)


@contextmanager
def open_postgres(address: DatabaseAddress, category: str, *, writing: bool) -> Iterator[PostgresTarget]:
    """The table of candles in a database; for writing, it is created.

    Raises:
        SettingsError, Unavailable, StorageError: as `open_database`, the table has another shape, or it is to be
            written and the collectors of a cluster share it.
    """
    with open_database(address) as connection:
        with map_database_errors(address):
            if writing:
                _refuse_shared(connection, address, category)
                create_candles(connection, address)
            there = has_table(connection, address)
            if there:
                connection.execute(sql.STAGING_MEMORY)
                connection.execute(sql.CREATE_STAGING)
        yield PostgresTarget(address, category, connection, there)


def _refuse_shared(connection: "psycopg.Connection[Any]", address: DatabaseAddress, category: str) -> None:
    """Refuses a table to which several collectors copy: it has rows that none of them has all of."""
    if connection.execute(sql.HAS_FENCES).fetchone() != (True,):
        return
    if connection.execute(sql.IS_SHARED, [category]).fetchone() == (True,):
        raise SettingsError(
            [
                f"the collectors of a cluster share the candles of {category} in {address.shown} and copy them "
                "there themselves, and an export would take out what others have added: copy this directory elsewhere "
                "(--to DIRECTORY), or, if the cluster is no more, DROP TABLE collector_fences first"
            ]
        )


def create_candles(connection: "psycopg.Connection[Any]", address: DatabaseAddress) -> None:
    """Creates the table of candles if it is missing.

    Raises as `has_table`.
    """
    with connection.transaction():
        connection.execute(sql.LOCK_CREATION)
        if not has_table(connection, address):
            extensions = [name for (name,) in connection.execute(sql.EXTENSIONS).fetchall()]
            for statement in sql.creation(extensions):
                connection.execute(statement)
