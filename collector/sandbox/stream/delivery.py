"""Sends pushes to the connections that listen, with the faults drawn for connections and pushes.

Sending returns at once: frames wait in the connection's buffer.
"""

from collections.abc import Callable, Iterable

import attrs

from collector.sandbox.faults import Faults
from collector.sandbox.stream import pushes
from collector.sandbox.stream.connection import Connection
from collector.sandbox.stream.corrupt_frames import corrupt_frame
from collector.sandbox.stream.counts import OpenConnection, StreamCounts
from collector.sandbox.stream.fault_injection import Fate, StreamFaultInjector
from collector.sandbox.stream.feed import Push
from collector.sandbox.stream.session import Session


@attrs.define(eq=False)
class Client:
    """A connection with its session, counts and fate, which was drawn under `fated_by`."""

    number: int
    connection: Connection
    session: Session
    count: OpenConnection
    active_s: float
    fate: Fate = attrs.field(factory=Fate)
    fated_by: Faults | None = None
    pushed: int = 0


@attrs.frozen(eq=False)
class Delivery:
    """Sends pushes and ends connections whose fate is due."""

    _counts: StreamCounts
    _fault_injector: StreamFaultInjector
    _real_s: Callable[[], float]

    def send_all(self, due: Iterable[Push[Client] | None]) -> None:
        """Sends those that are pushes."""
        for push in due:
            if push is not None:
                self.send(push)

    def send(self, push: Push[Client]) -> None:
        """Sends one push to all its listeners.

        The frame is built once.
        """
        corrupts, now_s = self._fault_injector.corrupts, self._real_s()
        data = pushes.frame(push.text.encode())
        for client in push.listeners:
            if client.pushed >= client.fate.after_frames:
                self.end(client)
            if client.connection.closed:
                continue
            client.pushed += 1
            client.active_s = now_s
            self._counts.sent(client.count, push.confirmed, 1)
            client.connection.send(self._corrupted(client, push.text, data) if corrupts else data)

    def end(self, client: Client) -> None:
        """Mutes, closes or cuts the connection, as its fate says."""
        kind, client.fate = client.fate.kind, Fate()
        if not self._fault_injector.count_fault(kind):
            return
        if kind == "mute":
            client.connection.mute()
        elif kind == "closing":
            client.connection.close()
        else:
            client.connection.cut("cut")

    def _corrupted(self, client: Client, text: str, data: bytes) -> bytes:
        kind = self._fault_injector.push(client.number, client.pushed, text)
        return data if kind is None else corrupt_frame(kind, text, data)
