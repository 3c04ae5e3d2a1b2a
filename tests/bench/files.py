"""What changing and opening files costs, at different lengths, beside the same done by reading and rewriting in polars.

All files are hot: they were written just before and are in memory.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from collector.core.candle import MINUTE_MS, Series
from collector.core.request_windows import PAGE
from collector.core.rows import COLUMNS, HEADER, Rows
from collector.machine.disk import THIS_DISK
from collector.storage.csv_store import Store
from collector.storage.inspection import Checkpoint
from collector.storage.series_file import SeriesFile
from tests.bench.made import FIRST_MS, MINUTE, rows_of_minutes
from tests.bench.measure import Case, Work, in_turn
from tests.bench.table import aim, duration, show

_SHORT, _LONG = 1_000, 1_000_000  # rows
USUAL = 288_000  # rows: 200 days of minutes
_FILES = 1_000
_AIM = 1.5  # times the cost, for a thousand times the length
_AS_TEXT = dict.fromkeys(COLUMNS, pl.String) | {"timestamp": pl.Int64}


def run(_pages: int, rounds: int) -> None:
    """Appending, splicing and opening, each several times."""
    for benchmark in (_append, _splice, _open, _open_many):
        with tempfile.TemporaryDirectory(prefix="collector-bench-") as scratch:
            benchmark(Store(Path(scratch), THIS_DISK), rounds)


def _append(store: Store, rounds: int) -> None:
    """A row at the end of a short and of a long file. A good number: the long one costs at most half as much again."""
    short, long = made(store, "SHORTUSDT", range(_SHORT)), made(store, "LONGUSDT", range(_LONG))
    cases: dict[str, tuple[Callable[[SeriesFile], Work], int]] = {
        "append": (_appending, 400 * rounds),
        "append and sync": (_appending_and_syncing, 40 * rounds),
        "polars: read, unique, sort, write, rename": (_rewriting_for_one_row, rounds),
    }
    times = {
        name: in_turn({"short": partial(case, short), "long": partial(case, long)}, repeats)
        for name, (case, repeats) in cases.items()
    }
    rows = [
        (name, duration(one["short"]), duration(one["long"]), f"{one['long'] / one['short']:.2f}")
        for name, one in times.items()
    ]
    aims = [
        aim(f"{name}, long file : short file", times[name]["long"] / times[name]["short"], at_most=_AIM)
        for name in ("append", "append and sync")
    ]
    show("Files: one row more", ["", f"{_SHORT:,} rows", f"{_LONG:,} rows", "long : short"], rows, aims)


def _splice(store: Store, rounds: int) -> None:
    """A page before, and one in the middle of, a file of the usual length; both ways sync and rename."""
    half = USUAL // 2
    places = {
        "before": (made(store, "BEFOREUSDT", range(PAGE, PAGE + USUAL)), rows_of_minutes(range(PAGE))),
        "in the middle": (
            made(store, "MIDDLEUSDT", range(half), range(half + PAGE, PAGE + USUAL)),
            rows_of_minutes(range(half, half + PAGE)),
        ),
    }
    rows = []
    for name, (file, page) in places.items():
        cases: dict[str, Case] = {
            "ours": partial(_inserting, store, _kept(file), page),
            "polars": partial(_splicing_in_polars, _kept(file), file.path, page),
        }
        contents = {way: _outcome(case, file.path) for way, case in cases.items()}
        if contents["ours"] != contents["polars"]:
            raise RuntimeError("the two ways do not make the same file")
        times = in_turn(cases, rounds)
        rows.append((name, *map(duration, times.values()), f"{times['polars'] / times['ours']:.1f}"))
    show(f"Files: a page more, into {USUAL:,} rows", ["", "insert", "polars rewrite", "polars : ours"], rows, [])


def _open(store: Store, rounds: int) -> None:
    """Finding out what a file of the usual length holds."""
    file = made(store, "OPENUSDT", range(USUAL))
    cases: dict[str, Case] = {
        "open, with the ledger's mark": partial(_opening, store, [file], with_marks=True),
        "open, without: every row's time is read": partial(_opening, store, [file], with_marks=False),
        "polars: read all columns": lambda: partial(_read, file.path),
    }
    times = in_turn(cases, 3 * rounds)
    theirs = times["polars: read all columns"]
    rows = [(name, duration(taken), f"{taken / theirs:.3f}") for name, taken in times.items()]
    show(f"Files: opening one of {USUAL:,} rows", ["", "time", ": polars"], rows, [])


def _open_many(store: Store, rounds: int) -> None:
    """Finding out at the start what many files hold."""
    files = [made(store, f"A{number}USDT", range(_SHORT)) for number in range(_FILES)]
    cases: dict[str, Case] = {
        "open, with the ledger's marks": partial(_opening, store, files, with_marks=True),
        "open, without": partial(_opening, store, files, with_marks=False),
        "polars: read all columns": lambda: lambda: [_read(file.path) for file in files],
    }
    times = in_turn(cases, rounds)
    theirs = times["polars: read all columns"]
    rows = [(name, duration(taken), duration(taken / _FILES), f"{taken / theirs:.2f}") for name, taken in times.items()]
    show(f"Files: opening {_FILES:,} of {_SHORT:,} rows each", ["", "all", "one", ": polars"], rows, [])


# The cases.


def _appending(file: SeriesFile) -> Work:
    return partial(file.append, _next_row(file))


def _appending_and_syncing(file: SeriesFile) -> Work:
    rows = _next_row(file)

    def work() -> None:
        file.append(rows)
        file.sync()

    return work


def _rewriting_for_one_row(file: SeriesFile) -> Work:
    return partial(_rewrite, file.path, rows_of_minutes(range(2 * _LONG, 2 * _LONG + 1)), sync=False)


def _inserting(store: Store, original: Path, page: Rows) -> Work:
    series = Series.named(original.stem)
    shutil.copy(original, store.path(series))
    file, _ = store.open(series, None)
    return partial(file.insert, [page])


def _splicing_in_polars(original: Path, path: Path, page: Rows) -> Work:
    shutil.copy(original, path)
    return partial(_rewrite, path, page, sync=True)


def _opening(store: Store, files: list[SeriesFile], *, with_marks: bool) -> Work:
    known: list[tuple[Series, Checkpoint | None]] = [
        (Series.named(file.path.stem), file.checkpoint() if with_marks else None) for file in files
    ]
    return lambda: [store.open(series, checkpoint) for series, checkpoint in known]


def _rewrite(path: Path, page: Rows, *, sync: bool) -> None:
    """The usual way: everything is read, merged, and written again."""
    both = pl.concat([_read(path), pl.read_csv(HEADER + page.text, schema=_AS_TEXT)])
    merged = both.unique("timestamp", keep="last", maintain_order=True).sort("timestamp")
    new = path.with_suffix(".polars")
    with new.open("wb") as file:
        merged.write_csv(file)
        if sync:
            os.fsync(file.fileno())
    new.replace(path)


def _read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, schema=_AS_TEXT)


# The files.


def made(store: Store, symbol: str, *minutes: range) -> SeriesFile:
    """A new file with the candles of these minutes."""
    file, _ = store.open(Series(symbol, MINUTE), None)
    for run in minutes:
        for start in range(run.start, run.stop, PAGE):
            file.append(rows_of_minutes(range(start, min(start + PAGE, run.stop))))
    return file


def _kept(file: SeriesFile) -> Path:
    """A copy under a name of its own."""
    return Path(shutil.copy(file.path, file.path.with_suffix(".original")))


def _outcome(case: Case, path: Path) -> bytes:
    case()()
    return path.read_bytes()


def _next_row(file: SeriesFile) -> Rows:
    minute = (file.end_ms - FIRST_MS) // MINUTE_MS
    return rows_of_minutes(range(minute, minute + 1))
