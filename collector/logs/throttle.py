"""When a line is said, and when it is only counted: a storm of equal ones is one line with a count. Pure.

The first lines of a kind are said at once, as long as each says something new. What follows is counted, and told once
an interval, until an interval passes in which nothing came.
"""

from collections.abc import Hashable

import attrs

INTERVAL_S = 60.0
_LINES = 5  # of one kind that differ, such as the same trouble of several series


@attrs.define
class _Throttled:
    since_s: float
    said: set[str]
    counted: int = 0


@attrs.define
class LogThrottle:
    """What is being throttled."""

    _of: dict[Hashable, _Throttled] = attrs.field(factory=dict)

    def passes(self, kind: Hashable, text: str, now_s: float) -> bool:
        """Whether this line is to be said; otherwise it is counted."""
        storm = self._of.setdefault(kind, _Throttled(now_s, set()))
        if text not in storm.said and len(storm.said) < _LINES and not storm.counted:
            storm.said.add(text)
            return True
        storm.counted += 1
        return False

    def flush(self, now_s: float, *, all_of_them: bool = False) -> list[tuple[Hashable, int, float]]:
        """The kinds whose interval is over, or all: how many lines were counted, in how many seconds."""
        counts = []
        for kind, storm in list(self._of.items()):
            lasted_s = now_s - storm.since_s
            if lasted_s < INTERVAL_S and not all_of_them:
                continue
            if storm.counted:
                counts.append((kind, storm.counted, lasted_s))
                storm.since_s, storm.counted = now_s, 0
            else:
                del self._of[kind]
        return counts
