"""How fast things go: the counters of the last minute, moment by moment, and the differences between them.

It asks no clock; whoever adds a tally says when that was.
"""

from collections import Counter, deque

import attrs

from collector.core.counters import Counters

_KEPT_S = 61.0  # the longest any rate looks back, and a tally more


@attrs.frozen
class Tally:
    """The counters at one moment; zero everywhere before anything was counted."""

    at_s: float
    requests: int = 0
    answers: int = 0  # good ones
    landed: int = 0
    messages: int = 0
    rows: int = 0
    errors: int = 0
    troubles: Counter[str] = attrs.field(factory=Counter)

    @classmethod
    def of(cls, counters: Counters, at_s: float) -> "Tally":
        troubles = Counter(counters.troubles) + Counter({"malformed message": counters.malformed})
        answers = counters.outcomes.get("ok", 0)
        return cls(
            at_s,
            counters.requests,
            answers,
            counters.landed,
            counters.messages,
            counters.rows,
            troubles.total(),
            troubles,
        )

    def __sub__(self, before: "Tally") -> "Tally":
        """What was counted since an earlier tally; `at_s` is the time between them."""
        return Tally(
            self.at_s - before.at_s,
            self.requests - before.requests,
            self.answers - before.answers,
            self.landed - before.landed,
            self.messages - before.messages,
            self.rows - before.rows,
            self.errors - before.errors,
            self.troubles - before.troubles,
        )

    def per_s(self, count: int) -> float:
        return round(count / self.at_s, 1) if self.at_s > 0 else 0.0


@attrs.define(eq=False)
class Rates:
    """The tallies of the last minute, oldest first."""

    _tallies: deque[Tally] = attrs.field(factory=deque)

    def add(self, tally: Tally) -> Tally:
        """Adds a tally; what was counted since the one before."""
        news = tally - self._tallies[-1] if self._tallies else tally
        self._tallies.append(tally)
        while self._tallies[0].at_s < tally.at_s - _KEPT_S:
            self._tallies.popleft()
        return news

    def last(self, seconds: float, now: Tally) -> Tally:
        """What was counted in so many seconds before now, or since the first tally if that is less."""
        before = next((tally for tally in self._tallies if tally.at_s >= now.at_s - seconds), now)
        return now - before
