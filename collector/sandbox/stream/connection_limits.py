"""The exchange's limits on stream connections from one address.

Pure; see https://bybit-exchange.github.io/docs/v5/ws/connect.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from collector.sandbox.peak import Peak
from collector.sandbox.stream.rules import NEW_CONNECTIONS_S, StreamRules


class ConnectionLimits:
    """Counts the open connections by address and path, and the new ones by address."""

    def __init__(self, rules: StreamRules) -> None:
        self._rules = rules
        self._open: Counter[tuple[str, str]] = Counter()
        self._new: defaultdict[str, Peak] = defaultdict(lambda: Peak(NEW_CONNECTIONS_S))

    def admit(self, address: str, path: str, now_s: float) -> bool:
        """Counts a new connection; false if it exceeds a limit."""
        if self._new[address].recent(now_s) >= self._rules.new_connections:
            return False
        if self._open[address, path] >= self._rules.connections:
            return False
        self._new[address].add(now_s)
        return True

    @contextmanager
    def opened(self, address: str, path: str) -> Iterator[None]:
        """Counts a connection as open inside the block."""
        self._open[address, path] += 1
        try:
            yield
        finally:
            self._open[address, path] -= 1
