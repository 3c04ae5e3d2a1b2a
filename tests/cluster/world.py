"""Three collectors that share a market in one simulated world, with their exchange, their database and their disks.

    python -m tests.cluster --hours 200 --seed 1

The collectors are the real service, and the exchange is the one in a box, under the virtual clock of the simulation;
the database is a model (see `database`). In each round some faults come, some at once, and end; then one collector dies
for good, and everything has to go on without it. All follows from the seed.

    leases    epochs of a slot only grow, and an epoch of a slot belongs to one collector for ever
    a death   within 30 s each symbol has an owner that lives, and within 60 s more that one has all candles
    the end   the files of the owners and the table are the exchange's, to the byte, and nowhere is a row too many
    limit     no address makes more requests than its share, and none is banned
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

import attrs
import trio

from collector.cluster.leases import SLOTS, Slot, slot_of
from collector.core.candle import DAY_MS, Series
from collector.export.mirror_table import Fence, Table
from collector.machine.disk import Disk
from collector.pipeline.job import Databases
from collector.sandbox import Faults, Sandbox, build_exchange, open_sandbox
from collector.sandbox.clock import Clock
from collector.sandbox.stream.rules import StreamRules
from collector.settings.settings import Settings
from tests.cluster.database import Database, model_databases
from tests.cluster.faults import FAULTS
from tests.cluster.node import Calls, Node, NodeLine, be_pausable
from tests.simulation import virtual
from tests.simulation.disk import SimulatedDisk
from tests.simulation.machine import EPOCH_NS, SimulatedMachine, VirtualClock
from tests.simulation.network import Network, Trace
from tests.simulation.process import Process
from tests.support.live_market import live_settings

MARKET = "sandbox linear"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT")
TIMEFRAMES = ("1", "15")
NODES = 3
_TAKEN_S, _CAUGHT_UP_S = 30.0, 60.0
_LATE_MS = 15_000  # after its close a candle is in its file
_MIRRORED_MS = 30_000  # and in the table
_LOOK_S = 2.0
_WELL_S = 300.0  # after the last fault: whoever was cut off tries again once a minute
CALM_H = 1.0  # what the stream brought is asked for after 40 minutes
_SHARES = (1.0, 0.3)
_LIMIT = 600  # requests in 5 s


@attrs.define
class Report:
    """What was tried, and what was wrong."""

    lives: int = 0
    hours: float = 0.0
    seconds: float = 0.0
    faults: Counter[str] = attrs.field(factory=Counter)
    deaths: int = 0
    taken_s: float = 0.0  # at most, until each symbol was somebody's again
    caught_up_s: float = 0.0  # and until its owner had everything
    owners: int = 0  # changes of them
    rows: int = 0  # compared
    requests: int = 0
    most_in_5s: int = 0  # of an address
    wrong: list[str] = attrs.field(factory=list)
    traces: list[str] = attrs.field(factory=list)  # a digest of all that was sent, of each life

    def add(self, other: "Report") -> None:
        """Takes in another life."""
        for name in ("lives", "hours", "seconds", "deaths", "owners", "rows", "requests", "faults", "wrong", "traces"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("taken_s", "caught_up_s", "most_in_5s"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))

    def __str__(self) -> str:
        tried = ", ".join(f"{count} {what}" for what, count in sorted(self.faults.items()))
        lines = [
            f"{self.lives} lives, {self.hours:.0f} hours, {NODES} collectors: {tried}",
            f"{self.deaths} deaths: each symbol taken over after {self.taken_s:.0f} s at most, "
            f"caught up after {self.caught_up_s:.0f} s at most; {self.owners} changes of owners of slots",
            f"{self.rows} rows of files and table compared, {self.requests} requests, "
            f"at most {self.most_in_5s} of an address in 5 s; {len(self.wrong)} wrong",
            *self.wrong,
        ]
        return "\n".join(lines)


@attrs.define(eq=False)
class World:
    """Everything of one life."""

    box: Sandbox
    database: Database
    nodes: list[Node]
    dice: Random
    report: Report
    _owners: dict[tuple[int, int], str] = attrs.field(factory=dict)  # of each epoch of each slot
    _busy: trio.Nursery = attrs.field(init=False)
    _began_ms: int = attrs.field(init=False)
    _faults: list[str] = attrs.field(init=False)

    async def live(self, hours: float, *, verifies: bool) -> None:
        """Faults and deaths for so long, then the time that it takes to have everything verified.

        Without that time the stream is never wrong: what it brought would not be the exchange's yet.
        """
        self._faults = [each for each in FAULTS if verifies or each != "wrong stream"]
        self._began_ms = self.box.clock.now_ms()
        self.database.on_slot = self._note_slot
        be_pausable()
        async with trio.open_nursery() as nursery:
            for node in self.nodes:
                nursery.start_soon(node.run)
            await self._until("everybody well at the beginning", self._ill, _WELL_S)
            while trio.current_time() < hours * 3600:
                await self._round()
            await trio.sleep(CALM_H * 3600 if verifies else 0)
            await self._until("everybody well at the end", self._ill, _WELL_S)
            self._judge()
            for node in self.nodes:
                node.process.released = True
                node.process.stop.set()
            for node in self.nodes:
                await node.process.ended.wait()
            nursery.cancel_scope.cancel()

    async def _round(self) -> None:
        async with trio.open_nursery() as self._busy:
            for _ in range(self.dice.randint(1, 6)):
                what = self.dice.choice(self._faults)
                self.report.faults[what] += 1
                FAULTS[what](self, self.dice.choice(self.nodes))
                await trio.sleep(self.dice.choice((0.5, 3, 7, 21, 40, 120)))
            self._heal()
            self._busy.cancel_scope.deadline = trio.current_time() + 60
        self._heal()
        await self._until("everybody well after the faults", self._ill, _WELL_S)
        await self._die()

    def _heal(self) -> None:
        self.database.away, self.box.faults = "", Faults()
        for node in self.nodes:
            node.heal()
            node.process.start()

    async def _die(self) -> None:
        """One collector dies, and the others have to take over."""
        dead = self.dice.choice(self.nodes)
        await dead.kill(float("inf"), power=self.dice.random() < 0.3)
        self.report.deaths += 1
        taken_s = await self._until(f"the symbols of {dead.name} taken", lambda: self._unowned(dead), _TAKEN_S)
        caught_up_s = await self._until(f"the symbols of {dead.name} caught up", self._incomplete, _CAUGHT_UP_S)
        self.report.taken_s = max(self.report.taken_s, taken_s)
        self.report.caught_up_s = max(self.report.caught_up_s, caught_up_s)
        dead.process.start()

    async def _until(self, what: str, lacking: Callable[[], Iterable[str]], within_s: float) -> float:
        """Waits until nothing is lacking; how long that took."""
        began_s, lacks = trio.current_time(), [*lacking()]
        while lacks and trio.current_time() < began_s + within_s:
            await trio.sleep(_LOOK_S)
            lacks = [*lacking()]
        if lacks:
            self._wrong(f"not within {within_s:.0f} s, {what}: {'; '.join(lacks[:3])} (of {len(lacks)})")
        return trio.current_time() - began_s

    # What has to be so.

    def _unowned(self, dead: Node | None = None) -> Iterator[str]:
        now_ms, there = self.database.now_ms(), {node.name for node in self.nodes if node.runs and node is not dead}
        slots = self.database.slots.get(MARKET, {})
        for number in range(1, SLOTS + 1):
            slot = slots.get(number, Slot(number))
            if slot.owner not in there or slot.until_ms <= now_ms:
                yield f"slot {number} is of {slot.owner or 'nobody'}"

    def _ill(self) -> Iterator[str]:
        """What is not as it is in peace: everybody has a share and knows it, all candles are there, and mirrored."""
        yield from self._unowned()
        counts = Counter(slot.owner for slot in self.database.slots.get(MARKET, {}).values())
        if len(counts) != NODES or max(counts.values()) - min(counts.values()) > 1:
            yield f"the shares are {dict(counts)}"
        yield from self._incomplete()
        yield from self._unmirrored(by_time=True)

    def _incomplete(self) -> Iterator[str]:
        """Candles that the owner of a symbol lacks."""
        for series in every_series():
            if (owner := self._owner(series)) is None:
                yield f"{series} has no owner"
                continue
            times = [line[:13] for line in _lines(owner, series)]
            held = {int(each) for each in times if each.isdigit()}  # others are of a power cut, before the next start
            if lacks := sorted(set(self._due(series, _LATE_MS)) - held):
                yield f"{owner.name} lacks {len(lacks)} of {series}, from {lacks[0]} on"

    def _unmirrored(self, *, by_time: bool) -> Iterator[str]:
        """Rows that the table lacks, or that are not the exchange's."""
        for series in every_series():
            table = self.database.candles.get(("linear", series.symbol, series.timeframe.name), {})
            due = set(self._due(series, _MIRRORED_MS, since_ms=self._began_ms))
            if lacks := sorted(due - table.keys()):
                yield f"the table lacks {len(lacks)} of {series}, from {lacks[0]} on"
            if by_time:
                continue
            true = self._true(series)
            self.report.rows += len(table)
            if foreign := [at for at, line in table.items() if true.get(at) != line]:
                yield f"the table has {len(foreign)} wrong rows of {series}, from {min(foreign)} on"

    def _foreign(self) -> Iterator[str]:
        """Rows of the owners' files that are not the exchange's, and rows of anybody that it does not have."""
        for node in self.nodes:
            for series in every_series():
                true, held = self._true(series), _lines(node, series)
                opens = [int(line[:13]) for line in held]
                if opens != sorted({*opens}) or not true.keys() >= {*opens}:
                    yield f"{node.name} has rows of {series} twice, out of order or invented"
                if self._owner(series) is node:
                    self.report.rows += len(held)
                    wrong = [at for at, line in zip(opens, held, strict=True) if true.get(at) != line]
                    if wrong:
                        yield f"{node.name} has {len(wrong)} wrong rows of {series}, from {wrong[0]} on"

    def _judge(self) -> None:
        for what in (*self._ill(), *self._unmirrored(by_time=False), *self._foreign()):
            self._wrong(what)
        counts = self.box.counts
        for node in self.nodes:
            most = counts.most_in_5s_by_address.get(node.process.machine.network.address, 0)
            self.report.most_in_5s = max(self.report.most_in_5s, most)
            if most > _LIMIT * node.process.settings.address_share:
                self._wrong(f"{node.name} made {most} requests in 5 s")
        if counts.during_ban:
            self._wrong(f"{counts.during_ban} requests during a ban")
        self.report.requests = counts.requests
        first = min(slot.epoch for slot in self.database.slots[MARKET].values())
        self.report.owners = sum(slot.epoch - first for slot in self.database.slots[MARKET].values())

    def _owner(self, series: Series) -> Node | None:
        slot = self.database.slots.get(MARKET, {}).get(slot_of(series.symbol))
        return next((node for node in self.nodes if slot and node.name == slot.owner), None)

    def _due(self, series: Series, late_ms: int, since_ms: int = 0) -> Iterator[int]:
        """When those candles open that have to be there."""
        now_ms = self.box.clock.now_ms()
        at = series.timeframe.floor((since_ms or now_ms) - DAY_MS)
        while (close_ms := series.timeframe.close(at)) <= now_ms - late_ms:
            yield at
            at = close_ms

    def _true(self, series: Series) -> dict[int, bytes]:
        """The exchange's rows, of the days that are wanted since the beginning."""
        start_ms = series.timeframe.floor(self._began_ms - DAY_MS)
        text = self.box.truth(
            series.symbol, series.timeframe.name, start_ms, self.box.clock.now_ms(), "linear", header=False
        )
        return {int(line[:13]): line for line in text.splitlines()}

    def note_fence(self, node: Node, slot: int, epoch: int) -> None:
        """A collector takes an epoch of a slot for its own."""
        if epoch < 0:
            return
        if self._owners.setdefault((slot, epoch), node.name) != node.name:
            self._wrong(f"{node.name} takes epoch {epoch} of slot {slot}, which is {self._owners[slot, epoch]}'s")
        if epoch > self.database.slots[MARKET][slot].epoch:
            self._wrong(f"{node.name} takes epoch {epoch} of slot {slot}, of which the table knows nothing")

    def _note_slot(self, before: int, slot: Slot) -> None:
        if slot.epoch < before:
            self._wrong(f"the epoch of slot {slot.number} went back to {slot.epoch}")
        if slot.owner and self._owners.setdefault((slot.number, slot.epoch), slot.owner) != slot.owner:
            self._wrong(f"epoch {slot.epoch} of slot {slot.number} has a second owner, {slot.owner}")

    def _wrong(self, what: str) -> None:
        self.report.wrong.append(f"{trio.current_time() / 3600:.3f} h: {what}")

    def soon(self, act: Callable[..., object], *given: object) -> None:
        """Does something that takes its time."""
        self._busy.start_soon(act, *given)  # type: ignore[arg-type]


