"""One run: the exchange, the network, the disk and the collector, brought to life and put through a plan.

Only for a process that was made virtual (see `virtual`).
"""

import errno
import time
from pathlib import Path
from random import Random

import attrs
import trio

from collector import service, writer
from collector.errors import CollectorError, first_of
from collector.machine import network
from collector.sandbox import Faults, Sandbox, build_exchange, open_sandbox
from collector.sandbox.clock import Clock
from collector.sandbox.stream.rules import StreamRules
from collector.service import serve
from collector.settings import Settings
from collector.watching.probes import Probes
from tests.live_market import live_settings
from tests.simulation import promises, virtual
from tests.simulation.disk import ERRORS, Killed, SimulatedDisk, install
from tests.simulation.network import Network, Trace
from tests.simulation.plan import EXCHANGE, SYMBOLS, TIMEFRAMES, Plan, Strike
from tests.simulation.promises import moment
from tests.simulation.report import Report
from tests.soak import troubles

_PUSH_EVERY_S = 5.0
_AGAIN_S = 30.0  # until a process that has ended is started again, as systemd does
_BAN_S = 600.0


@attrs.define(eq=False)
class _Process:
    """The collector, started anew whenever it has ended, until it is let go."""

    settings: Settings
    disk: SimulatedDisk
    wrong: list[str]
    stop: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    again_s: float = _AGAIN_S
    began_s: float = 0.0
    let_go: bool = False

    async def run(self) -> None:
        while not self.let_go:
            self.stop, self.scope, self.ended = trio.Event(), trio.CancelScope(), trio.Event()
            self.began_s = trio.current_time()
            await self._live()
            self.ended.set()
            await trio.sleep(self.again_s)
            self.again_s = _AGAIN_S

    async def _live(self) -> None:
        try:
            with self.scope:
                probes = Probes(lambda: 0, lambda: 10**12)
                await serve(self.settings, once=False, stop=self.stop, probes=probes)
        except* Killed:
            pass
        except* CollectorError as group:
            if self.disk.error is None:
                self.wrong.append(f"{moment()}: the collector ended: {first_of(group)}")
        except* Exception as group:
            self.wrong.append(f"{moment()}: the collector crashed: {first_of(group)!r}")

    async def kill(self, network: Network) -> None:
        self.disk.dead = True
        network.cut()
        self.scope.cancel()
        await self.ended.wait()
        self.disk.dead = False
        self.disk.calls_left = None


