"""What people do to a collector: commands, other settings, other collectors, and what is listed."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
import trio

from collector.core.candle import Series, timeframe
from collector.core.errors import CollectorError, DirectoryInUse, SettingsError, StorageError
from collector.integrity.audit import audit
from collector.integrity.checker import DataIntegrityChecker
from collector.integrity.gaps import find_gaps
from collector.integrity.samples import ALL, Draw, draw_samples
from collector.machine.own_files import OWN
from collector.machine.workers import INLINE
from collector.pipeline.service import ServeOptions, repair, serve
from collector.sandbox.rest.answers import INSTRUMENTS
from tests.simulation.disk import SimulatedDisk
from tests.simulation.faults.kind import Kind, growth, last
from tests.simulation.faults.together import count_of
from tests.simulation.machine import SimulatedMachine
from tests.simulation.mishaps import Killed
from tests.simulation.process import Process
from tests.simulation.promises.claims import every_series

if TYPE_CHECKING:
    from tests.simulation.world import World

NEW, OLD = "NEWUSDT", "OLDUSDT"  # of a run in which a symbol is listed, or delisted

_TRIES = 5  # of a command that something else ends
_PAUSE_S = 120.0
_LIVE_S = 900.0  # a topic that was refused is asked for again after ten minutes
_GIVEN_UP_S = 300.0  # after which requests have failed for good
_PORT = 9001  # of a neighbour

# Commands, while the service is stopped.


async def done(world: "World", work: Callable[[], Awaitable[object]]) -> bool:
    """Runs a command until it has come to its end once: it may be killed, or find no network."""
    for _ in range(_TRIES):
        await world.process.up()
        if (await world.process.run_errand(work)).whole:
            return True
        await trio.sleep(_PAUSE_S)
    return False


async def _fetch(world: "World", dice: Random, for_s: float) -> bool:
    return await done(world, lambda: serve(world.settings, once=True, options=_options(world)))


async def _repair(world: "World", dice: Random, for_s: float) -> bool:
    return await repair_files(world)


async def repair_files(world: "World") -> bool:
    """Mends what is wrong with the files, and fetches what is missing."""
    return await _repaired(world, None)


async def _repair_in_vain(world: "World", dice: Random, for_s: float) -> bool:
    """Somebody repairs while no request for candles is answered, and none is for a while after it."""
    dropped = growth(lambda: count_of(world.box, ("dropped",)))
    with world.wrong.making({"dropped": 1.0, "paths": ("kline",)}):
        return await repair_files(world) and await last(for_s, dropped)


async def _repair_some(world: "World", dice: Random, for_s: float) -> bool:
    return await _repaired(world, Draw(dice.choice((1, 5)), dice.getrandbits(20)))


async def repair_all(world: "World") -> bool:
    """Compares every stored candle with the exchange, whose rows win."""
    return await _repaired(world, Draw(ALL, 1))


async def _repaired(world: "World", draw: Draw | None) -> bool:
    return await done(world, lambda: repair(world.settings, _every, draw=draw, options=_options(world)))


def _options(world: "World") -> ServeOptions:
    """Those of the process as it is now: each try is another one."""
    return ServeOptions(stop=world.process.stop, machine=world.process.machine)


def _every(_: Series) -> bool:
    return True


# Readers, while it runs.


async def _readers(world: "World", dice: Random, for_s: float) -> bool:
    """Somebody checks the files and asks for the gaps, again and again."""
    until_s, asked = trio.current_time() + for_s, False
    while trio.current_time() < until_s or not asked:
        await trio.sleep(dice.uniform(1, 60))
        try:
            DataIntegrityChecker(
                world.settings, clock=world.machine.clock, now_ms=world.box.clock.now_ms, workers=INLINE
            ).check_all_files()
            list(find_gaps(world.settings.data_dir, world.settings.category))
        except StorageError:
            continue
        asked = True
    return asked


async def _audit(world: "World", dice: Random, for_s: float) -> bool:
    """Somebody holds some of the files against the exchange, while the collector runs."""
    settings, machine = world.settings, world.machine
    for _ in range(_TRIES):
        await world.process.up()
        checker = DataIntegrityChecker(settings, clock=machine.clock, now_ms=world.box.clock.now_ms, workers=INLINE)
        paths = [path for series in every_series(settings) if (path := settings.data_dir / series.file_name).exists()]
        stored = [(each.series, each.examination.held) for each in checker.check_each(paths) if each.series]
        with suppress(CollectorError, Killed, OSError):
            await audit(settings, draw_samples(stored, Draw(2, dice.getrandbits(20))), checker.rows_in, machine)
            return True
        await trio.sleep(_PAUSE_S)
    return False


# Settings.


async def _reload(world: "World", dice: Random, for_s: float) -> bool:
    """More timeframes, more or fewer days, another pace: followed at once, and kept."""
    before, process = world.settings, world.process
    more: list[dict[str, Any]] = [
        {"timeframes": (*before.timeframes, timeframe(dice.choice(("3", "30", "120", "W", "M"))))},
        {"days_to_fetch": dice.choice((1, 2, 3))},
        {"flush_interval_s": dice.choice((0.2, 1, 5))},
        {"bulk_request_delay_ms": dice.choice((0, 50, 500))},
    ]
    change = dice.choice(more)
    if len(set(change.get("timeframes", ()))) < len(change.get("timeframes", ())):
        change = more[1]
    await process.up()
    read = growth(lambda: process.read)
    process.settings = attrs.evolve(before, **change)
    process.reload_request.request()
    return await last(for_s, read)


async def _other_mode(world: "World", dice: Random, for_s: float) -> bool:
    """Started in another mode, and then as before; in mode live for long, as nothing but the stream brings candles."""
    mode = dice.choice(("recent", "live"))
    return await _started_with(world, for_s + (_LIVE_S if mode == "live" else 0), mode=mode)


async def _history_given_up(world: "World", dice: Random, for_s: float) -> bool:
    """More days are wanted while no request for candles is answered; somebody goes on without history for a while."""
    process, dropped = world.process, growth(lambda: count_of(world.box, ("dropped",)))
    await process.up()
    with world.wrong.making({"dropped": 1.0, "paths": ("kline",)}):
        process.settings = attrs.evolve(world.settings, days_to_fetch=world.settings.days_to_fetch + 1)
        process.reload_request.request()
        fired = await last(for_s + _GIVEN_UP_S, dropped)
    return await _started_with(world, _LIVE_S, mode="live") and fired


async def _other_symbols(world: "World", dice: Random, for_s: float) -> bool:
    """Started with fewer symbols, and the others are added again by a reload."""
    async with world.other_settings:
        return await _without_one(world, dice, for_s)


async def _without_one(world: "World", dice: Random, for_s: float) -> bool:
    process = world.process
    await process.up()
    before, read = process.settings.symbols, growth(lambda: process.read)
    process.settings = attrs.evolve(process.settings, symbols=tuple(dice.sample(before, len(before) - 1)))
    await process.end(0)
    await trio.sleep(for_s)
    await process.up()
    process.settings = attrs.evolve(process.settings, symbols=before)
    process.reload_request.request()
    return await last(0, read)


async def _limit(world: "World", dice: Random, for_s: float) -> bool:
    """The limit is switched on, where it is off, and off again; or the other way round."""
    limited = not world.settings.limit_to_50_entries
    if limited and dice.random() < 0.5:
        with world.excusing(SettingsError):
            world.process.allow_trim = False
            try:
                await _started_with(world, min(for_s, 120.0), limit_to_50_entries=True)
            finally:  # also of a strike that takes too long
                world.process.allow_trim = True
    world.process.allow_trim = True
    return await _started_with(world, for_s + 300, limit_to_50_entries=limited)


async def _started_with(world: "World", for_s: float, **changes: object) -> bool:
    async with world.other_settings:
        return await _started_between(world, for_s, **changes)


async def _started_between(world: "World", for_s: float, **changes: object) -> bool:
    process = world.process
    await process.up()
    before = {name: getattr(process.settings, name) for name in changes}
    process.settings = attrs.evolve(process.settings, **changes)
    try:
        await process.end(0)
        await trio.sleep(for_s)
        await process.up()
        world.witness.expect_progress(_LIVE_S)
    finally:  # also of a strike that takes too long
        process.settings = attrs.evolve(process.settings, **before)
        process.stop.set()
    await process.end()
    world.witness.read()  # what the limit has taken out, it may take out
    return True


# Other collectors.


async def _second_on_the_directory(world: "World", dice: Random, for_s: float) -> bool:
    """Somebody starts another collector on the same directory, which has to be refused.

    Where the first has just ended, it is the second that owns the directory, and the first that is refused.
    """
    process, refused = world.process, False
    takes_lock_away = dice.random() < 0.5

    async def watch(*_: object) -> None:
        """Who is watched owns the directory; who waits for its disk at a start does not yet."""
        if process.coverage is not None:
            world.report.wrong.append("two collectors own the directory")
        await trio.sleep_forever()

    while not refused:
        await process.up(60)
        if takes_lock_away and not process.ended.is_set():
            (world.settings.data_dir / OWN / "lock").unlink(missing_ok=True)
        with trio.move_on_after(60), world.excusing(DirectoryInUse):
            try:
                options = ServeOptions(stop=trio.Event(), machine=process.machine, watch=watch)
                await serve(world.settings, once=False, options=options)
            except* DirectoryInUse:
                refused = True
            except* (CollectorError, Killed):  # the disk or the network, which may refuse before the lock does
                pass
    return refused


async def _neighbours(world: "World", dice: Random, for_s: float) -> bool:
    """Collectors with directories of their own share the address, its limit and its bans. They are killed, or end."""
    fired: list[bool] = []

    async def live(number: int, seed: int) -> None:
        fired.append(await _neighbour(world, Random(seed), for_s, _PORT + number))

    async with trio.open_nursery() as nursery:
        for number in range(dice.choice((1, 2))):
            nursery.start_soon(live, number, dice.getrandbits(32))
    return all(fired)


async def _neighbour(world: "World", dice: Random, for_s: float, port: int) -> bool:
    directory = world.settings.data_dir.parent / f"neighbour-{dice.getrandbits(32):08x}"
    directory.mkdir()
    disk = SimulatedDisk(directory, Random(f"neighbour {dice.random()}"), world.settings.data_dir.parent)
    machine = SimulatedMachine(Random(dice.random()), world.machine.clock, world.network, disk)
    settings = attrs.evolve(world.settings, data_dir=directory, limit_to_50_entries=False)

    def expects(error: CollectorError) -> bool:
        """Nothing of what is listed is a reason to give up for good, unless symbols were named and do not trade."""
        may_be_wrong = world.wrong.makes("closed") and not settings.fetch_all_symbols
        return may_be_wrong or not isinstance(error, SettingsError)

    neighbour = Process(settings, disk, machine, world.report.wrong, expects, port=port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(neighbour.run)
        fired = await last(for_s, lambda: any(directory.glob("*.csv")))
        neighbour.released = True
        if dice.random() < 0.5:
            await neighbour.kill()
        else:
            await neighbour.end()
        nursery.cancel_scope.cancel()
    return fired


# Symbols, listed and delisted at moments of the plan.


async def _listed(world: "World", dice: Random, for_s: float) -> bool:
    every_series = [Series(NEW, frame) for frame in world.settings.timeframes]
    paths = [world.settings.data_dir / series.file_name for series in every_series]
    return await last(for_s, lambda: any(path.exists() for path in paths))


async def _delisted(world: "World", dice: Random, for_s: float) -> bool:
    end_ms = world.box.source.listings("linear")[OLD].end_ms
    while world.box.clock.now_ms() < end_ms:  # noqa: ASYNC110
        await trio.sleep(1)
    return await last(for_s, growth(lambda: world.box.counts.by_path[INSTRUMENTS]))


KINDS = {
    "listing": Kind(_listed, once=True),
    "delisting": Kind(_delisted, once=True),
    "fetch": Kind(_fetch),
    "repair": Kind(_repair),
    "repair in vain": Kind(_repair_in_vain),
    "repair against the exchange": Kind(_repair_some),
    "readers": Kind(_readers),
    "check against the exchange": Kind(_audit),
    "reload": Kind(_reload),
    "other mode": Kind(_other_mode),
    "history given up": Kind(_history_given_up, once=True),
    "other symbols": Kind(_other_symbols),
    "limit": Kind(_limit),
    "neighbour": Kind(_neighbours),
    "second collector": Kind(_second_on_the_directory),
}
