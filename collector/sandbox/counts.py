"""Counts of what clients did, for tests of load and of repeated requests.

It records only, and the time is an argument.
"""

from collections import Counter, defaultdict, deque

import attrs

from collector.sandbox.peak import Peak
from collector.sandbox.stream.counts import StreamCounts

WINDOW_S = 5.0  # the exchange's: its limit counts requests in any 5 s
_ASKED = 5000  # windows kept per series; a backfill of a year of minutes takes 530


@attrs.frozen
class Window:
    """One request for candles; None for parameters left out."""

    start: int | None
    end: int | None
    limit: int | None


class Counts:
    """Requests, connections and windows since the start or the last `clear`."""

    def __init__(self) -> None:
        self.connections_open = 0
        self.stream = StreamCounts()
        self.clear()

    def clear(self) -> None:
        """Resets the counts; open connections stay counted."""
        self.stream.clear()
        self.requests = 0
        self.by_path: Counter[str] = Counter()
        self.by_outcome: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        self.during_ban = 0
        self.connections = self.connections_open
        self.cursors: Counter[str] = Counter()
        self._asked: defaultdict[str, deque[Window]] = defaultdict(lambda: deque(maxlen=_ASKED))
        self._peak = Peak(WINDOW_S)
        self._peaks: defaultdict[str, Peak] = defaultdict(lambda: Peak(WINDOW_S))

    @property
    def most_in_5s(self) -> int:
        """The maximum of requests in any 5 real seconds, over all clients."""
        return self._peak.most

    @property
    def most_in_5s_by_address(self) -> dict[str, int]:
        return {address: peak.most for address, peak in self._peaks.items()}

    def asked(self, series: str, category: str = "linear") -> list[Window]:
        """The latest windows requested of a series such as `BTCUSDT_60`, oldest first."""
        return list(self._asked.get(f"{category}/{series}", ()))

    def request(self, address: str, path: str, at_s: float) -> None:
        self.requests += 1
        self.by_path[path] += 1
        self._peak.add(at_s)
        self._peaks[address].add(at_s)

    def outcome(self, name: str) -> None:
        """Counts a request as `ok`, a retCode or the name of a fault."""
        self.by_outcome[name] += 1

    def show(self, fault: str, times: int = 1) -> None:
        """Counts a fault within an answer: so many candles hidden or changed, or a list."""
        self.shown[fault] += times

    def question(self, category: str, series: str, window: Window) -> None:
        self._asked[f"{category}/{series}"].append(window)

    def connection_opened(self) -> None:
        self.connections += 1
        self.connections_open += 1

    def connection_closed(self) -> None:
        self.connections_open -= 1

    def as_dict(self) -> dict[str, object]:
        """All counts, for JSON."""
        return {
            "requests": self.requests,
            "by_path": dict(self.by_path),
            "by_outcome": dict(self.by_outcome),
            "shown": dict(self.shown),
            "most_in_5s": self.most_in_5s,
            "most_in_5s_by_address": self.most_in_5s_by_address,
            "during_ban": self.during_ban,
            "connections": self.connections,
            "connections_open": self.connections_open,
            "cursors": dict(self.cursors),
            "asked": {
                series: [[window.start, window.end, window.limit] for window in windows]
                for series, windows in self._asked.items()
            },
            "stream": self.stream.as_dict(),
        }
