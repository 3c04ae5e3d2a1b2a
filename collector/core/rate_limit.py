"""The exchange's limits on one address, shared by the processes behind it.

The exchange counts the requests that arrive within any 5 s, and we can only space departures. In a window there arrive
at most the requests that were in flight when it began, and those that depart within it. So the processes share one
rhythm of departures, whose interval leaves room for everything that all of them may have in flight:

    departures in a window + in flight at its beginning <= limit

A process counts from its first request on. Joining makes the interval longer, so the bound holds at once. Leaving makes
it shorter, so a process that has ended counts for a window more; one that was killed counts until the last of its
requests must have ended. So liveness never has to be tested.

What all may have in flight together is bounded too: it is free up to a tenth of the limit, or up to what the greediest
would have alone; beyond, each gets the same, and those who want less give the rest to the others.

Arithmetic on numbers handed in; all times are seconds of one clock that all processes of the machine see.
"""

from collections.abc import Sequence
from math import ceil

import attrs

from collector.core.pacing import TRY_S, WINDOW_REQUESTS, WINDOW_S, Budget, request_interval_s

# The exchange allows 500 new connections in 5 minutes; they are evenly spaced below that.
_CONNECT_EVERY_S = 300 / 450
_LAPSE_S = TRY_S + WINDOW_S  # a killed process's requests: the last of them ended, and a window passed


@attrs.frozen
class Demand:
    """What a process's own settings ask of the address."""

    in_flight: int
    allowed: int

    @classmethod
    def of(cls, in_flight: int, share: float) -> "Demand":
        """The demand of a machine that has a share of its address.

        The share is of the limit, and of what may be in flight.
        """
        return cls(ceil(in_flight * share), int(WINDOW_REQUESTS * share))


@attrs.frozen
class Member:
    """A process that sends requests, with its demand.

    `in_flight` is the most it has in flight, `until_s` the time until which it counts.
    """

    name: str
    demand: Demand
    in_flight: int
    until_s: float


@attrs.frozen
class RateLimit:
    """The state that the processes of an address share."""

    request_due_s: float = 0.0
    connect_due_s: float = 0.0
    banned_until_s: float = 0.0
    members: tuple[Member, ...] = ()

    def reserve(self, now_s: float, name: str, demand: Demand, busy: int) -> "tuple[tuple[float, int], RateLimit]":
        """Reserves the start of a process's next request.

        Args:
            now_s: the time.
            name: of the process.
            demand: what its settings say.
            busy: how many requests it has in flight, this one included.

        Returns:
            The moment of the start and how many requests it may have in flight from now on, and the limit afterwards.
        """
        others = tuple(each for each in self.members if each.until_s > now_s and each.name != name)
        demands = [demand, *(each.demand for each in others)]
        allowed = min(each.allowed for each in demands)
        granted = _fair_share(demand.in_flight, [each.in_flight for each in demands], allowed)
        member = Member(name, demand, max(granted, busy), now_s + _LAPSE_S)
        interval_s = request_interval_s(0, sum(each.in_flight for each in (member, *others)), allowed)
        start_s, due_s = _reserved(now_s, self.request_due_s, interval_s, len(demands))
        return (start_s, granted), attrs.evolve(self, request_due_s=due_s, members=(*others, member))

    def reserve_connection(self, now_s: float, share: float) -> "tuple[float, RateLimit]":
        """Reserves the start of the next stream connection."""
        start_s, due_s = _reserved(now_s, self.connect_due_s, _CONNECT_EVERY_S / share, 1000)
        return start_s, attrs.evolve(self, connect_due_s=due_s)

    def ban(self, until_s: float) -> "RateLimit":
        """The limit with a ban until then at least."""
        return attrs.evolve(self, banned_until_s=max(self.banned_until_s, until_s))

    def leave(self, now_s: float, name: str) -> "RateLimit":
        """The limit once a process has ended all its requests."""
        kept = (
            attrs.evolve(each, until_s=now_s + WINDOW_S) if each.name == name else each
            for each in self.members
            if each.until_s > now_s
        )
        return attrs.evolve(self, members=tuple(kept))


def _reserved(now_s: float, due_s: float, interval_s: float, waiting: int) -> tuple[float, float]:
    """The next start, and when the following one is due.

    A moment further ahead than all that may wait is damage, and ignored.
    """
    credible = due_s <= now_s + interval_s * (waiting + 1)
    start_s, budget = Budget(interval_s, due_s if credible else now_s).reserve(now_s)
    return start_s, budget.due_s


def _fair_share(wanted: int, demands: Sequence[int], allowed: int) -> int:
    """How many requests one may have in flight: max-min fairness, at least one."""
    left = min(max(*demands, allowed // 10), allowed * 5 // 6)
    for place, smallest in enumerate(sorted(demands)):
        level = max(1, left // (len(demands) - place))
        if smallest >= level or smallest >= wanted:
            return min(wanted, level)
        left -= smallest
    raise AssertionError("the demand is none of the demands")
