"""Leases: which slots of the market a member of a cluster collects. Pure.

The market is cut into 64 slots, and a symbol falls to one by its hash. A table has a row for each slot: owner, epoch,
until. Each member looks at the rows every 5 s, and decides for itself:

    renew     what it owns, for 20 s
    claim     free slots, up to its fair share
    release   slots beyond its fair share, a few at a time; all of them when it is unfit, unless everybody is

All members that see the same rows decide on the same new owners, so they seldom ask for the same slot; where they
do, the table gives it to one. An owner's silence has two witnesses. By the database's clock the lease has ended;
that clock alone would do if the database were always there. After an outage of it every lease has ended, though
every owner is alive; so a member claims another's slot only if it has also watched the row itself, without a break,
for 15 s in which nobody renewed it. Whoever was cut off, stopped or asleep begins to watch anew. So nobody takes over
on a guess.

Nothing that is stored in files hangs on a lease: candles are the same whoever fetches them, and two owners for a moment
cost requests, not rows. In the table of candles that members share, the later epoch of a slot wins. A member that
cannot reach the table of leases keeps what it has.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b

import attrs

from collector.core.shards import owner_part

SLOTS = 64
LEASE_S = 20.0
RENEW_S = 5.0
_WATCH_S = 15.0  # three renewals: an owner that comes back after an outage has as many tries
_BLINK_S = 10.0  # a longer pause between two looks is a break
_AT_ONCE = 8  # slots released in one round: four rounds bring a second collector its half


def slot_of(symbol: str) -> int:
    """The slot of a symbol, from 1 to 64."""
    return owner_part(symbol, SLOTS)


@attrs.frozen
class Slot:
    """A row of the table.

    Without an owner it is free.
    """

    number: int
    owner: str = ""
    epoch: int = 0  # grows with each new owner
    until_ms: int = 0  # by the database's clock


@attrs.frozen
class Standing:
    """How a member is, for people: its state and why it wants no slots, what it collects, how late and incomplete."""

    state: str = ""
    unfit: str = ""
    symbols: int = 0
    series: int = 0
    lag_s: float = 0.0
    missing: int = 0  # candles that may still come


@attrs.frozen
class Member:
    """A collector that takes part.

    One that is unfit wants no slots.
    """

    name: str
    fit: bool
    until_ms: int
    standing: Standing = Standing()


@attrs.frozen
class Rows:
    """The table at one moment of the database's clock."""

    now_ms: int
    slots: tuple[Slot, ...]
    members: tuple[Member, ...]

    def owned_by(self, name: str) -> frozenset[int]:
        return frozenset(slot.number for slot in self.slots if slot.owner == name)


@attrs.frozen
class Decision:
    """What to write: slots by their rows as they were seen, which must be the same still."""

    renew: tuple[Slot, ...] = ()
    claim: tuple[Slot, ...] = ()
    release: tuple[Slot, ...] = ()

    @property
    def epochs(self) -> dict[int, int]:
        """The epochs of the slots that are owned by it."""
        return {each.number: each.epoch for each in self.renew} | {each.number: each.epoch + 1 for each in self.claim}


@attrs.define
class Leases:
    """The decisions of one member, and what it has watched."""

    name: str
    _since_s: dict[Slot | Member, float] = attrs.field(factory=dict)  # since when each row is as it is
    _looked_s: float = float("-inf")

    def decide(self, rows: Rows, elapsed_s: float, *, fit: bool) -> Decision:
        """What to do about these rows.

        Args:
            elapsed_s: the member's own clock that only runs forward, from any start.
            fit: whether it can collect.
        """
        self._watch(rows, elapsed_s)
        mine = [slot for slot in rows.slots if slot.owner == self.name]
        others = [each for each in rows.members if each.name != self.name]
        there = [each for each in others if each.until_ms > rows.now_ms]
        late = [each for each in others if not self._is_silent(each, each.until_ms, rows)]
        if not fit and any(each.fit for each in there):
            return Decision(release=tuple(mine))
        owned = Counter(slot.owner for slot in rows.slots)
        beyond = len(mine) - _shares({*_able(there, fit=fit), self.name}, owned)[self.name]
        leaving = sorted(mine, key=lambda slot: _draw(slot.number, self.name))[: max(0, min(beyond, _AT_ONCE))]
        free = [slot for slot in rows.slots if self._is_free(slot, rows)]
        shares = _shares({*_able(late, fit=fit), self.name}, owned)
        return Decision(
            renew=tuple(slot for slot in mine if slot not in leaving),
            claim=tuple(_assigned(free, shares, owned).get(self.name, ())),
            release=tuple(leaving),
        )

    def _watch(self, rows: Rows, elapsed_s: float) -> None:
        if elapsed_s - self._looked_s > _BLINK_S:
            self._since_s.clear()
        self._looked_s = elapsed_s
        seen: list[Slot | Member] = [*rows.slots, *rows.members]
        self._since_s = {each: self._since_s.get(each, elapsed_s) for each in seen}

    def _is_silent(self, row: Slot | Member, until_ms: int, rows: Rows) -> bool:
        return until_ms <= rows.now_ms and self._looked_s - self._since_s[row] >= _WATCH_S

    def _is_free(self, slot: Slot, rows: Rows) -> bool:
        return not slot.owner or (slot.owner != self.name and self._is_silent(slot, slot.until_ms, rows))


def _able(others: Iterable[Member], *, fit: bool) -> set[str]:
    """Those who share the market: the fit ones, or everybody while nobody is fit."""
    return {each.name for each in others if each.fit or not fit}


def _shares(members: Iterable[str], owned: Mapping[str, int]) -> dict[str, int]:
    """How many slots each member should have; whoever has more already gets the odd ones, so that they stay."""
    ordered = sorted(members, key=lambda name: (-owned.get(name, 0), name))
    each, odd = divmod(SLOTS, len(ordered))
    return {name: each + (place < odd) for place, name in enumerate(ordered)}


def _assigned(free: Iterable[Slot], shares: Mapping[str, int], owned: Mapping[str, int]) -> dict[str, list[Slot]]:
    """Who should claim which free slot: of those with less than their share, the one that draws highest for it."""
    room = {name: share - owned.get(name, 0) for name, share in shares.items()}
    assigned: dict[str, list[Slot]] = {}
    for slot in free:
        open_to = [name for name, left in room.items() if left > 0]
        if open_to:
            owner = max(open_to, key=lambda name: (_draw(slot.number, name), name))
            room[owner] -= 1
            assigned.setdefault(owner, []).append(slot)
    return assigned


def _draw(slot: int, name: str) -> bytes:
    return blake2b(f"{slot}|{name}".encode(), digest_size=8).digest()
