"""What the exchange does wrong, over REST and on the stream: every fault that its box can make."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
import trio

from collector.core.candle import DAY_MS
from tests.simulation.faults.kind import Kind, growth, last
from tests.simulation.faults.together import Fields, count_of

if TYPE_CHECKING:
    from tests.simulation.world import World

UNFINAL_MS = 1900  # after its close, a candle may still change


@attrs.frozen
class _Wrong:
    """Faults of the box: their fields, drawn for one topic of the stream, and those of which one at least is made.

    `cuts` has the connections that are open end when it begins.
    """

    fields: Callable[[Random, str], Fields]
    made: tuple[str, ...]
    needs_repair: bool = False
    cuts: bool = False

    async def act(self, world: "World", dice: Random, for_s: float) -> bool:
        symbol, name = dice.choice(world.settings.symbols), dice.choice(world.settings.timeframes)
        made = growth(lambda: count_of(world.box, self.made))
        with world.wrong.making(self.fields(dice, f"kline.{name}.{symbol}")):
            if self.cuts:
                world.box.cut_connections()
            return await last(for_s, made)


def _shares(*names: str, least: float = 0.1, most: float = 0.6, **others: Any) -> _Wrong:
    return _Wrong(lambda dice, _: dict.fromkeys(names, dice.uniform(least, most) / len(names)) | others, names)


def _asked(*names: str, least: float = 0.1, most: float = 0.6, **others: Any) -> _Wrong:
    """Shares of requests, while there is more to ask for than usual."""
    return _shares(*names, least=least, most=most, confirm_missing=0.3, **others)


def _drawn(made: str, needs_repair: bool = False, **spans: tuple[float, float]) -> _Wrong:
    """Fields with values from spans."""
    return _Wrong(lambda dice, _: {name: dice.uniform(*span) for name, span in spans.items()}, (made,), needs_repair)


def _noticed(*names: str, after_s: float = 0.2) -> _Wrong:
    """Shares of what happens at the beginning of a connection, while connections end again and again."""
    return _shares(*names, most=0.9, cut=1.0, after_s=after_s)


def _kinds(**wrongs: _Wrong) -> dict[str, Kind]:
    return {name.replace("_", " "): Kind(wrong.act, wrong.needs_repair) for name, wrong in wrongs.items()}


# The stream.
STREAM = _kinds(
    cut=_drawn("cut", cut=(1, 1), after_s=(0, 3)),
    mute=_drawn("mute", mute=(1, 1), after_s=(0, 3)),
    closing=_drawn("closing", closing=(1, 1), after_s=(0, 3)),
    cut_again_and_again=_drawn("cut", cut_per_minute=(10, 40)),
    handshakes_refused=_noticed("handshake_403", "handshake_5xx"),
    handshakes_odd=_noticed("handshake_page", "handshake_nonsense", "handshake_header"),
    answers_nameless=_noticed("ack_nameless"),
    requests_lost=_noticed("lost", "ack_missing", "ack_late"),
    topic_refused=_Wrong(
        lambda dice, topic: {"refused_topics": (topic,)} | dice.choice(({"cut": 1.0, "after_s": 0.2}, {})),
        ("refused_topics",),
        cuts=True,
    ),
    refusal_nameless=_Wrong(
        lambda dice, topic: {"refused_topics": (topic,), "refusal_nameless": True, "cut": 1.0, "after_s": 0.2},
        ("refusal_nameless",),
    ),
    silent_minutes=_Wrong(lambda *_: {"silent_minutes": True}, ("silent_minutes",)),
    exponents=_Wrong(lambda *_: {"exponents": True}, ("exponents",)),
    missing=_shares("confirm_missing"),
    late=_shares("confirm_late", confirm_late_s=20.0),
    very_late=_shares("confirm_late", confirm_late_s=200.0),
    twice=_shares("confirm_twice", confirm_again_s=10.0),
    revised=_shares("confirm_revised", confirm_again_s=10.0),
    wrong=_shares("confirm_wrong", most=0.4),
    wrong_and_cut=_shares("confirm_revised", cut=1.0, after_s=2.0),
    two_in_one=_shares("two_in_one", most=1.0),
    pushes_of_the_future=_shares("push_future", "push_beyond"),
    frames=_shares("push_malformed", "push_incomplete", "push_mistyped", "push_binary", "push_unknown", most=0.8),
)
# Answers to requests.
REST = _kinds(
    too_many_visits=_asked("too_many_visits"),
    limits_shown=_asked("too_many_visits", limit_headers=True),
    server_errors=_asked("http_5xx", "server_error", "server_timeout", "http_429"),
    pages_of_the_gateway=_asked("redirected", "gateway_page"),
    broken_answers=_asked("truncated", "malformed", "not_utf8"),
    slow_bodies=_asked("dripped", drip_s=0.5),
    endless_bodies=_asked("dripped", most=0.3, drip_s=5.0),
    late_answers=_drawn("latency_ms", latency_ms=(100, 5_000), jitter_ms=(0, 20_000)),
    lost_answers=_asked("dropped", "reset"),
    stalled=_asked("stalled", most=0.2, stall_s=3.0),
    # Not of another interval: one candle of three minutes, in the place of one of a minute, nobody can tell from it.
    false_answers=_asked("wrong_symbol", "wrong_category", "unsorted", "duplicate", "outside"),
    false_rows=_asked("off_grid", "too_many_rows", "high_below_low", "not_a_number"),
    old_time=_asked("old_time"),
    future_time=_asked("future_time"),
    empty_list=_Wrong(lambda *_: {"empty_list": True}, ("empty_list",)),
    odd_list=_Wrong(lambda *_: {"odd_list": True}, ("odd_list",)),
    spoiled_rows=_drawn("spoiled_share", True, spoiled_share=(0.002, 0.02), confirm_missing=(0.2, 0.5)),
    revised_later=_drawn("rest_wrong", True, rest_wrong=(0.05, 0.3), confirm_missing=(0.1, 0.3)),
    late_revisions=_drawn("rest_wrong", True, rest_wrong=(0.1, 0.9), rest_wrong_ms=(20_000, 600_000)),
    candles_missing=_drawn("hole_share", True, hole_share=(0.002, 0.02), confirm_missing=(0, 0.3)),
    blocked_by_the_gateway=_asked("waf_block"),
    country_refused=_asked("geo_block", "region_refused", "compliance_refused"),
)


_LIE_S = 120  # within which somebody asks, and all is done that goes by the time


async def _future_time(world: "World", dice: Random, for_s: float) -> bool:
    """Many answers name a time far ahead, or a single one, which nobody may believe."""
    if dice.random() < 0.5 and world.alone_for(0) and world.process.lives_for(_LIE_S):
        return await _one_lie(world)
    return await REST["future time"].act(world, dice, for_s)


async def _one_lie(world: "World") -> bool:
    made = growth(lambda: count_of(world.box, ("future_time",)))
    with world.wrong.making({"future_time": 1.0, "times": 1}):
        for second in range(1, _LIE_S):
            await trio.sleep(1)
            if not (world.alone_for(second) and world.process.lives_for(_LIE_S)):
                break
            if moved := _wanted_of_the_future(world):
                world.report.wrong.append(f"one wrong time has moved what is wanted: {moved[0]}")
                break
    return made()


def _wanted_of_the_future(world: "World") -> list[str]:
    wanted = [(series, record.wanted) for series, record in world.process.coverage or () if record.wanted]
    late_ms = world.box.clock.now_ms() + DAY_MS
    return [f"{series} up to {each.bounds.end_ms}" for series, each in wanted if each.bounds.end_ms > late_ms]


async def _ban(world: "World", dice: Random, for_s: float) -> bool:
    """One ban: those who ask again before its end are counted."""
    made = growth(lambda: count_of(world.box, ("rate_ban",)))
    with world.wrong.making({"rate_ban": 1.0}):
        fired = await last(0, made)
    await trio.sleep(for_s)
    return fired


async def _lag(world: "World", dice: Random, for_s: float) -> bool:
    """REST has closed candles later than the stream, or shows them as they were for as long as they may change.

    What it leaves out for minutes is asked for again after a day.
    """
    asked = growth(lambda: world.box.counts.requests)
    lag_ms = dice.choice((UNFINAL_MS, UNFINAL_MS, 8_000, 20_000, 120_000, 600_000))
    with world.wrong.making({"rest_lag_ms": lag_ms, "lag_unfinal": lag_ms == UNFINAL_MS}):
        return await last(for_s, asked)


async def _wrong_while_rest_lags(world: "World", dice: Random, for_s: float) -> bool:
    made = growth(lambda: count_of(world.box, ("confirm_wrong",)))
    fields = {"confirm_wrong": 0.3, "rest_lag_ms": dice.choice((8_000, 20_000, 120_000))}
    with world.wrong.making(fields):
        fired = await last(for_s, made)
        world.box.cut_connections()
        await trio.sleep(dice.uniform(0, 120))
    return fired


KINDS = (
    STREAM
    | REST
    | {
        "ban": Kind(_ban),
        "REST lags": Kind(_lag, needs_repair=True),
        "wrong while REST lags": Kind(_wrong_while_rest_lags),
        "future time": Kind(_future_time),  # in the place of what it widens
    }
)
