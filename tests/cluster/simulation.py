"""Memberships that share a market under a virtual clock: kills, pauses, partitions, and a database that fails.

    python -m tests.cluster --hours 200 --seed 1 --leases

The memberships are the product's own, each with its tasks and its directory; the table of leases is a model of the
database, to which each has a connection that may be cut, slow or lossy. All follows from the seed.

    safety     epochs of a slot only grow, and an epoch of a slot belongs to one member for ever
    liveness   within 30 s of the last fault each slot comes to an owner that is there and reaches the table; some are
               on their way to the next owner at any moment, until all have their fair share
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

import attrs
import trio
import trio._core._run as trio_run
import trio.testing

from collector.cluster.leases import LEASE_S, SLOTS, Decision, Member, Rows, Slot, Standing, slot_of
from collector.core.errors import Unavailable
from collector.machine import THIS_MACHINE
from collector.machine.clock import LocalClock
from collector.machine.threads import Threads
from collector.pipeline.membership import Membership
from collector.settings.settings import Settings

T = TypeVar("T")
SETTLES_S = 30.0
_SHARES_S = 90.0  # until all have their fair share again
_FAULTS = ("kill", "stop", "pause", "cut off", "database", "slow", "lossy", "unfit")


def _symbols() -> dict[int, str]:
    """A symbol of each slot."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < SLOTS:
        number += 1
        found.setdefault(slot_of(f"COIN{number}USDT"), f"COIN{number}USDT")
    return found


SYMBOLS = _symbols()


@attrs.define(eq=False)
class Database:
    """The table of leases, by a clock of its own."""

    up: bool = True
    slots: dict[int, Slot] = attrs.field(factory=lambda: {number: Slot(number) for number in range(1, SLOTS + 1)})
    members: dict[str, Member] = attrs.field(factory=dict)
    wrong: list[str] = attrs.field(factory=list)
    _owners: dict[tuple[int, int], str] = attrs.field(factory=dict)  # of each epoch of each slot

    @property
    def now_ms(self) -> int:
        return 10_000_000 + int(trio.current_time() * 1000)

    @property
    def until_ms(self) -> int:
        return self.now_ms + int(LEASE_S * 1000)

    def put(self, slot: Slot) -> None:
        """Replaces a row, and notes what must never be."""
        if slot.epoch < self.slots[slot.number].epoch:
            self.wrong.append(f"the epoch of slot {slot.number} went back to {slot.epoch}")
        self.slots[slot.number] = slot
        if slot.owner:
            self.believe(slot.number, slot.epoch, slot.owner)

    def believe(self, number: int, epoch: int, name: str) -> None:
        """Somebody takes an epoch of a slot for its own."""
        if self._owners.setdefault((number, epoch), name) != name:
            self.wrong.append(f"epoch {epoch} of slot {number} is {name}'s and {self._owners[number, epoch]}'s")
        if epoch > self.slots[number].epoch:
            self.wrong.append(f"{name} believes in epoch {epoch} of slot {number}, of which the table knows nothing")


@attrs.define(eq=False)
class Connection:
    """The table as one member sees it; what was cut off may have been written all the same."""

    database: Database
    node: "Node"

    def look(self, name: str, standing: Standing) -> Rows:
        database = self._reach()
        database.members[name] = Member(name, not standing.unfit, database.until_ms, standing)
        rows = Rows(database.now_ms, tuple(database.slots.values()), tuple(database.members.values()))
        self._answer()
        return rows

    def write(self, name: str, decision: Decision) -> frozenset[int]:
        database, owned = self._reach(), set[int]()
        for seen in (*decision.renew, *decision.claim, *decision.release):
            if database.slots[seen.number] != seen:
                continue
            if seen in decision.release:
                database.put(attrs.evolve(seen, owner="", until_ms=database.now_ms))
                continue
            database.put(Slot(seen.number, name, seen.epoch + (seen.owner != name), database.until_ms))
            owned.add(seen.number)
        self._answer()
        return frozenset(owned)

    def leave(self, name: str) -> None:
        database = self._reach()
        for slot in [*database.slots.values()]:
            if slot.owner == name:
                database.put(attrs.evolve(slot, owner="", until_ms=database.now_ms))
        database.members.pop(name, None)
        self._answer()

    def _reach(self) -> Database:
        if not (self.database.up and self.node.connected):
            raise Unavailable("nobody answers")
        return self.database

    def _answer(self) -> None:
        if self.node.dice.random() < self.node.loses:
            raise Unavailable("the answer was lost")


