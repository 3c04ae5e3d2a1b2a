"""What a kind of fault is, and what all of them need: to last, to fire, and to share what several of them want at once.

A strike undoes only what it did itself, so that several can be on at the same time.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
import trio

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
_LONGEST_S = 3600.0  # for which a strike goes on until it has an effect
_LOOK_EVERY_S = 5.0

Act = Callable[["World", Random, float], Awaitable[bool]]
"""Strikes for so many seconds, undoes it, and says whether it had an effect."""


@attrs.frozen
class Kind:
    """One kind of fault.

    `needs_repair` is whether what it leaves behind is right within an hour only after a repair against the exchange:
    without one that takes a day. `once` is whether it strikes but once in a run. `begin` says what is so in such a run
    from its beginning on.
    """

    act: Act
    needs_repair: bool = False
    once: bool = False
    begin: Callable[["World", Random], None] | None = None


async def last(for_s: float, fired: Callable[[], bool]) -> bool:
    """Lets a strike last, and longer than it was to until it has had an effect; whether it had one at last."""
    await trio.sleep(for_s)
    until_s = trio.current_time() + _LONGEST_S
    while not fired() and trio.current_time() < until_s:  # noqa: ASYNC110 - counters tell nobody
        await trio.sleep(_LOOK_EVERY_S)
    return fired()


@attrs.define(eq=False)
class Shared(Generic[T]):
    """A switch that several strikes set at once: the latest counts, and with the last of them it is as before."""

    _set: Callable[[T], None]
    _calm: T
    _on: list[list[T]] = attrs.field(factory=list)

    @contextmanager
    def at(self, value: T) -> Iterator[None]:
        place = [value]  # equal values are different strikes
        self._on.append(place)
        self._set(value)
        try:
            yield
        finally:
            self._on = [each for each in self._on if each is not place]
            self._set(self._on[-1][0] if self._on else self._calm)

    def __bool__(self) -> bool:
        return bool(self._on)


def growth(count: Callable[[], Any]) -> Callable[[], bool]:
    """Tells whether a counter has grown since."""
    before = count()
    return lambda: bool(count() > before)
