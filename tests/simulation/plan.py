"""What happens in a run, drawn from its seed: which kinds of faults there are, and when each strikes."""

from collections.abc import Iterator
from random import Random

import attrs

from tests.simulation import faults
from tests.simulation.faults.people import NEW, OLD

SYMBOLS = ("BTCUSDT", "ETHUSDT")
TIMEFRAMES = ("1", "5", "15", "60", "240", "D")
KINDS = tuple(faults.KINDS)
MOST = 8  # kinds in one run: with more, each strikes too seldom
_ENDS = ("kill", "kill in a call", "power cut", "stop")  # after which a start shows what was left behind
_END_SHARE = 0.3  # of the runs that have each of these, whatever else is drawn
# Drawn apart, so that of the others a seed draws what it always drew.
_LATER = ("damaging power cut", "history given up", "repair in vain")
_LATER_SHARE = 0.05  # of the runs that have each of these: as many as have each of the others
_EVERY_S = 400.0
_PUSHES_S = (5.0, 20.0, 60.0)  # apart, for each topic


@attrs.frozen
class Strike:
    """One fault: it begins so many seconds after the start, and lasts."""

    at_s: float
    kind: str
    for_s: float
    seed: int


@attrs.frozen
class Plan:
    """One run: its strikes in order of time, and the calm after them.

    `kinds` are those that strike; `needs_repair` is whether one of them leaves behind what only a repair against the
    exchange puts right within an hour.
    """

    seed: int
    hours: float
    strikes: tuple[Strike, ...]
    kinds: frozenset[str] = attrs.field()
    limited: bool = False  # to the 50 newest rows of a file
    everything: bool = False  # is wanted that the exchange lists
    calm_s: float = 5400.0
    push_every_s: float = 5.0  # of each topic
    states: int = 24  # in which the disk may be after a power cut, that are looked at beside the one that is lived on

    @kinds.default
    def _those_that_strike(self) -> frozenset[str]:
        return frozenset(strike.kind for strike in self.strikes)

    @property
    def listed_s(self) -> dict[str, float]:
        """When a symbol is listed in the run, if one is."""
        return self._middles(NEW, "listing")

    @property
    def delisted_s(self) -> dict[str, float]:
        """And delisted."""
        return self._middles(OLD, "delisting")

    def _middles(self, symbol: str, kind: str) -> dict[str, float]:
        strikes = [strike for strike in self.strikes if strike.kind == kind]
        return {symbol: strikes[0].at_s + strikes[0].for_s / 2} if strikes else {}

    @property
    def symbols(self) -> tuple[str, ...]:
        return (*SYMBOLS, *self.listed_s, *self.delisted_s)

    @property
    def trims(self) -> bool:
        """Whether rows may go because the limit is on, now and then or all the while."""
        return self.limited or "limit" in self.kinds

    @property
    def sleeps(self) -> bool:
        """Whether more time may pass in one go than candles are wanted of."""
        return not self.kinds.isdisjoint(("asleep", "asleep for a day", "late history"))

    @property
    def needs_repair(self) -> bool:
        return any(faults.KINDS[strike.kind].needs_repair for strike in self.strikes)


def draw(seed: int, hours: float, kinds: tuple[str, ...] = (), calm: float = 1.5) -> Plan:
    """A run of so many hours of faults, and some of calm. Each leaves out most kinds, which may hide others."""
    dice = Random(f"plan {seed}")
    chosen = kinds or _drawn(dice, Random(f"later {seed}"))
    strikes = tuple(_strikes(dice, hours * 3600, chosen))
    limited, push_every_s = dice.random() < 0.25, dice.choice(_PUSHES_S)
    everything = Random(f"everything {seed}").random() < 0.25
    return Plan(
        seed, hours, strikes, limited=limited, everything=everything, calm_s=calm * 3600, push_every_s=push_every_s
    )


def _drawn(dice: Random, later: Random) -> tuple[str, ...]:
    some = {*dice.sample([kind for kind in KINDS if kind not in _LATER], dice.randint(1, MOST))}
    some.update(each for each in _ENDS if dice.random() < _END_SHARE)
    return tuple(sorted(some.union(each for each in _LATER if later.random() < _LATER_SHARE)))


def _strikes(dice: Random, until_s: float, kinds: tuple[str, ...]) -> Iterator[Strike]:
    """Each kind strikes once in every round, in an order of its own; every other time while the one before is on."""
    every_s = min(_EVERY_S, until_s / (len(kinds) + 1))
    at_s, order, struck = dice.uniform(0, every_s), list[str](), set[str]()
    while at_s < until_s or order:
        first = not order
        order = order or dice.sample(kinds, len(kinds))
        for_s, kind = dice.uniform(5, every_s), order.pop()
        if kind not in struck:
            yield Strike(at_s, kind, for_s, dice.getrandbits(32))
        if faults.KINDS[kind].once:
            struck.add(kind)
        together = order and (first or dice.random() < 0.5)
        at_s += dice.uniform(0, for_s) if together else dice.expovariate(1 / every_s)