@attrs.define(eq=False)
class Calls(Threads):
    """Work that is done when the process runs, and whose result comes when it runs."""

    node: "Node"

    async def run(
        self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None, *, abandon: bool = False
    ) -> T:
        await self.node.running.wait()
        await self.node.delay()
        result = work()  # where nobody answers, that is known at once
        await self.node.delay()
        return result


class Clock(LocalClock):
    """The virtual time, by a clock that starts anywhere."""

    def __init__(self, offset_s: float) -> None:
        self._offset_s = offset_s

    def since_boot_s(self) -> float:
        return self._offset_s + trio.current_time()


def _set() -> trio.Event:
    event = trio.Event()
    event.set()
    return event


@attrs.define(eq=False)
class Node:
    """A collector as far as leases go: a process that is there or not, and its way to the database."""

    settings: Settings
    database: Database
    dice: Random
    connected: bool = True
    slow_s: float = 0.0  # a call takes up to twice as long
    fast: trio.Event = attrs.field(factory=_set)
    loses: float = 0.0
    unfit: str = ""
    running: trio.Event = attrs.field(factory=_set)  # unset while it is stopped
    membership: Membership | None = None
    up: trio.Event = attrs.field(factory=trio.Event)  # set when it is to live again
    _down_s: float = 0.0
    _process: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _work: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def name(self) -> str:
        return self.settings.cluster_member

    @contextmanager
    def open(self, url: str, market: str) -> Iterator[Connection]:
        connection = Connection(self.database, self)
        connection._reach()
        yield connection

    async def delay(self) -> None:
        """Takes as long as the network takes."""
        with trio.move_on_after(self.dice.uniform(0, self.slow_s)):
            await self.fast.wait()

    def slow_down(self, slow_s: float) -> None:
        """Makes calls slow."""
        self.slow_s, self.fast = slow_s, trio.Event()

    async def run(self) -> None:
        """Life after life."""
        while True:
            await self._live()
            with trio.move_on_after(self._down_s):
                await self.up.wait()

    async def _live(self) -> None:
        self.running, self.unfit = _set(), ""
        machine = attrs.evolve(THIS_MACHINE, threads=Calls(self), clock=Clock(self.dice.uniform(0, 1e6)))
        with trio.CancelScope() as self._process:
            membership = self.membership = Membership(self.settings, machine, self.open)
            with trio.CancelScope() as self._work:
                await membership.join(lambda: Standing(unfit=self.unfit))
                await membership.renew()
            await membership.leave()
            membership.close()
        self.membership = None

    def kill(self, down_s: float) -> None:
        """Ends it at once, for so long unless `up` is set."""
        if self.membership:
            self._down_s, self.up = down_s, trio.Event()
            self._process.cancel()

    def stop(self, down_s: float) -> None:
        """Ends it in good order."""
        if self.membership:
            self._down_s, self.up = down_s, trio.Event()
            self._work.cancel()

    def heal(self) -> None:
        """Ends all its troubles."""
        self.connected, self.slow_s, self.loses, self.unfit = True, 0.0, 0.0, ""
        for event in (self.running, self.fast, self.up):
            event.set()


@attrs.define
class Report:
    """What was tried, and what was wrong."""

    hours: float = 0.0
    faults: Counter[str] = attrs.field(factory=Counter)
    checks: int = 0
    slowest_s: float = 0.0  # until each slot had come to an owner again
    epochs: int = 0  # how often a slot came to another owner
    wrong: list[str] = attrs.field(factory=list)

    def __str__(self) -> str:
        tried = ", ".join(f"{count} {what}" for what, count in sorted(self.faults.items()))
        lines = [
            f"{self.hours:g} hours: {tried}",
            f"{self.checks} times each slot came to an owner again, after {self.slowest_s:.0f} s at most",
            f"{self.epochs} changes of owners, {len(self.wrong)} wrong",
            *self.wrong,
        ]
        return "\n".join(lines)


