"""What the stream costs: beside clients that only receive, what it takes to check, write and remember as well."""

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from statistics import median

from tests.bench import listeners
from tests.bench.audience import Audience, Listener, Plan, Results, Task
from tests.bench.live import collector
from tests.bench.measure import apart
from tests.bench.station import on_air
from tests.bench.table import aim, duration, show

_OURS, _ALONE = "collector, whole path to the file", "trio-websocket, receives only"
_FLOOR = "trio alone, steps from frame to frame"
_BURST_AIM = 1.33  # times what trio-websocket alone needs to receive it: 0.1 s where that takes 75 ms
_BURST_AIM_S = 0.1
_WORST_AIM_S = 0.3  # for the end of a day: six timeframes of a whole market
_SHARE_AIM = 0.04  # of a core
_NOTHING_AIM_US = 1.0  # of CPU, for a push that confirms nothing
_GROWTH_AIM = 1.1

_FLOOD = Task(progress=7, pause_s=0.5)
_BURST = Task(times=5, pause_s=1.0)  # most of them come while the files of the one before are being synced
_STEADY = Task(progress=9, spread=True, pause_s=8.0)  # by then the bursts are synced and saved
_PLAN = (_FLOOD, _BURST, _STEADY)
_NOTHING = Task(progress=60, times=3, pause_s=0.5)
_MANY = (Task(times=5, pause_s=0.3), Task(times=60, pause_s=0.3), _NOTHING)


_LIMIT_S = 120  # for all of the plan, which takes a minute at most; a client that loses a push would wait for ever

_Taken = dict[str, Results | None]


def run(_pages: int, rounds: int) -> None:
    """Everybody hears the same pushes over as many connections as the collector opens.

    A good number: the burst is in the files in a third more than what trio-websocket alone needs to receive it, and a
    push that confirms nothing costs a microsecond.
    """
    clients: dict[str, Listener] = {
        _OURS: _heard,
        _ALONE: listeners.trio_websocket,
        "trio-websocket, decoding": listeners.trio_websocket_decoding,
        _FLOOR: listeners.floor,
        **listeners.at_hand(),
    }
    with on_air() as audience:
        taken = [
            {name: _results(partial(client, plan=_PLAN), audience) for name, client in clients.items()}
            for _ in range(rounds)
        ]
        many = apart(partial(collector, plan=_MANY), audience)
    before_mb, after_mb = many.resident_mb[1:3]
    ratio, share = _to_alone(taken, _OURS), median(_share(heard) for one in taken if (heard := one[_OURS]))
    show(
        f"Stream: {audience.topics} topics over {len(audience.groups)} connections",
        ["client", "pushes/s", "CPU µs/push", "burst", "the worst", ": alone", "steady, of a core"],
        [_row(name, taken, audience.topics) for name in clients],
        [
            f"medians of {rounds} rounds; the collector checks, writes, syncs and saves, the others keep nothing",
            f"pushes/s: {_FLOOD.progress} of each candle in progress and its confirmation, as fast as they are taken",
            f"burst: all are confirmed at once, {_BURST.times} times, a second apart; until the last is in its file",
            f"steady: {audience.topics} pushes a second for {_STEADY.pushes} seconds; in the last of them all confirm",
            aim("the collector's burst to that of trio-websocket alone", ratio, at_most=_BURST_AIM),
            aim("seconds until all of a burst is in its files", _usual_s(taken, _OURS), at_most=_BURST_AIM_S),
            aim("seconds until all of the worst burst is in its files", _worst_s(taken, _OURS), at_most=_WORST_AIM_S),
            aim("the collector's share of a core", share, at_most=_SHARE_AIM),
            aim("CPU µs of a push that confirms nothing", _nothing_us(many.heard, audience), at_most=_NOTHING_AIM_US),
            aim(f"memory after {_MANY[1].times} bursts more to before", after_mb / before_mb, at_most=_GROWTH_AIM),
            f"  it was {before_mb:.0f} MB and is {after_mb:.0f}",
        ],
    )


def _results(client: Callable[[Audience], Results], audience: Audience) -> Results | None:
    """What a client took; None if not all that was pushed ever came."""
    try:
        return apart(client, audience, _LIMIT_S)
    except BrokenProcessPool:
        return None


def _heard(audience: Audience, plan: Plan) -> Results:
    return collector(audience, plan).heard


def _row(name: str, taken: list[_Taken], topics: int) -> tuple[str, ...]:
    mine = [heard for one in taken if (heard := one[name])]
    if not mine:
        return (name, "not all of them came", "", "", "", "", "")
    floods = [flood for one in mine for flood in one[0]]
    pushes = _FLOOD.pushes * topics
    return (
        name,
        f"{median(pushes / flood.seconds for flood in floods):,.0f}",
        f"{median(flood.cpu_s / pushes for flood in floods) * 1e6:.1f}",
        duration(median(map(_burst_s, mine))),
        duration(_worst_s(taken, name)),
        f"{_to_alone(taken, name):.2f}",
        f"{median(map(_share, mine)):.0%}",
    )


def _to_alone(taken: list[_Taken], name: str) -> float:
    pairs = [(one[name], one[_ALONE]) for one in taken]
    return median(_burst_s(mine) / _burst_s(alone) for mine, alone in pairs if mine and alone)


def _usual_s(taken: list[_Taken], name: str) -> float:
    return median(_burst_s(heard) for one in taken if (heard := one[name]))


def _worst_s(taken: list[_Taken], name: str) -> float:
    return median(max(burst.seconds for burst in heard[1]) for one in taken if (heard := one[name]))


def _burst_s(results: Results) -> float:
    return median(burst.seconds for burst in results[1])


def _nothing_us(results: Results, audience: Audience) -> float:
    """Of a task in which nearly nothing is confirmed, less what the confirmations cost by themselves."""
    _, bursts, floods = results
    confirming_s = median(burst.cpu_s for burst in bursts)
    return median(flood.cpu_s - confirming_s for flood in floods) / (_NOTHING.progress * audience.topics) * 1e6


def _share(results: Results) -> float:
    ((steady,),) = results[2:]
    return steady.cpu_s / steady.seconds
