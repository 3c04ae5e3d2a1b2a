"""What the exchange has, or has not, for longer: candles that never come, lists of symbols, maintenance."""

from random import Random
from typing import TYPE_CHECKING

import attrs
import trio

from collector.core.candle import DAY_MS, MINUTE_MS, Series, timeframe
from collector.sandbox import Maintenance
from collector.sandbox.faults import Hole
from collector.sandbox.rest.answers import STATUS
from tests.simulation.faults.exchange import UNFINAL_MS
from tests.simulation.faults.kind import Kind, growth, last
from tests.simulation.faults.machine import DAY_S, sleep
from tests.simulation.faults.together import count_of

if TYPE_CHECKING:
    from tests.simulation.world import World

_FRAMES = ("1", "5", "15", "60")  # a series of which a day has more than a few candles
_DELISTED_S = 1500.0  # the list is looked at every ten minutes, and believed the second time
_NAMELESS_S = 300.0
_BLIND_S = 100.0  # without any connection: a minute is missed
_SILENT_S = 900.0

# Candles that the exchange does not have, or has no sound row of, from the beginning of the run to its end.


def _begin_with_holes(world: "World", dice: Random) -> None:
    holes = tuple(_some_candles(world, dice, most=20) for _ in range(dice.randint(2, 6)))
    world.wrong.keep({"holes": holes})


def _begin_with_spoiled_rows(world: "World", dice: Random) -> None:
    some = [_some_candles(world, dice, most=30) for _ in range(dice.randint(1, 4))]
    world.wrong.keep({"spoiled": (*some, *_scattered(world, dice))})


def _some_candles(world: "World", dice: Random, most: int) -> Hole:
    """Some that have closed before the run began: soon to be wanted no more, or among the newest."""
    symbol, frame, now_ms = dice.choice(world.settings.symbols[:2]), timeframe(dice.choice(_FRAMES)), _now_ms(world)
    candles = dice.randint(1, most if frame.name == "1" else 2)
    if dice.random() < 0.6:
        start_ms = frame.shift(frame.floor(now_ms - DAY_MS), dice.choice((0, 1, 1, 2, 5, 10)))
    else:
        start_ms = frame.shift(frame.floor(now_ms), -candles - dice.randint(0, 40 if frame.name == "1" else 10))
    return Hole(symbol, frame.name, start_ms, frame.shift(start_ms, candles))


def _scattered(world: "World", dice: Random) -> list[Hole]:
    """Single minutes of some hours."""
    frame, symbol = timeframe("1"), dice.choice(world.settings.symbols[:2])
    end_ms, hours = frame.floor(_now_ms(world)), dice.randint(1, 20)
    starts = [frame.shift(end_ms, -place) for place in dice.sample(range(1, 60 * hours), dice.randint(4, 12))]
    return [Hole(symbol, "1", start_ms, frame.shift(start_ms, 1)) for start_ms in sorted(starts)]


def _now_ms(world: "World") -> int:
    return world.box.clock.now_ms()


async def _holes(world: "World", dice: Random, for_s: float) -> bool:
    """They are passed over, and nobody counts them."""
    return await last(for_s, growth(lambda: world.box.counts.requests))


async def _spoiled_rows(world: "World", dice: Random, for_s: float) -> bool:
    return await last(for_s, lambda: count_of(world.box, ("spoiled",)) > 0)


# Lists of symbols.


def _begin_with_pages(world: "World", dice: Random) -> None:
    world.wrong.keep({"list_page": 1})


async def _list_in_pages(world: "World", dice: Random, for_s: float) -> bool:
    """From the beginning of the run to its end."""
    return await last(for_s, lambda: count_of(world.box, ("list_page",)) > 0)


