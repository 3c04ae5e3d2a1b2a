"""The list of symbols, read again while running.

New symbols are reported to be collected, gone ones to be frozen.

It is looked at every ten minutes, and when other symbols are wanted. A symbol counts as gone only when it was missing
from the list twice in a row, and not when half of the list is missing at once: that is a broken answer, not a market.
Nothing here subscribes or fetches.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable

import attrs
import trio

from collector.bybit.clock import Clock
from collector.core.candle import MINUTE_MS, is_symbol
from collector.core.errors import RequestError, Unreachable
from collector.logs import get_logger

log = get_logger(__name__)

_EVERY_MS = 10 * MINUTE_MS


@attrs.define(eq=False)
class Listings:
    """The symbols that trade, compared with those collected.

    `trading` asks the exchange for all symbols that do.
    """

    _trading: Callable[[], Awaitable[Iterable[str]]]
    _clock: Clock
    _wanted: Collection[str] | None  # None: every symbol
    _collected: set[str]
    _takes: Callable[[str], bool] = lambda _: True  # of a shared market, the part that is collected here
    _missed: set[str] = attrs.field(factory=set)
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _news: bool = False  # whether other symbols are wanted than were looked for last
    is_behind: bool = False  # whether the list was to be read, and has not come yet

    def want(self, wanted: Collection[str] | None) -> None:
        """Changes the wanted symbols, and reads the list at once.

        None means every symbol.
        """
        self._wanted, self._news = wanted, True
        self.look()

    def look(self) -> None:
        """Reads the list at once, since another part of it is collected."""
        self.is_behind = True
        self._changed.set()

    def leave(self, symbols: Collection[str]) -> None:
        """Forgets symbols that are collected no more."""
        self._collected.difference_update(symbols)
        self._missed.difference_update(symbols)

    async def follow(
        self, on_new: Callable[[list[str]], Awaitable[None]], on_gone: Callable[[list[str]], None]
    ) -> None:
        """Reads the list every ten minutes, or on changes, until cancelled."""
        while True:
            await self._clock.reach_unless(self._changed, self._clock.now_ms + _EVERY_MS)
            self._changed = trio.Event()
            try:
                trading = {name for name in await self._trading() if is_symbol(name)}
            except (Unreachable, RequestError) as trouble:
                log.warning("the list of symbols did not come, trying later", why=str(trouble))
                continue
            for name in sorted(filter(self._takes, set(self._wanted or ()) - trading)) if self._news else ():
                log.warning("symbol left out, it does not trade here", symbol=name)
            self._news = self.is_behind = False
            new, gone = self.compare(trading)
            if new:
                log.info("new symbols", symbols=" ".join(new))
                await on_new(new)
            if gone:
                log.warning("symbols no longer trade, their files are frozen", symbols=" ".join(gone))
                on_gone(gone)

    def compare(self, trading: set[str]) -> tuple[list[str], list[str]]:
        """The symbols to begin with and those to freeze."""
        trading = set(filter(self._takes, trading))
        wanted = trading if self._wanted is None else trading & set(self._wanted)
        missing = self._collected - trading
        if len(missing) > max(3, len(self._collected) // 2):
            log.warning("half of the symbols are missing from the list, not believing it", missing=len(missing))
            return [], []
        new, gone = sorted(wanted - self._collected), sorted(missing & self._missed)
        self._missed = missing
        self._collected = (self._collected | set(new)) - set(gone)
        return new, gone
