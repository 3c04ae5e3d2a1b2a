"""The statements that keep tables equal to files while these grow: few rows of many series at a time."""

from collections.abc import Iterable

from collector.core.candle import TIMEFRAMES
from collector.core.rows import NUMBERS
from collector.export.postgres_sql import LOCK_KEY, MOMENT, MONTH_MS, STAGED_ROW, step_of
from collector.feeder.candle_table import KEY, TABLE, VALUES
from collector.feeder.gap_table import GAPS, GAPS_KEY, GAPS_TYPES, SINCE

STAGING = "mirror_staging"
CREATE_STAGING = f"""
    CREATE TEMPORARY TABLE {STAGING} (
        symbol text, timeframe text, ms bigint, {STAGED_ROW}
    ) ON COMMIT DELETE ROWS
"""
_GAPS_COLUMNS = ", ".join(
    f"{name} {kind}{'' if name == 'asked_time' else ' NOT NULL'}" for name, kind in GAPS_TYPES.items()
)
CREATE_GAPS = f"CREATE TABLE {GAPS} ({_GAPS_COLUMNS}, {SINCE} timestamptz, PRIMARY KEY ({', '.join(GAPS_KEY)}))"
HAS_SINCE = f"""
    SELECT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = to_regclass('{GAPS}') AND attname = '{SINCE}' AND NOT attisdropped
    )
"""
ADD_SINCE = f"ALTER TABLE {GAPS} ADD COLUMN {SINCE} timestamptz"
STARTED = "SELECT concat_ws(' ', pg_postmaster_start_time(), 'candles'::regclass::oid, 'gaps'::regclass::oid)"
# A long comparison, and a night without candles, are no reason to end it. A client that stands still or has gone, is.
SESSION = (
    *("SET statement_timeout = 0", "SET idle_session_timeout = 0"),
    *("SET idle_in_transaction_session_timeout = '30s'", "SET tcp_keepalives_idle = 30"),
)
CREATE_FENCES = """
    CREATE TABLE IF NOT EXISTS collector_fences (
        category text, slot smallint, epoch bigint NOT NULL, PRIMARY KEY (category, slot)
    )
"""
# ON CONFLICT alone would wait for whoever has one of them locked.
ADD_FENCES = """
    INSERT INTO collector_fences SELECT %s, own.slot, 0 FROM unnest(%s::int[]) AS own (slot)
    WHERE NOT EXISTS (SELECT FROM collector_fences there WHERE there.category = %s AND there.slot = own.slot)
    ON CONFLICT DO NOTHING
"""
# Which slots this epoch may write: nobody of a later one has, and nobody can until the end of the transaction.
RAISE_FENCES = """
    WITH mine AS (
        SELECT there.slot, own.epoch
        FROM collector_fences there JOIN unnest(%s::int[], %s::bigint[]) AS own (slot, epoch) USING (slot)
        WHERE there.category = %s AND there.epoch <= own.epoch
        ORDER BY there.slot FOR UPDATE OF there SKIP LOCKED
    )
    UPDATE collector_fences there SET epoch = mine.epoch FROM mine
    WHERE there.category = %s AND there.slot = mine.slot
    RETURNING there.slot
"""
COPY = f"COPY {STAGING} FROM STDIN (FORMAT csv)"
# In one order for all who lock several; whoever holds one is not waited for.
TRY_LOCKS = f"""
    SELECT name, pg_try_advisory_xact_lock({LOCK_KEY}(name))
    FROM (SELECT unnest(%s::text[]) AS name ORDER BY 1) names
"""

_OPENED = MOMENT.format("staged.ms")
_SPANS = (
    "unnest(%(symbols)s::text[], %(timeframes)s::text[], %(starts)s::bigint[], %(ends)s::bigint[]) "
    "AS span (symbol, timeframe, start_ms, end_ms)"
)
_STEPS = ", ".join(f"('{name}', {step_of(frame)})" for name, frame in TIMEFRAMES.items())
_VALUES = ", ".join(f"{{0}}.{name}" for name in VALUES)
_SCALES = ", ".join(f"scale({{0}}.{name})" for name in NUMBERS)

