"""Candles in progress: the newest push of what is watched, as long as it is watched."""

import json

import pytest
import trio
from trio.testing import MockClock

from collector.bybit import stream_protocol
from collector.bybit.forming import FormingCandles
from collector.core.candle import TIMEFRAMES, Series

BTC = Series("BTCUSDT", TIMEFRAMES["1"])
TOPICS = {stream_protocol.topic_of(BTC): BTC}
OPEN_MS = 1_715_776_140_000


def push(close: str = "3", **changes: object) -> str:
    numbers = {"open": "1", "high": "4", "low": "0.5", "close": close, "volume": "7", "turnover": "21"}
    candle = {"start": OPEN_MS, "end": OPEN_MS + 59_999, "interval": "1", "confirm": False, **numbers}
    return json.dumps({"topic": "kline.1.BTCUSDT", "ts": OPEN_MS + 5_000, "data": [candle]} | changes)


@pytest.fixture
async def forming() -> FormingCandles:
    await trio.lowlevel.checkpoint()
    found = FormingCandles()
    found.watch(BTC)
    return found


async def test_the_newest_push_of_a_watched_series_is_kept(forming: FormingCandles) -> None:
    for close in ("2", "3"):
        await trio.lowlevel.checkpoint()
        forming.take(push(close), TOPICS)
    assert forming.latest(BTC, OPEN_MS) == (OPEN_MS, 1.0, 4.0, 0.5, 3.0, 7.0, 21.0)
    assert forming.latest(BTC, OPEN_MS + 1) is None


async def test_what_nobody_looks_at_any_more_is_dropped(autojump_clock: MockClock, forming: FormingCandles) -> None:
    forming.take(push(), TOPICS)
    await trio.sleep(16)
    forming.take(push(), TOPICS)
    assert (forming.latest(BTC, 0), forming.topics) == (None, {})


async def test_a_push_that_cannot_be_read_is_left_out(forming: FormingCandles) -> None:
    for text in ("{", push(data=[]), push(topic="kline.1.ETHUSDT"), push("x")):
        await trio.lowlevel.checkpoint()
        forming.take(text, TOPICS)
    assert forming.latest(BTC, 0) is None
