"""The maximum number of events within any window of time."""

from collections import deque


class Peak:
    """Counts events; `most` is the maximum within any `window_s` seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._recent: deque[float] = deque()
        self.most = 0

    def add(self, at_s: float) -> None:
        self._recent.append(at_s)
        self.most = max(self.most, self.recent(at_s))

    def recent(self, at_s: float) -> int:
        """The number of events in the window that ends now."""
        while self._recent and self._recent[0] <= at_s - self._window_s:
            self._recent.popleft()
        return len(self._recent)
