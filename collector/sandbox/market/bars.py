"""Integer bars: splitting one into shorter bars, and joining them again.

Prices are ticks, volumes lots, and all arithmetic is in integers, so the parts of a bar add up to it to the last
digit. Randomness comes in as numbers from 0 to 65535.
"""

from collections.abc import Sequence
from itertools import accumulate, compress
from operator import mul

DRAWS_PER_PART = 5  # whether it trades, where it closes, how much of the volume, both wicks


# One candle in ticks and lots: open, high, low, close, volume, turnover. A bar nobody traded in has one price, and
# volume and turnover 0. A plain tuple where other values are attrs classes: a page is made of thousands of them.
Bar = tuple[int, int, int, int, int, int]


def join(bars: Sequence[Bar]) -> Bar:
    """The bar that consecutive bars add up to."""
    if len(bars) == 1:
        return bars[0]
    opens, highs, lows, closes, volumes, turnovers = zip(*bars, strict=True)
    return opens[0], max(highs), min(lows), closes[-1], sum(volumes), sum(turnovers)


def flat(price: int) -> Bar:
    """A bar of volume 0 at the last close, as the exchange prints it."""
    return price, price, price, price, 0, 0


def split(bar: Bar, parts: int, draws: Sequence[int], quiet: int, coin: int) -> tuple[Bar, ...]:
    """Cut a bar into parts that join to exactly this bar again.

    Every part opens where the one before it closed. One part reaches the high, one the low, and the turnover of each
    is possible with its volume between its own low and high.

    Args:
        draws: `DRAWS_PER_PART` numbers per part.
        quiet: how many draws in 65536 leave a part without a trade.
        coin: 0 where turnover is volume x price (linear, spot); otherwise the turnover of one lot at a price of one
            tick, for contracts whose turnover is volume / price (inverse).
    """
    opened, _, _, _, volume, _ = bar
    if volume == 0:
        return (bar,) * parts
    if min(draws[:parts]) >= quiet and volume >= parts:
        return tuple(_traded(bar, parts, draws[parts:], coin))
    live = [part for part in range(parts) if draws[part] >= quiet] or [draws[0] % parts]
    del live[volume:]  # a part that trades has at least one lot
    traded = _traded(bar, len(live), draws[parts:], coin)
    woven: list[Bar] = []
    following = iter(traded)
    last = opened
    trading = set(live)
    for part in range(parts):
        woven.append(next(following) if part in trading else flat(last))
        last = woven[-1][3]
    return tuple(woven)