# What the table has in the spans: by the index, span by span.
_IN_SPANS = f"""
    {TABLE}.category = %(category)s AND {TABLE}.symbol = span.symbol AND {TABLE}.timeframe = span.timeframe
        AND {TABLE}.open_time >= {MOMENT.format("span.start_ms")} AND {TABLE}.open_time < {MOMENT.format("span.end_ms")}
"""
_STAGED = f"""
    (
        SELECT staged.*, {_OPENED} AS open_time, {_OPENED} + step.length AS close_time
        FROM {STAGING} staged JOIN (VALUES {_STEPS}) AS step (timeframe, length) USING (timeframe)
    ) staged
"""
_THERE = f"{_SPANS} JOIN {TABLE} ON {_IN_SPANS}"
# How many rows were removed, and whether there were any in the spans.
REMOVE = f"""
    WITH removed AS (
        DELETE FROM {TABLE} USING {_SPANS} WHERE {_IN_SPANS} AND NOT EXISTS (
            SELECT FROM {STAGING} staged
            WHERE staged.symbol = {TABLE}.symbol AND staged.timeframe = {TABLE}.timeframe
                AND {_OPENED} = {TABLE}.open_time
        ) RETURNING 1
    ) SELECT (SELECT count(*) FROM removed), EXISTS (SELECT FROM {_THERE})
"""
# The same question where nothing is removed.
KEEP = f"SELECT 0, EXISTS (SELECT FROM {_THERE})"
# ON CONFLICT takes twice the time for a row that is new: this is for spans without rows.
INSERT = f"""
    INSERT INTO {TABLE} ({", ".join((*KEY, *VALUES))})
    SELECT %(category)s, symbol, timeframe, open_time, {", ".join(VALUES)} FROM {_STAGED}
"""
# Scales too, as 1.50 and 1.5 are equal as numbers. EXCEPT has the same plan whatever the statistics say, and who is
# equal is not even locked.
UPSERT = f"""
    INSERT INTO {TABLE} ({", ".join((*KEY, *VALUES))})
    SELECT %(category)s, symbol, timeframe, open_time, {", ".join(VALUES)}
    FROM (
        SELECT symbol, timeframe, open_time, {_VALUES.format("staged")}, {_SCALES.format("staged")} FROM {_STAGED}
        EXCEPT ALL
        SELECT {TABLE}.symbol, {TABLE}.timeframe, open_time, {_VALUES.format(TABLE)}, {_SCALES.format(TABLE)}
        FROM {_THERE}
    ) changed
    ON CONFLICT ({", ".join(KEY)}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in VALUES)}
"""
# Each line as the file has it, so that a checksum of the file's text is the same; an empty one where a candle closes at
# another time than its timeframe says.
CHECKSUMS = f"""
    SELECT {MONTH_MS}, CASE WHEN bool_and(close_time = open_time + step.length) THEN
        sha256(convert_to(string_agg(concat_ws(',',
            (extract(epoch FROM open_time) * 1000)::bigint, to_char(open_time, 'YYYY-MM-DD HH24:MI:SS'),
            {", ".join(NUMBERS)}), E'\\n' ORDER BY open_time) || E'\\n', 'UTF8')) ELSE '' END
    FROM {TABLE} JOIN (VALUES {_STEPS}) AS step (timeframe, length) USING (timeframe)
    WHERE category = %s AND symbol = %s AND timeframe = %s
    GROUP BY 1
"""
REMOVE_GAPS = f"""
    DELETE FROM {GAPS} USING unnest(%s::text[], %s::text[]) AS gone (symbol, timeframe)
    WHERE {GAPS}.category = %s AND {GAPS}.symbol = gone.symbol AND {GAPS}.timeframe = gone.timeframe
"""


def copy_gaps(columns: Iterable[str]) -> str:
    """Takes rows of gaps with these columns."""
    return f"COPY {GAPS} ({', '.join(columns)}) FROM STDIN"
