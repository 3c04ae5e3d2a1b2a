"""Decides which of many equal lines are logged and which are counted.

Pure.

A line belongs to a kind. The first lines of a kind pass as long as each has a new text, up to a limit; later lines are
counted. Once an interval the count is due and starts again. A kind is forgotten after an interval without a line.
"""

from collections.abc import Hashable

import attrs

INTERVAL_S = 60.0
_LINES = 5  # of one kind with different texts, such as the same error of several series


@attrs.define
class _Throttled:
    since_s: float
    passed: set[str]
    counted: int = 0


@attrs.define
class LogThrottle:
    """The kinds of line seen lately."""

    _kinds: dict[Hashable, _Throttled] = attrs.field(factory=dict)

    def passes(self, kind: Hashable, text: str, now_s: float) -> bool:
        """Whether to log this line; otherwise it is counted."""
        throttled = self._kinds.setdefault(kind, _Throttled(now_s, set()))
        if text not in throttled.passed and len(throttled.passed) < _LINES and not throttled.counted:
            throttled.passed.add(text)
            return True
        throttled.counted += 1
        return False

    def flush(self, now_s: float, *, all_of_them: bool = False) -> list[tuple[Hashable, int, float]]:
        """Return kind, count and seconds of every count that is due, or of all; start each again."""
        counts = []
        for kind, throttled in list(self._kinds.items()):
            lasted_s = now_s - throttled.since_s
            if lasted_s < INTERVAL_S and not all_of_them:
                continue
            if throttled.counted:
                counts.append((kind, throttled.counted, lasted_s))
                throttled.since_s, throttled.counted = now_s, 0
            else:
                del self._kinds[kind]
        return counts
