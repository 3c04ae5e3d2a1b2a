"""The statements that keep the table of candles.

The same table serves plain PostgreSQL, TimescaleDB and Citus: what the database has installed decides what is made of
it. Each batch of rows goes into a staging table of the session, and from there what differs goes into the table.
"""

from collections.abc import Iterable, Iterator

from collector.core.candle import Timeframe
from collector.core.rows import NUMBERS
from collector.feeder.candle_table import KEY, TABLE, TYPES, VALUES

STAGING = "candles_staging"
LOCK_KEY = "hashtext('collector candles'), hashtext"  # then the category and the name of a series, in brackets
MOMENT = "'epoch'::timestamptz + {} * interval '1 ms'"
MONTH_MS = "(extract(epoch FROM date_trunc('month', open_time)) * 1000)::bigint"
STAGED_ROW = (
    f"moment text, {', '.join(f'{name} numeric' for name in NUMBERS)}"  # a file's line, from its second cell on
)
# The fences of a cluster lie beside the candles that its collectors share.
HAS_FENCES = "SELECT to_regclass('collector_fences') IS NOT NULL"
IS_SHARED = "SELECT EXISTS (SELECT FROM collector_fences WHERE category = %s AND epoch > 0)"
EXTENSIONS = "SELECT extname FROM pg_extension"
STAGING_MEMORY = "SET temp_buffers = '64MB'"  # a batch fits; with less it goes through files
CREATE_STAGING = f"""
    CREATE TEMPORARY TABLE {STAGING} (
        ms bigint, {STAGED_ROW}
    ) ON COMMIT DELETE ROWS
"""
COPY = f"COPY {STAGING} FROM STDIN (FORMAT csv)"
ANALYZE = f"ANALYZE {STAGING}"
LOCK = f"SELECT pg_advisory_lock({LOCK_KEY}(%s))"
LOCK_CREATION = f"SELECT pg_advisory_xact_lock({LOCK_KEY}('creation'))"
UNLOCK = f"SELECT pg_advisory_unlock({LOCK_KEY}(%s))"

_OF_SERIES = "category = %(category)s AND symbol = %(symbol)s AND timeframe = %(timeframe)s"
_IN_SPAN = f"open_time >= {MOMENT.format('%(start)s')} AND open_time < {MOMENT.format('%(end)s')}"
_ROWS = f"SELECT * FROM {TABLE} WHERE {_OF_SERIES} AND {_IN_SPAN}"
_THERE = ", ".join(f"there.{name}" for name in VALUES)
_STAGED = ", ".join(f"staged.{name}" for name in VALUES)

IS_EMPTY = f"SELECT NOT EXISTS ({_ROWS})"


def creation(extensions: Iterable[str]) -> Iterator[str]:
    """The statements that create the table, by what is installed in the database."""
    columns = ", ".join(f"{name} {kind} NOT NULL" for name, kind in TYPES.items())
    yield f"CREATE TABLE {TABLE} ({columns}, PRIMARY KEY ({', '.join(KEY)}))"
    if "timescaledb" in extensions:
        yield f"SELECT create_hypertable('{TABLE}', 'open_time', chunk_time_interval => interval '30 days')"
    elif "citus" in extensions:
        yield f"SELECT create_distributed_table('{TABLE}', 'symbol')"


def staged(timeframe: Timeframe) -> str:
    """The rows of the staging table in the shape of the table; the session's time zone is UTC."""
    opened = MOMENT.format("ms")
    return (
        f"SELECT {opened} AS open_time, {opened} + {step_of(timeframe)} AS close_time, "
        f"{', '.join(NUMBERS)} FROM {STAGING}"
    )


def step_of(timeframe: Timeframe) -> str:
    """How long a candle is."""
    return f"interval '{'1 month' if timeframe.step_ms is None else f'{timeframe.step_ms // 1000} seconds'}'"


def comparison(timeframe: Timeframe) -> str:
    """How many rows of the span are missing, different and extra in the table, month by month.

    The last number: of the missing ones, those that open after the last row that the table has of the series.
    """
    return f"""
        SELECT {MONTH_MS},
            count(*) FILTER (WHERE there.close IS NULL),
            count(*) FILTER (
                WHERE there.close IS NOT NULL AND staged.close IS NOT NULL AND ({_THERE}) IS DISTINCT FROM ({_STAGED})
            ),
            count(*) FILTER (WHERE staged.close IS NULL),
            count(*) FILTER (
                WHERE there.close IS NULL AND open_time > (SELECT max(open_time) FROM {TABLE} WHERE {_OF_SERIES})
            )
        FROM ({staged(timeframe)}) staged FULL JOIN ({_ROWS}) there USING (open_time)
        GROUP BY 1
    """


def insertion(timeframe: Timeframe) -> str:
    """Inserts the staged rows where there are none of the series yet."""
    return f"INSERT INTO {TABLE} ({', '.join((*KEY, *VALUES))}) {_keyed(timeframe)}"


def upsert(timeframe: Timeframe) -> str:
    """Inserts or updates the staged rows that differ.

    Equal ones are not even locked.
    """
    changes = ", ".join(f"{name} = excluded.{name}" for name in VALUES)
    return f"""{insertion(timeframe)}
        WHERE NOT EXISTS (
            SELECT FROM ({_ROWS}) there
            WHERE there.open_time = staged.open_time AND ({_THERE}) IS NOT DISTINCT FROM ({_STAGED})
        )
        ON CONFLICT ({", ".join(KEY)}) DO UPDATE SET {changes}
    """


def removal(timeframe: Timeframe) -> str:
    """Removes the rows of the span that are not staged."""
    return f"""
        DELETE FROM {TABLE} WHERE {_OF_SERIES} AND {_IN_SPAN}
            AND NOT EXISTS (SELECT FROM ({staged(timeframe)}) staged WHERE staged.open_time = {TABLE}.open_time)
    """


def _keyed(timeframe: Timeframe) -> str:
    return (
        f"SELECT %(category)s, %(symbol)s, %(timeframe)s, staged.open_time, {_STAGED} FROM ({staged(timeframe)}) staged"
    )
