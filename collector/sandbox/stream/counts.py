"""Counts of what clients did on the stream, and what they were sent.

It records only, and the time is an argument.
"""

from collections import Counter, defaultdict

import attrs

from collector.sandbox.peak import Peak
from collector.sandbox.stream.rules import NEW_CONNECTIONS_S


@attrs.define(eq=False)
class OpenConnection:
    """An open connection; `topics` are its current subscriptions."""

    conn_id: str
    path: str
    topics: int = 0
    subscribes: int = 0
    pings: int = 0
    frames: int = 0


class StreamCounts:
    """Counts since the start or the last `clear`."""

    def __init__(self) -> None:
        self.open: dict[str, OpenConnection] = {}
        self.clear()

    def clear(self) -> None:
        """Resets the counts; open connections stay counted."""
        self.connections: Counter[str] = Counter(connection.path for connection in self.open.values())
        self.handshakes_refused: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.subscribes = 0
        self.unsubscribes = 0
        self.refusals = 0
        self.pings = 0
        self.protocol_pings = 0
        self.frames = 0
        self.pushes = 0
        self.confirmations = 0
        self.faults: Counter[str] = Counter()
        self._attempts: defaultdict[str, Peak] = defaultdict(lambda: Peak(NEW_CONNECTIONS_S))

    @property
    def topics(self) -> int:
        """The current subscriptions over all connections."""
        return sum(connection.topics for connection in self.open.values())

    @property
    def most_new_in_5min(self) -> int:
        """The maximum of connection attempts from one address in 5 real minutes."""
        return max((peak.most for peak in self._attempts.values()), default=0)

    def attempted(self, address: str, at_s: float) -> None:
        self._attempts[address].add(at_s)

    def opened(self, conn_id: str, path: str) -> OpenConnection:
        self.connections[path] += 1
        connection = self.open[conn_id] = OpenConnection(conn_id, path)
        return connection

    def closed(self, conn_id: str, why: str) -> None:
        self.open.pop(conn_id, None)
        self.ended[why] += 1

    def heard(self, connection: OpenConnection, op: str, refused: bool) -> None:
        """Counts a client's message, readable or refused."""
        self.refusals += refused
        if op == "ping":
            self.pings += 1
            connection.pings += 1
        elif op == "subscribe":
            self.subscribes += 1
            connection.subscribes += 1
        elif op == "unsubscribe":
            self.unsubscribes += 1

    def count_fault(self, kind: str) -> None:
        self.faults[kind] += 1

    def pinged(self) -> None:
        self.protocol_pings += 1

    def sent(self, connection: OpenConnection, confirmed: int = 0, pushes: int = 0) -> None:
        """Counts a frame: a push with its confirmations, or an answer."""
        self.frames += 1
        connection.frames += 1
        self.pushes += pushes
        self.confirmations += confirmed

    def as_dict(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {
            "connections": dict(self.connections),
            "connections_open": len(self.open),
            "open": [attrs.asdict(connection) for connection in self.open.values()],
            "most_new_in_5min": self.most_new_in_5min,
            "handshakes_refused": dict(self.handshakes_refused),
            "ended": dict(self.ended),
            "subscribes": self.subscribes,
            "unsubscribes": self.unsubscribes,
            "refusals": self.refusals,
            "topics": self.topics,
            "pings": self.pings,
            "protocol_pings": self.protocol_pings,
            "frames": self.frames,
            "pushes": self.pushes,
            "confirmations": self.confirmations,
            "faults": dict(self.faults),
        }