@attrs.define(eq=False)
class World:
    """Three collectors, their database, and what happens to them."""

    nodes: list[Node]
    database: Database
    dice: Random
    report: Report = attrs.field(factory=Report)

    async def run(self, hours: float) -> None:
        """Faults, some of them at once, then peace, again and again."""
        async with trio.open_nursery() as nursery:
            for node in self.nodes:
                nursery.start_soon(node.run)
            while trio.current_time() < hours * 3600:
                for _ in range(self.dice.randint(1, 6)):
                    self._hurt(self.dice.choice(self.nodes), self.dice.choice(_FAULTS))
                    await trio.sleep(self.dice.choice((0.5, 3, 7, 21, 40, 120)))
                    self._compare_beliefs()
                await self._settle(self._heal())
                for node in self.nodes:
                    node.up.set()
            nursery.cancel_scope.cancel()
        self.report.hours = hours
        self.report.epochs = sum(slot.epoch for slot in self.database.slots.values())
        self.report.wrong += self.database.wrong

    def _hurt(self, node: Node, how: str) -> None:
        self.report.faults[how] += 1
        match how:
            case "kill":
                node.kill(self.dice.choice((0.2, 10, 60)))
            case "stop":
                node.stop(self.dice.choice((0.2, 10, 60)))
            case "pause" if node.running.is_set():
                node.running = trio.Event()
            case "cut off":
                node.connected = not node.connected
            case "database":
                self.database.up = not self.database.up
            case "slow":
                node.slow_down(self.dice.choice((2.0, 6.0)))
            case "lossy":
                node.loses = self.dice.choice((0.3, 1.0))
            case "unfit":
                node.unfit = "" if node.unfit else "a rate ban is on"

    def _heal(self) -> list[Node]:
        """Ends all faults, but that one may be dead until the next ones; those that live."""
        self.database.up = True
        for node in self.nodes:
            node.heal()
        dead = self.dice.choice([None, *(node for node in self.nodes if node.membership)])
        if dead:
            dead.kill(float("inf"))
        return [node for node in self.nodes if node is not dead]

    async def _settle(self, living: list[Node]) -> None:
        """Peace, in which every slot gets an owner, and each its fair share."""
        began_s = trio.current_time()
        names, waiting = {node.name for node in living}, {*self.database.slots}
        while waiting := {each for each in waiting if not self._is_owned(self.database.slots[each], names)}:
            if trio.current_time() - began_s > SETTLES_S:
                self._wrong(f"{len(waiting)} slots had no owner in {SETTLES_S:.0f} s")
                break
            await trio.sleep(0.5)
        self.report.checks += 1
        self.report.slowest_s = max(self.report.slowest_s, trio.current_time() - began_s)
        await trio.sleep(_SHARES_S)
        counts = Counter(slot.owner for slot in self.database.slots.values())
        if counts.keys() != names or max(counts.values()) - min(counts.values()) > 1:
            self._wrong(f"the shares are {dict(counts)}")
        self._compare_beliefs()
        for node in living:
            owned = {slot.number for slot in self.database.slots.values() if slot.owner == node.name}
            if not node.membership or node.membership.owned != owned:
                self._wrong(f"{node.name} believes in other slots than those that it has")

    def _is_owned(self, slot: Slot, names: set[str]) -> bool:
        return slot.owner in names and slot.until_ms > self.database.now_ms

    def _compare_beliefs(self) -> None:
        """What each member takes for its own is noted in the database."""
        for node in self.nodes:
            for number in node.membership.owned if node.membership else ():
                slot, epoch = node.membership.fence(SYMBOLS[number]) if node.membership else (number, -1)
                if epoch >= 0:
                    self.database.believe(slot, epoch, node.name)

    def _wrong(self, what: str) -> None:
        self.report.wrong.append(f"{trio.current_time() / 3600:.3f} h: {what}")


def simulate(directory: Path, hours: float, seed: int) -> Report:
    """What came of so many hours of three collectors."""
    dice, database, nodes = Random(seed), Database(), []
    for number in range(1, 4):
        data = directory / f"c{number}"
        (data / ".collector").mkdir(parents=True)
        settings = Settings(cluster_url="postgresql://db.example/market", cluster_member=f"c{number}", data_dir=data)
        nodes.append(Node(settings, database, Random(dice.random())))
    world = World(nodes, database, dice)
    with _repeatable(seed):
        trio.run(world.run, hours, clock=trio.testing.MockClock(autojump_threshold=0))
    return world.report


@contextmanager
def _repeatable(seed: int) -> Iterator[None]:
    """Has trio choose in the same way which of the tasks that may run goes first."""
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
