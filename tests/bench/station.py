"""A stream in a process of its own that pushes what was composed before, so that it is never what a client waits for.

It speaks as much of the exchange as a client of candles hears: subscriptions are acknowledged, pings answered. What it
pushes, and when, it is told over a second connection, the control.
"""

import json
import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, groupby
from multiprocessing.connection import Connection
from random import Random
from typing import Any

import attrs
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage
from wsproto.utilities import LocalProtocolError

from collector.bybit import stream_protocol
from collector.core.candle import TIMEFRAMES, Series
from collector.sandbox.stream.pushes import entry, frame
from tests.bench.audience import Audience

_NOW_MS = 1_717_243_200_000
_PLACES = 5_000  # how far back the first candles are
_SYMBOLS = 890
_TIMEFRAMES = ("1", "5", "15", "60", "240", "D")
_AWAY_S = 0.005  # an answer that comes before its request was noted down confuses pybit
_MOMENTS = 20  # a second's pushes do not come all at once


@contextmanager
def on_air(symbols: int = _SYMBOLS) -> Iterator[Audience]:
    """A station for so many symbols in six timeframes, until this is left; topics are spread as the collector does."""
    names = [f"{'ABCDEFGHIJ'[number % 10]}{number}COINUSDT" for number in range(symbols)]
    every_series = sorted(Series(name, TIMEFRAMES[frame]) for name in names for frame in _TIMEFRAMES)
    groups = tuple(tuple(map(stream_protocol.topic_of, group)) for group in stream_protocol.connections(every_series))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    try:
        port, control = ours.recv()
        yield Audience(f"ws://127.0.0.1:{port}/v5/public/linear", control, groups)
    finally:
        ours.close()
        process.join()


def _serve(parent: Connection) -> None:
    trio.run(_serve_until_left, parent)


async def _serve_until_left(parent: Connection) -> None:
    station = _Station()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        controls = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, station.serve, listeners)
        nursery.start_soon(trio.serve_listeners, station.obey, controls)
        parent.send((listeners[0].socket.getsockname()[1], controls[0].socket.getsockname()[1]))
        await trio.lowlevel.wait_readable(parent.fileno())  # the other end was closed, by intent or by death
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class _Client:
    stream: trio.SocketStream
    topics: list[str] = attrs.field(factory=list)
    speaking: trio.Lock = attrs.field(factory=trio.Lock)

    async def put(self, data: bytes) -> None:
        async with self.speaking:
            try:
                await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # it has seen enough


class _Station:
    """All clients, and where their candles are: every burst confirms the next candle of each topic."""

    def __init__(self) -> None:
        self._clients: dict[_Client, None] = {}
        self._place = 0
        self._since_s = time.perf_counter()

    async def serve(self, stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        websocket, client = WSConnection(ConnectionType.SERVER), _Client(stream)
        self._clients[client] = None
        try:
            while data := await stream.receive_some(1 << 16):
                websocket.receive_data(bytes(data))
                for event in websocket.events():
                    await self._hear(client, websocket, event)
        except (trio.BrokenResourceError, LocalProtocolError):
            pass
        finally:
            del self._clients[client]
            await trio.aclose_forcefully(stream)

    async def _hear(self, client: _Client, websocket: WSConnection, event: Any) -> None:
        match event:
            case Request():
                await client.put(websocket.send(AcceptConnection()))
            case Ping() | CloseConnection():
                await client.put(websocket.send(event.response()))
            case TextMessage(data=text):
                said = json.loads(text)
                if said["op"] == "subscribe":
                    client.topics += said["args"]
                await trio.sleep(_AWAY_S)
                op, text = said["op"], "pong" if said["op"] == "ping" else ""
                answer = {"success": True, "ret_msg": text, "op": op, "req_id": said.get("req_id", "")}
                await client.put(frame(json.dumps(answer).encode()))

    async def obey(self, stream: trio.SocketStream) -> None:
        """One line a command, answered with the moment of the first push when the last is sent."""
        heard = b""
        with suppress(trio.BrokenResourceError):  # a client that took too long is ended in the middle
            while data := await stream.receive_some(4096):
                heard += data
                while b"\n" in heard:
                    line, heard = heard.split(b"\n", 1)
                    began_s = await self._push(**json.loads(line))
                    await stream.send_all(json.dumps(began_s).encode() + b"\n")

    async def _push(self, progress: int, spread: bool) -> float:
        """So many times all candles in progress, then all of them confirmed; at once, or each round in a second."""
        rounds = [False] * progress + [True]
        if spread:
            began_s = await self._spread(rounds)
        else:
            parts = {client: b"".join(self._frames(client.topics, rounds)) for client in self._clients}
            began_s = await self._put_all(parts)
        self._place += 1
        return began_s

    async def _spread(self, rounds: list[bool]) -> float:
        began_s, due_s = time.perf_counter(), trio.current_time()
        for confirmed in rounds:
            for moment in range(_MOMENTS):
                topics = {client: client.topics[moment::_MOMENTS] for client in self._clients}
                parts = {client: b"".join(self._frames(share, [confirmed])) for client, share in topics.items()}
                due_s += 1 / _MOMENTS
                await trio.sleep_until(due_s)
                await self._put_all(parts)
        return began_s

    async def _put_all(self, parts: dict[_Client, bytes]) -> float:
        began_s = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for client, data in parts.items():
                nursery.start_soon(client.put, data)
        return began_s

    def _frames(self, topics: list[str], rounds: list[bool]) -> Iterator[bytes]:
        composed = (
            (confirmed, [self._frame(topic, confirmed) for topic in topics], len(list(times)))
            for confirmed, times in groupby(rounds)
        )
        return chain.from_iterable(each * times for _, each, times in composed)

    def _frame(self, topic: str, confirmed: bool) -> bytes:
        """The push of a candle that follows the one before. All of them closed long ago, so none comes early."""
        interval = topic.split(".")[1]
        timeframe = TIMEFRAMES[interval]
        at = timeframe.shift(timeframe.floor(_NOW_MS), self._place - _PLACES)
        price = Random(f"{topic} {self._place}").randrange(10_000, 90_000)
        low, high = price - price % 7, price + price % 11
        row = f"{at},{price / 10},{high / 10},{low / 10},{price / 10},{price % 1000}.{price},{price * 17}.{price}"
        ts_ms = _NOW_MS + int((time.perf_counter() - self._since_s) * 1000)
        data = entry(row, timeframe, confirmed, ts_ms)
        return frame(f'{{"topic":"{topic}","data":[{data}],"ts":{ts_ms},"type":"snapshot"}}'.encode())