def _traded(bar: Bar, parts: int, draws: Sequence[int], coin: int) -> list[Bar]:
    if parts == 1:
        return [bar]
    opened, high, low, closed, volume, turnover = bar
    average = coin * volume // max(1, turnover) if coin else turnover // volume
    closes = _closes(opened, high, low, closed, average, draws[:parts])
    opens = [opened, *closes[:-1]]
    highs, lows = _wicks(high, low, opens, closes, draws[parts : 3 * parts])
    volumes = _apportion(volume, [draw + 4096 for draw in draws[3 * parts : 4 * parts]])
    # Four times a price each.
    middles = [first + top + foot + last for first, top, foot, last in zip(opens, highs, lows, closes, strict=True)]
    volumes = _tilted(volumes, middles, turnover, coin)
    if coin:
        turnovers = [4 * coin * v // middle for v, middle in zip(volumes, middles, strict=True)]
    else:
        turnovers = [v * middle >> 2 for v, middle in zip(volumes, middles, strict=True)]
    _adjust_turnovers(bar, highs, lows, volumes, turnovers, coin)
    return list(zip(opens, highs, lows, closes, volumes, turnovers, strict=True))


def _closes(opened: int, high: int, low: int, closed: int, average: int, draws: Sequence[int]) -> list[int]:
    """A Brownian bridge from open to close, inside the bar, around its average price."""
    parts = len(draws)
    walk = list(accumulate(draws))
    drift = walk[-1]
    bridge = [step * parts - drift * place for place, step in enumerate(walk, 1)]
    reach = max(bridge) - min(bridge) or 1
    span, way = (high - low) * 5 >> 3, closed - opened
    closes = [opened + way * place // parts + at * span // reach for place, at in enumerate(bridge, 1)]
    # All but the last may move. A part's own average lies between its ends, hence half of the outer two.
    lift = (average * parts - sum(closes) + (way >> 1)) // (parts - 1)
    closes = [low if at + lift < low else high if at + lift > high else at + lift for at in closes]
    closes[-1] = closed
    return closes


def _wicks(
    high: int, low: int, opens: list[int], closes: list[int], draws: Sequence[int]
) -> tuple[list[int], list[int]]:
    tops = [a if a > b else b for a, b in zip(opens, closes, strict=True)]
    feet = [a if a < b else b for a, b in zip(opens, closes, strict=True)]
    # At most a quarter of the room that is left: the wicks of a part are short beside the range of the whole.
    highs = [top + ((high - top) * draw >> 18) for top, draw in zip(tops, draws, strict=False)]
    lows = [foot - ((foot - low) * draw >> 18) for foot, draw in zip(feet, draws[len(feet) :], strict=True)]
    highs[tops.index(max(tops))] = high
    lows[feet.index(min(feet))] = low
    return highs, lows


def _apportion(total: int, weights: Sequence[int]) -> list[int]:
    """The total in whole numbers by weight, each at least one."""
    upto = list(accumulate(weights))
    free, weight = total - len(upto), upto[-1]
    cuts = [free * at // weight for at in upto]
    return [after - before + 1 for before, after in zip([0, *cuts], cuts, strict=False)]


def _tilted(volumes: list[int], middles: list[int], turnover: int, coin: int) -> list[int]:
    """Volumes moved towards the dearer or the cheaper parts, so that these make about the right turnover at mid-price.

    All parts give up one share of theirs, and those on the far side of the average price get it.
    """
    volume = sum(volumes)
    worths = [(coin << 14) // middle for middle in middles] if coin else middles
    wanted = turnover << 12 if coin else turnover << 2
    made = sum(map(mul, volumes, worths))
    if abs(wanted - made) << 4 <= volume * (max(worths) - min(worths)):
        return volumes  # near enough
    side = 1 if wanted > made else -1
    takers = [(worth * volume - wanted) * side > 0 for worth in worths]
    taken = sum(compress(volumes, takers))
    if not taken:
        return volumes
    far = sum(map(mul, compress(volumes, takers), compress(worths, takers))) * volume // taken - made
    if not far:
        return volumes
    share = ((wanted - made) << 16) // far
    gain = 65536 - share + share * volume // taken
    kept = 65536 - share
    return _apportion(volume, [v * gain if taker else v * kept for v, taker in zip(volumes, takers, strict=True)])


def _adjust_turnovers(
    bar: Bar, highs: list[int], lows: list[int], volumes: list[int], turnovers: list[int], coin: int
) -> None:
    """Makes turnovers add up to the bar's, each within its part's prices."""
    owed = bar[5] - sum(turnovers)
    if owed == 0:
        return
    dear = (owed > 0) != bool(coin)  # whether the average price has to rise
    edge = highs if dear else lows
    sign = 1 if owed > 0 else -1
    owed *= sign
    if coin:
        rooms = [(_worth(v, p, coin, sign) - t) * sign for v, p, t in zip(volumes, edge, turnovers, strict=True)]
    else:
        rooms = [(v * p - t) * sign for v, p, t in zip(volumes, edge, turnovers, strict=True)]
    room = sum(rooms)
    if owed <= room:
        cuts = [sign * (owed * upto // room) for upto in accumulate(rooms)]
        turnovers[:] = [t + after - before for t, before, after in zip(turnovers, [0, *cuts], cuts, strict=False)]
        return
    # The parts' prices do not allow it: widen as many as it takes. The bar's own prices do allow it.
    owed -= room
    limit = bar[1] if dear else bar[2]
    for part, volume in enumerate(volumes):
        turnovers[part] += sign * rooms[part]
        gain = min(owed, (_worth(volume, limit, coin, sign) - turnovers[part]) * sign)
        if gain > 0:
            owed -= gain
            turnovers[part] += sign * gain
            needed = _price(volume, turnovers[part], coin, dear)
            edge[part] = min(limit, max(edge[part], needed)) if dear else max(limit, min(edge[part], needed))


def _worth(volume: int, price: int, coin: int, sign: int) -> int:
    """The turnover of a volume at a price, rounded in the direction of the sign."""
    if not coin:
        return volume * price
    return -(-coin * volume // price) if sign > 0 else coin * volume // price


def _price(volume: int, turnover: int, coin: int, dear: bool) -> int:
    if coin:
        return -(-coin * volume // max(1, turnover)) if dear else coin * volume // max(1, turnover)
    return -(-turnover // volume) if dear else turnover // volume