@attrs.define(eq=False)
class World:
    """Everything of one run."""

    plan: Plan
    box: Sandbox
    network: Network
    disk: SimulatedDisk
    settings: Settings
    process: _Process
    report: Report

    async def live(self) -> None:
        """Goes through the plan, then calms down."""
        for strike in self.plan.strikes:
            await trio.sleep_until(strike.at_s)
            await self._strike(strike)
            self.report.strikes[strike.kind] += 1
        await self._calm()
        await trio.sleep(self.plan.calm_s)

    async def _strike(self, strike: Strike) -> None:
        dice = Random(strike.seed)
        if strike.kind in EXCHANGE:
            series = f"kline.{dice.choice(TIMEFRAMES)}.{dice.choice(SYMBOLS)}"
            fields = troubles.calm() | troubles._TROUBLES[strike.kind](dice, series)
            self.box.faults = attrs.evolve(Faults(), **fields)
            await trio.sleep(strike.for_s)
            return await self._calm()
        await getattr(self, f"_{strike.kind.replace(' ', '_').replace('-', '_')}".lower())(dice, strike.for_s)
        return await self._calm()

    async def _calm(self) -> None:
        await trio.lowlevel.checkpoint()
        self.box.faults = Faults()
        self.network.down, self.network.latency_s = False, 0.0
        self.disk.error = None
        virtual.now.thread_s = 0.0

    # The machine's faults, each named as in the plan.

    async def _lag(self, dice: Random, for_s: float) -> None:
        self.box.faults = Faults(rest_lag_ms=dice.choice((8_000, 20_000, 120_000, 600_000)))
        await trio.sleep(for_s)

    async def _wrong_while_rest_lags(self, dice: Random, for_s: float) -> None:
        self.box.faults = Faults(confirm_wrong=0.3, rest_lag_ms=dice.choice((8_000, 20_000, 120_000)))
        await trio.sleep(for_s)
        self.box.cut_connections()
        await trio.sleep(dice.uniform(0, 120))

    async def _half_open(self, _: Random, for_s: float) -> None:
        self.network.leave_half_open()
        await trio.sleep(for_s)

    async def _network_down(self, _: Random, for_s: float) -> None:
        self.network.down = True
        self.network.cut()
        await trio.sleep(for_s)

    async def _slow_network(self, dice: Random, for_s: float) -> None:
        self.network.latency_s = dice.choice((0.05, 0.5, 3.0))
        await trio.sleep(for_s)

    async def _kill(self, dice: Random, _: float) -> None:
        await self.process.kill(self.network)
        self.process.again_s = dice.choice((0.0, 30.0, 600.0))
        self.report.kills += 1

    async def _kill_in_a_call(self, dice: Random, for_s: float) -> None:
        self.disk.calls_left = dice.randrange(200)
        with trio.move_on_after(for_s):
            await self.process.ended.wait()
        await self._kill(dice, 0)

    async def _power_cut(self, dice: Random, for_s: float) -> None:
        if dice.random() < 0.5:
            self.disk.calls_left = dice.randrange(200)
            with trio.move_on_after(for_s):
                await self.process.ended.wait()
        await self.process.kill(self.network)
        self.disk.cut_power()
        self.process.again_s = dice.choice((0.0, 30.0, 600.0))
        self.report.power_cuts += 1

    async def _disk_error(self, dice: Random, for_s: float) -> None:
        self.disk.error = dice.choice(ERRORS) if dice.random() < 0.5 else errno.ENOSPC
        await trio.sleep(for_s)

    async def _slow_disk(self, dice: Random, for_s: float) -> None:
        virtual.now.thread_s = dice.choice((0.2, 2.0, 20.0))
        await trio.sleep(for_s)

    async def _clock_jump(self, dice: Random, _: float) -> None:
        self.box.clock.advance(dice.choice((1_000, 30_000, 300_000)))
        await trio.sleep(1)

    async def _stop(self, dice: Random, _: float) -> None:
        self.process.again_s = dice.choice((0.0, 30.0, 600.0))
        self.process.stop.set()
        await self.process.ended.wait()


async def run(plan: Plan, directory: Path, report: Report) -> None:
    """Runs a plan; what was seen goes into the report."""
    trace, began_s = Trace(), virtual.real_s()
    network = Network(trace.note)
    network.install()
    _take_away_sockets(directory)
    clock = Clock(virtual.EPOCH_NS // 1_000_000, 1, time.monotonic_ns)
    rules = StreamRules(push_every_s=_PUSH_EVERY_S)
    exchange = build_exchange(seed=7, symbols=SYMBOLS, clock=clock, real_s=time.monotonic, stream=rules)
    async with open_sandbox(exchange) as box:
        settings = live_settings(
            box,
            directory,
            timeframes=TIMEFRAMES,
            limit_to_50_entries=plan.limited,
            flush_interval_s=1,
            fsync=True,
            ban_wait_s=_BAN_S,
        )
        settings.data_dir.mkdir()
        disk = SimulatedDisk(settings.data_dir, Random(f"disk {plan.seed}"))
        install(disk)
        process = _Process(settings, disk, report.wrong)
        world = World(plan, box, network, disk, settings, process, report)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.run)
            nursery.start_soon(promises.watch, world)
            await world.live()
            report.wrong += promises.unsettled(world)
            process.let_go = True
            process.stop.set()
            await process.ended.wait()
            nursery.cancel_scope.cancel()
        report.wrong += promises.differences(world) + promises.check(world)
        if (most := box.counts.most_in_5s) > 600 or box.counts.during_ban:
            report.wrong.append(f"{most} requests in 5 s, {box.counts.during_ban} during a ban")
        report.requests, report.most_in_5s = box.counts.requests, most
    report.hours, report.seconds = trio.current_time() / 3600, virtual.real_s() - began_s
    report.traces.append(trace.text)


def _take_away_sockets(directory: Path) -> None:
    """The status of the collector is served to nobody, and its share of the limit is this run's own."""
    writer._ROLLED_AT_ONCE = 1  # threads have an order of their own
    service.serve_status = _not_served  # type: ignore[attr-defined]
    network.SHARED_PLACES = (str(directory),)


async def _not_served(*_: object, **__: object) -> None:
    await trio.sleep_forever()
