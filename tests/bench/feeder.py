"""What a research script pays: loading, a look-up, alignment and memory, beside the same done in polars.

All files are hot: they were written just before and are in memory.
"""

import resource
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import polars as pl

from collector import DataFeeder
from collector.core.candle import MINUTE_MS, TIMEFRAMES
from collector.core.request_windows import PAGE
from collector.core.rows import HEADER
from tests.bench.made import FIRST_MS, rows_counted
from tests.bench.measure import Case, Work, apart, in_turn
from tests.bench.table import aim, duration, show

_USUAL = 288_000  # rows: 200 days of minutes
_LONG = 1_000_000
_LOOK_UPS = 2_000  # at a time
_MANY_SYMBOLS = 100
_FEW_HELD, _MANY_HELD = 200, 8_000  # series
_LOADED = 200  # at a time
_COARSE = ("5", "15", "60", "240")


def run(_pages: int, rounds: int) -> None:
    """Everything, each several times."""
    with tempfile.TemporaryDirectory(prefix="collector-bench-") as scratch:
        directory = Path(scratch)
        for name in ("1", *_COARSE):
            _write(directory, "BTCUSDT", name, _USUAL * MINUTE_MS)
        _load(directory, 6 * rounds)
        _look_up(directory, 6 * rounds)
        _align(directory, 6 * rounds)
        _give_way(directory, 2 * rounds)
        _panel(directory, rounds)
        _write(directory, "LONGUSDT", "1", _LONG * MINUTE_MS)
        _remember(directory, rounds)


def _load(directory: Path, times: int) -> None:
    """Making a series ready to be asked, in a feeder that knows nothing yet."""
    _write(directory, "NEWUSDT", "1", _USUAL * MINUTE_MS)
    first_ms, behind_ms = FIRST_MS + 1000 * MINUTE_MS, FIRST_MS + 2000 * MINUTE_MS
    cases: dict[str, Case] = {
        "load, the first time: read and copied": partial(_loading_first, directory),
        "load a thousand rows without a copy": partial(_loading_first, directory, first_ms, behind_ms),
        "load, with the copy": partial(_loading, directory),
        "load, a page was added to the file": partial(_loading_grown, directory),
        "polars: read_csv": lambda: partial(pl.read_csv, directory / "BTCUSDT_1.csv"),
    }
    taken = in_turn(cases, times)
    theirs = taken["polars: read_csv"]
    rows = [(name, duration(each), f"{theirs / each:.1f}") for name, each in taken.items()]
    aims = [
        aim("load, the first time : read_csv", taken["load, the first time: read and copied"] / theirs, at_most=1.5),
        aim("read_csv : load with the copy", theirs / taken["load, with the copy"], at_least=5),
    ]
    show(f"Feeder: loading {_USUAL:,} rows", ["", "time", "polars : it"], rows, aims)


def _look_up(directory: Path, times: int) -> None:
    """The candle of a moment, each moment another one."""
    feeder = DataFeeder(directory)
    frame = feeder.frame("BTCUSDT", "1")
    moments = [FIRST_MS + (at * 7919 % _USUAL) * MINUTE_MS + 5 for at in range(_LOOK_UPS)]
    opens = frame["open_time"].to_physical()
    few = moments[:20]

    def filtered(ms: int) -> object:
        return frame.filter(pl.col("open_time").to_physical() <= ms).tail(1)

    def searched(ms: int) -> object:
        return frame.row(opens.search_sorted(ms, side="right") - 1)

    def looked_up(ms: int, *, closed_only: bool = False) -> object:
        return feeder.get_data_at_timestamp("BTCUSDT", "1", ms, closed_only=closed_only)

    ways: dict[str, tuple[Callable[[int], object], list[int]]] = {
        "look-up": (looked_up, moments),
        "look-up, closed only": (partial(looked_up, closed_only=True), moments),
        "polars: search_sorted and row": (searched, few),
        "polars: filter and tail": (filtered, few),
    }
    taken = in_turn({name: partial(_asking, ask, some) for name, (ask, some) in ways.items()}, times)
    each = {name: seconds / len(ways[name][1]) for name, seconds in taken.items()}
    rows = [(name, duration(one), f"{each['polars: filter and tail'] / one:.0f}") for name, one in each.items()]
    aims = [aim("look-up, in µs", each["look-up"] * 1e6, at_most=2)]
    show(f"Feeder: one moment of {_USUAL:,} rows", ["", "time", "polars' filter : it"], rows, aims)


