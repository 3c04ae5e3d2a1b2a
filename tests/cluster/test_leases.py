"""Leases: a model of a table and several members, with pauses, outages, lost answers and clocks that disagree."""

from collections import Counter
from random import Random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.cluster.leases import LEASE_S, RENEW_S, SLOTS, Leases, Member, Rows, Slot, slot_of

_TICK_MS = 500


@attrs.define
class Table:
    """The rows, and the database's clock."""

    now_ms: int = 1_000_000
    up: bool = True
    slots: dict[int, Slot] = attrs.field(factory=lambda: {number: Slot(number) for number in range(1, SLOTS + 1)})
    members: dict[str, Member] = attrs.field(factory=dict)
    taken: list[tuple[int, str, str]] = attrs.field(factory=list)  # time, slot's owner before, and after

    @property
    def until_ms(self) -> int:
        return self.now_ms + int(LEASE_S * 1000)

    def owned(self) -> Counter[str]:
        return Counter(slot.owner for slot in self.slots.values())


@attrs.define
class Collector:
    """A member with a clock of its own."""

    name: str
    table: Table
    dice: Random
    offset_s: float = 0.0
    rate: float = 1.0
    alive: bool = True
    running: bool = True  # or stopped for a while
    connected: bool = True
    fit: bool = True
    loses_answers: float = 0.0
    due_ms: int = 0
    held: frozenset[int] = frozenset()  # what it believes to own
    leases: Leases = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.leases = Leases(self.name)

    def tick(self) -> None:
        if not (self.alive and self.running) or self.table.now_ms < self.due_ms:
            return
        self.due_ms = self.table.now_ms + int(RENEW_S * 1000 / self.rate)
        if self.connected and self.table.up:
            self.round()

    def round(self) -> None:
        table = self.table
        table.members[self.name] = Member(self.name, self.fit, table.until_ms)
        rows = Rows(table.now_ms, tuple(table.slots.values()), tuple(table.members.values()))
        decision = self.leases.decide(rows, self.offset_s + self.rate * table.now_ms / 1000, fit=self.fit)
        for seen in (*decision.renew, *decision.claim):
            now = table.slots[seen.number]
            if (now.owner, now.epoch, now.until_ms) == (seen.owner, seen.epoch, seen.until_ms):
                if now.owner != self.name:
                    table.taken.append((table.now_ms, now.owner, self.name))
                epoch = now.epoch + (now.owner != self.name)
                table.slots[seen.number] = Slot(seen.number, self.name, epoch, table.until_ms)
        for seen in decision.release:
            if table.slots[seen.number].owner == self.name:
                table.slots[seen.number] = attrs.evolve(table.slots[seen.number], owner="", until_ms=table.now_ms)
        if self.dice.random() >= self.loses_answers:
            self.held = Rows(table.now_ms, tuple(table.slots.values()), ()).owned_by(self.name)

    def leave(self) -> None:
        """Hands back, as a stop does."""
        self.alive = False
        for number in self.held:
            if self.table.slots[number].owner == self.name:
                self.table.slots[number] = attrs.evolve(self.table.slots[number], owner="")
        del self.table.members[self.name]


@attrs.define
class Cluster:
    members: list[Collector]
    table: Table

    @classmethod
    def of(cls, size: int, seed: int = 0) -> "Cluster":
        dice, table = Random(seed), Table()
        members = [
            Collector(f"c{number}", table, dice, dice.uniform(-1e6, 1e6), dice.uniform(0.98, 1.02))
            for number in range(size)
        ]
        return cls(members, table)

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 1000 / _TICK_MS)):
            for member in self.members:
                member.tick()
            self.table.now_ms += _TICK_MS

    def fair(self) -> bool:
        able = [each for each in self.members if each.alive and each.fit]
        counts = [self.table.owned()[each.name] for each in able]
        return sum(counts) == SLOTS and max(counts) - min(counts) <= 1 and sum(len(each.held) for each in able) == SLOTS


def test_the_first_member_takes_everything_at_once() -> None:
    cluster = Cluster.of(1)
    cluster.run(1)
    assert len(cluster.members[0].held) == SLOTS


@pytest.mark.parametrize("size", [2, 3, 5, 20, 70])
def test_members_come_to_equal_shares(size: int) -> None:
    cluster = Cluster.of(size)
    cluster.run(150)
    assert cluster.fair()


def test_a_new_member_gets_its_share_slot_by_slot() -> None:
    cluster = Cluster.of(2)
    newcomer = cluster.members.pop()
    cluster.run(20)
    cluster.members.append(newcomer)
    seen = set()
    for _ in range(60):
        cluster.run(1)
        seen.add(len(newcomer.held))
    assert max(seen) == SLOTS / 2
    assert len(seen) > 3
    assert cluster.fair()


