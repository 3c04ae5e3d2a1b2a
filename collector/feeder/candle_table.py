"""The table of candles in PostgreSQL.

Prices and amounts are `numeric`, the exchange's decimals exactly. A row's key is category, symbol, timeframe and open
time.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collector.core.errors import SettingsError
from collector.core.rows import NUMBERS
from collector.feeder.database import DatabaseAddress

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composed

TABLE = "candles"
KEY = ("category", "symbol", "timeframe", "open_time")
VALUES = ("close_time", *NUMBERS)
TYPES: Mapping[str, str] = (
    dict.fromkeys(KEY[:3], "text")
    | dict.fromkeys(("open_time", "close_time"), "timestamp with time zone")
    | dict.fromkeys(NUMBERS, "numeric")
)
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""
_UNIQUE = """
    SELECT array_agg(attname::text) FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
    WHERE indrelid = to_regclass(%s) AND indisunique AND indpred IS NULL
    GROUP BY indexrelid
"""

# Each by a jump in the index from one to the next: a table of 300 million rows has few of them.
CATEGORIES = """
    WITH RECURSIVE found AS (
        (SELECT category FROM candles ORDER BY category LIMIT 1)
        UNION ALL
        SELECT (SELECT category FROM candles WHERE category > found.category ORDER BY category LIMIT 1)
        FROM found WHERE found.category IS NOT NULL
    ) SELECT category FROM found WHERE category IS NOT NULL
"""
SERIES = """
    WITH RECURSIVE found AS (
        (SELECT category, symbol, timeframe FROM candles WHERE category = %s ORDER BY 1, 2, 3 LIMIT 1)
        UNION ALL
        SELECT next.* FROM found, LATERAL (
            SELECT category, symbol, timeframe FROM candles
            WHERE category = found.category AND (symbol, timeframe) > (found.symbol, found.timeframe)
            ORDER BY 1, 2, 3 LIMIT 1
        ) next
    ) SELECT symbol, timeframe FROM found
"""


def rows_query(category: str, symbol: str, timeframe: str, span: tuple[int, int]) -> "Composed":
    """A COPY of the rows of a series that open in a span, in the columns of a candle file; the times have no text."""
    from psycopg.sql import SQL, Literal

    return SQL("""
        COPY (
            SELECT (extract(epoch FROM open_time) * 1000)::bigint, '-', open, high, low, close, volume, turnover
            FROM candles
            WHERE category = {} AND symbol = {} AND timeframe = {}
                AND open_time >= 'epoch'::timestamptz + {} * interval '1 ms'
                AND open_time < 'epoch'::timestamptz + {} * interval '1 ms'
            ORDER BY open_time
        ) TO STDOUT (FORMAT csv)
    """).format(*map(Literal, (category, symbol, timeframe, *span)))


def has_table(connection: "psycopg.Connection[Any]", address: DatabaseAddress) -> bool:
    """Whether there is a table of candles; raises as `has_table_of`."""
    return has_table_of(connection, address, TABLE, TYPES, KEY)


def has_table_of(
    connection: "psycopg.Connection[Any]",
    address: DatabaseAddress,
    table: str,
    types: Mapping[str, str],
    key: Sequence[str],
) -> bool:
    """Whether there is a table with these columns and this key, and perhaps more columns.

    Raises:
        SettingsError: there is a table of that name, of another shape.
    """
    found = dict(connection.execute(_COLUMNS, [table]).fetchall())
    if not found:
        return False
    wrong = [
        f"{name} is {found.get(name, 'missing')}, not {kind}" for name, kind in types.items() if found.get(name) != kind
    ]
    keys = [set(names) for (names,) in connection.execute(_UNIQUE, [table]).fetchall()]
    if not wrong and set(key) not in keys:
        wrong = [f"it has no primary key ({', '.join(key)})"]
    if wrong:
        raise SettingsError([f"the table {table} in {address.shown} has another shape: {'; '.join(wrong)}"])
    return True
