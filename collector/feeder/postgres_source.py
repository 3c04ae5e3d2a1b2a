"""Candles from a table in PostgreSQL, read as text.

A connection is opened when it is first needed, and again after it broke; each process has its own.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from collector.core.candle import TIMEFRAMES, Series
from collector.core.errors import NotReadable, Unavailable
from collector.core.rows import LATEST_MS
from collector.feeder.candle_table import CATEGORIES, SERIES, has_table, rows_query
from collector.feeder.columns import parse_rows
from collector.feeder.database import DatabaseAddress, map_database_errors, open_database, parse_database
from collector.feeder.reader import FileSnapshot, blocks_of
from collector.feeder.source import as_not_readable

if TYPE_CHECKING:
    import psycopg

_PIECE = 2 * 1024 * 1024  # bytes of text that polars reads at once


@attrs.define
class PostgresSource:
    """A database that holds candles of one category, or of several of which one is chosen."""

    url: str = attrs.field(repr=False)
    category: str | None = None
    _stack: ExitStack = attrs.field(factory=ExitStack, init=False, repr=False)
    _connection: "psycopg.Connection[Any] | None" = attrs.field(default=None, init=False, repr=False)
    _process: int = attrs.field(default=0, init=False)

    def __getstate__(self) -> tuple[str, str | None]:
        return self.url, self.category

    def __setstate__(self, state: tuple[str, str | None]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    @property
    def place(self) -> str:
        with as_not_readable():
            return parse_database(self.url).shown

    def where(self, series: Series) -> str:
        return f"{self.place}, {series} of the table candles"

    def stored(self) -> Iterator[Series]:
        with self._connected() as (connection, category):
            found = connection.execute(SERIES, [category]).fetchall() if category else []
        for symbol, timeframe in found:
            if timeframe in TIMEFRAMES:
                yield Series(symbol, TIMEFRAMES[timeframe])

    def has(self, series: Series) -> bool:
        with self._connected() as (connection, category):
            return category is not None and self._has(connection, category, series)

    def read(self, series: Series, span: tuple[int, int] | None, known: FileSnapshot | None) -> FileSnapshot:
        with self._connected() as (connection, category):
            if category is None or not self._has(connection, category, series):
                raise FileNotFoundError
            query = rows_query(category, series.symbol, series.timeframe.name, span or (0, LATEST_MS))
            try:
                with connection.cursor().copy(query) as copy:
                    return FileSnapshot(blocks_of(parse_rows(_pieces(copy))))
            except ValueError as error:
                raise NotReadable(f"{self.where(series)} cannot be used: {error}") from error

    def close(self) -> None:
        if self._process == os.getpid():
            self._stack.close()
        self._connection = None

    def _has(self, connection: "psycopg.Connection[Any]", category: str, series: Series) -> bool:
        asked = "SELECT EXISTS (SELECT FROM candles WHERE category = %s AND symbol = %s AND timeframe = %s)"
        return connection.execute(asked, [category, series.symbol, series.timeframe.name]).fetchone() == (True,)

    @contextmanager
    def _connected(self) -> Iterator["tuple[psycopg.Connection[Any], str | None]"]:
        """The connection, and the category that is meant; None of a table that is empty or missing."""
        with as_not_readable():
            address = parse_database(self.url)
            try:
                connection, there = self._asked(address)
            except Unavailable:  # a connection may have broken while nobody asked
                self.close()
                connection, there = self._asked(address)
            with map_database_errors(address):
                yield connection, self._category(connection) if there else None

    def _asked(self, address: DatabaseAddress) -> "tuple[psycopg.Connection[Any], bool]":
        """The connection, opened if it is not, and whether there is a table."""
        connection = self._connection
        if connection is None or connection.closed or self._process != os.getpid():
            self._connection = connection = self._open()
        with map_database_errors(address):
            return connection, has_table(connection, address)

    def _open(self) -> "psycopg.Connection[Any]":
        if self._process == os.getpid():
            self._stack.close()
        self._stack, self._process = ExitStack(), os.getpid()  # a parent's connection is the parent's to close
        return self._stack.enter_context(open_database(parse_database(self.url)))

    def _category(self, connection: "psycopg.Connection[Any]") -> str | None:
        """The category that is meant.

        Raises:
            ValueError: there are several, and none was named.
        """
        if self.category is not None:
            return self.category
        found = [category for (category,) in connection.execute(CATEGORIES).fetchall()]
        if len(found) > 1:
            raise ValueError(f"{self.place} holds {' and '.join(found)}: give the feeder a category=")
        return found[0] if found else None


def _pieces(copy: Any) -> Iterator[bytes]:
    """Whole rows out of a COPY, many at a time."""
    gathered: list[bytes] = []
    size = 0
    for chunk in copy:  # each is a row
        gathered.append(bytes(chunk))
        size += len(chunk)
        if size >= _PIECE:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)
