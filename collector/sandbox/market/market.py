"""The made-up market: any candle of any instrument, at any instant, as a pure function of the seed.

Days come first, from a price path at random access; a day is cut into halves, these into two hours, and so on down to
minutes and seconds, always into parts that join to the whole again. A candle of any timeframe is therefore cheap to
find, and exactly what its minutes make. The market asks no clock: what exists "now" is asked with an instant. Its
caches are bounded and change no answer.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

import attrs

from collector.core.candle import DAY_MS, MINUTE_MS, Timeframe
from collector.sandbox.market import noise
from collector.sandbox.market.bars import DRAWS_PER_PART, Bar, flat, join, split
from collector.sandbox.market.listing import Category, Listing, Row, Selection
from collector.sandbox.market.prices import rows_of

_SECOND_MS = 1000


@attrs.frozen
class _Level:
    """One step of the subdivision; `below` the one that follows."""

    length_ms: int
    parts: int  # of the level above that make one of its bars
    flat_share: int  # how much of a listing's quietness shows on this level, in 1/16


# Two hours below a half, as 240 and 360 minutes have no greater part in common. Sixty minutes at once, for the price of
# a cut is half in its preparation: a page of minutes matters most, and one of half hours can take 40 ms.
_LEVELS: tuple[_Level, ...] = (
    _Level(DAY_MS, 0, 0),
    _Level(720 * MINUTE_MS, 2, 0),
    _Level(120 * MINUTE_MS, 6, 1),
    _Level(60 * MINUTE_MS, 2, 2),
    _Level(MINUTE_MS, 60, 16),
    _Level(_SECOND_MS, 60, 32),
)
_MINUTES = len(_LEVELS) - 2
_SECONDS = len(_LEVELS) - 1
_DRAWS = tuple(noise.draws(max(4, DRAWS_PER_PART * level.parts)) for level in _LEVELS)
# The coarsest level whose bars fill a candle of the timeframe without a rest.
_LEVEL_OF = {"1": 4, "3": 4, "5": 4, "15": 4, "30": 4, "60": 3, "120": 2, "240": 2, "360": 2, "720": 1}
_LEVEL_OF |= {"D": 0, "W": 0, "M": 0}
_DAYS = 16_384  # 3 MB; a page of months of eight years needs 3000
_BLOCKS = 4096  # of 2 to 60 bars; about 60 MB when full of minutes, and a page of 1000 minutes needs 30
_SPANS = 16_384  # 5 MB; 5300 candles in progress are joined from as many spans, renewed once a minute


class Market:
    """All instruments of the box, and their candles."""

    def __init__(self, seed: int, listings: Iterable[Listing]) -> None:
        self.seed = seed
        self._listings: dict[Category, dict[str, Listing]] = {"linear": {}, "inverse": {}, "spot": {}}
        for listing in sorted(listings, key=lambda listing: listing.symbol):
            self._listings[listing.category][listing.symbol] = listing
        self._parts = lru_cache(maxsize=_BLOCKS)(self._cut)
        self._day = lru_cache(maxsize=_DAYS)(self._make_day)
        self._span = lru_cache(maxsize=_SPANS)(self._join_span)
        self._keys = lru_cache(maxsize=None)(self._make_keys)  # one entry per listing

    def listings(self, category: Category) -> dict[str, Listing]:
        return self._listings[category]

    def rows(self, listing: Listing, timeframe: Timeframe, start_ms: int, end_ms: int, now_ms: int) -> list[Row]:
        """Candles that open in [start, end) as of now, oldest first."""
        opens, bars = self.bars(listing, timeframe, start_ms, end_ms, now_ms)
        return rows_of(listing, opens, bars)

    def page(self, listing: Listing, timeframe: Timeframe, selection: Selection, now_ms: int) -> list[Row]:
        """The selection, counted off on the grid, since a listing's life is without gaps."""
        start_ms = timeframe.ceil(max(selection.start_ms, timeframe.floor(listing.listed_ms)))
        end_ms = min(selection.end_ms, now_ms + 1, listing.end_ms)
        if start_ms >= end_ms:
            return []
        first, last = timeframe.number_at(start_ms), timeframe.number_at(end_ms - 1)
        if selection.newest:
            first = max(first, last - selection.limit + 1)
        else:
            last = min(last, first + selection.limit - 1)
        return self.rows(listing, timeframe, timeframe.open_of(first), timeframe.open_of(last) + 1, now_ms)

    def bars(
        self, listing: Listing, timeframe: Timeframe, start_ms: int, end_ms: int, now_ms: int
    ) -> tuple[list[int], list[Bar]]:
        """Open times and bars of existing candles that open in [start, end)."""
        birth = listing.listed_ms
        until = min(now_ms, listing.end_ms)
        first = timeframe.ceil(max(start_ms, timeframe.floor(birth)))
        last = min(end_ms, until + 1 if until == now_ms else until)
        step = timeframe.step_ms
        opens = list(range(first, last, step) if step else timeframe.opens(first, last))
        if not opens:
            return [], []
        edges = [*opens, timeframe.close(opens[-1])]
        whole = 1 if edges[0] < birth else 0
        ended = len(opens) - (1 if edges[-1] > until else 0)
        bars: list[Bar] = []
        if whole:
            bars.append(self.between(listing, birth, min(edges[1], until)))
        if ended > whole:
            bars += self._candles(listing, _LEVEL_OF[timeframe.name], edges[whole : ended + 1])
        if len(bars) < len(opens):
            bars.append(self.between(listing, edges[ended], until))
        return opens, bars

    def between(self, listing: Listing, start_ms: int, until_ms: int) -> Bar:
        """The trades from a whole minute until an instant: a candle in progress.

        It changes on whole seconds. At its very start a candle is flat at the last close.
        """
        last = until_ms - until_ms % _SECOND_MS
        minute = last - last % MINUTE_MS
        if last <= start_ms:
            return flat(self._run(listing, _MINUTES, start_ms // MINUTE_MS, start_ms // MINUTE_MS + 1)[0][0])
        # In two parts, as the candles of all timeframes that are in progress share the second one.
        parts = [self._span(listing, start_ms, minute)] if start_ms < minute else []
        if minute < last:
            parts.append(self._span(listing, minute, last))
        return join(parts)

    def _join_span(self, listing: Listing, start_ms: int, end_ms: int) -> Bar:
        """The bar between two whole seconds, from the coarsest bars that fit."""
        found: list[Bar] = []
        at = start_ms
        while at < end_ms:
            level = next(
                place
                for place, level in enumerate(_LEVELS)
                if at % level.length_ms == 0 and at + level.length_ms <= end_ms
            )
            length = _LEVELS[level].length_ms
            stop = end_ms - end_ms % length
            if level:
                above = _LEVELS[level - 1].length_ms
                stop = min(stop, at - at % above + above)
            found += self._run(listing, level, at // length, stop // length)
            at = stop
        return join(found)

    def _candles(self, listing: Listing, level: int, edges: list[int]) -> list[Bar]:
        """The bars between consecutive edges, all of them whole."""
        length = _LEVELS[level].length_ms
        base = edges[0] // length
        run = self._run(listing, level, base, edges[-1] // length)
        if len(run) == len(edges) - 1:
            return run
        cuts = [edge // length - base for edge in edges]
        return [join(run[a:b]) for a, b in pairwise(cuts)]

    def _run(self, listing: Listing, level: int, first: int, last: int) -> list[Bar]:
        """The bars numbered [first, last) of a level."""
        if level == 0:
            return [self._day(listing, day) for day in range(first, last)]
        parts = _LEVELS[level].parts
        parent = first // parts
        run: list[Bar] = []
        for whole in range(parent, -(-last // parts)):
            run += self._parts(listing, level, whole)
        return run[first - parent * parts : last - parent * parts]

    def _cut(self, listing: Listing, level: int, parent: int) -> tuple[Bar, ...]:
        """The bars of a level within the numbered bar of the level above."""
        above = _LEVELS[level - 1].parts
        whole = (
            self._parts(listing, level - 1, parent // above)[parent % above] if above else self._day(listing, parent)
        )
        here = _LEVELS[level]
        place = self._keys(listing)[1] + level.to_bytes(1, "little") + parent.to_bytes(8, "little", signed=True)
        return split(whole, here.parts, _DRAWS[level](place), listing.quiet * here.flat_share >> 4, listing.coin)

    def _make_day(self, listing: Listing, day: int) -> Bar:
        coin_key, key = self._keys(listing)
        opened = noise.price_at(coin_key, listing.base_price, day - 1)
        closed = noise.price_at(coin_key, listing.base_price, day)
        up, down, busy, _, *_ = _DRAWS[0](key + day.to_bytes(8, "little", signed=True))
        high = max(opened, closed)
        high += high * up >> 21  # up to 3 %
        low = min(opened, closed)
        low -= low * down >> 21
        volume = max(1, listing.daily_volume * (16384 + busy) >> 16)  # from a quarter to five quarters
        middle = opened + high + low + closed
        coin = listing.coin
        turnover = 4 * coin * volume // middle if coin else volume * middle >> 2
        return opened, high, low, closed, volume, turnover

    def _make_keys(self, listing: Listing) -> tuple[bytes, bytes]:
        """The keys of the coin and of the instrument.

        All instruments of a coin follow its price from day to day.
        """
        return (
            noise.key_of(self.seed, "coin", listing.base),
            noise.key_of(self.seed, listing.category, listing.symbol),
        )
