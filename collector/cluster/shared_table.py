"""The tables of candles and gaps that the collectors of a cluster share, as a new owner of a series reads them.

Everything here blocks, and belongs in a thread. `numeric` keeps every digit of a decimal, zeros at its end included, so
a row's text is that of the file it was copied from.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from collector.core.candle import Series, Timeframe
from collector.core.errors import NotReadable
from collector.core.missing import Gap
from collector.core.rows import NotACandle, Rows, open_of_line, rows_of_lines
from collector.core.spans import Span
from collector.feeder.candle_table import has_table, has_table_of, rows_query
from collector.feeder.database import DatabaseAddress, map_database_errors, open_database, parse_database
from collector.feeder.gap_table import GAPS, GAPS_KEY, GAPS_TYPES, SETTLED_GAPS, gap_of

if TYPE_CHECKING:
    import psycopg

_PAGE = 1000  # rows, as an answer of the exchange has them
_MS = "(extract(epoch FROM {}) * 1000)::bigint"
_OF_SERIES = "category = %s AND symbol = wanted.symbol AND timeframe = wanted.timeframe"
# By the index, two rows of each series.
_EXTENTS = f"""
    SELECT wanted.place, {_MS.format("first.open_time")}, {_MS.format("last.open_time")}
    FROM unnest(%s::int[], %s::text[], %s::text[]) AS wanted (place, symbol, timeframe),
        LATERAL (SELECT open_time FROM candles WHERE {_OF_SERIES} ORDER BY open_time LIMIT 1) first,
        LATERAL (SELECT open_time FROM candles WHERE {_OF_SERIES} ORDER BY open_time DESC LIMIT 1) last
"""


class SharedTable(Protocol):
    """The table as a reader sees it. Everything blocks, and raises `Unavailable` while the database is away."""

    def extents(self, every_series: Sequence[Series]) -> dict[Series, Span]:
        """From the first to the last row of each series; those without rows are left out."""

    def lacking(self, every_series: Sequence[Series]) -> dict[Series, tuple[Gap, ...]]:
        """What the exchange lacks of each series, as it is on record, by time."""

    def pages(self, series: Series, span: Span) -> list[Rows]:
        """The rows of a span, oldest first, in pages without a hole.

        Raises:
            NotReadable: they are no candles.
        """


OpenShared = Callable[[str, str], AbstractContextManager[SharedTable]]  # address, category


@attrs.define
class PostgresTable:
    """The table in an open database."""

    _address: DatabaseAddress
    _category: str
    _connection: "psycopg.Connection[Any]"

    def extents(self, every_series: Sequence[Series]) -> dict[Series, Span]:
        """From the first to the last row of each series; those without rows are left out."""
        with map_database_errors(self._address):
            if not has_table(self._connection, self._address):
                return {}
            values = [*_places(every_series), self._category, self._category]
            found = self._connection.execute(_EXTENTS, values).fetchall()
        firsts = ((every_series[place], first_ms, last_ms) for place, first_ms, last_ms in found)
        return {series: Span(first_ms, series.timeframe.close(last_ms)) for series, first_ms, last_ms in firsts}

    def lacking(self, every_series: Sequence[Series]) -> dict[Series, tuple[Gap, ...]]:
        """What the exchange lacks of each series, as it is on record, by time."""
        with map_database_errors(self._address):
            if not has_table_of(self._connection, self._address, GAPS, GAPS_TYPES, GAPS_KEY):
                return {}
            rows = self._connection.execute(SETTLED_GAPS, [*_places(every_series), self._category]).fetchall()
        found: dict[Series, list[Gap]] = {}
        for place, *row in rows:
            gap, before = gap_of(every_series[place], row), found.setdefault(every_series[place], [])
            if gap and (not before or before[-1].span.end_ms <= gap.span.start_ms):
                before.append(gap)
        return {series: tuple(gaps) for series, gaps in found.items()}

    def pages(self, series: Series, span: Span) -> list[Rows]:
        """The rows of a span, oldest first, in pages without a hole.

        Raises:
            NotReadable: they are no candles.
        """
        frame = series.timeframe
        query = rows_query(self._category, series.symbol, frame.name, (span.start_ms, span.end_ms))
        with map_database_errors(self._address), self._connection.cursor().copy(query) as copy:
            lines = [line.replace(b",-,", b",", 1) for line in b"".join(copy).splitlines()]
        try:
            return pages_of(frame, lines)
        except NotACandle as defect:
            raise NotReadable(f"{self._address.shown}, {series} of the table candles: {defect}") from None


def _places(every_series: Sequence[Series]) -> list[list[object]]:
    """Each series' place, symbol and timeframe, column by column."""
    return [
        [*range(len(every_series))],
        [each.symbol for each in every_series],
        [each.timeframe.name for each in every_series],
    ]


def pages_of(timeframe: Timeframe, lines: Sequence[bytes]) -> list[Rows]:
    """Lines of candles in pages without a hole.

    Raises:
        NotACandle: one of them is none.
    """
    return [rows_of_lines(timeframe, page) for page in _pages(timeframe, lines)]


def _pages(timeframe: Timeframe, lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Lines that follow one another, so many at a time."""
    start, close_ms = 0, -1
    for place, line in enumerate(lines):
        open_ms = open_of_line(line)
        if place > start and (open_ms != close_ms or place - start == _PAGE):
            yield lines[start:place]
            start = place
        close_ms = timeframe.close(open_ms)
    if lines:
        yield lines[start:]


@contextmanager
def open_shared_table(url: str, category: str) -> Iterator[PostgresTable]:
    """The table of a database, which may be missing there.

    Raises:
        SettingsError, Unavailable, StorageError: as `parse_database` and `open_database`.
    """
    address = parse_database(url)
    with open_database(address) as connection:
        yield PostgresTable(address, category, connection)
