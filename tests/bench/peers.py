"""Other clients, which only fetch: those that many people use, and a floor that does not even look at what it gets.

They are measured warm: modules imported, symbols listed, connections open. They parse pages into Python values and keep
nothing. Each imports what it needs where it runs, so that it is measured with its own modules only.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from importlib.util import find_spec
from itertools import repeat
from typing import Any

from tests.bench.measure import Client, Measure, Measured
from tests.bench.offer import MINUTE_MS, Offer, Window

WORKERS = 8


def ccxt(offer: Offer, pace: float = 0) -> Measured:
    """ccxt's asyncio client: `fetch_ohlcv`, its rate limiter off; at most `pace` pages a second if that is given."""
    return asyncio.run(_ccxt(offer, pace))


async def _ccxt(offer: Offer, pace: float) -> Measured:
    from ccxt.async_support import bybit

    options = {"fetchMarkets": {"types": ["linear"]}}
    async with bybit({"enableRateLimit": False, "cafile": str(offer.ca_file), "options": options}) as exchange:
        exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], offer.url)
        await exchange.load_markets()
        due_s = time.perf_counter()

        async def work(windows: Iterator[Window]) -> int:
            nonlocal due_s
            candles = 0
            for window in windows:
                if pace:
                    due_s = max(due_s, time.perf_counter()) + 1 / pace
                    await asyncio.sleep(due_s - time.perf_counter())
                name = exchange.markets_by_id[window.symbol][0]["symbol"]
                until = {"until": window.end_ms}
                candles += len(await exchange.fetch_ohlcv(name, "1m", window.start_ms, window.candles, until))
            return candles

        await asyncio.gather(*(work(iter([window])) for window in offer.windows[:WORKERS]))
        measure = Measure(offer)
        candles = await asyncio.gather(*map(work, repeat(iter(offer.windows), WORKERS)))
        return measure.end(sum(candles))


def pybit(offer: Offer) -> Measured:
    """pybit's HTTP session, one to a thread."""
    from pybit.unified_trading import HTTP

    sessions = [HTTP() for _ in range(WORKERS)]
    for session in sessions:
        session.endpoint = offer.url
        session.client.verify = str(offer.ca_file)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(_pybit, sessions, repeat(offer.windows[:1])))
        measure = Measure(offer)
        shares = [offer.windows[worker::WORKERS] for worker in range(WORKERS)]
        return measure.end(sum(pool.map(_pybit, sessions, shares)))


def _pybit(session: Any, windows: list[Window]) -> int:
    candles = 0
    for window in windows:
        answer = session.get_kline(
            category="linear",
            symbol=window.symbol,
            interval="1",
            start=window.start_ms,
            end=window.end_ms,
            limit=window.candles,
        )
        candles += len(answer["result"]["list"])
    return candles


def freqtrade(offer: Offer) -> Measured:
    """freqtrade's exchange, which is ccxt's below, as its `download-data` asks it: frames of pandas."""
    import pandas
    from freqtrade.enums import CandleType
    from freqtrade.exchange.bybit import Bybit

    ccxt = {
        "cafile": str(offer.ca_file),
        "enableRateLimit": False,
        "urls": {"api": dict.fromkeys(("spot", "futures", "v2", "public", "private"), offer.url)},
        "options": {"fetchMarkets": {"types": ["linear"]}},
    }
    config = {
        "dry_run": True,
        "runmode": "other",
        "trading_mode": "futures",
        "margin_mode": "isolated",
        "stake_currency": "USDT",
        "exchange": {"name": "bybit", "ccxt_config": ccxt},
    }
    exchange = Bybit(config, validate=False)
    exchange.reload_markets(True, load_leverage_tiers=False)
    pairs = {market["id"]: name for name, market in exchange.markets.items()}

    def download(symbol: str, start_ms: int, end_ms: int) -> int:
        until_ms = end_ms + MINUTE_MS
        frame = exchange.get_historic_ohlcv(pairs[symbol], "1m", start_ms, CandleType.FUTURES, until_ms=until_ms)
        return int((frame["date"] < pandas.Timestamp(until_ms, unit="ms", tz="UTC")).sum())

    first = offer.windows[0]
    download(first.symbol, first.start_ms, first.end_ms)
    measure = Measure(offer)
    return measure.end(sum(download(*span) for span in _spans(offer)))


def nautilus(offer: Offer) -> Measured:
    """nautilus_trader's client, as its data client asks it for bars: Rust below, objects of its own."""
    os.environ["SSL_CERT_FILE"] = str(offer.ca_file)
    return asyncio.run(_nautilus(offer))


async def _nautilus(offer: Offer) -> Measured:
    from nautilus_trader.adapters.bybit.common.enums import BybitKlineInterval
    from nautilus_trader.adapters.bybit.http.client import BybitHttpClient
    from nautilus_trader.adapters.bybit.http.market import BybitMarketHttpAPI
    from nautilus_trader.common.component import LiveClock
    from nautilus_trader.model.data import BarType

    clock = LiveClock()
    market = BybitMarketHttpAPI(BybitHttpClient(clock, "", "", offer.url), clock)

    async def bars(symbol: str, start_ms: int, end_ms: int) -> int:
        kind = BarType.from_str(f"{symbol}-LINEAR.BYBIT-1-MINUTE-LAST-EXTERNAL")
        interval = BybitKlineInterval.MINUTE_1
        return len(await market.request_bybit_bars(kind, interval, False, start=start_ms, end=end_ms))

    first = offer.windows[0]
    await bars(first.symbol, first.start_ms, first.end_ms)
    measure = Measure(offer)
    return measure.end(sum(await asyncio.gather(*(bars(*span) for span in _spans(offer)))))


def _spans(offer: Offer) -> list[tuple[str, int, int]]:
    """Every symbol with the first and the last candle there is to fetch."""
    of: dict[str, list[Window]] = {}
    for window in offer.windows:
        of.setdefault(window.symbol, []).append(window)
    return [(symbol, windows[0].start_ms, windows[-1].end_ms) for symbol, windows in of.items()]


def at_hand() -> dict[str, Client]:
    """The larger programs whose modules are installed."""
    every: dict[str, tuple[str, Client]] = {
        "freqtrade, makes frames": ("freqtrade", freqtrade),
        "nautilus_trader, makes bars": ("nautilus_trader", nautilus),
    }
    return {name: client for name, (module, client) in every.items() if find_spec(module)}


def floor(offer: Offer) -> Measured:
    """httpx under trio, one client to a worker, answers unpacked and thrown away: the network's share."""
    import trio

    os.environ["SSL_CERT_FILE"] = str(offer.ca_file)
    return trio.run(_floor, offer)


async def _floor(offer: Offer) -> Measured:
    import httpx
    import trio

    got: list[int] = []

    async def work(client: httpx.AsyncClient, windows: Iterator[Window]) -> None:
        for window in windows:
            response = await client.get(f"{offer.url}{window.target}")
            got.append(response.content.count(b"],[") + 1)

    async with AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(httpx.AsyncClient()) for _ in range(WORKERS)]
        async with trio.open_nursery() as nursery:
            for client, window in zip(clients, offer.windows, strict=False):
                nursery.start_soon(work, client, iter([window]))
        got.clear()
        measure = Measure(offer)
        windows = iter(offer.windows)
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(work, client, windows)
        return measure.end(sum(got))
