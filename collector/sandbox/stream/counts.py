"""What clients did on the stream, and what they were sent: numbers to prove good manners by.

Only remembers; it never decides anything, and asks no clock.
"""

from collections import Counter, defaultdict

import attrs

from collector.sandbox.peak import Peak
from collector.sandbox.stream.rules import NEW_CONNECTIONS_S


@attrs.define(eq=False)
class OpenConnection:
    """One connection while it is open; `topics` are those it is subscribed to now."""

    conn_id: str
    path: str
    topics: int = 0
    subscribes: int = 0
    pings: int = 0
    frames: int = 0


class StreamCounts:
    """Since the box was opened, or since `clear`. Read the attributes freely."""

    def __init__(self) -> None:
        self.open: dict[str, OpenConnection] = {}
        self.clear()

    def clear(self) -> None:
        """Begin to count anew; the connections that are open stay counted."""
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
        """The topics subscribed to now, over all connections."""
        return sum(connection.topics for connection in self.open.values())

    @property
    def most_new_in_5min(self) -> int:
        """The greatest number of connections from one address in any 5 real minutes, refused ones included."""
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
        """A client said something that could be read, or could not."""
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
        """One frame was put on its way, a push with so many confirmations or an answer."""
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
