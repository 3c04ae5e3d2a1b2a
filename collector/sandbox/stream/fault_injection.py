"""Fault injection on the stream: draws for connections, requests, candles and pushes.

Draws depend on the seed: for candles on their name, the same for all listeners; for the rest on a number, so that
a run can be repeated. Pure; others carry them out.
"""

import math
from collections.abc import Callable, Iterable

import attrs

from collector.sandbox.faults import Faults
from collector.sandbox.market import noise
from collector.sandbox.stream.script import HONEST, Plan, Script
from collector.sandbox.stream.topics import Topic

_PER_MINUTE = 60.0


@attrs.frozen
class Fate:
    """How a connection ends: at a real instant or after so many pushes; `inf` is never."""

    kind: str = ""
    at_s: float = math.inf
    after_frames: float = math.inf


class StreamFaultInjector(Script):
    """Draws faults of the stream.

    Args:
        faults: the current faults, which may change at any time.
        done: receives the name of every injected fault.
    """

    def __init__(self, faults: Callable[[], Faults], seed: int, done: Callable[[str], None]) -> None:
        self._current = faults
        self._key = noise.key_of(seed, "stream")
        self._seed = seed
        self._done = done
        self._counted_for: Faults | None = None
        self._injected = 0

    def handshake(self, number: int) -> str | None:
        """The fault of the numbered connection's handshake."""
        return self._drawn("handshake", str(number))

    def fate(self, number: int, now_s: float) -> Fate:
        """The fate of the numbered connection."""
        faults = self._current()
        kind = self._drawn("connection", str(number), tell=False)
        at_s = now_s + faults.after_s if kind else math.inf
        if faults.cut_per_minute:
            drawn = 1 - noise.share(self._key, f"cut/{number}")
            cut_s = now_s - math.log(drawn) / faults.cut_per_minute * _PER_MINUTE
            if cut_s < at_s:
                return Fate("cut", cut_s)
        if kind is None:
            return Fate()
        return Fate(kind, at_s, math.inf if faults.after_frames is None else faults.after_frames)

    def request(self, number: int) -> str | None:
        """The fault of the numbered subscribe request."""
        return self._drawn("request", str(number))

    def refuses(self, text: str) -> bool:
        """True if a fault refuses this listed topic."""
        named = self._current().refused_topics
        return (
            bool(named) and (text in named or text.rpartition(".")[2] in named) and self.count_fault("refused_topics")
        )

    @property
    def nameless(self) -> bool:
        """True if refusals omit their subject."""
        return self._current().refusal_nameless and self.count_fault("refusal_nameless")

    def push(self, connection: int, number: int, text: str) -> str | None:
        """The fault of the numbered push to the numbered connection."""
        if not self.corrupts:
            return None
        if not self._hits(text[:200]):
            return None
        return self._drawn("push", f"{connection}/{number}")

    @property
    def corrupts(self) -> bool:
        """True if any push may be corrupted."""
        return any(share for _, share in self._current().kinds("push"))

    @property
    def exponents(self) -> bool:
        return self._current().exponents

    def silent(self, topic: Topic) -> bool:
        silent = self._current().silent_minutes and self._hits(topic.text)
        if silent:
            self._done("silent_minutes")
        return silent

    def absent(self, topic: Topic, open_ms: int) -> bool:
        faults = self._current()
        if not faults.holes and not faults.hole_share:
            return False
        return faults.absent(self._seed, topic.category, topic.listing.symbol, topic.timeframe, open_ms)

    def plan(self, topic: Topic, open_ms: int) -> Plan:
        faults = self._current()
        if not self._hits(topic.text):
            return HONEST
        place = f"{topic.category}/{topic.text}/{open_ms}"
        kind = self._drawn("confirm", place)
        joined = kind != "confirm_missing" and self._drawn("rollover", place) is not None
        if kind is None:
            return attrs.evolve(HONEST, joined=True) if joined else HONEST
        late, again = int(faults.confirm_late_s * 1000), int(faults.confirm_again_s * 1000)
        return {
            "confirm_late": Plan((late,), (False,), joined),
            "confirm_missing": Plan(()),
            "confirm_twice": Plan((0, again), (False, False), joined),
            "confirm_revised": Plan((0, again), (True, False), joined),
            "confirm_wrong": Plan((0,), (True,), joined),
        }[kind]

    def _hits(self, text: str) -> bool:
        wanted: Iterable[str] = self._current().topics
        return not wanted or any(part in text for part in wanted)

    def _drawn(self, group: str, place: str, tell: bool = True) -> str | None:
        kinds = [(kind, share) for kind, share in self._current().kinds(group) if share]
        if not kinds:
            return None
        number = noise.share(self._key, f"{group}/{place}")
        for kind, share in kinds:
            number -= share
            if number < 0:
                return kind if not tell or self.count_fault(kind) else None
        return None

    def count_fault(self, kind: str) -> bool:
        """Counts a fault about to be injected.

        False once `stream_times` is reached.
        """
        faults = self._current()
        if faults is not self._counted_for:
            self._counted_for, self._injected = faults, 0
        if faults.stream_times is not None and self._injected >= faults.stream_times:
            return False
        self._injected += 1
        self._done(kind)
        return True
