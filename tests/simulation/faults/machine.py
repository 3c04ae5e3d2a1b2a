"""What the machine of the collector does wrong: its network, its disk, its clocks, and the end of its processes."""

import errno
from random import Random
from typing import TYPE_CHECKING

import attrs
import trio

from collector.core.candle import MINUTE_MS
from tests.simulation.faults.kind import Kind, growth, last
from tests.simulation.mishaps import ERRORS, LATE_ERRORS

if TYPE_CHECKING:
    from tests.simulation.world import World

_AGAIN_S = (0.0, 30.0, 600.0)  # until a process is started again
DAY_S = 86_400.0
_CONFIRMED_S, _HANDED_ON_S = 2.0, 0.005  # from the end of a minute, and from its push to the writer
_CALLS = 200  # to the disk, in one of which a process may die

# The network.


async def _half_open(world: "World", dice: Random, for_s: float) -> bool:
    while not (open_ones := world.network.leave_half_open()):  # noqa: ASYNC110
        await trio.sleep(1)
    await trio.sleep(for_s)
    return bool(open_ones)


async def _cut(world: "World", dice: Random, for_s: float) -> bool:
    """Every connection, again and again."""
    until_s, ended = trio.current_time() + for_s, 0
    while trio.current_time() < until_s or not ended:
        ended += world.network.cut()
        await trio.sleep(dice.uniform(1, 60))
    return True


async def _network_down(world: "World", dice: Random, for_s: float) -> bool:
    refused = growth(lambda: world.network.refused)
    with world.refusing.at(dice.choice(("connection refused", "no route to host", "no such host"))):
        world.network.cut()
        return await last(for_s, refused)


async def _connects_hang(world: "World", dice: Random, for_s: float) -> bool:
    """New connections are neither made nor refused, for as long as the system waits for one."""
    refused = growth(lambda: world.network.refused)
    with world.hanging.at(dice.choice((20.0, 130.0))):
        world.network.cut()
        return await last(for_s, refused)


async def _slow_network(world: "World", dice: Random, for_s: float) -> bool:
    sent = growth(lambda: world.network.sent)
    with world.latency.at(dice.choice((0.05, 0.5, 3.0))):
        return await last(for_s, sent)


async def _lossy_network(world: "World", dice: Random, for_s: float) -> bool:
    """Some of what is sent has to be sent again, later and later."""
    lost = growth(lambda: world.network.lost)
    with world.loss.at(dice.uniform(0.02, 0.4)):
        return await last(for_s, lost)


# The disk.


async def _disk_error(world: "World", dice: Random, for_s: float) -> bool:
    """In all calls that may meet it or in some, all the while or a few times: an error that passes is the worst."""
    met, mishaps = growth(lambda: world.disk.mishaps.errors), world.disk.mishaps
    mishaps.error_share, mishaps.errors_left = dice.choice((1.0, 1.0, 0.5, 0.1)), dice.choice((None, None, 1, 3))
    error = dice.choice(ERRORS) if dice.random() < 0.5 else errno.ENOSPC
    mishaps.late_errors = error in LATE_ERRORS and dice.random() < 0.3
    with world.disk_error.at(error):
        return await last(for_s, met)


async def _slow_disk(world: "World", dice: Random, for_s: float) -> bool:
    """Each call takes long, or does not return for minutes."""
    waited = growth(lambda: world.machine.threads.calls)
    with world.slowness.at(dice.choice((0.2, 2.0, 20.0, 300.0))):
        return await last(for_s, waited)


async def _frozen_disk(world: "World", dice: Random, for_s: float) -> bool:
    """Calls do not return for minutes."""
    waited = growth(lambda: world.machine.threads.calls)
    with world.slowness.at(dice.uniform(60, 600)):
        return await last(for_s, waited)


# The end of a process.


async def _kill(world: "World", dice: Random, for_s: float) -> bool:
    await world.process.up()
    await world.process.kill(dice.choice(_AGAIN_S))
    world.report.kills += 1
    return True


async def _kill_in_a_call(world: "World", dice: Random, for_s: float) -> bool:
    await world.process.up()
    await world.process.die_in_a_call(dice.randrange(_CALLS), for_s)
    await world.process.kill(dice.choice(_AGAIN_S))
    world.report.kills += 1
    return True


async def _power_cut(world: "World", dice: Random, for_s: float) -> bool:
    await world.process.up()
    if dice.random() < 0.5:
        await world.process.die_in_a_call(dice.randrange(_CALLS), for_s)
    await world.process.kill(dice.choice(_AGAIN_S), power=True)
    world.report.power_cuts += 1
    return True


