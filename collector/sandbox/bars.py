"""Bars in integers: how one is cut into the shorter bars it is made of, and put together again.

Prices are ticks, volumes lots; nothing here is ever a float, so the parts of a bar add up to it to the last digit. It
knows no symbols, times or texts, and draws nothing itself: what is random comes in as numbers from 0 to 65535.
"""

from collections.abc import Sequence
from itertools import accumulate

WIDEST_DRAW = 65_536
DRAWS_PER_PART = 5  # whether it trades, where it closes, how much of the volume, both wicks


# One candle in ticks and lots: open, high, low, close, volume, turnover. A bar nobody traded in has one price, and
# volume and turnover 0. A plain tuple where other values are attrs classes: a page is made of thousands of them.
Bar = tuple[int, int, int, int, int, int]


def join(bars: Sequence[Bar]) -> Bar:
    """The one bar that consecutive bars make together."""
    if len(bars) == 1:
        return bars[0]
    opens, highs, lows, closes, volumes, turnovers = zip(*bars, strict=True)
    return opens[0], max(highs), min(lows), closes[-1], sum(volumes), sum(turnovers)


def flat(price: int) -> Bar:
    """A bar without a trade: the exchange repeats the last close and says volume 0."""
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
    live = [part for part in range(parts) if draws[part] >= quiet] or [draws[0] % parts]
    del live[volume:]  # a part that trades has at least one lot
    traded = _traded(bar, len(live), draws[parts:], coin)
    if len(live) == parts:
        return tuple(traded)
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
    highs, lows = _reaches(high, low, opens, closes, draws[parts : 3 * parts])
    volumes = _shares(volume, parts, draws[3 * parts : 4 * parts])
    prices = zip(volumes, opens, highs, lows, closes, strict=True)
    if coin:
        turnovers = [4 * coin * v // (first + top + foot + last) for v, first, top, foot, last in prices]
    else:
        turnovers = [v * (first + top + foot + last) >> 2 for v, first, top, foot, last in prices]
    _settle(bar, highs, lows, volumes, turnovers, coin)
    return list(zip(opens, highs, lows, closes, volumes, turnovers, strict=True))


def _closes(opened: int, high: int, low: int, closed: int, average: int, draws: Sequence[int]) -> list[int]:
    """A random walk from the open to the close, inside the bar, around its average price."""
    parts = len(draws)
    walk = list(accumulate(draws))
    drift = walk[-1]
    bridge = [step * parts - drift * place for place, step in enumerate(walk, 1)]
    reach = max(bridge) - min(bridge) or 1
    span, way = (high - low) * 5 >> 3, closed - opened
    closes = [opened + way * place // parts + at * span // reach for place, at in enumerate(bridge, 1)]
    lift = average - sum(closes) // parts
    closes = [low if at + lift < low else high if at + lift > high else at + lift for at in closes]
    closes[-1] = closed
    return closes


def _reaches(
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


def _shares(total: int, parts: int, draws: Sequence[int]) -> list[int]:
    """The total in whole numbers, each at least one."""
    weights = list(accumulate(draw + 4096 for draw in draws))
    free, weight = total - parts, weights[-1]
    cuts = [free * upto // weight for upto in weights]
    return [after - before + 1 for before, after in zip([0, *cuts], cuts, strict=False)]


def _settle(bar: Bar, highs: list[int], lows: list[int], volumes: list[int], turnovers: list[int], coin: int) -> None:
    """Change the turnovers so that they add up to the bar's, each within what its part's prices allow."""
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
        before = 0
        for part, upto in enumerate(accumulate(rooms)):
            after = owed * upto // room
            turnovers[part] += sign * (after - before)
            before = after
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
    """The turnover of a volume at a price; where it is not whole, the next one in the direction of the sign."""
    if not coin:
        return volume * price
    return -(-coin * volume // price) if sign > 0 else coin * volume // price


def _price(volume: int, turnover: int, coin: int, dear: bool) -> int:
    if coin:
        return -(-coin * volume // max(1, turnover)) if dear else coin * volume // max(1, turnover)
    return -(-turnover // volume) if dear else turnover // volume
