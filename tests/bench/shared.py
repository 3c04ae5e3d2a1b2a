"""What the table that a cluster shares takes as it grows: bytes of a row, time of a minute, pages of a day.

Minutes of the whole market come in the order in which they close, so the rows of a symbol lie far apart.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from collector.export.postgres import create_candles
from collector.feeder.database import parse_database
from tests.bench.made import rows_of_minutes
from tests.bench.table import show
from tests.support.servers import connected, own_postgres

_SYMBOLS = 886
_DAY = 1440
_MILLIONS = (1, 4, 16)
_NEW = 20  # minutes that are written one by one, as they close
_VALUES = "open, high, low, close, volume, turnover"
_MINUTES = f"""
    INSERT INTO candles SELECT 'linear', 'COIN' || symbol || 'USDT', '1', at, at + interval '1 min', {_VALUES}
    FROM generate_series(%s::int, %s::int - 1) minute, generate_series(1, {_SYMBOLS}) symbol,
        LATERAL (SELECT timestamptz '2021-01-01' + minute * interval '1 min' AS at),
        LATERAL (SELECT * FROM made WHERE place = mod(minute * 7 + symbol, 1000))
    ORDER BY minute, symbol
    ON CONFLICT (category, symbol, timeframe, open_time) DO UPDATE SET close = excluded.close
"""
_OF_A_DAY = """
    EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT * FROM candles
    WHERE category = 'linear' AND symbol = 'COIN7USDT' AND timeframe = '1'
        AND open_time >= timestamptz '2021-01-01' AND open_time < timestamptz '2021-01-01' + %s * interval '1 min'
"""
_SIZES = "SELECT pg_table_size('candles'), pg_indexes_size('candles')"


@attrs.frozen
class Size:
    """The table at one size."""

    rows: int
    table_bytes: float  # of a row
    key_bytes: float
    minute_ms: float  # the median of a minute of the market
    day_pages: int  # that a day of one symbol is read from

    @property
    def figures(self) -> tuple[str, ...]:
        bytes_of_a_row = f"{self.table_bytes + self.key_bytes:.0f}"
        parts = f"{self.table_bytes:.0f}", f"{self.key_bytes:.0f}"
        return f"{self.rows:,}", bytes_of_a_row, *parts, f"{self.minute_ms:.1f}", f"{self.day_pages:,}"


def run(_pages: int, _rounds: int) -> None:
    """Once: each size goes on from the one before."""
    with (
        tempfile.TemporaryDirectory(prefix="collector-bench-") as name,
        own_postgres(Path(name) / "server") as server,
        connected(server.address) as connection,
    ):
        create_candles(connection, parse_database(server.address))
        _make_values(connection)
        sizes = _grown(connection)
    titles = ["rows", "bytes of a row", "in the table", "in its key", "ms of a minute", "pages of a day"]
    show(f"A shared table, {_SYMBOLS} symbols in the order of their minutes", titles, [s.figures for s in sizes], [])


def _make_values(connection: Any) -> None:
    connection.execute(f"CREATE TEMP TABLE made AS SELECT 0 AS place, {_VALUES} FROM candles LIMIT 0")
    with connection.cursor() as cursor, cursor.copy("COPY made FROM STDIN (FORMAT csv)") as copy:
        for place, line in enumerate(rows_of_minutes(range(1000)).text.decode().splitlines()):
            copy.write(f"{place},{line.split(',', 2)[2]}\n")
    connection.execute("CREATE UNIQUE INDEX ON made (place)")
    connection.execute("ANALYZE made")


def _grown(connection: Any) -> list[Size]:
    minutes, sizes = 0, []
    for millions in _MILLIONS:
        while (more := millions * 1_000_000 // _SYMBOLS - _NEW - minutes) > 0:
            until = minutes + min(_DAY, more)
            connection.execute(_MINUTES, [minutes, until])
            minutes = until
        taken = []
        for _ in range(_NEW):
            began_s = time.perf_counter()
            connection.execute(_MINUTES, [minutes, minutes + 1])
            taken.append(time.perf_counter() - began_s)
            minutes += 1
        connection.execute("VACUUM ANALYZE candles")
        sizes.append(_measured(connection, minutes, sorted(taken)[_NEW // 2]))
    return sizes


def _measured(connection: Any, minutes: int, minute_s: float) -> Size:
    rows = minutes * _SYMBOLS
    assert connection.execute("SELECT count(*) FROM candles").fetchone() == (rows,)
    table, key = connection.execute(_SIZES).fetchone()
    (plan,) = connection.execute(_OF_A_DAY, [min(_DAY, minutes)]).fetchone()
    found = (plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]
    assert found["Actual Rows"] == min(_DAY, minutes)
    return Size(
        rows, table / rows, key / rows, minute_s * 1000, found["Shared Hit Blocks"] + found["Shared Read Blocks"]
    )
