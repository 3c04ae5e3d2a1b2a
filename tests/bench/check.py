"""What it costs to check a file of the usual length, beside a bare read of the same columns with polars.

Every way runs in a process of its own, several times; the files are hot.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import polars as pl

from collector import DataIntegrityChecker, Settings
from collector.core.candle import MINUTE_MS
from collector.core.rows import COLUMNS
from collector.machine.disk import THIS_DISK
from collector.storage.csv_store import Store
from tests.bench.files import USUAL, made
from tests.bench.made import FIRST_MS
from tests.bench.measure import apart, peak_mb
from tests.bench.table import aim, duration, show
from tests.support.defects import changed

_AIM = 1.5  # times a bare read
_WARM = 3  # rounds before those that count: the first ones load the libraries
_NUMBERS = {"timestamp": pl.Int64, "datetime": pl.String} | dict.fromkeys(COLUMNS[2:], pl.Float64)

Read = Callable[[Path], object]
Taken = tuple[list[float], list[float], float]
"""Seconds and CPU seconds of each round, and the peak of the process in MB."""


def run(_pages: int, rounds: int) -> None:
    """A good number: a check of a sound file takes at most one and a half times a bare read."""
    with tempfile.TemporaryDirectory(prefix="collector-bench-") as scratch:
        sound = made(Store(Path(scratch), THIS_DISK), "SOUNDUSDT", range(USUAL)).path
        damaged = made(Store(Path(scratch), THIS_DISK), "DAMAGEDUSDT", range(USUAL)).path
        _damage(damaged)
        cases: dict[str, tuple[Read, Path]] = {
            "polars: read, numbers as numbers": (_read, sound),
            "polars: read, and datetime parsed": (_read_dates, sound),
            "check": (_check, sound),
            "check, one row in a thousand damaged": (_check, damaged),
        }
        turns = [{name: apart(partial(_timed, 4 * rounds), case) for name, case in cases.items()} for _ in range(3)]
    seconds = {name: median(s for turn in turns for s in turn[name][0]) for name in cases}
    cpu = {name: median(s for turn in turns for s in turn[name][1]) for name in cases}
    bare = next(iter(cases))
    rows = [
        (
            name,
            duration(seconds[name]),
            f"{seconds[name] / seconds[bare]:.2f}",
            duration(cpu[name]),
            f"{cpu[name] / cpu[bare]:.2f}",
            f"{median(turn[name][2] for turn in turns):.0f}",
        )
        for name in cases
    ]
    columns = ["", "time", ": bare", "CPU", ": bare", "peak MB"]
    aims = [aim("check : bare read", seconds["check"] / seconds[bare], at_most=_AIM)]
    show(f"Check: one file of {USUAL:,} rows", columns, rows, aims)


def _timed(rounds: int, case: tuple[Read, Path]) -> Taken:
    read, path = case
    taken: list[tuple[float, float]] = []
    for _ in range(_WARM + rounds):
        began = time.perf_counter(), time.process_time()
        read(path)
        taken.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall, cpu = zip(*taken[_WARM:], strict=True)
    return list(wall), list(cpu), peak_mb()


def _read(path: Path) -> object:
    return pl.read_csv(path, schema=_NUMBERS)


def _read_dates(path: Path) -> object:
    stamp = pl.col("datetime").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms", cache=False)
    return pl.read_csv(path, schema=_NUMBERS).with_columns(stamp)


def _check(path: Path) -> object:
    now_ms = FIRST_MS + USUAL * MINUTE_MS
    return DataIntegrityChecker(Settings(data_dir=path.parent), now_ms=lambda: now_ms).check_single_file(path)


def _damage(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[500::1000] = [changed(line, 6, "-1") for line in lines[500::1000]]
    path.write_bytes(b"".join(lines))
