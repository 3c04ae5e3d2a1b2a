"""Other clients of the same pushes. Some only receive them, some decode them too; none keeps anything.

Each imports what it needs where it runs, so that it is measured with its own modules only.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import Any

from tests.bench.audience import Audience, Listener, Plan, Results, Tally, rehearse


def subscription(topics: Sequence[str]) -> str:
    return json.dumps({"req_id": "1", "op": "subscribe", "args": topics})


def trio_websocket(audience: Audience, plan: Plan) -> Results:
    """Receives only, as a loop around `get_message`."""
    import trio

    return trio.run(_trio_websocket, audience, plan, len)


def trio_websocket_decoding(audience: Audience, plan: Plan) -> Results:
    """Decodes what it receives with msgspec."""
    import trio

    return trio.run(_trio_websocket, audience, plan, _decoder())


def _decoder() -> Callable[[str | bytes], object]:
    """msgspec, with the fields that make a candle."""
    import msgspec

    names = ("interval", "open", "high", "low", "close", "volume", "turnover")
    candle = msgspec.defstruct("Candle", [("start", int), ("confirm", bool), *((name, str) for name in names)])
    push = msgspec.defstruct("Push", [("topic", str), ("ts", int), ("data", list[candle])])  # type: ignore[valid-type]
    return msgspec.json.Decoder(push).decode


async def _trio_websocket(audience: Audience, plan: Plan, take: Callable[[str], object]) -> Results:
    import trio
    from trio_websocket import connect_websocket_url

    tally = Tally()

    async def listen(socket: Any) -> None:
        while True:
            take(await socket.get_message())
            tally.add()

    async with trio.open_nursery() as nursery:
        for topics in audience.groups:
            socket = await connect_websocket_url(nursery, audience.url)
            await socket.send_message(subscription(topics))
            await socket.get_message()
            nursery.start_soon(listen, socket)
        results = await rehearse(audience, plan, tally, trio.sleep, trio.Event)
        nursery.cancel_scope.cancel()
    return results


def floor(audience: Audience, plan: Plan) -> Results:
    """No library: whoever does less than this does not know how many pushes have come."""
    import trio

    async def main() -> Results:
        tally = Tally()
        async with trio.open_nursery() as nursery:
            for topics in audience.groups:
                nursery.start_soon(_step, await _subscribed(audience.url, topics), tally)
            results = await rehearse(audience, plan, tally, trio.sleep, trio.Event)
            nursery.cancel_scope.cancel()
        return results

    return trio.run(main)


async def _subscribed(url: str, topics: Sequence[str]) -> Any:
    """A socket behind its handshake and the answer to its subscription."""
    import trio

    host, _, path = url.removeprefix("ws://").partition("/")
    stream = await trio.open_tcp_stream("127.0.0.1", int(host.partition(":")[2]))
    asked = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    await stream.send_all(f"{asked}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
    await stream.receive_some()
    text = subscription(topics).encode()
    await stream.send_all(b"\x81\xfe" + len(text).to_bytes(2) + bytes(4) + text)
    await stream.receive_some()
    return stream


async def _step(stream: Any, tally: Tally) -> None:
    """From push to push, all of which have a length in two bytes."""
    held = b""
    while data := held + await stream.receive_some(1 << 18):
        at, count = 0, 0
        while at + 4 <= len(data) and (end := at + 4 + (data[at + 2] << 8 | data[at + 3])) <= len(data):
            at, count = end, count + 1
        held = data[at:]
        if count:
            tally.add(count)


def websockets(audience: Audience, plan: Plan) -> Results:
    """The asyncio client, decoding with msgspec."""

    async def main() -> Results:
        from websockets.asyncio.client import connect

        take, tally = _decoder(), Tally()

        async def listen(socket: Any) -> None:
            async for text in socket:
                take(text)
                tally.add()

        async with AsyncExitStack() as opened:
            tasks = []
            for topics in audience.groups:
                socket = await opened.enter_async_context(connect(audience.url))
                await socket.send(subscription(topics))
                await socket.recv()
                tasks.append(asyncio.create_task(listen(socket)))
            results = await rehearse(audience, plan, tally, asyncio.sleep, asyncio.Event)
            for task in tasks:
                task.cancel()
        return results

    return asyncio.run(main())


def aiohttp(audience: Audience, plan: Plan) -> Results:
    """The asyncio client, written in C for the most part, decoding with msgspec."""

    async def main() -> Results:
        from aiohttp import ClientSession

        take, tally = _decoder(), Tally()

        async def listen(socket: Any) -> None:
            async for message in socket:
                take(message.data)
                tally.add()

        async with AsyncExitStack() as opened:
            session = await opened.enter_async_context(ClientSession())
            tasks = []
            for topics in audience.groups:
                socket = await opened.enter_async_context(session.ws_connect(audience.url))
                await socket.send_str(subscription(topics))
                await socket.receive()
                tasks.append(asyncio.create_task(listen(socket)))
            results = await rehearse(audience, plan, tally, asyncio.sleep, asyncio.Event)
            for task in tasks:
                task.cancel()
        return results

    return asyncio.run(main())


def ccxt(audience: Audience, plan: Plan) -> Results:
    """ccxt.pro: what it does with a push before `watch_ohlcv_for_symbols` returns."""

    async def main() -> Results:
        from ccxt.pro import bybit

        tally = Tally()

        class Counting(bybit):  # type: ignore[misc]
            def handle_ohlcv(self, client: Any, message: Any) -> None:
                super().handle_ohlcv(client, message)
                tally.add()

        names = sorted({topic.rpartition(".")[2] for topics in audience.groups for topic in topics})
        async with Counting({"enableRateLimit": False}) as exchange:
            exchange.set_markets([_market(exchange, name) for name in names])
            waiting = []
            for number, topics in enumerate(audience.groups):
                hashes = [f"ohlcv::{topic}" for topic in topics]
                watching = exchange.watch_topics(f"{audience.url}?{number}", hashes, list(topics))
                waiting.append(asyncio.ensure_future(watching))
            await asyncio.sleep(3)
            results = await rehearse(audience, plan, tally, asyncio.sleep, asyncio.Event)
            for each in waiting:
                each.cancel()
        return results

    return asyncio.run(main())


def _market(exchange: Any, name: str) -> Any:
    base = name.removesuffix("USDT")
    kind = {"type": "swap", "swap": True, "contract": True, "linear": True, "spot": False, "subType": "linear"}
    symbol = {"id": name, "symbol": f"{base}/USDT:USDT", "base": base, "quote": "USDT", "settle": "USDT"}
    return exchange.safe_market_structure(kind | symbol)


def websocket_client(audience: Audience, plan: Plan) -> Results:
    """websocket-client, a thread to a connection, decoding with json."""

    def connect(topics: Sequence[str], take: Callable[[], None]) -> None:
        from websocket import WebSocket

        socket: Any = WebSocket()
        socket.connect(audience.url)
        socket.send(subscription(topics))
        socket.recv()

        def listen() -> None:
            while True:
                json.loads(socket.recv())
                take()

        threading.Thread(target=listen, daemon=True).start()

    return _in_threads(audience, plan, connect)


def pybit(audience: Audience, plan: Plan) -> Results:
    """pybit's client of the stream, as it is used: a callback to a push."""

    def connect(topics: Sequence[str], take: Callable[[], None]) -> None:
        from pybit import unified_trading

        unified_trading.PUBLIC_WSS = audience.url
        socket = unified_trading.WebSocket(channel_type="linear", testnet=False)
        by_interval: dict[str, list[str]] = {}
        for topic in topics:
            _, interval, symbol = topic.split(".")
            by_interval.setdefault(interval, []).append(symbol)
        for interval, symbols in by_interval.items():
            socket.kline_stream(interval, symbols, lambda _: take())

    return _in_threads(audience, plan, connect)


def _in_threads(
    audience: Audience, plan: Plan, connect: Callable[[Sequence[str], Callable[[], None]], None]
) -> Results:
    lock, tally = threading.Lock(), Tally()

    def take() -> None:
        with lock:
            tally.add()

    async def main() -> Results:
        loop = asyncio.get_running_loop()

        class Event(asyncio.Event):
            def set(self) -> None:
                loop.call_soon_threadsafe(super().set)

        return await rehearse(audience, plan, tally, asyncio.sleep, Event)

    for topics in audience.groups:
        connect(topics, take)
    time.sleep(1)
    return asyncio.run(main())


def at_hand() -> dict[str, Listener]:
    """The clients whose modules are installed."""
    every: dict[str, tuple[str, Listener]] = {
        "websockets, decoding": ("websockets", websockets),
        "aiohttp, decoding": ("aiohttp", aiohttp),
        "ccxt.pro": ("ccxt", ccxt),
        "websocket-client, decoding": ("websocket", websocket_client),
        "pybit": ("pybit", pybit),
    }
    return {name: client for name, (module, client) in every.items() if find_spec(module)}
