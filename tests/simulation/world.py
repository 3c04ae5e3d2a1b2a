"""One run: the exchange, the network, the disk and the collector, brought to life and put through a plan.

Only for a process that was made virtual (see `virtual`).
"""

import errno
import time
from pathlib import Path
from random import Random

import attrs
import trio

from collector import limit_file, service, writer
from collector.candle import DAY_MS, Series, timeframe
from collector.checking.findings import Checked
from collector.errors import CollectorError, first_of
from collector.gaps import find_gaps
from collector.integrity import DataIntegrityChecker
from collector.ledger import read_ledger
from collector.missing import SETTLED
from collector.planning import NEWEST
from collector.rows import HEADER, check_lines
from collector.sandbox import Faults, Sandbox, build_exchange, open_sandbox
from collector.sandbox.clock import Clock
from collector.sandbox.stream.garbles import falsified
from collector.sandbox.stream.rules import StreamRules
from collector.service import serve
from collector.settings import Settings
from collector.watching.probes import Probes
from tests.live_market import live_settings
from tests.simulation import virtual
from tests.simulation.disk import ERRORS, Killed, SimulatedDisk, install
from tests.simulation.network import Network, Trace
from tests.simulation.plan import EXCHANGE, SYMBOLS, TIMEFRAMES, Plan, Strike
from tests.simulation.report import Report
from tests.soak import troubles

_PUSH_EVERY_S = 5.0
_LOOK_EVERY_S = 61.0
_OPENED_S = 120.0  # what a power cut left of the files is mended when they are opened
_AGAIN_S = 30.0  # until a process that has ended is started again, as systemd does
_BAN_S = 600.0
_LOST_MINUTES = 40 * 60_000  # confirmed candles are verified by then


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
                self.wrong.append(f"{_now()}: the collector ended: {first_of(group)}")
        except* Exception as group:
            self.wrong.append(f"{_now()}: the collector crashed: {first_of(group)!r}")

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
            nursery.start_soon(_watch, world)
            await world.live()
            report.wrong += _unsettled(world)
            process.let_go = True
            process.stop.set()
            await process.ended.wait()
            nursery.cancel_scope.cancel()
        report.wrong += _differences(world) + _check(world)
        if (most := box.counts.most_in_5s) > 600 or box.counts.during_ban:
            report.wrong.append(f"{most} requests in 5 s, {box.counts.during_ban} during a ban")
        report.requests, report.most_in_5s = box.counts.requests, most
    report.hours, report.seconds = trio.current_time() / 3600, virtual.real_s() - began_s
    report.traces.append(trace.text)


def _take_away_sockets(directory: Path) -> None:
    """The status of the collector is served to nobody, and its share of the limit is this run's own."""
    writer._ROLLED_AT_ONCE = 1  # threads have an order of their own
    service.serve_status = _not_served  # type: ignore[attr-defined]
    limit_file.PLACES = (str(directory),)


async def _not_served(*_: object, **__: object) -> None:
    await trio.sleep_forever()


async def _watch(world: World) -> None:
    """A reader that looks at the files all the while."""
    while True:
        await trio.sleep(_LOOK_EVERY_S)
        if not world.process.ended.is_set() and trio.current_time() - world.process.began_s > _OPENED_S:
            world.report.reads += 1
            for series in _every_series():
                _look(world, series)


def _look(world: World, series: Series) -> None:
    data = _bytes(world, series)
    whole = data[: data.rfind(b"\n") + 1]
    _, good, why = check_lines(series.timeframe, whole[len(HEADER) :]) if whole else ([], 0, None)
    if why or (whole and whole[: len(HEADER)] != HEADER):
        world.report.wrong.append(f"{_now()}: a reader sees {series}: {why} at byte {good}")


def _differences(world: World) -> list[str]:
    """How the files differ from the truth."""
    wrong = []
    for series in _every_series():
        held = _bytes(world, series).splitlines()
        world.report.rows += max(0, len(held) - 1)
        first_ms = int(held[1].split(b",")[0]) if len(held) > 1 else 0
        now_ms = world.box.clock.now_ms()
        true = world.box.truth(series.symbol, series.timeframe.name, first_ms, now_ms).splitlines()
        if len(held) < len(true) - 2 or held != true[: len(held)] or first_ms > _latest_start_ms(world, series, now_ms):
            missing, foreign = sorted(set(true) - set(held)), sorted(set(held) - set(true))
            wrong.append(
                f"{series}: {len(held)} of {len(true)} lines; missing {missing[:2]}, foreign {foreign[:2]}, "
                f"falsified by the stream: {_falsified(foreign, true)}"
            )
    return wrong


def _latest_start_ms(world: World, series: Series, now_ms: int) -> int:
    """By when the first row has to open: so many days ago or, under the limit, so many candles."""
    frame = series.timeframe
    days_ms = frame.floor(now_ms - world.settings.days_to_fetch * DAY_MS)
    return max(days_ms, frame.shift(frame.floor(now_ms), 2 - NEWEST)) if world.plan.limited else days_ms


def _falsified(foreign: list[bytes], true: list[bytes]) -> int:
    """How many foreign rows are those of a stream that was wrong, and not invented."""
    values = [line.decode().split(",") for line in true[1:]]
    false = {falsified(",".join([each[0], *each[2:]])) for each in values}
    return sum(",".join([row.split(",")[0], *row.split(",")[2:]]) in false for row in map(bytes.decode, foreign))


def _unsettled(world: World) -> list[str]:
    """What is still pending, or not verified, an hour after the last fault."""
    now_ms = world.box.clock.now_ms()
    gaps = [gap for gap in find_gaps(world.settings.data_dir, "linear") if gap.missing.state not in SETTLED]
    old = [gap for gap in gaps if gap.missing.span.end_ms < now_ms - 120_000]
    wrong = [f"{gap.series}: {gap.missing}" for gap in old]
    for series, record in read_ledger(world.settings.data_dir, "linear").book:
        late = record.unsure.within(0, now_ms - _LOST_MINUTES - 15 * 60_000 - _length_ms(series))
        if late:
            wrong.append(f"{series}: not verified: {list(late)[:2]}")
    return wrong


def _length_ms(series: Series) -> int:
    return series.timeframe.close(0) - series.timeframe.floor(0)


def _check(world: World) -> list[str]:
    """What the integrity check finds."""
    checker = DataIntegrityChecker(world.settings, now_ms=world.box.clock.now_ms)
    checks = checker.check_each([world.settings.data_dir / series.file_name for series in _every_series()])
    return [f"check: {_said(each)}" for each in checks if each.record()["has_issues"]]


def _said(checked: Checked) -> str:
    record = checked.record()
    return str({key: record[key] for key in ("file", "gap_count", "defects", "problem", "disagreement_count")})


def _every_series() -> list[Series]:
    return [Series(symbol, timeframe(name)) for symbol in SYMBOLS for name in TIMEFRAMES]


def _bytes(world: World, series: Series) -> bytes:
    path = world.settings.data_dir / series.file_name
    return path.read_bytes() if path.exists() else b""


def _now() -> str:
    return f"{trio.current_time() / 3600:.3f} h"
