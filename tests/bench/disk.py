"""What the end of a day costs the disk: candles of a whole market, until all are durable and the ledger has settled.

Bytes are counted twice: those handed to the system by the collector and SQLite, and the pages that the system then had
to write, which it counts when a page changes that it had written before. A file's last page is one of these as long as
the next row comes after the system has written it by itself, half a minute later on most: no journal changes that.
"""

import gc
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import attrs
import trio

from collector.core.candle import TIMEFRAMES, Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.events import Confirmed, Event
from collector.core.request_windows import NEWEST
from collector.core.rows import HEADER, Rows
from collector.integrity.repair import OwnedDirectory
from collector.machine import Machine
from collector.machine.disk import Disk
from collector.pipeline.writer import CHANNEL, Writer, build_writer
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.ledger import open_ledger
from tests.bench.made import FIRST_MS, rows_counted
from tests.bench.table import aim, duration, show

_SYMBOLS, _TIMEFRAMES = 890, ("1", "5", "15", "60", "240", "D")
_PIECE = 200  # candles in an event, as the stream hands them on
_SETTLED_S = 7.0  # after the last candle: it is synced after one, and the ledger saved after five
_SYNCS, _BYTES = 50, 10  # at most: of a whole end of a day, and for each byte stored
_LEAST_S = 0.005


@attrs.define
class _CountingDisk(Disk):
    """Counts syncs, and notes when the last was done."""

    syncs: int = 0
    at_s: float = 0.0

    def sync(self, file: int) -> None:
        super().sync(file)
        self._note()

    def sync_whole(self, file: int) -> bool:
        done = super().sync_whole(file)
        if done:
            self._note()
        return done

    def _note(self) -> None:
        self.syncs += 1
        self.at_s = time.perf_counter()


@attrs.frozen
class _End:
    """What one end of a day took."""

    syncs: int
    handed: float  # bytes for each byte stored
    pages: float
    written_s: float
    durable_s: float

    def row(self, name: str) -> tuple[str, ...]:
        times = (duration(each) for each in (self.written_s, self.durable_s))
        return name, f"{self.syncs}", f"{self.handed:.1f}", f"{self.pages:.1f}", *times


def run(_pages: int, rounds: int) -> None:
    """A good number: some dozen syncs, whatever the number of files, with the limit of 50 rows too."""
    gc.set_threshold(50_000, 20, 50)  # as the command line does
    for limited in (False, True):
        later = _measured(rounds, limited=limited)[1:]
        handed, pages = (median(getattr(each, name) for each in later) for name in ("handed", "pages"))
        where = "under the limit" if limited else "without a limit"
        aims = [aim(f"the most syncs, {where}", max(each.syncs for each in later), at_most=_SYNCS)]
        if not limited:  # under the limit each file is written anew
            aims += [
                aim("bytes handed on : stored", handed, at_most=_BYTES),
                aim("bytes of pages : stored, from end 1 on", pages, at_most=_BYTES),
            ]
        show(
            f"Disk: {len(_every_series()):,} candles close at once, {where}",
            ["", "syncs", "bytes handed on : stored", "bytes of pages : stored", "written", "durable"],
            [each.row(f"end {number}") for number, each in enumerate(later, 1)],
            ["before end 1 the system had written all files by itself, or was told to", *aims],
        )


def _measured(rounds: int, *, limited: bool) -> "list[_End]":
    directory = os.environ.get("COLLECTOR_BENCH_DIR")  # on a disk, where /tmp is in memory
    with tempfile.TemporaryDirectory(prefix="collector-bench-", dir=directory) as scratch, ExitStack() as stack:
        disk, coverage = _CountingDisk(), CoverageIndex()
        settings = Settings(data_dir=Path(scratch), limit_to_50_entries=limited)
        if limited:
            for series in _every_series():
                (settings.data_dir / series.file_name).write_bytes(HEADER + _rows(series, range(1 - NEWEST, 0)).text)
        ledger = stack.enter_context(open_ledger(disk, settings.data_dir, settings.exchange, settings.category))
        owned = OwnedDirectory(Store(settings.data_dir, disk), ledger, coverage, ledger.load(coverage))
        writer = build_writer(owned, settings, Machine(disk=disk), Counters(), _passed)
        return trio.run(_live, writer, disk, rounds)


async def _live(writer: Writer, disk: _CountingDisk, rounds: int) -> list[_End]:
    every_series = _every_series()
    await writer.open_files(every_series)
    send, receive = trio.open_memory_channel[Event](CHANNEL)
    ends: list[_End] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, receive)
        with send:
            await _send(writer, send, [_candle(series, 0) for series in every_series])
            await trio.sleep(_SETTLED_S)
            await trio.to_thread.run_sync(os.sync)
            for place in range(rounds + 1):
                ends.append(await _end(writer, send, disk, every_series, 1 + place))
    return ends


async def _end(
    writer: Writer, send: trio.MemorySendChannel[Event], disk: _CountingDisk, every_series: Sequence[Series], place: int
) -> _End:
    candles = [_candle(series, place) for series in every_series]
    stored = sum(len(candle.rows.text) for candle in candles)
    before, syncs, began_s = _io(), disk.syncs, time.perf_counter()
    await _send(writer, send, candles)
    written_s = time.perf_counter() - began_s
    await trio.sleep(_SETTLED_S)
    after = _io()
    handed, pages = ((after[name] - before[name]) / stored for name in ("wchar", "write_bytes"))
    return _End(disk.syncs - syncs, handed, pages, written_s, disk.at_s - began_s)


async def _send(writer: Writer, send: trio.MemorySendChannel[Event], candles: Sequence[Confirmed]) -> None:
    """Hands candles on, and returns when they are in their files."""
    for at in range(0, len(candles), _PIECE):
        await send.send(tuple(candles[at : at + _PIECE]))
    while writer.work.waiting:  # noqa: ASYNC110 - the writer tells nobody
        await trio.sleep(_LEAST_S)


def _rows(series: Series, places: range) -> Rows:
    return rows_counted(series.timeframe, series.timeframe.step_ms or 0, places)


def _candle(series: Series, place: int) -> Confirmed:
    rows = _rows(series, range(place, place + 1))
    return Confirmed(series, rows.covered[0], rows, FIRST_MS)


def _every_series() -> list[Series]:
    return [Series(f"C{number:03}USDT", TIMEFRAMES[name]) for number in range(_SYMBOLS) for name in _TIMEFRAMES]


def _io() -> dict[str, int]:
    """What the system has counted of this process."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(count) for name, _, count in (line.partition(": ") for line in lines)}


async def _passed(ms: int) -> int:
    await trio.lowlevel.checkpoint()
    return ms
