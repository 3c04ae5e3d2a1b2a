"""One run: the exchange, the network, the disk and the collector, brought to life and put through a plan.

Only for a process that was made virtual (see `virtual`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from pathlib import Path
from random import Random

import attrs
import trio

from collector.core.errors import CollectorError, Refused, StorageError
from collector.sandbox import Dialect, Sandbox, build_exchange, open_sandbox
from collector.sandbox.clock import Clock
from collector.sandbox.exchange import Exchange
from collector.sandbox.stream.rules import StreamRules
from collector.settings.settings import Settings
from tests.simulation import power_cut_states, virtual
from tests.simulation.disk import SimulatedDisk
from tests.simulation.faults import KINDS
from tests.simulation.faults.kind import Shared
from tests.simulation.faults.people import repair_all
from tests.simulation.faults.together import Together
from tests.simulation.machine import EPOCH_NS, SimulatedMachine, VirtualClock
from tests.simulation.network import Network, Trace
from tests.simulation.plan import TIMEFRAMES, Plan, Strike
from tests.simulation.process import Process
from tests.simulation.promises import Witness
from tests.simulation.report import Report
from tests.support.live_market import live_settings

_BAN_S = 600.0
_LOOKS = 6  # until it is said to be busy: candles are asked for again now and then
_SHARES = (1.0, 0.1, 0.03)  # of the limit on requests: a small one is soon used up
_LONGEST_S = 7200.0  # until a strike that has no effect is given up


@attrs.define(eq=False)
class World:
    """Everything of one run, and what several strikes may want of it at once."""

    plan: Plan
    box: Sandbox
    machine: SimulatedMachine
    disk: SimulatedDisk
    process: Process
    report: Report
    wrong: Together = attrs.field(init=False)
    refusing: Shared[str] = attrs.field(init=False)
    latency: Shared[float] = attrs.field(init=False)
    hanging: Shared[float] = attrs.field(init=False)
    loss: Shared[float] = attrs.field(init=False)
    disk_error: Shared[int | None] = attrs.field(init=False)
    slowness: Shared[float] = attrs.field(init=False)
    rate: Shared[float] = attrs.field(init=False)
    _refusing_since_s: float = inf
    _excused: list[type[CollectorError]] = attrs.field(factory=list)
    witness: Witness = attrs.field(init=False)
    # What is done to the collector's own files that a power cut leaves, before anybody opens them.
    damage: Callable[[Path, Random], object] | None = None
    other_settings: trio.Lock = attrs.field(factory=trio.Lock)  # of who changes some, and changes them back
    _on: int = 0  # strikes
    _crowded_s: float = 0.0  # when several were on, last

    def __attrs_post_init__(self) -> None:
        self.wrong = Together(self.box)
        self.refusing = Shared(partial(setattr, self.network, "refuses"), "")
        self.hanging = Shared(partial(setattr, self.network, "hangs_s"), 0.0)
        self.latency = Shared(partial(setattr, self.network, "latency_s"), 0.0)
        self.loss = Shared(partial(setattr, self.network, "loss"), 0.0)
        self.disk_error = Shared(self._set_disk_error, None)
        self.slowness = Shared(partial(setattr, self.machine.threads, "slow_s"), 0.0)
        self.rate = Shared(partial(setattr, self.box.clock, "rate"), 1.0)
        self.witness = Witness(self)
        self.process.expects = self._expects
        self.machine.disk.on_states = partial(power_cut_states.examine, self)

    @property
    def network(self) -> Network:
        return self.machine.network

    @property
    def settings(self) -> Settings:
        """Those that the collector runs with, or will be started with."""
        return self.process.settings

    def begin(self) -> None:
        """What is so from the beginning on."""
        for strike in self.plan.strikes:
            if begin := KINDS[strike.kind].begin:
                begin(self, Random(strike.seed))

    def alone_for(self, seconds: float) -> bool:
        """Whether for so long one strike has been on and no other."""
        return self._on == 1 and trio.current_time() - self._crowded_s >= seconds

    async def live(self) -> None:
        """Goes through the plan, then calms down."""
        async with trio.open_nursery() as nursery:
            for strike in self.plan.strikes:
                await trio.sleep_until(strike.at_s)
                nursery.start_soon(self._strike, strike)
        if self.plan.needs_repair:
            await self.process.up()
            await self.process.look_for("up to date", _LOOKS)  # a repair mends what the files hold by then
            await repair_all(self)
        await trio.sleep(self.plan.calm_s)

    def _expects(self, error: CollectorError) -> bool:
        """Whether a collector may end with this error while these faults are made."""
        if isinstance(error, Refused):
            return self.wrong.makes("geo_block", "region_refused", "compliance_refused") and not self._has_rows()
        if self.disk.mishaps.refuses and self._refusing_since_s < self.process.began_s:
            return False  # a start waits for its disk
        if isinstance(error, StorageError) and self.disk.mishaps.errors > self.process.errors_before:
            return True  # an error that has passed meanwhile
        return self.disk.mishaps.error is not None or isinstance(error, tuple(self._excused))

    def _has_rows(self) -> bool:
        """Whether the directory has had a good answer."""
        return any(path.read_bytes().count(b"\n") > 1 for path in self.settings.data_dir.glob("*.csv"))

    @contextmanager
    def excusing(self, kind: type[CollectorError]) -> Iterator[None]:
        """A collector may end with this error meanwhile."""
        self._excused.append(kind)
        try:
            yield
        finally:
            self._excused.remove(kind)

    def _set_disk_error(self, error: int | None) -> None:
        self.disk.mishaps.error = error
        self._refusing_since_s = min(self._refusing_since_s, trio.current_time()) if self.disk.mishaps.refuses else inf

    async def _strike(self, strike: Strike) -> None:
        self.report.strikes[strike.kind] += 1
        self._note_strikes(1)
        with trio.move_on_after(strike.for_s + _LONGEST_S):
            fired = await KINDS[strike.kind].act(self, Random(strike.seed), strike.for_s)
            self.report.fired[strike.kind] += fired
        self.witness.ask_for_gaps()
        self._note_strikes(-1)

    def _note_strikes(self, more: int) -> None:
        self._on += more
        if self._on > (more > 0):
            self._crowded_s = trio.current_time()


async def run(plan: Plan, directory: Path, report: Report, to_the_end: bool = True) -> None:
    """Runs a plan, also after it has broken a promise unless told otherwise; what was seen goes into the report."""
    began_s = virtual.real_s()
    with trio.CancelScope() as scope:
        report.wrong.on_first = report.wrong.on_first if to_the_end else scope.cancel
        await _run(plan, directory, report)
    report.hours, report.seconds = trio.current_time() / 3600, virtual.real_s() - began_s


async def _run(plan: Plan, directory: Path, report: Report) -> None:
    trace, local = Trace(), VirtualClock()
    network = Network(trace.note, Random(f"network {plan.seed}"), directory)
    async with open_sandbox(_exchange(plan, local), network=network) as box:
        settings = _settings(plan, box, directory)
        settings.data_dir.mkdir()
        shared = directory / f"collector-{os.geteuid()}"
        disk = SimulatedDisk(settings.data_dir, Random(f"disk {plan.seed}"), shared)
        disk.syncs_whole = Random(f"whole {plan.seed}").random() < 0.5
        machine = SimulatedMachine(Random(f"machine {plan.seed}"), local, network, disk)
        process = Process(settings, disk, machine, report.wrong)
        world = World(plan, box, machine, disk, process, report)
        world.begin()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.run)
            nursery.start_soon(world.witness.watch)
            await world.live()
            await process.look_for("up to date", _LOOKS)
            world.witness.judge()
            process.released = True
            process.stop.set()
            await process.ended.wait()
            nursery.cancel_scope.cancel()
        world.witness.judge_files()
        report.states, report.disk = report.states + report.power_cuts, disk.contents.states
        report.requests, report.most_in_5s = box.counts.requests, box.counts.most_in_5s
    report.traces.append(trace.text)


def _exchange(plan: Plan, local: VirtualClock) -> Exchange:
    return build_exchange(
        seed=plan.seed,
        symbols=plan.symbols,
        listed=_instants(plan.listed_s),
        delisted=_instants(plan.delisted_s),
        clock=Clock(EPOCH_NS // 1_000_000, 1, local.world_ns),
        real_s=local.world_s,
        stream=StreamRules(push_every_s=plan.push_every_s),
        dialect=_drawn_dialect(Random(f"dialect {plan.seed}"), ends=bool(plan.delisted_s)),
    )


def _settings(plan: Plan, box: Sandbox, directory: Path) -> Settings:
    return live_settings(
        box,
        directory,
        symbols=plan.symbols,
        timeframes=TIMEFRAMES,
        limit_to_50_entries=plan.limited,
        fetch_all_symbols=plan.everything,
        flush_interval_s=1,
        fsync=True,
        ban_wait_s=_BAN_S,
        address_share=Random(f"share {plan.seed}").choice(_SHARES),
    )


def _drawn_dialect(dice: Random, *, ends: bool) -> Dialect:
    """What the exchange's documents leave open is this way in one run and that way in another.

    Where a symbol `ends`, no old candle stands in for a missing one: alone, it cannot be told from a false answer.
    """
    return Dialect(
        last_cursor=dice.choice(("empty", "filled")),
        double_cursor=dice.choice(("understood", "ignored")),
        odd_range=dice.choice(("empty", "refuse")),
        refused_result=dice.choice(("empty", "shaped")),
        missing_candles="short" if ends else dice.choice(("short", "padded")),
    )


def _instants(moments_s: dict[str, float]) -> dict[str, int | str]:
    """Moments of the run by the exchange's clock, as long as that is right."""
    return {f"linear:{name}": EPOCH_NS // 1_000_000 + int(at_s * 1000) for name, at_s in moments_s.items()}
