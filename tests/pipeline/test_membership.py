"""Membership: what a member does with what the table says, and what it does without the table."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
import trio
import trio.testing

from collector.cluster.leases import LEASE_S, SLOTS, Decision, Member, Rows, Slot, Standing
from collector.core.errors import SettingsError, Unavailable
from collector.machine import THIS_MACHINE
from collector.machine.clock import LocalClock
from collector.machine.threads import Threads
from collector.pipeline.membership import Membership, mates_of, open_membership
from collector.storage.data_directory import recorded_slots
from tests.cluster.test_leases import Table
from tests.support.market import settings_for

Clockwork = trio.testing.MockClock
T = TypeVar("T")
EVERY = frozenset(range(1, SLOTS + 1))


class TrioClock(LocalClock):
    """A clock of the virtual time."""

    def since_boot_s(self) -> float:
        return trio.current_time()


@attrs.define(eq=False)
class HereAndNow(Threads):
    """Work that is done at once, or hangs for so long."""

    hangs_s: float = 0.0

    async def run(
        self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None, *, abandon: bool = False
    ) -> T:
        await trio.sleep(self.hangs_s)
        return work()


@attrs.define(eq=False)
class FakeTable:
    """A table in memory, by the virtual time, as its member sees it."""

    table: Table = attrs.field(factory=Table)
    trouble: Exception | None = None
    breaks: bool = False  # the next question on this connection
    opened: int = 0
    closed: int = 0

    @contextmanager
    def open(self, url: str, market: str) -> Iterator["FakeTable"]:
        self._answer()
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1

    def _answer(self) -> None:
        if self.trouble:
            raise self.trouble
        if self.breaks:
            self.breaks = False
            raise Unavailable("the connection broke")
        self.table.now_ms = int(trio.current_time() * 1000) + 10_000_000

    def look(self, name: str, standing: Standing) -> Rows:
        self._answer()
        self.table.members[name] = Member(name, not standing.unfit, self.table.until_ms, standing)
        return Rows(self.table.now_ms, tuple(self.table.slots.values()), tuple(self.table.members.values()))

    def write(self, name: str, decision: Decision) -> frozenset[int]:
        self._answer()
        for slot in (*decision.renew, *decision.claim):
            self.table.slots[slot.number] = Slot(slot.number, name, slot.epoch + 1, self.table.until_ms)
        for slot in decision.release:
            self.table.slots[slot.number] = Slot(slot.number, "", slot.epoch)
        return frozenset(slot.number for slot in (*decision.renew, *decision.claim))

    def leave(self, name: str) -> None:
        self._answer()
        self.table.slots = {number: attrs.evolve(slot, owner="") for number, slot in self.table.slots.items()}
        del self.table.members[name]

    def others_join(self, name: str = "other") -> None:
        self.table.members[name] = Member(name, True, self.table.now_ms + 3_600_000)


@attrs.define(eq=False)
class Bench:
    directory: Path
    table: FakeTable = attrs.field(factory=FakeTable)
    threads: HereAndNow = attrs.field(factory=HereAndNow)
    standing: Standing = attrs.field(factory=Standing)

    def membership(self) -> Membership:
        (self.directory / "candles" / ".collector").mkdir(parents=True, exist_ok=True)
        url = "postgresql://me:s3cret@db/market"
        settings = settings_for("http://127.0.0.1", self.directory, cluster_url=url, cluster_member="c1")
        machine = attrs.evolve(THIS_MACHINE, threads=self.threads, clock=TrioClock())
        return Membership(settings, machine, self.table.open)

    def recorded(self) -> frozenset[int]:
        return recorded_slots(THIS_MACHINE.disk, self.directory / "candles")

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[Membership]:
        membership = self.membership()
        await membership.join(lambda: self.standing)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(membership.renew)
            yield membership
            nursery.cancel_scope.cancel()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_member_alone_takes_every_symbol_and_writes_its_slots_down(
    bench: Bench, autojump_clock: Clockwork
) -> None:
    async with bench.joined() as membership:
        assert membership.owned == bench.recorded() == EVERY
        assert membership.takes("BTCUSDT")


async def test_leases_are_renewed_for_as_long_as_it_runs(bench: Bench, autojump_clock: Clockwork) -> None:
    async with bench.joined() as membership:
        await trio.sleep(10 * LEASE_S)
        assert membership.owned == EVERY
        assert all(slot.until_ms > bench.table.table.now_ms for slot in bench.table.table.slots.values())
        assert bench.table.opened == 1


async def test_a_newcomer_gets_slots_and_whoever_waits_hears_of_it(bench: Bench, autojump_clock: Clockwork) -> None:
    async with bench.joined() as membership:
        bench.table.others_join()
        await membership.looked()
        await membership.looked()
        assert SLOTS / 2 <= len(membership.owned) < SLOTS
        assert membership.owned == bench.recorded()


async def test_while_the_database_is_away_slots_are_kept(
    bench: Bench, autojump_clock: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with bench.joined() as membership:
        bench.table.trouble = Unavailable("postgresql://db/market cannot be used")
        await trio.sleep(3600)
        assert membership.owned == EVERY
        state = membership.state()
        assert (state.trouble, state.place) == (str(bench.table.trouble), "postgresql://db/market")
        assert state.away_s == pytest.approx(3600, abs=10)
        bench.table.trouble = None
        await trio.sleep(6)
        assert (membership.state().trouble, membership.state().away_s) == ("", 0.0)
        assert bench.table.opened == 2
    assert sum("database is" in each.message for each in caplog.records) == 2  # away, and back
    assert "s3cret" not in caplog.text


async def test_a_database_that_hangs_is_away(bench: Bench, autojump_clock: Clockwork) -> None:
    async with bench.joined() as membership:
        bench.threads.hangs_s = 100.0
        await trio.sleep(60)
        assert "no answer within 8 s" in membership.state().trouble
        assert membership.owned == EVERY
        bench.threads.hangs_s = 0.0
        await trio.sleep(20)
        assert membership.state().trouble == ""


async def test_a_start_without_the_database_goes_on_with_the_slots_of_before(
    bench: Bench, autojump_clock: Clockwork
) -> None:
    async with bench.joined():
        pass
    bench.table.trouble = Unavailable("away")
    async with bench.joined() as membership:
        assert membership.owned == EVERY


async def test_a_first_start_waits_for_the_database(bench: Bench, autojump_clock: Clockwork) -> None:
    bench.table.trouble = Unavailable("away")
    membership = bench.membership()
    with trio.move_on_after(60):
        await membership.join()
    assert membership.owned == frozenset()
    bench.table.trouble = None
    await membership.join()
    assert membership.owned == EVERY


async def test_what_somebody_has_to_change_ends_a_start_and_no_run(bench: Bench, autojump_clock: Clockwork) -> None:
    refusal = SettingsError(["the password is wrong"])
    bench.table.trouble = refusal
    with pytest.raises(SettingsError):
        await bench.membership().join()
    bench.table.trouble = None
    async with bench.joined() as membership:
        bench.table.trouble = refusal
        await trio.sleep(60)
        assert membership.owned == EVERY


async def test_an_end_hands_everything_back(bench: Bench, autojump_clock: Clockwork) -> None:
    membership = bench.membership()
    async with open_membership(membership):
        await membership.join()
    assert {slot.owner for slot in bench.table.table.slots.values()} == {""}
    assert bench.recorded() == frozenset()
    assert bench.table.closed == bench.table.opened == 1


async def test_an_end_waits_for_a_slow_database(bench: Bench, autojump_clock: Clockwork) -> None:
    membership = bench.membership()
    async with open_membership(membership):
        await membership.join()
        bench.threads.hangs_s = 5.0
    assert {slot.owner for slot in bench.table.table.slots.values()} == {""}


async def test_an_end_hands_back_though_the_connection_broke(bench: Bench, autojump_clock: Clockwork) -> None:
    membership = bench.membership()
    async with open_membership(membership):
        await membership.join()
        bench.table.breaks = True
    assert {slot.owner for slot in bench.table.table.slots.values()} == {""}
    assert bench.table.closed == bench.table.opened == 2


async def test_an_end_hands_back_though_the_database_was_away(bench: Bench, autojump_clock: Clockwork) -> None:
    membership = bench.membership()
    async with open_membership(membership):
        await membership.join()
        bench.table.trouble = Unavailable("away")
        with trio.move_on_after(LEASE_S):
            await membership.renew()
        bench.table.trouble = None
    assert {slot.owner for slot in bench.table.table.slots.values()} == {""}
    assert bench.recorded() == frozenset()


async def test_an_end_before_a_first_look_asks_for_nothing(bench: Bench, autojump_clock: Clockwork) -> None:
    async with open_membership(bench.membership()):
        pass
    assert bench.table.opened == 0


async def test_an_end_that_cannot_hand_back_says_so(
    bench: Bench, autojump_clock: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    membership = bench.membership()
    async with open_membership(membership):
        await membership.join()
        bench.table.trouble = Unavailable("away")
    assert bench.recorded() == EVERY
    assert "slots not handed back" in caplog.text


async def test_an_end_without_the_database_takes_no_longer(bench: Bench, autojump_clock: Clockwork) -> None:
    membership = bench.membership()
    async with open_membership(membership):
        await membership.join()
        bench.threads.hangs_s = 100.0
    assert trio.current_time() < 10
    assert bench.recorded() == EVERY


async def test_one_that_is_cancelled_hands_nothing_back_and_closes_its_connection(
    bench: Bench, autojump_clock: Clockwork
) -> None:
    membership = bench.membership()
    with trio.CancelScope() as scope:
        async with open_membership(membership):
            await membership.join()
            scope.cancel()
            await trio.sleep(1)
    assert {slot.owner for slot in bench.table.table.slots.values()} == {"c1"}
    assert bench.table.closed == bench.table.opened == 1


async def test_an_unfit_member_gives_up_when_somebody_else_is_there(bench: Bench, autojump_clock: Clockwork) -> None:
    async with bench.joined() as membership:
        bench.standing = Standing("degraded", "a rate ban is on")
        await trio.sleep(10)
        assert membership.owned == EVERY
        bench.table.others_join()
        await trio.sleep(10)
        assert membership.owned == frozenset()


def test_members_are_listed_with_what_they_own_and_how_they_are() -> None:
    slots = (Slot(1, "a", 1, 30_000), Slot(2, "gone", 1, 5_000), Slot(3), Slot(4, "a", 1, 30_000))
    rows = Rows(10_000, slots, (Member("a", True, 30_000, Standing("healthy", "", 3, 18)), Member("b", True, 9_000)))
    found = [(each.name, each.slots, each.lease_s) for each in mates_of(rows)]
    assert found == [("a", (1, 4), 20.0), ("b", (), -1.0), ("gone", (2,), -5.0)]


async def test_a_member_knows_the_epochs_of_what_it_owns_alone(bench: Bench, autojump_clock: Clockwork) -> None:
    async with bench.joined() as membership:
        slot, epoch = membership.fence("BTCUSDT")
        assert epoch == bench.table.table.slots[slot].epoch
        bench.table.trouble = Unavailable("away")
        await trio.sleep(60)
        assert membership.fence("BTCUSDT") == (slot, epoch)
        bench.table.trouble = None
        bench.table.table.slots[slot] = Slot(slot, "c2", epoch + 9, bench.table.table.now_ms + 10**9)
        await trio.sleep(20)
        assert membership.fence("BTCUSDT") == (slot, -1)


async def test_a_start_without_the_database_is_in_no_epoch(bench: Bench, autojump_clock: Clockwork) -> None:
    async with bench.joined():
        pass
    bench.table.trouble = Unavailable("away")
    async with bench.joined() as membership:
        assert membership.fence("BTCUSDT")[1] == -1
        bench.table.trouble = None
        await trio.sleep(6)
        assert membership.fence("BTCUSDT")[1] >= 0
