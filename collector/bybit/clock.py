"""The exchange's time for the whole process: observed in responses and pushes, awaited by the reconciler.

The exchange's time alone decides whether a candle is closed; a clock that only runs forward carries it on between
observations, through a sleep of the machine too.
"""

import math
from collections.abc import Callable

import attrs
import trio

from collector.core.pacing import LATE_MS, UNBELIEVABLE_MS, ClockDrift, ExchangeClock

_NEWS_MS = 50  # a clock that runs as fast as ours makes no news; a faster one wakes whoever waits
_FAST_UNHEARD_S = 5.0  # a clock that runs faster than ours is asked again after that


@attrs.define(eq=False)
class Clock:
    """What the exchange last said about its time.

    `elapsed_s` is our own clock in seconds, from an arbitrary start.
    """

    _elapsed_s: Callable[[], float] = trio.current_time
    _clock: ExchangeClock | None = None
    _news: trio.Event = attrs.field(factory=trio.Event)
    _set_back: int = 0  # how often
    _drift: ClockDrift = attrs.field(factory=lambda: ClockDrift(0, 0.0))
    _observed_s: float = 0.0

    @property
    def now_ms(self) -> int:
        """The exchange's time, carried on by ours.

        0 before it said anything.
        """
        return self._clock.now_ms(self._elapsed_s()) if self._clock else 0

    @property
    def newest_ms(self) -> int:
        """The newest time the exchange named: what has come for certain."""
        return self._clock.newest_ms if self._clock else 0

    def observe(self, exchange_ms: int) -> bool:
        """Observes a time in a response; False if it is too far from the last to be believed at once."""
        self._observed_s = now_s = self._elapsed_s()
        if self._clock is None:
            self._clock, self._drift = ExchangeClock.first_observed(exchange_ms, now_s), ClockDrift(exchange_ms, now_s)
            return True
        before_ms = self._clock.now_ms(now_s)
        self._clock = self._clock.observe(exchange_ms, now_s, fast=self._drift.fast)
        after_ms = self._clock.now_ms(now_s)
        self._drift = self._drift.observe(after_ms, now_s)
        self._set_back += after_ms < before_ms
        if abs(after_ms - before_ms) > _NEWS_MS:
            self._news.set()
            self._news = trio.Event()
        return self._clock.believes

    def observe_push(self, exchange_ms: int) -> None:
        """Observes a time in a push; it advances the clock.

        Responses, which come every minute, alone may set it back or far ahead.
        """
        if not self._clock or -LATE_MS <= exchange_ms - self.now_ms <= UNBELIEVABLE_MS:
            self.observe(exchange_ms)
        elif exchange_ms < self.now_ms:
            self._clock = self._clock.contradicted()

    def is_far_off(self, exchange_ms: int) -> bool:
        """Whether a time lies too far ahead to have come."""
        return self._clock is not None and exchange_ms - self.now_ms > UNBELIEVABLE_MS

    async def reach(self, exchange_ms: int) -> None:
        """Returns when the exchange's time has come, or its clock was set back.

        A clock set back was wrong, and so was the moment computed from it.
        """
        await self._reach(exchange_ms, math.inf)

    async def reach_unless(self, event: trio.Event, exchange_ms: int) -> None:
        """Returns when the exchange's time has come, or the event has happened."""
        await self._reach_unless(event, exchange_ms, math.inf)

    async def reach_or_ask(self, event: trio.Event, exchange_ms: int) -> None:
        """As `reach_unless`, and returns also when a fast clock was last observed some seconds ago.

        A clock that runs faster than ours has to be asked again.
        """
        await self._reach_unless(event, exchange_ms, _FAST_UNHEARD_S)

    async def _reach_unless(self, event: trio.Event, exchange_ms: int, unheard_s: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when, event, nursery.cancel_scope)
            await self._reach(exchange_ms, unheard_s)
            nursery.cancel_scope.cancel()

    async def _reach(self, exchange_ms: int, unheard_s: float) -> None:
        set_back = self._set_back
        while set_back == self._set_back and (left_s := self._left_s(exchange_ms, unheard_s)) > 0:
            with trio.move_on_after(left_s):
                await self._news.wait()

    def _left_s(self, exchange_ms: int, unheard_s: float) -> float:
        left_s = (exchange_ms - self.now_ms) / 1000
        return min(left_s, self._observed_s + unheard_s - self._elapsed_s()) if self._drift.fast else left_s


async def cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    """Waits for an event and cancels a scope."""
    await event.wait()
    scope.cancel()
