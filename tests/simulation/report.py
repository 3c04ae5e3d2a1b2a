"""What runs saw, added up, and how it is said."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import combinations
from math import comb
from typing import Any

import attrs

_ROWS_AT_LEAST = 100  # that a run has to collect before it says anything


def _counter(given: dict[str, int]) -> Counter[str]:
    return Counter(given)


class Wrong(list[str]):
    """Broken promises. `on_first` is called when there is one."""

    on_first: Callable[[], object] = staticmethod(lambda: None)

    def append(self, what: str) -> None:
        super().append(what)
        self.on_first()

    def __iadd__(self, more: Iterable[str]) -> "Wrong":  # type: ignore[misc, override]
        for what in more:
            self.append(what)
        return self


@attrs.define
class Report:
    """One run, or several: counts of what happened, and every promise that was broken."""

    hours: float = 0.0
    seconds: float = 0.0
    cpu_s: float = 0.0
    runs: int = 0
    strikes: Counter[str] = attrs.field(factory=Counter, converter=_counter)
    fired: Counter[str] = attrs.field(factory=Counter, converter=_counter)  # of the strikes, those that had an effect
    pairs: Counter[str] = attrs.field(factory=Counter, converter=_counter)  # of kinds that fired in one run
    kills: int = 0
    power_cuts: int = 0
    states: int = 0  # of the disk after power cuts, each opened and checked
    disk: Counter[str] = attrs.field(factory=Counter, converter=_counter)  # what became of files and names then
    reads: int = 0
    rows: int = 0
    requests: int = 0
    most_in_5s: int = 0
    uncounted: Counter[str] = attrs.field(factory=Counter, converter=_counter)  # runs that prove nothing, by the reason
    uncounted_hours: float = 0.0
    wrong: Wrong = attrs.field(factory=Wrong, converter=Wrong)
    traces: list[str] = attrs.field(factory=list)

    def judge(self, kinds: frozenset[str]) -> None:
        """Says that a run does not count when a kind of fault was drawn and never fired, or hardly a row came."""
        self.runs = 1
        self.pairs.update(" and ".join(pair) for pair in combinations(sorted(+self.fired), 2))
        idle = sorted(kind for kind in kinds if not self.fired[kind])
        if self.rows < _ROWS_AT_LEAST:
            self.uncounted["hardly a row came"] = 1
        elif idle:
            self.uncounted[f"never fired: {idle[0]}"] = 1
        if self.uncounted:
            self.uncounted_hours = self.hours

    @property
    def counted_hours(self) -> float:
        return self.hours - self.uncounted_hours

    def add(self, other: "Report") -> None:
        for field in attrs.fields_dict(Report):
            mine, others = getattr(self, field), getattr(other, field)
            setattr(self, field, max(mine, others) if field == "most_in_5s" else mine + others)

    def to_json(self) -> str:
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Report":
        return cls(**json.loads(text))

    def record(self) -> dict[str, Any]:
        """For programs that read it."""
        return attrs.asdict(self) | {"times_the_clock": round(self.speed), "counted_hours": self.counted_hours}

    @property
    def speed(self) -> float:
        """How many times as fast as the clock one process is."""
        return self.hours * 3600 / self.seconds if self.seconds else 0.0

    @property
    def cpu_speed(self) -> float:
        """The same by the time of the processor, which is the same whoever else uses it."""
        return self.hours * 3600 / self.cpu_s if self.cpu_s else 0.0

    def lines(self) -> list[str]:
        return [
            f"{self.counted_hours:,.0f} simulated hours, in one process {self.speed:,.0f} times as fast as the clock, "
            f"{self.cpu_speed:,.0f} by the time of its processor",
            self._counted(),
            *self._faults(),
            f"{self.kills:,} kills, {self.power_cuts:,} power cuts, {self.states:,} states of the disk after them",
            *self._disk(),
            f"{self.rows:,} rows compared, {self.reads:,} looks by a reader",
            f"{self.requests:,} requests, at most {self.most_in_5s} in any 5 s",
            self._verdict(),
        ]

    def _verdict(self) -> str:
        if self.wrong:
            return f"promises broken: {len(self.wrong):,}"
        return "every promise was kept" if self.runs else "nothing was tried"

    def _counted(self) -> str:
        counted = self.runs - self.uncounted.total()
        if not self.uncounted:
            return f"{counted:,} of {self.runs:,} runs count"
        why = ", ".join(f"{count} × {reason}" for reason, count in self.uncounted.most_common())
        return f"{counted:,} of {self.runs:,} runs count; of {self.uncounted_hours:,.0f} hours nothing is said: {why}"

    def _disk(self) -> list[str]:
        """What the disk was like after power cuts."""
        return [f"  {count:>7,} {what}" for what, count in self.disk.most_common()]

    def _faults(self) -> list[str]:
        if not self.strikes:
            return ["no fault"]
        width = max(map(len, self.strikes))
        rows = [f"  {kind:<{width}}  {n:>7,}  {self.fired[kind]:>7,}" for kind, n in sorted(self.strikes.items())]
        return [
            f"faults, {self.strikes.total():,} in all: how often each struck, and fired",
            *rows,
            f"{len(self.pairs):,} pairs of kinds that fired in the same life, of {comb(len(self.fired), 2):,}",
        ]
