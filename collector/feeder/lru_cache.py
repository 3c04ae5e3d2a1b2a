"""What a feeder holds in memory, within a limit: what was not used for longest gives way.

Counted are the numbers of every series that is held. The limit is what others leave of a share of the
machine's memory, and less if a number of bytes is given. The one series that is being loaded comes on top until it is
here. Nothing is read or written here.
"""

from collections.abc import Callable
from typing import Protocol

import attrs

from collector.core.candle import Series
from collector.errors import DoesNotFit
from collector.feeder.series_view import Held

_MB = 1_000_000


class Memory(Protocol):
    """The machine's memory in bytes, as psutil tells it."""

    @property
    def total(self) -> int: ...

    @property
    def available(self) -> int: ...


@attrs.frozen
class Limit:
    """How much may be held: what others leave of a share of the machine's memory, and at most `most_bytes`."""

    percent: float = attrs.field(validator=[attrs.validators.gt(0), attrs.validators.le(100)])
    most_bytes: int | None = attrs.field(validator=attrs.validators.optional(attrs.validators.ge(0)))
    memory: Callable[[], Memory]

    def allowed_bytes(self, ours: int) -> int:
        """What may be held now; `ours` of the memory in use are ours."""
        memory = self.memory()
        others = memory.total - memory.available - ours
        allowed = max(0, int(memory.total * self.percent / 100) - others)
        return allowed if self.most_bytes is None else min(allowed, self.most_bytes)


@attrs.define
class Shelf:
    """The series that are held, and how much they come to."""

    limit: Limit
    bytes: int = 0
    _turn: int = 0
    _held: dict[Series, Held] = attrs.field(factory=dict)
    _by_name: dict[tuple[str, str], Held] = attrs.field(factory=dict)  # `1440` and `D` are two names of one

    def find(self, symbol: str, timeframe: str) -> Held | None:
        """What is held under a name that was used before; it counts as used now."""
        held = self._by_name.get((symbol, timeframe))
        if held is not None:
            self._turn += 1
            held.turn = self._turn
        return held

    def name(self, held: Held, symbol: str, timeframe: str) -> None:
        """Lets `find` know what is held by this name too; it counts as used now."""
        self._turn += 1
        held.turn = self._turn
        self._by_name[symbol, timeframe] = held

    def get(self, series: Series) -> Held | None:
        return self._held.get(series)

    def put(self, held: Held) -> None:
        """Takes in a series in place of what was held of it; others make room.

        Raises:
            DoesNotFit: it would not fit even alone; all others stay.
        """
        self.drop(held.series)
        needed = held.mirror.bytes
        allowed = self.limit.allowed_bytes(self.bytes + needed)
        if needed > allowed:
            raise DoesNotFit(
                f"{held.series} needs {needed / _MB:.1f} MB of memory where {allowed / _MB:.1f} MB are allowed: "
                "load a shorter span of it, or raise the feeder's memory limit"
            )
        while self.bytes + needed > allowed:
            self.drop(min(self._held.values(), key=lambda each: each.turn).series)
        self._turn += 1
        held.turn = self._turn
        self._held[held.series] = held
        self.bytes += needed

    def drop(self, series: Series) -> None:
        """Lets go of a series, if it is held."""
        held = self._held.pop(series, None)
        if held is not None:
            self.bytes -= held.mirror.bytes
            self._by_name = {name: each for name, each in self._by_name.items() if each is not held}
