"""The exchange's announced maintenance, to explain an outage.

It is for information alone: a failed or odd answer leaves what was known before, and every other part goes on. A
question is one request of the common budget: soon after the start, then every hour, and every five minutes while the
exchange is away or its first answer is still to come.
"""

from collections.abc import Awaitable, Callable
from math import inf
from typing import NoReturn

import attrs
import trio

from collector.bybit.exchange_state import RestState
from collector.core.errors import ExchangeError
from collector.core.maintenance import Maintenance
from collector.core.text import moment_text
from collector.logs import get_logger

log = get_logger(__name__)

_FIRST_AFTER_S = 5.0  # the list of symbols and the first candles come before
_EVERY_S = 3600.0
_TROUBLED_EVERY_S = 300.0
_LOOK_EVERY_S = 30.0


@attrs.define(eq=False)
class Announcements:
    """Keeps the announced maintenance up to date; `ask` is one request."""

    _ask: Callable[[], Awaitable[tuple[Maintenance, ...]]]
    _state: RestState
    _answered: bool = False

    async def follow(self) -> NoReturn:
        """Asks again and again, until cancelled."""
        await trio.sleep(_FIRST_AFTER_S)
        asked_s = -inf
        while True:
            if trio.current_time() >= asked_s + self._pause_s():
                asked_s = trio.current_time()
                await self._look()
            await trio.sleep(_LOOK_EVERY_S)

    async def _look(self) -> None:
        try:
            announced = await self._ask()
        except ExchangeError as trouble:
            self._answered = False
            log.debug("announced maintenance is not known", why=str(trouble))
            return
        for each in announced:
            if each not in self._state.maintenance:
                begin, end = moment_text(each.begin_ms), moment_text(each.end_ms)
                log.info("maintenance announced", begin=begin, end=end, title=each.title)
        self._state.announced(announced)
        self._answered = True

    def _pause_s(self) -> float:
        is_served = self._state.unserved_since_s is None
        return _EVERY_S if self._answered and is_served else _TROUBLED_EVERY_S
