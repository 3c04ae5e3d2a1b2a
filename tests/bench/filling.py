"""What it takes to bring a file into an empty table of PostgreSQL, beside a plain COPY of text that is ready for it.

An export, the mirror's catching up and the plain COPY take turns, each into the same table with its key, on a server of
its own with the settings of its packages: it syncs.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import attrs

from collector.core.candle import Series
from collector.core.rows import HEADER
from collector.core.spans import EVER, Spans
from collector.core.text import moment_text
from collector.export.address import Database
from collector.export.mirror_table import open_mirror_table
from collector.machine.disk import THIS_DISK
from tests.bench.made import FIRST_MS, MINUTE, rows_of_minutes
from tests.bench.table import aim, show
from tests.support.exports import run as export
from tests.support.servers import PostgresServer, connected, own_postgres

_ROWS = 500_000
_PIECE = 256 * 1024
_COPY = "COPY candles FROM STDIN (FORMAT csv)"
_SERIES = Series("AUSDT", MINUTE)
_PLAIN, _EXPORT, _MIRROR = "plain COPY", "export", "mirror"


@attrs.frozen
class Taken:
    """What one filling took: seconds, and of processor time this process and the server."""

    elapsed_s: float
    own_s: float
    server_s: float


def run(_pages: int, rounds: int) -> None:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="collector-bench-")))
        server = stack.enter_context(own_postgres(scratch / "server"))
        data, text = scratch / "data", rows_of_minutes(range(_ROWS)).text
        data.mkdir()
        (data / _SERIES.file_name).write_bytes(HEADER + text)
        ready = _ready(text)
        ways: dict[str, Callable[[], object]] = {
            _PLAIN: lambda: _copy(server.address, ready),
            _EXPORT: lambda: export(data, Database(server.address)),
            _MIRROR: lambda: _catch_up(server.address, data),
        }
        ways[_EXPORT]()  # creates the table
        found = [{name: _filled(server, way) for name, way in ways.items()} for _ in range(rounds)]
    rows = [(name, *_figures([each[name] for each in found])) for name in ways]
    aims = [
        line
        for name, least in ((_EXPORT, 0.7), (_MIRROR, 0.5))
        for line in (
            aim(f"{name}: rows a second into an empty table", [_speed(each[name]) for each in found], at_least=100_000),
            aim(
                f"{name}: its rows a second to those of a plain COPY",
                [_speed(each[name]) / _speed(each[_PLAIN]) for each in found],
                at_least=least,
            ),
        )
    ]
    titles = ["", "rows/s", "µs of the collector a row", "µs of the server a row"]
    show(f"Filling an empty table with {_ROWS:,} rows", titles, rows, aims)


def _ready(text: bytes) -> bytes:
    """The rows of a file as the table has them."""
    step_ms = MINUTE.step_ms or 0
    closes = [moment_text(FIRST_MS + at * step_ms) for at in range(1, _ROWS + 1)]
    lines = text.decode().splitlines()
    cells = (line.split(",", 2) for line in lines)
    ready = (
        f"linear,{_SERIES.symbol},1,{opened},{close},{numbers}\n"
        for (_, opened, numbers), close in zip(cells, closes, strict=True)
    )
    return "".join(ready).encode()


def _copy(database: str, ready: bytes) -> None:
    with connected(database) as connection, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for at in range(0, len(ready), _PIECE):
            copy.write(ready[at : at + _PIECE])


def _catch_up(database: str, data: Path) -> None:
    wanted: dict[Series, Spans] = {_SERIES: EVER}
    with open_mirror_table(database, "linear", THIS_DISK, data) as table:
        while wanted:
            wanted = dict(table.copy(wanted).left)


def _filled(server: PostgresServer, way: Callable[[], object]) -> Taken:
    with connected(server.address) as connection:
        connection.execute("TRUNCATE candles")
        connection.execute("CHECKPOINT")
    began_s, own_s, server_s = time.perf_counter(), time.process_time(), server.processor_s()
    way()
    taken = Taken(time.perf_counter() - began_s, time.process_time() - own_s, server.processor_s() - server_s)
    with connected(server.address) as connection:
        assert connection.execute("SELECT count(*) FROM candles").fetchone() == (_ROWS,)
    return taken


def _speed(taken: Taken) -> float:
    return _ROWS / taken.elapsed_s


def _figures(taken: list[Taken]) -> tuple[str, str, str]:
    """Medians of the rounds."""
    own, server = median(each.own_s for each in taken), median(each.server_s for each in taken)
    return f"{median(map(_speed, taken)):,.0f}", f"{own / _ROWS * 1e6:.2f}", f"{server / _ROWS * 1e6:.2f}"