async def _symbols_closed(world: "World", dice: Random, for_s: float) -> bool:
    """One symbol or all of them seem to trade no more, or do not for a while, and then trade again."""
    closed = dice.choice((world.settings.symbols, (dice.choice(world.settings.symbols),)))
    shown, for_s = growth(lambda: count_of(world.box, ("closed",))), max(for_s, _DELISTED_S)
    if dice.random() < 0.5:
        begin_ms = _now_ms(world) // MINUTE_MS * MINUTE_MS + MINUTE_MS
        end_ms = begin_ms + int(for_s * 1000)
        world.wrong.keep({"holes": tuple(Hole(each, None, begin_ms, end_ms) for each in closed)})
    with world.wrong.making({"closed": closed}):
        return await last(for_s, shown)


# History that is late, or short for a while.


async def _short_history(world: "World", dice: Random, for_s: float) -> bool:
    """More days are wanted, from now on, while the exchange does not serve them: its series seem to be younger."""
    days = world.settings.days_to_fetch
    await world.process.up()
    return await _hidden(world, for_s, days + dice.uniform(0.2, 0.8), days + 1)


async def _late_history(world: "World", dice: Random, for_s: float) -> bool:
    """The same, and a day later, which the machine sleeps through, it is there: what was hidden is asked for again."""
    days = world.settings.days_to_fetch
    await world.process.up()
    fired = await _hidden(world, for_s, days + dice.uniform(0.2, 0.8), days + 3)
    await world.process.up()
    sleep(world, DAY_S * dice.uniform(1.05, 1.3))
    world.network.cut()
    return fired


async def _history_cut_short(world: "World", dice: Random, for_s: float) -> bool:
    """A start wants more days, and what is missing from a file, while the exchange has nothing but the last hours."""
    process, gone = world.process, list[str]()

    async def shorten() -> None:
        await trio.lowlevel.checkpoint()
        for symbol in world.settings.symbols[:2]:
            path = world.settings.data_dir / f"{symbol}_1.csv"
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            if len(lines) > 40:
                at = dice.randrange(5, len(lines) - 30)
                kept = [*lines[:at], *lines[at + 3 :]]
                path.write_bytes(b"".join(kept))
                world.witness.edited(Series(symbol, timeframe("1")), kept)
                gone.append(symbol)
        process.settings = attrs.evolve(process.settings, days_to_fetch=process.settings.days_to_fetch + 1)

    begins_ms = _now_ms(world) - int(dice.uniform(0.005, 0.03) * DAY_MS)
    hidden = growth(lambda: world.box.counts.requests)
    with world.wrong.making({"holes": tuple(Hole(each, None, 0, begins_ms) for each in world.settings.symbols)}):
        await process.up()
        await process.run_errand(shorten)
        await process.up()
        return await last(for_s + 120, hidden) and bool(gone)


async def _hidden(world: "World", for_s: float, days: float, wanted: int) -> bool:
    """So many days are wanted, and the exchange has fewer."""
    begins_ms = _now_ms(world) - int(days * DAY_MS)
    hidden = growth(lambda: world.box.counts.requests)
    with world.wrong.making({"holes": tuple(Hole(each, None, 0, begins_ms) for each in world.settings.symbols)}):
        world.process.settings = attrs.evolve(world.settings, days_to_fetch=wanted)
        world.process.reload_request.request()
        return await last(for_s + 120, hidden)


# Candles that are not final yet, and a REST that says nothing.


async def _not_final(world: "World", dice: Random, for_s: float) -> bool:
    """A series of which the exchange has some hours is begun with when its candle closes, over a slow network, while
    REST shows that candle as it was a second ago."""
    await world.process.up()
    have, now_ms = world.settings.timeframes, _now_ms(world)
    frame = next((each for each in map(timeframe, ("3", "30", "120")) if each not in have), None)
    if frame is None:
        return True
    begins_ms = now_ms - int(dice.uniform(0.1, 0.9) * DAY_MS)
    world.wrong.keep({"holes": tuple(Hole(each, frame.name, 0, begins_ms) for each in world.settings.symbols)})
    await _reach(world, frame.close(frame.floor(now_ms)) - dice.randint(500, 4000))
    asked = growth(lambda: world.box.counts.requests)
    with world.wrong.making({"rest_lag_ms": UNFINAL_MS, "lag_unfinal": True}), world.latency.at(dice.uniform(0.5, 3)):
        world.process.settings = attrs.evolve(world.settings, timeframes=(*have, frame))
        world.process.reload_request.request()
        return await last(30, asked)


