"""The pulse: what was counted at each of the last moments, and from it how fast things go.

It asks no clock; whoever adds a beat says when that was.
"""

from collections import Counter, deque

import attrs

from collector.vitals import Vitals

_KEPT_S = 61.0  # the longest any rate looks back, and a beat more


@attrs.frozen
class Beat:
    """The counters at one moment; zero everywhere before anything was counted."""

    at_s: float
    requests: int = 0
    answers: int = 0  # good ones
    messages: int = 0
    rows: int = 0
    errors: int = 0
    troubles: Counter[str] = attrs.field(factory=Counter)

    @classmethod
    def of(cls, vitals: Vitals, at_s: float) -> "Beat":
        troubles = Counter(vitals.troubles) + Counter({"malformed message": vitals.malformed})
        answers = vitals.outcomes.get("ok", 0)
        return cls(at_s, vitals.requests, answers, vitals.messages, vitals.rows, troubles.total(), troubles)

    def __sub__(self, before: "Beat") -> "Beat":
        """What was counted since an earlier beat; `at_s` is the time between them."""
        return Beat(
            self.at_s - before.at_s,
            self.requests - before.requests,
            self.answers - before.answers,
            self.messages - before.messages,
            self.rows - before.rows,
            self.errors - before.errors,
            self.troubles - before.troubles,
        )

    def per_s(self, count: int) -> float:
        return round(count / self.at_s, 1) if self.at_s > 0 else 0.0


@attrs.define(eq=False)
class Pulse:
    """The beats of the last minute, oldest first."""

    _beats: deque[Beat] = attrs.field(factory=deque)

    def add(self, beat: Beat) -> Beat:
        """Adds a beat; what was counted since the one before."""
        news = beat - self._beats[-1] if self._beats else beat
        self._beats.append(beat)
        while self._beats[0].at_s < beat.at_s - _KEPT_S:
            self._beats.popleft()
        return news

    def last(self, seconds: float, now: Beat) -> Beat:
        """What was counted in so many seconds before now, or since the first beat if that is less."""
        before = next((beat for beat in self._beats if beat.at_s >= now.at_s - seconds), now)
        return now - before
