"""The collector as a listener: all of its live path, from the socket to the file, the sync and the ledger."""

import gc
import tempfile
from contextlib import ExitStack
from pathlib import Path

import attrs
import trio

from collector.bybit.address_limit import AddressLimit
from collector.bybit.clock import Clock
from collector.bybit.refused_topics import RefusedTopics
from collector.core.candle import TIMEFRAMES, Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.events import Event
from collector.integrity.repair import OwnedDirectory
from collector.machine import THIS_MACHINE
from collector.machine.disk import THIS_DISK
from collector.pipeline.live import Live
from collector.pipeline.writer import CHANNEL, Writer, build_writer
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.ledger import open_ledger
from tests.bench.audience import Audience, Plan, Results, Tally, Task, rehearse, resident_mb


@attrs.define
class _Counting(Counters):
    tally: Tally = attrs.field(factory=lambda: Tally(pushes=False))

    def appended(self, series: Series, rows: int, reached_ms: int, staged: int = 0) -> None:
        Counters.appended(self, series, rows, reached_ms, staged)
        self.tally.add(rows)


@attrs.frozen
class Listened:
    """What came of the tasks, and what the process held after each of them."""

    heard: Results
    resident_mb: list[float]


def collector(audience: Audience, plan: Plan) -> Listened:
    """Every push of a task is awaited until the last candle it confirms is in its file; begins with such a one."""
    gc.set_threshold(50_000, 20, 50)  # as the command line does
    with tempfile.TemporaryDirectory(prefix="collector-bench-") as scratch, ExitStack() as stack:
        settings = Settings(ws_url=audience.url, data_dir=Path(scratch), limit_to_50_entries=False)
        ledger = stack.enter_context(open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category))
        coverage, counters = CoverageIndex(), _Counting()
        owned = OwnedDirectory(Store(settings.data_dir, THIS_DISK), ledger, coverage, ledger.load(coverage))
        writer = build_writer(owned, settings, THIS_MACHINE, counters, _passed)
        return trio.run(_listen, audience, plan, settings, writer, coverage, counters)


async def _passed(ms: int) -> int:
    await trio.lowlevel.checkpoint()
    return ms


async def _listen(
    audience: Audience, plan: Plan, settings: Settings, writer: Writer, coverage: CoverageIndex, counters: _Counting
) -> Listened:
    every_series = sorted(_series(topic) for topics in audience.groups for topic in topics)
    live = Live(
        settings,
        coverage,
        Clock(),
        counters,
        lambda: None,
        AddressLimit(settings, "ours"),
        THIS_MACHINE,
        RefusedTopics(),
    )
    await writer.open_files(every_series)
    send, receive = trio.open_memory_channel[Event](CHANNEL)
    sizes: list[float] = []
    async with trio.open_nursery() as outer:
        outer.start_soon(writer.write, receive)
        async with trio.open_nursery() as inner:
            await inner.start(live.stream, every_series, send)
            results = await rehearse(
                audience,
                (Task(times=2), *plan),
                counters.tally,
                trio.sleep,
                trio.Event,
                after_each=lambda: sizes.append(resident_mb()),
            )
            inner.cancel_scope.cancel()
    return Listened(results[1:], sizes)


def _series(topic: str) -> Series:
    _, interval, symbol = topic.split(".")
    return Series(symbol, TIMEFRAMES[interval])
