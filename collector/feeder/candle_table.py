"""The table of candles in PostgreSQL: its shape, and what is read from it.

Prices and amounts are `numeric`, the exchange's decimals exactly. A row's key is category, symbol, timeframe and open
time.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from collector.errors import SettingsError
from collector.feeder.database import DatabaseAddress

if TYPE_CHECKING:
    import psycopg

TABLE = "candles"
KEY = ("category", "symbol", "timeframe", "open_time")
_NUMBERS = ("open", "high", "low", "close", "volume", "turnover")
VALUES = ("close_time", *_NUMBERS)
TYPES: Mapping[str, str] = (
    dict.fromkeys(KEY[:3], "text")
    | dict.fromkeys(("open_time", "close_time"), "timestamp with time zone")
    | dict.fromkeys(_NUMBERS, "numeric")
)
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass('candles') AND attnum > 0 AND NOT attisdropped
"""
_UNIQUE = """
    SELECT array_agg(attname::text) FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
    WHERE indrelid = to_regclass('candles') AND indisunique AND indpred IS NULL
    GROUP BY indexrelid
"""


def has_table(connection: "psycopg.Connection[Any]", address: DatabaseAddress) -> bool:
    """Whether there is a table of candles.

    Raises:
        SettingsError: there is a table of that name, of another shape.
    """
    found = dict(connection.execute(_COLUMNS).fetchall())
    if not found:
        return False
    wrong = [
        f"{name} is {found.get(name, 'missing')}, not {kind}" for name, kind in TYPES.items() if found.get(name) != kind
    ]
    keys = [set(names) for (names,) in connection.execute(_UNIQUE).fetchall()]
    if not wrong and set(KEY) not in keys:
        wrong = [f"it has no primary key ({', '.join(KEY)})"]
    if wrong:
        raise SettingsError([f"the table {TABLE} in {address.shown} has another shape: {'; '.join(wrong)}"])
    return True