def every_series() -> list[Series]:
    return [Series.named(f"{symbol}_{frame}") for symbol in SYMBOLS for frame in TIMEFRAMES]


def _lines(node: Node, series: Series) -> list[bytes]:
    path = node.process.settings.data_dir / series.file_name
    return path.read_bytes().rpartition(b"\n")[0].splitlines()[1:] if path.exists() else []


# A life.


async def run(seed: int, hours: float, directory: Path, report: Report, verifies: bool) -> None:
    """Lives once; only in a process that was made virtual."""
    began_s, trace, dice = virtual.real_s(), Trace(), Random(f"cluster {seed}")
    world_clock = VirtualClock()
    network = Network(trace.note, Random(f"network {seed}"), directory)
    exchange = build_exchange(
        seed=seed,
        symbols=SYMBOLS,
        clock=Clock(EPOCH_NS // 1_000_000, 1, world_clock.world_ns),
        real_s=world_clock.world_s,
        stream=StreamRules(push_every_s=60.0),
    )
    async with open_sandbox(exchange, network=network) as box:
        database = Database(lambda: 10_000_000 + int(trio.current_time() * 1000))
        nodes = [_node(seed, number, box, network, database, directory) for number in range(1, NODES + 1)]
        world = World(box, database, nodes, dice, report)
        for node in nodes:
            node.process.wrong = report.wrong
            node.process.databases = _databases(world, node)
        await world.live(hours, verifies=verifies)
    report.traces.append(trace.text)
    report.lives, report.hours = 1, trio.current_time() / 3600
    report.seconds = virtual.real_s() - began_s


def _node(seed: int, number: int, box: Sandbox, world: Network, database: Database, directory: Path) -> Node:
    place = directory / str(number)
    place.mkdir()
    network = Network(world.note, Random(f"network {seed} {number}"), place)
    network.listeners, network.address = world.listeners, f"10.0.0.{number}"
    settings = _settings(seed, number, box, place)
    settings.data_dir.mkdir()
    shared = place / f"collector-{os.geteuid()}"
    disk = SimulatedDisk(settings.data_dir, Random(f"disk {seed} {number}"), shared)
    threads, line = Calls(), NodeLine(database, Random(f"line {seed} {number}"))
    threads.line = line
    machine = SimulatedMachine(Random(f"machine {seed} {number}"), VirtualClock(), network, disk, threads)
    return Node(Process(settings, disk, machine, [], port=8880 + number), line)


def _settings(seed: int, number: int, box: Sandbox, place: Path) -> Settings:
    return live_settings(
        box,
        place,
        symbols=SYMBOLS,
        timeframes=TIMEFRAMES,
        flush_interval_s=1,
        fsync=True,
        address_share=Random(f"share {seed} {number}").choice(_SHARES),
        cluster_url="postgresql://db.example/market",
        database_url="postgresql://db.example/market",
        cluster_member=f"c{number}",
    )


def _databases(world: World, node: Node) -> Databases:
    """The openers of a node, of which each fence is looked at."""
    databases = model_databases(node.line)

    def mirror(
        url: str, category: str, disk: Disk, directory: Path, fence: Fence | None
    ) -> AbstractContextManager[Table]:
        def noted(symbol: str) -> tuple[int, int]:
            assert fence
            found = fence(symbol)
            world.note_fence(node, *found)
            return found

        return databases.mirror(url, category, disk, directory, noted)

    return attrs.evolve(databases, mirror=mirror)
