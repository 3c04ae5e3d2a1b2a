"""What the page's sources know: a running collector's series and the other files, each once."""

from pathlib import Path

import trio

from collector.bybit.forming import FormingCandles
from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.machine import THIS_MACHINE
from collector.page.source import LiveSource
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
