"""Blocking calls in threads: whoever is cancelled, or has waited long enough, leaves the call under way behind.

What was opened is closed by the call that was left behind, once it returns, as no other thread may use it meanwhile.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from math import inf
from typing import TypeVar

import attrs
import trio

from collector.core.errors import CollectorError, Unavailable
from collector.machine.threads import Threads

T = TypeVar("T")


@attrs.define(eq=False)
class BlockingCalls:
    """One call after another, with what they have opened; no call takes longer than `within_s`."""

    _threads: Threads
    _within_s: float = inf
    opened: ExitStack = attrs.field(factory=ExitStack)
    _under_way: set[object] = attrs.field(factory=set)  # a call that was left behind, and the one after it
    _left: bool = False

    async def run(self, work: Callable[[], T]) -> T:
        """The result of work in a thread.

        Raises:
            Unavailable: it takes too long.
        """

        call = object()

        def tracked() -> T:
            try:
                return work()
            finally:
                self._under_way.discard(call)
                if self._left:
                    self._close_unused()

        await trio.lowlevel.checkpoint_if_cancelled()
        self._under_way.add(call)
        with trio.move_on_after(self._within_s):
            return await self._threads.run(tracked, abandon=True)
        raise Unavailable(f"no answer within {self._within_s:.0f} s")

    def close(self) -> None:
        """Closes what is open, now or when the call under way has returned."""
        self._left = True
        self._close_unused()

    def _close_unused(self) -> None:
        if not self._under_way:
            with suppress(CollectorError):
                self.opened.close()
