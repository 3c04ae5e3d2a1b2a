"""What it costs to check and to open a file, beside a bare read of the same columns with polars.

Sound files are beside damaged and disagreeing ones, and long ones beside short ones. Every way runs in a process of its
own, several times; the files are hot.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median

import polars as pl

from collector import DataIntegrityChecker, Settings
from collector.core.candle import MINUTE_MS, TIMEFRAMES, Series
from collector.core.rows import COLUMNS, HEADER, Values, rows_of
from collector.machine.disk import THIS_DISK
from collector.storage.csv_store import Store
from tests.bench.files import USUAL, made
from tests.bench.made import FIRST_MS
from tests.bench.measure import apart, peak_mb
from tests.bench.table import aim, duration, show
from tests.support.defects import changed

_AIM = 1.5  # times a bare read
_FLAWED_AIM = 3.0  # times the CPU of a sound file
_LENGTHS = (1_000_000, 5_000_000)  # rows
_MEMORY_AIM = 150.0  # MB that one file adds to the process, however long it is
_SHORT = 1_000  # rows
_BARE = "polars: read, numbers as numbers"
_WARM = 3  # rounds before those that count: the first ones load the libraries
_NUMBERS = {"timestamp": pl.Int64, "datetime": pl.String} | dict.fromkeys(COLUMNS[2:], pl.Float64)

Read = Callable[[Path], object]
Taken = tuple[list[float], list[float], float]
"""Seconds and CPU seconds of each round, and the peak of the process in MB."""


def run(_pages: int, rounds: int) -> None:
    """A good number: a check of a sound file takes at most one and a half times a bare read."""
    for benchmark in (_time, _memory):
        with tempfile.TemporaryDirectory(prefix="collector-bench-") as scratch:
            benchmark(Store(Path(scratch), THIS_DISK), rounds)


def _time(store: Store, rounds: int) -> None:
    sound, damaged = (made(store, f"{name}USDT", range(USUAL)).path for name in ("SOUND", "DAMAGED"))
    agreeing, disagreeing = (_five_minutes(store, sound, f"{name}USDT", off) for name, off in (("A", "0"), ("D", "1")))
    _damage(damaged)
    cases: dict[str, tuple[Read, Path]] = {
        _BARE: (_read, sound),
        "polars: read, and datetime parsed": (_read_dates, sound),
        "check": (_check, sound),
        "check, one row in a thousand damaged": (_check, damaged),
        "open without a checkpoint": (_look, sound),
        "open, one row in a thousand damaged": (_look, damaged),
        "check, five minutes against minutes": (_check, agreeing),
        "check, all of these disagree": (_check, disagreeing),
    }
    turns = [{name: apart(partial(_timed, 4 * rounds), case) for name, case in cases.items()} for _ in range(3)]
    seconds = {name: median(s for turn in turns for s in turn[name][0]) for name in cases}
    cpu = {name: median(s for turn in turns for s in turn[name][1]) for name in cases}
    rows = [
        (
            name,
            duration(seconds[name]),
            f"{seconds[name] / seconds[_BARE]:.2f}",
            duration(cpu[name]),
            f"{cpu[name] / cpu[_BARE]:.2f}",
            f"{median(turn[name][2] for turn in turns):.0f}",
        )
        for name in cases
    ]
    columns = ["", "time", ": bare", "CPU", ": bare", "peak MB"]
    names = [*cases][2:]
    aims = [
        aim("check : bare read", seconds["check"] / seconds[_BARE], at_most=_AIM),
        *(
            aim(f"CPU of {flawed} : {plain}", cpu[flawed] / cpu[plain], at_most=_FLAWED_AIM)
            for plain, flawed in zip(names[::2], names[1::2], strict=True)
        ),
    ]
    show(f"Check: one file of {USUAL:,} rows", columns, rows, aims)


def _memory(store: Store, _rounds: int) -> None:
    """What reading a file adds to the peak of a process that has read a short one."""
    added: list[list[float]] = []
    for length in _LENGTHS:
        path = made(store, f"L{length}USDT", range(length)).path
        sound = [apart(_added, (read, path)) for read in (_look, _check)]
        _damage(path)
        added.append([*sound, *(apart(_added, (read, path)) for read in (_look, _check))])
    ways = ("open", "check", "open, damaged", "check, damaged")
    aims = [
        aim(f"{way} of the longest, in MB", mb, at_most=_MEMORY_AIM) for way, mb in zip(ways, added[-1], strict=True)
    ]
    rows = [(f"{length:,}", *(f"{mb:.0f}" for mb in each)) for length, each in zip(_LENGTHS, added, strict=True)]
    show("Check: MB that a file adds to the process", ["rows", *ways], rows, aims)


def _added(case: tuple[Read, Path]) -> float:
    read, path = case
    with tempfile.TemporaryDirectory(prefix="collector-bench-") as scratch:
        read(made(Store(Path(scratch), THIS_DISK), "SHORTUSDT", range(_SHORT)).path)
    before = peak_mb()
    read(path)
    return peak_mb() - before


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
    now_ms = FIRST_MS + _LENGTHS[-1] * MINUTE_MS
    return DataIntegrityChecker(Settings(data_dir=path.parent), now_ms=lambda: now_ms).check_single_file(path)


def _look(path: Path) -> object:
    return Store(path.parent, THIS_DISK).is_foreign(Series.named(path.stem))


def _five_minutes(store: Store, minutes: Path, symbol: str, off: str) -> Path:
    """A file of five minutes beside one of the minutes, of which all volumes are off by so much."""
    timeframe = TIMEFRAMES["5"]
    shutil.copy(minutes, store.path(Series(symbol, TIMEFRAMES["1"])))
    lines = [line.split(",") for line in minutes.read_text().splitlines()[1:]]
    candles: list[Values] = []
    for place in range(0, len(lines), 5):
        _, _, opens, highs, lows, closes, *sums = zip(*lines[place : place + 5], strict=True)
        volume, turnover = (f"{sum(map(Decimal, each)):f}" for each in sums)
        high, low = max(highs, key=Decimal), min(lows, key=Decimal)
        volume = f"{Decimal(volume) + Decimal(off):f}"
        candles.append((lines[place][0], opens[0], high, low, closes[-1], volume, turnover))
    path = store.path(Series(symbol, timeframe))
    path.write_bytes(HEADER + rows_of(timeframe, candles).text)
    return path


def _damage(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[500::1000] = [changed(line, 6, "-1") for line in lines[500::1000]]
    path.write_bytes(b"".join(lines))
