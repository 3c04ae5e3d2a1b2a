"""What is written is durable soon, in the file or in the journal: rows that a reader saw a minute ago stay.

It is promised while the collector runs and its disk neither refuses nor hangs.
"""

from collections import deque
from typing import TYPE_CHECKING

import attrs
import trio

from collector.core.candle import Series
from tests.simulation.promises.reader import Reader

if TYPE_CHECKING:
    from tests.simulation.world import World

_DURABLE_S = 60.0  # after a row was seen, at the latest
_APART_S = 20.0
_LOOKS = 6  # that are remembered


@attrs.frozen
class _Look:
    at_s: float
    opens: frozenset[int]


@attrs.define
class Flushing:
    """Remembers what was seen when, and since when nothing holds the disk up."""

    _undisturbed_since_s: float = 0.0
    _looks: dict[Series, deque[_Look]] = attrs.field(factory=dict)

    def look(self, world: "World") -> None:
        """Notes whether something holds the disk up."""
        is_held_up = world.disk.mishaps.error is not None or world.machine.threads.slow_s > 0
        if is_held_up or world.process.ended.is_set() or not world.process.serves:
            self._undisturbed_since_s = trio.current_time()

    def note(self, series: Series, reader: Reader) -> None:
        """Notes what a reader has seen."""
        looks = self._looks.setdefault(series, deque(maxlen=_LOOKS))
        if reader.was_edited:
            looks.clear()
        elif not reader.crashed and (not looks or trio.current_time() - looks[-1].at_s >= _APART_S):
            looks.append(_Look(trio.current_time(), frozenset(reader.rows)))

    def has_passed_since(self, at_s: float) -> bool:
        """Whether all that was to be saved at a moment has had the time for it."""
        return max(at_s, self._undisturbed_since_s) <= trio.current_time() - _DURABLE_S

    def settled(self, series: Series) -> frozenset[int]:
        """The rows of a file that have to outlive a power cut now."""
        before_s = trio.current_time() - _DURABLE_S
        if self._undisturbed_since_s > before_s:
            return frozenset()
        old = [look for look in self._looks.get(series, ()) if look.at_s <= before_s]
        return old[-1].opens if old else frozenset()
