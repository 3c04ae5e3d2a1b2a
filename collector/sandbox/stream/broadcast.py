"""The stream on the network: who is connected, and the one task that pushes to all of them.

I/O and its timing only: what a text means is decided by a `Session`, what is due by the `Feed`, what goes wrong by the
`StreamMischief`. It never waits for a client, except when a jump of the clock makes hours fall due at once.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NoReturn

import attrs
import h11
import trio

from collector.sandbox import maintenance
from collector.sandbox.exchange import Exchange
from collector.sandbox.faults import Faults
from collector.sandbox.peak import Peak
from collector.sandbox.stream import pushes
from collector.sandbox.stream.counts import OpenConnection
from collector.sandbox.stream.dialect import Session, without_names
from collector.sandbox.stream.feed import Feed, Push
from collector.sandbox.stream.garbles import garbled_frame
from collector.sandbox.stream.handshake import PATHS, SILENT_PATHS, accepted, conn_id, odd, refused
from collector.sandbox.stream.line import Line
from collector.sandbox.stream.mischief import Fate, StreamMischief
from collector.sandbox.stream.rules import NEW_CONNECTIONS_S
from collector.sandbox.stream.silent import SilentSession
from collector.sandbox.stream.status import StatusSession

_AT_ONCE = 100  # pushes between two looks at other tasks: about 2 ms
_A_LOT = 20_000  # pushes, 7 MB, after which it waits for clients to take them
_LONGEST_PAUSE_S = 1.0
_PREPARED_S = 5.0  # 200 candles 20 times a second; 5300 take 1.4 s of them


@attrs.define(eq=False)
class _Client:
    """A connection and all that is known of it. The fate is the one drawn under these faults."""

    number: int
    line: Line
    session: Session
    count: OpenConnection
    active_s: float
    fate: Fate = attrs.field(factory=Fate)
    fated_by: Faults | None = None
    pushed: int = 0


class Broadcast:
    """All connections to the stream. `run` must be running, or nothing is pushed."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._rules = exchange.stream
        self._counts = exchange.counts
        self._mischief = StreamMischief(lambda: exchange.mischief.faults, exchange.seed, self._fault_made)
        self._feed: Feed[_Client] = Feed(exchange.source, exchange.seed, self._rules, self._mischief)
        self._clients: dict[_Client, None] = {}
        self._open: Counter[tuple[str, str]] = Counter()  # by address and path
        self._new: defaultdict[str, Peak] = defaultdict(lambda: Peak(NEW_CONNECTIONS_S))
        self._numbers: Counter[str] = Counter()
        self._announced: list[dict[str, Any]] = []
        self._wake = trio.Event()
        exchange.clock.watchers.append(self.look)

    async def serve(self, address: str, stream: trio.abc.Stream, head: h11.Request, after: bytes) -> None:
        """One connection, from its handshake to its end. Does not close the stream."""
        path = head.target.decode("latin-1").partition("?")[0]
        status = self._refusal(address, path)
        upgrade = accepted(head, after) if status is None else None
        if upgrade is None:
            status = status or 400
            self._counts.stream.handshakes_refused[str(status)] += 1
            await stream.send_all(refused(status))
            return
        websocket, answer = upgrade
        if fault := self._mischief.handshake(self._next("handshake")):
            self._counts.stream.handshakes_refused[fault] += 1
            await stream.send_all(odd(fault, answer))
            return
        self._open[address, path] += 1
        try:
            await stream.send_all(answer)
            await self._run(path, Line(stream, websocket, self._rules.unsent_most, self._rules.unsent_s))
        finally:
            self._open[address, path] -= 1

    async def run(self) -> NoReturn:
        """Push what is due when it is due."""
        while True:
            now_s = self._exchange.real_s()
            self._end_those_whose_time_has_come(now_s)
            self._announce_changes(self._exchange.clock.now_ms())
            await self._send(self._feed.due(self._exchange.clock.now_ms()))
            await self._send(self._feed.beats(self._exchange.clock.now_ms(), now_s))
            self._prepare()
            with trio.move_on_after(self._pause_s(now_s)):
                await self._wake.wait()
            self._wake = trio.Event()

    def look(self) -> None:
        """Something has changed that may make pushes due. From another thread this does nothing: `run` looks often."""
        if trio.lowlevel.in_trio_task():
            self._wake.set()

    def cut_all(self) -> int:
        """End all connections without a word; how many there were."""
        for client in self._clients:
            client.line.cut("cut")
        return len(self._clients)

    # --- connections ---

    def _refusal(self, address: str, path: str) -> int | None:
        """The HTTP status with which a handshake is refused."""
        if path not in (*PATHS, *SILENT_PATHS, maintenance.PATH):
            return 404
        now_s = self._exchange.real_s()
        self._counts.stream.attempted(address, now_s)
        if self._new[address].recent(now_s) >= self._rules.new_connections:
            return 403
        if self._open[address, path] >= self._rules.connections:  # how the exchange refuses is not known
            return 403
        self._new[address].add(now_s)
        return None

    async def _run(self, path: str, line: Line) -> None:
        client = self._admit(path, line)
        try:
            await line.run(partial(self._hear, client), self._counts.stream.pinged)
        finally:
            self._forget(client)

    def _admit(self, path: str, line: Line) -> _Client:
        number = self._next("connection")
        name = conn_id(self._exchange.seed, number)
        kind = SilentSession if path in SILENT_PATHS else StatusSession if path == maintenance.PATH else Session
        category = PATHS.get(path, "linear")  # of the others it tells only how to refuse
        session = kind(category, self._exchange.source, self._rules, name, self._mischief.refuses)
        count = self._counts.stream.opened(name, path)
        client = _Client(number, line, session, count, self._exchange.real_s())
        self._clients[client] = None
        self.look()
        return client

    def _forget(self, client: _Client) -> None:
        for topic in client.session.topics.values():
            self._feed.leave(topic, client)
        del self._clients[client]
        self._counts.stream.closed(client.session.conn_id, client.line.ended_by)

    def _end_those_whose_time_has_come(self, now_s: float) -> None:
        faults = self._exchange.mischief.faults
        for client in self._clients:
            if client.fated_by is not faults:
                client.fate, client.fated_by = self._mischief.fate(client.number, now_s), faults
            if now_s >= client.fate.at_s:
                self._fulfil(client)
            if now_s - client.active_s > self._rules.idle_s:
                client.line.cut("idle")

    def _fulfil(self, client: _Client) -> None:
        kind, client.fate = client.fate.kind, Fate()
        if not self._mischief.told(kind):
            return
        if kind == "mute":
            client.line.muted = True
        elif kind == "closing":
            client.line.close()
        else:
            client.line.cut("cut")

    # --- what clients say ---

    def _hear(self, client: _Client, text: str) -> None:
        now_ms, now_s = self._exchange.clock.now_ms(), self._exchange.real_s()
        listened = client.session.listens
        heard = client.session.hear(text, now_ms)
        self._counts.stream.heard(client.count, heard.op, heard.refused)
        if heard.op == "ping":
            client.active_s = now_s
        fault = self._mischief.request(self._next("request")) if heard.begun else None
        if fault == "lost":
            client.session.drop(heard.begun)
            return
        first = [self._feed.join(topic, client, now_ms, now_s) for topic in heard.begun]
        for topic in heard.ended:
            self._feed.leave(topic, client)
        client.count.topics = len(client.session.topics)
        if fault == "ack_late":
            self._deliver_all(first)
        if fault != "ack_missing":
            for reply in heard.replies:
                self._counts.stream.sent(client.count)
                nameless = fault == "ack_nameless" or (heard.refused and self._mischief.nameless)
                client.line.say(without_names(reply) if nameless else reply)
        if fault != "ack_late":
            self._deliver_all(first)
        if client.session.listens and not listened:
            self._announce([client], maintenance.rows(self._exchange.maintenance, now_ms), now_ms)
        self.look()

    # --- what is pushed ---

    async def _send(self, due: Iterator[Push[_Client]]) -> None:
        for number, push in enumerate(due, 1):
            self._deliver(push)
            if number % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if number % _A_LOT == 0:
                with trio.move_on_after(_LONGEST_PAUSE_S):
                    for client in tuple(self._clients):
                        await client.line.eased()

    def _announce_changes(self, now_ms: int) -> None:
        """Announcements that are new or in another state; within a second of it, as `run` looks so often."""
        rows = maintenance.rows(self._exchange.maintenance, now_ms)
        changed = [row for row in rows if row not in self._announced]
        self._announced = rows
        self._announce([client for client in self._clients if client.session.listens], changed, now_ms)

    def _announce(self, clients: Iterable[_Client], rows: list[dict[str, Any]], now_ms: int) -> None:
        if rows:
            text = maintenance.message(rows, now_ms)
            self._deliver(Push(text, tuple(clients)))

    def _prepare(self) -> None:
        """A little at a time, before the next confirmations; while the clock stands, whenever."""
        next_ms = self._feed.next_ms
        left_s = math.inf if next_ms is None else self._exchange.clock.seconds_until(next_ms)
        if left_s < _PREPARED_S or not self._exchange.clock.rate:
            for _ in islice(self._feed.prepare(), 2 * _AT_ONCE):
                pass

    def _deliver_all(self, due: list[Push[_Client] | None]) -> None:
        for push in due:
            if push is not None:
                self._deliver(push)

    def _deliver(self, push: Push[_Client]) -> None:
        counts, garbles, now_s = self._counts.stream, self._mischief.garbles, self._exchange.real_s()
        data = pushes.frame(push.text.encode())
        for client in push.listeners:
            if client.pushed >= client.fate.after_frames:
                self._fulfil(client)
            if client.line.closed:
                continue
            client.pushed += 1
            client.active_s = now_s
            counts.sent(client.count, push.confirmed, 1)
            client.line.put(self._garbled(client, push.text, data) if garbles else data)

    def _garbled(self, client: _Client, text: str, data: bytes) -> bytes:
        kind = self._mischief.push(client.number, client.pushed, text)
        return data if kind is None else garbled_frame(kind, text, data)

    # --- bookkeeping ---

    def _pause_s(self, now_s: float) -> float:
        if not self._clients:
            return math.inf
        pause_s = min(_LONGEST_PAUSE_S, *(client.fate.at_s - now_s for client in self._clients))
        if self._feed.busy:
            pause_s = min(pause_s, self._feed.next_beat_s(self._exchange.real_s()))
        if (next_ms := self._feed.next_ms) is not None:
            pause_s = min(pause_s, self._exchange.clock.seconds_until(next_ms))
        return max(0.0, pause_s)

    def _next(self, kind: str) -> int:
        self._numbers[kind] += 1
        return self._numbers[kind]

    def _fault_made(self, kind: str) -> None:
        self._counts.stream.faults[kind] += 1
