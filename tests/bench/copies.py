"""What copies for other tools cost: rows a second, bytes a candle, and loading each into a feeder.

The database is one of its own on this machine, as the tests start it, with the settings of its packages: it syncs.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from collector import DataFeeder
from collector.core.rows import HEADER
from collector.export.address import Database, Directory
from tests.bench.made import rows_of_minutes
from tests.bench.table import duration, show
from tests.support.exports import run as export
from tests.support.servers import connected, postgres_server

_ROWS = 1_000_000
_SYMBOL = "BTCUSDT"


def run(_pages: int, _rounds: int) -> None:
    """Each once: a million rows are enough to be told apart."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="collector-bench-")))
        database = stack.enter_context(postgres_server(scratch / "server"))
        data, parquet = scratch / "data", scratch / "parquet"
        data.mkdir()
        (data / f"{_SYMBOL}_1.csv").write_bytes(HEADER + rows_of_minutes(range(_ROWS)).text)
        first = {"Parquet": _timed(lambda: export(data, Directory(parquet)))}
        first["PostgreSQL"] = _timed(lambda: export(data, Database(database)))
        again = {"Parquet": _timed(lambda: export(data, Directory(parquet)))}
        again["PostgreSQL"] = _timed(lambda: export(data, Database(database)))
        loads = {"CSV, the first time": _loading(data), "CSV with its Arrow copy": _loading(data)}
        loads |= {"Parquet": _loading(parquet), "PostgreSQL": _loading(database)}
        sizes = _sizes(data, parquet, database)
    rows = [
        (
            name,
            f"{_ROWS / first[name]:,.0f}" if name in first else "",
            f"{_ROWS / again[name]:,.0f}" if name in again else "",
            f"{sizes[name]:.1f}",
            duration(loads[name]),
        )
        for name in loads
    ]
    titles = ["", "rows/s", "rows/s, nothing new", "bytes a candle", "load"]
    show(f"Copies of {_ROWS:,} rows", titles, rows, [])


def _timed(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _loading(place: str | Path) -> float:
    with DataFeeder(place) as feeder:
        taken_s = _timed(lambda: feeder.load_data(_SYMBOL, "1"))
        assert feeder.metadata(_SYMBOL, "1").rows == _ROWS
    return taken_s


def _sizes(data: Path, parquet: Path, database: str) -> dict[str, float]:
    """Bytes a candle in each place."""
    with connected(database) as connection:
        (table,) = connection.execute("SELECT pg_total_relation_size('candles')").fetchone()
    csv, arrow = _bytes_in(data, "*.csv"), _bytes_in(data, ".collector/arrow/*")
    places = {"CSV, the first time": csv, "CSV with its Arrow copy": arrow}
    places |= {"Parquet": _bytes_in(parquet, "**/*.parquet"), "PostgreSQL": int(table)}
    return {name: size / _ROWS for name, size in places.items()}


def _bytes_in(directory: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in directory.glob(pattern))
