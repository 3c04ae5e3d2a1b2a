"""Rates over the last minute, as differences between samples of the counters.

Pure: whoever adds a tally supplies the time.
"""

from collections import Counter, deque

import attrs

from collector.core.counters import Counters

_KEPT_S = 61.0  # the longest period of any rate, plus one tally


@attrs.frozen
class Tally:
    """The counters at one moment, or their increase over `at_s` seconds."""

    at_s: float
    requests: int = 0
    answers: int = 0  # good ones
    landed: int = 0
    messages: int = 0
    rows: int = 0
    fetched: int = 0
    errors: int = 0
    errors_by_kind: Counter[str] = attrs.field(factory=Counter)

    @classmethod
    def of(cls, counters: Counters, at_s: float, fetched: int = 0) -> "Tally":
        errors = Counter(counters.troubles)
        if counters.malformed:
            errors["malformed message"] += counters.malformed
        answers = counters.outcomes.get("ok", 0)
        return cls(
            at_s,
            counters.requests,
            answers,
            counters.landed,
            counters.messages,
            counters.rows,
            fetched,
            errors.total(),
            errors,
        )

    def __sub__(self, before: "Tally") -> "Tally":
        """The increase since an earlier tally; `at_s` is the time between them."""
        return Tally(
            self.at_s - before.at_s,
            self.requests - before.requests,
            self.answers - before.answers,
            self.landed - before.landed,
            self.messages - before.messages,
            self.rows - before.rows,
            self.fetched - before.fetched,
            self.errors - before.errors,
            self.errors_by_kind - before.errors_by_kind,
        )

    def per_s(self, count: int) -> float:
        return round(count / self.at_s, 1) if self.at_s > 0 else 0.0


@attrs.define(eq=False)
class Rates:
    """The tallies of the last minute, oldest first."""

    _tallies: deque[Tally] = attrs.field(factory=deque)

    def add(self, tally: Tally) -> Tally:
        """Adds a tally; returns the increase since the previous one."""
        news = tally - self._tallies[-1] if self._tallies else tally
        self._tallies.append(tally)
        while self._tallies[0].at_s < tally.at_s - _KEPT_S:
            self._tallies.popleft()
        return news

    def last(self, seconds: float, now: Tally) -> Tally:
        """The increase over the last so many seconds, or since the first tally."""
        before = next((tally for tally in self._tallies if tally.at_s >= now.at_s - seconds), now)
        return now - before
