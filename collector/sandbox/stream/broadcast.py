"""The stream on the network: connections, and the one task that pushes to all.

I/O and timing only: a `Session` interprets texts, the `Feed` knows what is due, the `StreamFaultInjector` what goes
wrong. It waits for clients only when a jump of the clock makes hours fall due at once.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NoReturn

import h11
import trio

from collector.sandbox import maintenance
from collector.sandbox.exchange import Exchange
from collector.sandbox.stream.connection import Connection
from collector.sandbox.stream.connection_limits import ConnectionLimits
from collector.sandbox.stream.delivery import Client, Delivery
from collector.sandbox.stream.fault_injection import StreamFaultInjector
from collector.sandbox.stream.feed import Feed, Push
from collector.sandbox.stream.handshake import PATHS, SILENT_PATHS, accepted, conn_id, corrupt_handshake, refused
from collector.sandbox.stream.session import Session, without_names
from collector.sandbox.stream.silent import SilentSession
from collector.sandbox.stream.status import StatusSession

_BATCH = 100  # pushes between two looks at other tasks: about 2 ms
_BACKPRESSURE_AFTER = 20_000  # pushes, 7 MB, after which it waits for clients to take them
_MAX_PAUSE_S = 1.0
_PREPARE_AHEAD_S = 5.0  # 200 candles 20 times a second; 5300 take 1.4 s of them


class Broadcast:
    """All connections to the stream; `run` pushes to them."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._rules = exchange.stream
        self._counts = exchange.counts
        self._fault_injector = StreamFaultInjector(
            lambda: exchange.fault_injector.faults, exchange.seed, exchange.counts.stream.count_fault
        )
        self._feed: Feed[Client] = Feed(exchange.source, exchange.seed, self._rules, self._fault_injector)
        self._clients: dict[Client, None] = {}
        self._delivery = Delivery(self._counts.stream, self._fault_injector, exchange.real_s)
        self._limits = ConnectionLimits(self._rules)
        self._numbers: Counter[str] = Counter()
        self._announced: list[dict[str, Any]] = []
        self._wake = trio.Event()
        exchange.clock.watchers.append(self.wake)

    async def serve(self, address: str, stream: trio.abc.Stream, head: h11.Request, after: bytes) -> None:
        """Serves one connection from handshake to end.

        The caller closes it.
        """
        path = head.target.decode("latin-1").partition("?")[0]
        status = self._refusal(address, path)
        upgrade = accepted(head, after) if status is None else None
        if upgrade is None:
            status = status or 400
            self._counts.stream.handshakes_refused[str(status)] += 1
            await stream.send_all(refused(status))
            return
        websocket, answer = upgrade
        if fault := self._fault_injector.handshake(self._next("handshake")):
            self._counts.stream.handshakes_refused[fault] += 1
            await stream.send_all(corrupt_handshake(fault, answer))
            return
        with self._limits.opened(address, path):
            await stream.send_all(answer)
            await self._run(path, Connection(stream, websocket, self._rules.unsent_most, self._rules.unsent_s))

    async def run(self) -> NoReturn:
        """Pushes what is due, when it is due."""
        while True:
            now_s = self._exchange.real_s()
            self._end_due_connections(now_s)
            self._announce_changes(self._exchange.clock.now_ms())
            await self._send(self._feed.due(self._exchange.clock.now_ms()))
            await self._send(self._feed.beats(self._exchange.clock.now_ms(), now_s))
            self._prepare()
            with trio.move_on_after(self._pause_s(now_s)):
                await self._wake.wait()
            self._wake = trio.Event()

    def wake(self) -> None:
        """Lets `run` look for due pushes at once.

        From another thread it does nothing: `run` looks every second.
        """
        if trio.lowlevel.in_trio_task():
            self._wake.set()

    def cut_all(self) -> int:
        """Cuts all connections; returns their number."""
        for client in self._clients:
            client.connection.cut("cut")
        return len(self._clients)

    # --- connections ---

    def _refusal(self, address: str, path: str) -> int | None:
        """The HTTP status of a refused handshake, or None."""
        if path not in (*PATHS, *SILENT_PATHS, maintenance.PATH):
            return 404
        now_s = self._exchange.real_s()
        self._counts.stream.attempted(address, now_s)
        return None if self._limits.admit(address, path, now_s) else 403  # the exchange's status is unknown

    async def _run(self, path: str, connection: Connection) -> None:
        client = self._admit(path, connection)
        try:
            await connection.run(partial(self._receive, client), self._counts.stream.pinged)
        finally:
            self._forget(client)

    def _admit(self, path: str, connection: Connection) -> Client:
        number = self._next("connection")
        name = conn_id(self._exchange.seed, number)
        kind = SilentSession if path in SILENT_PATHS else StatusSession if path == maintenance.PATH else Session
        category = PATHS.get(path, "linear")  # of the others it tells only how to refuse
        session = kind(category, self._exchange.source, self._rules, name, self._fault_injector.refuses)
        count = self._counts.stream.opened(name, path)
        client = Client(number, connection, session, count, self._exchange.real_s())
        self._clients[client] = None
        self.wake()
        return client

    def _forget(self, client: Client) -> None:
        for topic in client.session.topics.values():
            self._feed.leave(topic, client)
        del self._clients[client]
        self._counts.stream.closed(client.session.conn_id, client.connection.ended_by)

    def _end_due_connections(self, now_s: float) -> None:
        faults = self._exchange.fault_injector.faults
        for client in self._clients:
            if client.fated_by is not faults:
                client.fate, client.fated_by = self._fault_injector.fate(client.number, now_s), faults
            if now_s >= client.fate.at_s:
                self._delivery.end(client)
            if now_s - client.active_s > self._rules.idle_s:
                client.connection.cut("idle")

    # --- what clients say ---

    def _receive(self, client: Client, text: str) -> None:
        now_ms, now_s = self._exchange.clock.now_ms(), self._exchange.real_s()
        listened = client.session.listens
        response = client.session.receive(text, now_ms)
        self._counts.stream.heard(client.count, response.op, response.refused)
        if response.op == "ping":
            client.active_s = now_s
        fault = self._fault_injector.request(self._next("request")) if response.begun else None
        if fault == "lost":
            client.session.drop(response.begun)
            return
        first = [self._feed.join(topic, client, now_ms, now_s) for topic in response.begun]
        for topic in response.ended:
            self._feed.leave(topic, client)
        client.count.topics = len(client.session.topics)
        if fault == "ack_late":
            self._delivery.send_all(first)
        if fault != "ack_missing":
            for reply in response.replies:
                self._counts.stream.sent(client.count)
                nameless = fault == "ack_nameless" or (response.refused and self._fault_injector.nameless)
                client.connection.send_text(without_names(reply) if nameless else reply)
        if fault != "ack_late":
            self._delivery.send_all(first)
        if client.session.listens and not listened:
            self._announce([client], maintenance.rows(self._exchange.maintenance, now_ms), now_ms)
        self.wake()

    # --- what is pushed ---

    async def _send(self, due: Iterator[Push[Client]]) -> None:
        for number, push in enumerate(due, 1):
            self._delivery.send(push)
            if number % _BATCH == 0:
                await trio.lowlevel.checkpoint()
            if number % _BACKPRESSURE_AFTER == 0:
                with trio.move_on_after(_MAX_PAUSE_S):
                    for client in tuple(self._clients):
                        await client.connection.drained()

    def _announce_changes(self, now_ms: int) -> None:
        """Pushes new and changed announcements, within a second."""
        rows = maintenance.rows(self._exchange.maintenance, now_ms)
        changed = [row for row in rows if row not in self._announced]
        self._announced = rows
        self._announce([client for client in self._clients if client.session.listens], changed, now_ms)

    def _announce(self, clients: Iterable[Client], rows: list[dict[str, Any]], now_ms: int) -> None:
        if rows:
            text = maintenance.message(rows, now_ms)
            self._delivery.send(Push(text, tuple(clients)))

    def _prepare(self) -> None:
        """Prepares some candles before the next confirmations.

        Any time while the clock stands.
        """
        next_ms = self._feed.next_ms
        left_s = math.inf if next_ms is None else self._exchange.clock.seconds_until(next_ms)
        if left_s < _PREPARE_AHEAD_S or not self._exchange.clock.rate:
            for _ in islice(self._feed.prepare(), 2 * _BATCH):
                pass

    # --- bookkeeping ---

    def _pause_s(self, now_s: float) -> float:
        if not self._clients:
            return math.inf
        pause_s = min(_MAX_PAUSE_S, *(client.fate.at_s - now_s for client in self._clients))
        if self._feed.busy:
            pause_s = min(pause_s, self._feed.next_beat_s(self._exchange.real_s()))
        if (next_ms := self._feed.next_ms) is not None:
            pause_s = min(pause_s, self._exchange.clock.seconds_until(next_ms))
        return max(0.0, pause_s)

    def _next(self, kind: str) -> int:
        self._numbers[kind] += 1
        return self._numbers[kind]
