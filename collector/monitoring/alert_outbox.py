"""The alerts that wait to be sent: folded into few messages, limited in number and rate.

Pure: the time comes in from outside. The first alert waits a moment for others of the same cause. At most `BURST`
messages are sent in `WINDOW_S`; what comes meanwhile is folded into the next one. After a failure the same alerts are
tried again after growing pauses, together with what has come since.
"""

from collections import deque

import attrs

from collector.monitoring.alert_policy import Alert

MOST = 20  # alerts kept; a service that comes to more is flapping, and the newest say how it is
BURST = 5
WINDOW_S = 300.0
GATHER_S = 1.0
RETRY_S = (5.0, 15.0, 60.0, 300.0, 900.0)


@attrs.frozen
class Batch:
    """The alerts of one message, and how many older ones were dropped."""

    alerts: tuple[Alert, ...]
    dropped: int = 0


@attrs.define(eq=False)
class Outbox:
    """What waits, and when it may be sent."""

    sent: int = 0  # messages
    failed: int = 0  # tries
    _waiting: deque[Alert] = attrs.field(factory=deque)
    _dropped: int = 0
    _ready_s: float = 0.0
    _sent_s: deque[float] = attrs.field(factory=lambda: deque(maxlen=BURST))
    _failures: int = 0  # in a row

    def __len__(self) -> int:
        return len(self._waiting) + self._dropped

    def add(self, alert: Alert, now_s: float) -> None:
        """Puts an alert behind those that wait.

        The oldest gives way to it where they are too many.
        """
        if not self._waiting:
            self._ready_s = max(self._ready_s, now_s + GATHER_S)
        self._waiting.append(alert)
        if len(self._waiting) > MOST:
            self._waiting.popleft()
            self._dropped += 1

    def clear(self) -> None:
        """Drops all, since nobody is to hear of it."""
        self._waiting.clear()
        self._dropped = self._failures = 0
        self._ready_s = 0.0

    def due_in_s(self, now_s: float) -> float:
        """The time until the next message may be sent.

        Infinite while nothing waits.
        """
        if not self._waiting:
            return float("inf")
        allowed_s = self._sent_s[0] + WINDOW_S if len(self._sent_s) == BURST else 0.0
        return max(0.0, max(self._ready_s, allowed_s) - now_s)

    def batch(self) -> Batch:
        """All that waits, as one message."""
        return Batch(tuple(self._waiting), self._dropped)

    def delivered(self, batch: Batch, now_s: float) -> None:
        """Takes out what has arrived; alerts that came meanwhile stay."""
        arrived = {id(alert) for alert in batch.alerts}
        self._waiting = deque(alert for alert in self._waiting if id(alert) not in arrived)
        self._dropped = max(0, self._dropped - batch.dropped)
        self._sent_s.append(now_s)
        self.sent += 1
        self._failures, self._ready_s = 0, now_s + GATHER_S

    def refused(self, now_s: float) -> None:
        """Puts the next try off, longer after every failure in a row."""
        self.failed += 1
        self._ready_s = now_s + RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1
