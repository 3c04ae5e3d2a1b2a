"""Other clients, which only fetch: two that many people use, and a floor that does not even look at what it gets.

They are measured warm: modules imported, symbols listed, connections open. They parse pages into Python values and keep
nothing. Each imports what it needs where it runs, so that it is measured with its own modules only.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from itertools import repeat
from typing import Any

from tests.bench.measure import Measure, Measured
from tests.bench.offer import Offer, Window

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
