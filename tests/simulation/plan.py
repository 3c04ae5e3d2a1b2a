"""What happens in a run, drawn from its seed: which kinds of faults there are, and when each strikes."""

from collections.abc import Iterator
from random import Random

import attrs

SYMBOLS = ("BTCUSDT", "ETHUSDT")
TIMEFRAMES = ("1", "5", "15", "60", "240", "D")

# What the exchange does wrong: the faults of its box, named as there (see `troubles` of the soak).
EXCHANGE = (
    "cut",
    "mute",
    "cut again and again",
    "missing",
    "late",
    "twice",
    "revised",
    "wrong",
    "wrong, and cut",
    "two in one",
    "silent minutes",
    "frames",
    "requests lost",
    "handshakes refused",
    "topic refused",
    "10006",
    "5xx",
    "broken answers",
    "stalled",
    "ban",
    "false answers",
)
MACHINE = (
    "lag",
    "wrong while REST lags",
    "half-open",
    "network down",
    "slow network",
    "kill",
    "kill in a call",
    "power cut",
    "disk error",
    "slow disk",
    "clock jump",
    "stop",
)
KINDS = EXCHANGE + MACHINE


@attrs.frozen
class Strike:
    """One fault: it begins so many seconds after the start, and lasts."""

    at_s: float
    kind: str
    for_s: float
    seed: int


@attrs.frozen
class Plan:
    """One run: its strikes in order of time, and the calm after them."""

    seed: int
    hours: float
    strikes: tuple[Strike, ...]
    kinds: frozenset[str] = attrs.field()
    limited: bool = False  # to the 50 newest rows of a file
    calm_s: float = 5400.0

    @kinds.default
    def _those_that_strike(self) -> frozenset[str]:
        return frozenset(strike.kind for strike in self.strikes)


def draw(seed: int, hours: float, kinds: tuple[str, ...] = (), calm: float = 1.5) -> Plan:
    """A run of so many hours of faults, and some of calm. Each leaves out some kinds, which may hide others."""
    dice = Random(f"plan {seed}")
    chosen = kinds or tuple(kind for kind in KINDS if dice.random() < 0.4) or (dice.choice(KINDS),)
    strikes = tuple(_strikes(dice, hours, chosen))
    return Plan(seed, hours, strikes, limited=dice.random() < 0.25, calm_s=calm * 3600)


def _strikes(dice: Random, hours: float, kinds: tuple[str, ...]) -> Iterator[Strike]:
    at_s = dice.uniform(0, 300)
    while at_s < hours * 3600:
        yield Strike(at_s, dice.choice(kinds), dice.uniform(5, 400), dice.getrandbits(32))
        at_s += dice.expovariate(1 / 400)
