"""What runs saw, added up, and how it is said."""

from collections import Counter

import attrs


@attrs.define
class Report:
    """One run, or several: counts of what happened, and every promise that was broken."""

    hours: float = 0.0
    seconds: float = 0.0
    strikes: Counter[str] = attrs.field(factory=Counter)
    kills: int = 0
    power_cuts: int = 0
    reads: int = 0
    rows: int = 0
    requests: int = 0
    most_in_5s: int = 0
    wrong: list[str] = attrs.field(factory=list)
    traces: list[str] = attrs.field(factory=list)

    def add(self, other: "Report") -> None:
        self.hours += other.hours
        self.seconds += other.seconds
        self.strikes += other.strikes
        self.kills += other.kills
        self.power_cuts += other.power_cuts
        self.reads += other.reads
        self.rows += other.rows
        self.requests += other.requests
        self.most_in_5s = max(self.most_in_5s, other.most_in_5s)
        self.wrong += other.wrong
        self.traces += other.traces

    def lines(self) -> list[str]:
        speed = self.hours * 3600 / self.seconds if self.seconds else 0
        struck = ", ".join(f"{count} × {kind}" for kind, count in sorted(self.strikes.items()))
        return [
            f"{self.hours:,.0f} simulated hours, {speed:,.0f} times as fast as the clock",
            f"faults: {struck}",
            f"{self.kills} kills, {self.power_cuts} states of the disk after power cuts",
            f"{self.requests} requests, at most {self.most_in_5s} in any 5 s",
            f"{self.rows} rows compared, {self.reads} looks by a reader",
            *(f"WRONG: {each}" for each in self.wrong),
            "every promise was kept" if not self.wrong else f"{len(self.wrong)} promises were broken",
        ]