def _align(directory: Path, times: int) -> None:
    """Minutes with what was known of four coarser timeframes."""
    feeder = DataFeeder(directory)
    feeder.load_data("BTCUSDT", ["1", *_COARSE])
    tables = _read(directory)
    cases: dict[str, Case] = {
        "aligned": lambda: partial(feeder.aligned, "BTCUSDT", "1", _COARSE),
        "aligned, their closes alone": lambda: partial(feeder.aligned, "BTCUSDT", "1", _COARSE, columns="close"),
        "polars: join_asof, all in memory already": lambda: partial(_joined_in_polars, tables),
        "polars: read_csv and join_asof": lambda: lambda: _joined_in_polars(_read(directory)),
    }
    taken = in_turn(cases, times)
    theirs = taken["polars: join_asof, all in memory already"]
    rows = [(name, duration(each), f"{theirs / each:.1f}") for name, each in taken.items()]
    aims = [
        aim("aligned : polars' joins in memory", taken["aligned"] / theirs, at_most=1),
        aim("closes alone : all columns", taken["aligned, their closes alone"] / taken["aligned"], at_most=0.4),
    ]
    show(f"Feeder: aligning five timeframes, {_USUAL:,} rows", ["", "time", "polars : it"], rows, aims)


def _panel(directory: Path, times: int) -> None:
    """The closes of many symbols as one table; half of them were listed later than the others."""
    symbols = [f"S{place}USDT" for place in range(_MANY_SYMBOLS)]
    for place, symbol in enumerate(symbols):
        later = max(0, place - _MANY_SYMBOLS // 2) // 10  # so many different beginnings there are
        first = directory / f"LISTED{later}USDT_1.csv"
        if not first.exists():
            _write(directory, f"LISTED{later}USDT", "1", _USUAL * MINUTE_MS, later * 1000)
        (directory / f"{symbol}_1.csv").hardlink_to(first)
    feeder = DataFeeder(directory)
    feeder.load_data(symbols, "1")
    tables = [feeder.frame(symbol, "1").select("open_time", pl.col("close").alias(symbol)) for symbol in symbols]
    cases: dict[str, Case] = {
        "panel": lambda: partial(feeder.panel, symbols, "1"),
        "floor: as many numbers written": lambda: partial(_written, tables),
        "polars: outer joins, all in memory already": lambda: partial(_joined_outer, tables),
        "polars: pivot, all in memory already": lambda: partial(_pivoted, tables),
    }
    taken = in_turn(cases, times)
    theirs, ours = taken["polars: outer joins, all in memory already"], taken["panel"]
    rows = [(name, duration(each), f"{theirs / each:.1f}") for name, each in taken.items()]
    aims = [
        aim("panel, in seconds", ours, at_most=0.15),
        aim("panel : floor", ours / taken["floor: as many numbers written"], at_most=4),
        aim("outer joins : panel", theirs / ours, at_least=10),
    ]
    show(f"Feeder: {len(symbols)} symbols side by side, {_USUAL:,} rows", ["", "time", "joins : it"], rows, aims)


def _give_way(directory: Path, times: int) -> None:
    """Loading one small series more where another has to give way, among few and among thousands."""
    symbols = [f"E{place}USDT" for place in range(_MANY_HELD)]
    for symbol in symbols:
        (directory / f"{symbol}_1.csv").write_bytes(HEADER + rows_counted(TIMEFRAMES["1"], MINUTE_MS, range(1)).text)
    taken = in_turn({f"{held:,}": _evicting(directory, symbols, held) for held in (_FEW_HELD, _MANY_HELD // 2)}, times)
    few, many = taken.values()
    rows = [(f"load one more, where {name} are held", duration(each / _LOADED)) for name, each in taken.items()]
    aims = [aim("one more among many : among few", many / few, at_most=1.2)]
    show("Feeder: one series gives way to another", ["", "time"], rows, aims)


def _remember(directory: Path, times: int) -> None:
    """What a new process holds more than before, once a series is loaded and was asked once at every thousandth row."""
    ways = {
        "loaded, the first time": _first_held_mb,
        "loaded, with the copy": _held_mb,
        "polars: read_csv": _polars_held_mb,
    }
    taken = {name: sorted(apart(way, directory) for _ in range(times))[times // 2] for name, way in ways.items()}
    theirs = taken["polars: read_csv"]
    rows = [(name, f"{mb:.0f} MB", f"{mb / theirs:.2f}") for name, mb in taken.items()]
    aims = [aim(f"{name} : read_csv", taken[name] / theirs, at_most=0.5) for name in list(ways)[:2]]
    show(f"Feeder: memory for {_LONG:,} rows", ["", "held", ": polars"], rows, aims)


# The cases.


def _loading(directory: Path) -> Work:
    return partial(DataFeeder(directory).load_data, "BTCUSDT", "1")


def _loading_first(directory: Path, start_ms: int | None = None, end_ms: int | None = None) -> Work:
    _copy(directory, "NEWUSDT").unlink(missing_ok=True)
    return partial(DataFeeder(directory).load_data, "NEWUSDT", "1", start_ms, end_ms)


def _loading_grown(directory: Path) -> Work:
    """Loads a file of which the copy does not have the last page, which leaves the copy as it is."""
    path = directory / "GROWNUSDT_1.csv"
    if not path.exists():
        _write(directory, "GROWNUSDT", "1", (_USUAL - PAGE // 2) * MINUTE_MS)
        DataFeeder(directory).load_data("GROWNUSDT", "1")
        with path.open("ab") as file:
            file.write(rows_counted(TIMEFRAMES["1"], MINUTE_MS, range(_USUAL - PAGE // 2, _USUAL)).text)
    return partial(DataFeeder(directory).load_data, "GROWNUSDT", "1")


def _asking(ask: Callable[[int], object], moments: list[int]) -> Work:
    def work() -> None:
        for ms in moments:
            ask(ms)

    return work


def _read(directory: Path) -> dict[str, pl.DataFrame]:
    return {name: pl.read_csv(directory / f"BTCUSDT_{name}.csv") for name in ("1", *_COARSE)}


def _joined_in_polars(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """As one would write it: candles are known at their close, and joined as of the minute's."""
    known = {
        name: table.with_columns(closes=pl.col("timestamp") + int(name) * MINUTE_MS) for name, table in tables.items()
    }
    joined = known["1"]
    for name in _COARSE:
        joined = joined.join_asof(known[name], on="closes", suffix=f"_{name}")
    return joined


def _evicting(directory: Path, symbols: list[str], held: int) -> Case:
    """Loads in turn more series than are held, of one row each."""
    feeder = DataFeeder(directory, memory_limit_bytes=held * 56)
    in_turn_again = cycle(symbols)
    feeder.load_data([next(in_turn_again) for _ in range(held)], "1")

    def work() -> None:
        for symbol in islice(in_turn_again, _LOADED):
            feeder.get_data_at_timestamp(symbol, "1", FIRST_MS)

    return lambda: work


def _written(tables: list[pl.DataFrame]) -> list[pl.Series]:
    return [table.to_series(1) * 2 for table in tables]


def _joined_outer(tables: list[pl.DataFrame]) -> pl.DataFrame:
    joined = tables[0]
    for table in tables[1:]:
        joined = joined.join(table, on="open_time", how="full", coalesce=True)
    return joined.sort("open_time")


def _pivoted(tables: list[pl.DataFrame]) -> pl.DataFrame:
    long = [table.unpivot(index="open_time", variable_name="symbol", value_name="close") for table in tables]
    return pl.concat(long).pivot(on="symbol", index="open_time", values="close").sort("open_time")


def _first_held_mb(directory: Path) -> float:
    _copy(directory, "LONGUSDT").unlink(missing_ok=True)
    return _held_mb(directory)


def _held_mb(directory: Path) -> float:
    before = _memory_mb()
    feeder = DataFeeder(directory)
    feeder.load_data("LONGUSDT", "1")
    for at in range(0, _LONG, 1000):
        feeder.get_data_at_timestamp("LONGUSDT", "1", FIRST_MS + at * MINUTE_MS)
    return _memory_mb() - before


def _polars_held_mb(directory: Path) -> float:
    before = _memory_mb()
    frame = pl.read_csv(directory / "LONGUSDT_1.csv")
    for at in range(0, _LONG, 1000):
        frame.row(at)
    return _memory_mb() - before


def _memory_mb() -> float:
    """What the process has in memory now, mapped files included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


# The files.


def _copy(directory: Path, symbol: str) -> Path:
    return directory / ".collector" / "arrow" / f"{symbol}_1.arrow"


def _write(directory: Path, symbol: str, name: str, length_ms: int, first: int = 0) -> None:
    timeframe = TIMEFRAMES[name]
    step_ms = int(name) * MINUTE_MS
    with (directory / f"{symbol}_{name}.csv").open("wb") as file:
        file.write(HEADER)
        for start in range(first, length_ms // step_ms, PAGE):
            places = range(start, min(start + PAGE, length_ms // step_ms))
            file.write(rows_counted(timeframe, step_ms, places).text)