async def _reach(world: "World", at_ms: int) -> None:
    while _now_ms(world) < at_ms:  # noqa: ASYNC110 - a clock of its own
        await trio.sleep(0.1)


async def _rest_silent(world: "World", dice: Random, for_s: float) -> bool:
    """A minute is missed, and REST does not answer for long, or has no candle; what the stream brings is written."""
    with world.refusing.at("no route to host"):
        world.network.cut()
        await trio.sleep(_BLIND_S)
    made = growth(lambda: count_of(world.box, ("dropped",)))
    with world.wrong.making({"dropped": 1.0} | dice.choice(({}, {"paths": ("kline",)}))):
        fired = await last(max(for_s, _SILENT_S), made)
        world.witness.expect_progress(_SILENT_S)
    return fired


# A stream that does not say what its answers are to, and is there nevertheless.


async def _nameless(world: "World", dice: Random, for_s: float) -> bool:
    """Every answer to a subscription, or every refusal, does not say which: the rest is streamed all the same."""
    topic = f"kline.{dice.choice(world.settings.timeframes)}.{dice.choice(world.settings.symbols)}"
    refused = {"refused_topics": (topic,), "refusal_nameless": True}
    fields = dice.choice(({"ack_nameless": 1.0}, refused))
    await world.process.up()
    made = growth(lambda: count_of(world.box, ("ack_nameless", "refusal_nameless")))
    with world.wrong.making(fields):
        world.box.cut_connections()
        fired = await last(max(for_s, _NAMELESS_S), made)
        await world.process.look()
        report = world.process.report and world.process.report()
        if report and world.alone_for(_NAMELESS_S) and world.process.lives_for(_NAMELESS_S):
            lost = [why for why in report.reasons if why.startswith("no connection")]
            world.report.wrong += [f"the stream is there, and the status says: {why}" for why in lost]
            if report.stream.unconnected:
                world.report.wrong.append(f"the stream is there, and was lost: {report.stream.unconnected}")
    return fired


# Maintenance.


async def _maintenance(world: "World", dice: Random, for_s: float) -> bool:
    """It is announced, and meanwhile nothing works."""
    asked, made = growth(lambda: world.box.counts.by_path[STATUS]), growth(lambda: count_of(world.box, ("http_5xx",)))
    begin_ms = _now_ms(world) + 60_000
    announced = Maintenance(begin_ms, begin_ms + int(for_s * 1000))
    world.box.maintenance = (*world.box.maintenance, announced)
    await trio.sleep(60)
    with world.wrong.making({"http_5xx": 0.9, "handshake_5xx": 0.9, "cut": 1.0, "after_s": 1.0}):
        await last(for_s, made)
    await last(0, asked)
    world.box.maintenance = tuple(each for each in world.box.maintenance if each is not announced)
    return made() and asked()


KINDS = {
    "holes for good": Kind(_holes, once=True, begin=_begin_with_holes),
    "rows spoiled for good": Kind(_spoiled_rows, once=True, begin=_begin_with_spoiled_rows),
    "list in pages": Kind(_list_in_pages, once=True, begin=_begin_with_pages),
    "symbols closed": Kind(_symbols_closed),
    "short history": Kind(_short_history, needs_repair=True, once=True),
    "late history": Kind(_late_history, once=True),
    "history cut short": Kind(_history_cut_short, needs_repair=True, once=True),
    "candles not final": Kind(_not_final),
    "REST silent": Kind(_rest_silent),
    "nameless": Kind(_nameless),
    "maintenance": Kind(_maintenance),
}
