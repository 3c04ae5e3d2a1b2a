"""What the page's sources know: a running collector's series and the other files, each once."""

from pathlib import Path

import attrs
import pytest
import trio
from starlette.requests import Request
from starlette.responses import Response
from trio.testing import MockClock

from collector.bybit.forming import FormingCandles
from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.machine import THIS_MACHINE, Machine
from collector.page import source as sources
from collector.page.api import Api
from collector.page.now import Now
from collector.page.source import Known, LiveSource, StoredSource
from collector.storage.inspection import Stamp, stamp_of
from tests.bybit.test_forming import TOPICS, push
from tests.pipeline.test_membership import HereAndNow
from tests.support.candles import BTC, MINUTE, spans
from tests.support.exports import store

ETH = Series("ETHUSDT", MINUTE)


async def test_a_series_that_has_just_been_tracked_is_known_once(tmp_path: Path) -> None:
    store(tmp_path, "BTCUSDT_1", range(3))
    store(tmp_path, "ETHUSDT_1", range(3))
    coverage, tracked = CoverageIndex(), {ETH}
    coverage[ETH].hold(spans(0, 3))
    source = LiveSource(tmp_path, coverage, tracked, {}, lambda: 1, THIS_MACHINE, FormingCandles(), trio.Event)
    assert sorted(series for series, _ in await source.known()) == [BTC, ETH]
    tracked.add(BTC)
    coverage[BTC].hold(spans(0, 3))
    assert sorted(series for series, _ in await source.known()) == [BTC, ETH]


@attrs.define(eq=False)
class Asked(StoredSource):
    """Counts who asks for one series."""

    asked: list[Series] = attrs.field(factory=list)

    async def one(self, series: Series) -> Known | None:
        self.asked.append(series)
        return await super().one(series)


async def test_many_who_wait_for_a_candle_share_the_looks(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, answers = list[float](), list[Response]()
    for name in ("BTCUSDT_1", "ETHUSDT_1"):
        store(tmp_path, name, range(3))

    def counted(path: Path) -> Stamp | None:
        if path.name == "BTCUSDT_1.csv":
            looks.append(trio.current_time())
        return stamp_of(path)

    monkeypatch.setattr(sources, "stamp_of", counted)
    machine = Machine(threads=HereAndNow())
    source = Asked(tmp_path, "linear", machine)
    api = Api(source, Now(), machine)

    async def wait() -> None:
        query = b"symbol=BTCUSDT&timeframe=1&wait=60"
        scope = {"type": "http", "method": "GET", "path": "/api/candles", "headers": [], "query_string": query}
        answers.append(await api.candles(Request(scope)))

    async with trio.open_nursery() as nursery:
        began_s = trio.current_time()
        for late in range(20):
            nursery.start_soon(wait)
            await trio.sleep(late / 10)
        await trio.sleep_until(began_s + 30)
        assert not answers
        store(tmp_path, "BTCUSDT_1", range(4))
        await trio.sleep(2.1)
        assert len(answers) == 20  # all by one look
        assert len(looks) <= 18
        assert len(source.asked) <= 20 * 18


async def test_a_symbol_that_trades_no_more_has_no_candle_in_progress(tmp_path: Path) -> None:
    coverage, forming = CoverageIndex(), FormingCandles()
    coverage[BTC].hold(spans(0, 3))
    source = LiveSource(tmp_path, coverage, {BTC}, {}, lambda: 1, THIS_MACHINE, forming, trio.Event)
    source.watch(BTC)
    await trio.lowlevel.checkpoint()
    forming.take(push(), TOPICS)
    assert source.forming(BTC) is not None
    coverage.delist([BTC.symbol])
    assert source.forming(BTC) is None
