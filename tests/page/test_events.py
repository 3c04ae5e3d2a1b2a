"""Events of a running collector: told when the writer has written, and no oftener than readers may look."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from collector.bybit.forming import FormingCandles
from collector.core.candle import MINUTE_MS
from collector.core.coverage import CoverageIndex
from collector.machine import Machine
from collector.page.events import EventStream, Selection
from collector.page.now import Now
from collector.page.source import LiveSource
from tests.pipeline.test_membership import HereAndNow
from tests.support.candles import BTC, T0, spans
from tests.support.exports import store


class Collecting:
    """A collector that writes when it is told, and whoever reads what happens."""

    def __init__(self, directory: Path, selection: Selection | None = None) -> None:
        self.directory, self.coverage, self.written = directory, CoverageIndex(), trio.Event()
        self.told: list[int] = []
        self.changed: list[dict[str, Any]] = []
        machine = Machine(threads=HereAndNow())
        self.source = LiveSource(
            directory, self.coverage, [BTC], {}, lambda: T0, machine, FormingCandles(), lambda: self.written
        )
        self.write(1)
        places = trio.CapacityLimiter(1)
        self.reader = EventStream(
            self.source, Now(), machine, selection or Selection(), lambda _: nullcontext(), places
        )

    def write(self, count: int) -> None:
        store(self.directory, BTC.name, range(count))
        self.coverage[BTC].hold(spans(0, count))
        written, self.written = self.written, trio.Event()
        written.set()

    async def read(self) -> None:
        await self.reader({"method": "GET"}, trio.sleep_forever, self._take)

    async def _take(self, message: Any) -> None:
        for place in range(10):
            if b'"candle":[%d,' % (T0 + place * MINUTE_MS) in message.get("body", b""):
                self.told.append(place)
        _, was_told, said = message.get("body", b"").partition(b"event: changed\ndata: ")
        if was_told:
            self.changed.append(json.loads(said.partition(b"\n")[0]))


async def test_a_candle_is_told_when_it_is_written(
    tmp_path: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    run = Collecting(tmp_path)
    nursery.start_soon(run.read)
    await trio.sleep(3.3)
    run.write(2)
    await trio.sleep(0.01)
    run.write(3)
    await trio.sleep(0.1)
    assert run.told == [1, 2]
    run.write(4)
    await trio.sleep(0.3)
    assert run.told == [1, 2]
    await trio.sleep(0.2)
    assert run.told == [1, 2, 3]
    nursery.cancel_scope.cancel()


async def test_a_reader_of_one_series_is_told_where_it_has_changed(
    tmp_path: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    run = Collecting(tmp_path, Selection(BTC.symbol, BTC.timeframe))
    nursery.start_soon(run.read)
    await trio.sleep(3.3)
    run.coverage[BTC].corrections.add_revised(spans(0, 1))
    run.write(1)
    await trio.sleep(0.1)
    told = {"symbol": BTC.symbol, "timeframe": "1", "start": T0, "end": T0 + MINUTE_MS}
    assert (run.changed, run.told) == ([told], [])
    await trio.sleep(30)
    assert run.changed == [told]
    nursery.cancel_scope.cancel()


async def test_a_reader_of_one_series_is_told_that_it_is_gone_and_that_it_is_back(
    tmp_path: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    run = Collecting(tmp_path, Selection(BTC.symbol, BTC.timeframe))
    nursery.start_soon(run.read)
    await trio.sleep(3.3)
    del run.coverage.records[BTC]
    await trio.sleep(10)
    told = {"symbol": BTC.symbol, "timeframe": "1", "start": T0, "end": T0 + MINUTE_MS}
    assert run.changed == [told]
    run.write(1)
    await trio.sleep(10)
    assert run.changed == [told, told]
    nursery.cancel_scope.cancel()
