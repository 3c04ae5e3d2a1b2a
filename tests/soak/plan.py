"""What a soak is to be, and what it saw."""

import attrs


@attrs.frozen
class Plan:
    """How long, how much, and where the dice fall."""

    minutes: float = 10.0
    kills: int = 10
    seed: int = 7
    symbols: int = 20
    rate: float = 20.0
    days: int = 2
    fault_every_s: tuple[float, float] = (3.0, 8.0)
    calm_s: float = 60.0
    ban_s: float = 3.0  # the exchange's is ten minutes


@attrs.define
class Memory:
    """Resident megabytes of one collector's life, a sample a second."""

    samples: list[float] = attrs.field(factory=list)

    @property
    def settled(self) -> list[float]:
        """Those after its history had come and the stream was on; none of a life that was shorter."""
        return self.samples[15:]


@attrs.define
class Report:
    """What a soak saw; `wrong` is empty when every promise was kept."""

    wrong: list[str] = attrs.field(factory=list)
    seconds: float = 0.0
    exchange_minutes: float = 0.0
    kills: int = 0
    faults: dict[str, int] = attrs.field(factory=dict)
    requests: int = 0
    most_in_5s: int = 0
    during_ban: int = 0
    connections: int = 0
    most_new_in_5min: int = 0
    confirmations: int = 0
    revisions: int = 0
    lost: int = 0
    files: int = 0
    rows: int = 0
    to_mend: int = 0
    last_requests: int = 0
    memory: list[Memory] = attrs.field(factory=list)

    def lines(self) -> list[str]:
        made = ", ".join(f"{count} × {kind}" for kind, count in sorted(self.faults.items()))
        return [
            f"{self.seconds:.0f} s, {self.exchange_minutes:.0f} minutes at the exchange, {self.kills} kills",
            f"faults made: {made}",
            f"{self.requests} requests, at most {self.most_in_5s} in any 5 s, {self.during_ban} during a ban",
            f"{self.connections} connections to the stream, at most {self.most_new_in_5min} in any 5 minutes; "
            f"{self.lost} noticed as lost",
            f"{self.confirmations} confirmations sent, {self.revisions} candles revised",
            f"{self.files} files, {self.rows} rows; before the last fetch {self.to_mend} rows were wrong or not there, "
            f"it took {self.last_requests} requests",
            f"memory of {len(self.memory)} lives, MB: {', '.join(map(_life, self.memory))}",
            *(f"WRONG: {each}" for each in self.wrong),
            "every file equals the exchange to the byte" if not self.wrong else "FAILED",
        ]


def _life(memory: Memory) -> str:
    if not memory.samples:
        return "-"
    settled = f"{memory.settled[0]:.0f}" if memory.settled else "-"
    return f"{memory.samples[0]:.0f}/{settled}/{memory.samples[-1]:.0f} (most {max(memory.samples):.0f})"