async def _stop(world: "World", dice: Random, for_s: float) -> bool:
    """In good order, or cancelled as a whole while the stream hands a candle on."""
    await world.process.up()
    again_s = dice.choice(_AGAIN_S)
    if dice.random() < 0.5:
        await world.process.end(again_s)
    else:
        await _next_candle(world)
        await world.process.cancel(again_s)
    return True


async def _next_candle(world: "World") -> None:
    """Returns when the stream has just confirmed a candle, if it does so soon after the next minute."""
    confirmed = growth(lambda: world.box.counts.stream.confirmations)
    await trio.sleep((MINUTE_MS - world.box.clock.now_ms() % MINUTE_MS) / 1000)
    with trio.move_on_after(_CONFIRMED_S):
        while not confirmed():  # noqa: ASYNC110 - counters tell nobody
            await trio.sleep(_HANDED_ON_S)


# The clocks.


async def _exchange_jumps(world: "World", dice: Random, for_s: float) -> bool:
    await world.process.up()
    world.box.clock.advance(dice.choice((1_000, 30_000, 300_000)))
    await trio.sleep(1)
    return True


async def _exchange_drifts(world: "World", dice: Random, for_s: float) -> bool:
    """Its clock is faster or slower than ours, a little or much, or stands still."""
    with world.rate.at(dice.choice((0.0, 0.5, 0.999, 1.001, 1.1, 3.0))):
        await trio.sleep(for_s)
    return True


async def _wall_clock_set(world: "World", dice: Random, for_s: float) -> bool:
    """Somebody sets it forward or back, by seconds or by years, and right again."""
    clock, asked = world.machine.clock, growth(lambda: world.machine.clock.asked)
    wrong_ns = int(dice.choice((-1, 1)) * dice.choice((2, 60, 3_600, 86_400, 400 * 86_400, 3_650 * 86_400)) * 1e9)
    clock.wrong_ns += wrong_ns
    fired = await last(for_s, asked)
    clock.wrong_ns -= wrong_ns
    return fired


async def _wall_clock_drifts(world: "World", dice: Random, for_s: float) -> bool:
    """It is too fast or too slow, until it is set right."""
    clock, asked, drift = world.machine.clock, growth(lambda: world.machine.clock.asked), dice.uniform(-0.2, 0.2)
    until_s, wrong_ns = trio.current_time() + for_s, 0
    while trio.current_time() < until_s or not asked():
        await trio.sleep(5)
        clock.wrong_ns += (more_ns := int(5e9 * drift))
        wrong_ns += more_ns
    clock.wrong_ns -= wrong_ns
    return True


async def _asleep(world: "World", dice: Random, for_s: float) -> bool:
    """The machine sleeps: for whoever is on it no time passes, and the world goes on."""
    await world.process.up()
    sleep(world, for_s * dice.choice((0.1, 1, 10, 50)))
    world.network.cut() if dice.random() < 0.5 else world.network.leave_half_open()
    await trio.sleep(1)
    return True


async def _asleep_for_a_day(world: "World", dice: Random, for_s: float) -> bool:
    """And longer, where more days are wanted: what was to be asked for again after a day is."""
    await world.process.up()
    world.process.settings = attrs.evolve(world.settings, days_to_fetch=world.settings.days_to_fetch + 2)
    world.process.reload_request.request()
    await trio.sleep(for_s)
    sleep(world, DAY_S * dice.uniform(1.05, 1.5))
    world.network.cut() if dice.random() < 0.5 else world.network.leave_half_open()
    await trio.sleep(1)
    return True


def sleep(world: "World", for_s: float) -> None:
    """Time passes for the world alone."""
    world.machine.clock.slept_s += for_s
    world.box.clock.advance(0)  # hours are due at once


KINDS = {
    "wall clock set": Kind(_wall_clock_set),
    "wall clock drifts": Kind(_wall_clock_drifts),
    "asleep": Kind(_asleep),
    "asleep for a day": Kind(_asleep_for_a_day, once=True),
    "frozen disk": Kind(_frozen_disk),
    "half-open": Kind(_half_open),
    "network cut": Kind(_cut),
    "network down": Kind(_network_down),
    "connects hang": Kind(_connects_hang),
    "slow network": Kind(_slow_network),
    "lossy network": Kind(_lossy_network),
    "disk error": Kind(_disk_error),
    "slow disk": Kind(_slow_disk),
    "kill": Kind(_kill),
    "kill in a call": Kind(_kill_in_a_call),
    "power cut": Kind(_power_cut),
    "stop": Kind(_stop),
    "clock jump": Kind(_exchange_jumps),
    "clock drift": Kind(_exchange_drifts),
}