def test_the_slots_of_a_dead_member_are_taken_over_within_thirty_seconds() -> None:
    cluster = Cluster.of(3)
    cluster.run(100)
    cluster.members[1].alive = False
    cluster.run(27)
    assert cluster.fair()


def test_what_a_stopped_member_hands_back_is_taken_within_a_round_or_two() -> None:
    cluster = Cluster.of(3)
    cluster.run(100)
    cluster.members[1].leave()
    cluster.run(2 * RENEW_S + 1)
    assert cluster.fair()


def test_a_member_that_was_stopped_longer_than_a_lease_shares_again() -> None:
    cluster = Cluster.of(3)
    cluster.run(100)
    cluster.members[1].running = False
    cluster.run(60)
    assert cluster.table.owned()["c1"] == 0
    cluster.members[1].running = True
    cluster.run(60)
    assert cluster.fair()


def test_an_unfit_member_gives_its_slots_up_and_gets_them_back() -> None:
    cluster = Cluster.of(3)
    cluster.run(100)
    cluster.members[1].fit = False
    cluster.run(15)
    assert cluster.table.owned()["c1"] == 0
    assert cluster.fair()
    cluster.members[1].fit = True
    cluster.run(60)
    assert cluster.fair()


def test_members_that_are_all_unfit_share_all_the_same() -> None:
    cluster = Cluster.of(3)
    cluster.run(100)
    for member in cluster.members:
        member.fit = False
    cluster.run(60)
    assert cluster.table.owned()[""] == 0


@pytest.mark.parametrize("outage_s", [3, 30, 3600])
def test_an_outage_of_the_database_moves_no_slot(outage_s: float) -> None:
    cluster = Cluster.of(3)
    cluster.run(100)
    before, cluster.table.taken = dict(cluster.table.slots), []
    held = [each.held for each in cluster.members]
    cluster.table.up = False
    cluster.run(outage_s)
    assert [each.held for each in cluster.members] == held
    cluster.table.up = True
    cluster.run(100)
    assert cluster.table.taken == []
    assert {slot.number: slot.owner for slot in cluster.table.slots.values()} == {
        number: slot.owner for number, slot in before.items()
    }


def test_a_member_that_only_the_database_lost_keeps_what_it_has_and_others_take_over() -> None:
    cluster = Cluster.of(3)
    cluster.run(100)
    held = cluster.members[1].held
    cluster.members[1].connected = False
    cluster.run(60)
    assert cluster.members[1].held == held
    assert cluster.table.owned()["c1"] == 0
    cluster.members[1].connected = True
    cluster.run(60)
    assert cluster.fair()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_whatever_happens_the_market_is_shared_again_afterwards(seed: int, size: int) -> None:
    cluster, dice = Cluster.of(size, seed), Random(seed)
    epochs = dict.fromkeys(cluster.table.slots, 0)
    for _ in range(12):
        member = dice.choice(cluster.members)
        match dice.randrange(6):
            case 0:
                member.running = not member.running
            case 1:
                member.connected = not member.connected
            case 2:
                member.fit = not member.fit
            case 3:
                cluster.table.up = not cluster.table.up
            case 4:
                member.loses_answers = dice.choice((0.0, 0.5, 1.0))
            case 5:
                member.leases, member.held = Leases(member.name), frozenset()  # killed, and started again
        cluster.run(dice.choice((1, 7, 21, 40)))
        assert all(slot.epoch >= epochs[number] for number, slot in cluster.table.slots.items())
        epochs = {number: slot.epoch for number, slot in cluster.table.slots.items()}
    cluster.table.up = True
    for member in cluster.members:
        member.running = member.connected = member.fit = True
        member.loses_answers = 0.0
    cluster.run(150)
    assert cluster.fair()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_a_member_that_renews_loses_no_slot_but_by_its_own_release(seed: int) -> None:
    cluster, dice = Cluster.of(4, seed), Random(seed)
    cluster.run(100)
    steady = cluster.members[0]
    for _ in range(8):
        other = dice.choice(cluster.members[1:])
        other.running, other.connected, other.fit = (dice.random() < 0.6 for _ in range(3))
        cluster.run(dice.choice((1, 7, 21, 40)))
    assert [each for each in cluster.table.taken if each[1] == steady.name] == []


def test_symbols_fall_to_slots_evenly() -> None:
    sizes = Counter(slot_of(f"COIN{number}USDT") for number in range(6400))
    assert set(sizes) == set(range(1, SLOTS + 1))
    assert max(sizes.values()) < 150
