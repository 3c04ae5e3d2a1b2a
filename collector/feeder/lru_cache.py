"""The series in memory, within a limit: the least recently used gives way.

Counted are the numbers of every series that is held. The limit is what others leave of a share of the
machine's memory, and less if a number of bytes is given. The one series that is being loaded comes on top until it is
here.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import attrs

from collector.core.candle import Series
from collector.core.errors import DoesNotFit
from collector.feeder.loaded_series import LoadedSeries

_MB = 1_000_000


class Memory(Protocol):
    """The machine's memory in bytes, as psutil tells it."""

    @property
    def total(self) -> int: ...

    @property
    def available(self) -> int: ...


@attrs.frozen
class _Endless:
    """Memory that is never short, where the system does not tell."""

    total: int = 2**62
    available: int = 2**62


def machine_memory() -> Memory:
    """The memory of this machine; where psutil does not work, without end."""
    try:
        import psutil
    except ImportError:
        return _Endless()
    memory: Memory = psutil.virtual_memory()
    return memory


@attrs.frozen
class Limit:
    """How much may be held: what others leave of a share of the machine's memory, and at most `memory_limit_bytes`."""

    memory_limit_percent: float = attrs.field(validator=[attrs.validators.gt(0), attrs.validators.le(100)])
    memory_limit_bytes: int | None = attrs.field(validator=attrs.validators.optional(attrs.validators.ge(0)))
    memory: Callable[[], Memory]

    def allowed_bytes(self, ours: int) -> int:
        """What may be held now; `ours` of the memory in use are ours."""
        memory = self.memory()
        others = memory.total - memory.available - ours
        allowed = max(0, int(memory.total * self.memory_limit_percent / 100) - others)
        return allowed if self.memory_limit_bytes is None else min(allowed, self.memory_limit_bytes)


@attrs.define
class LruCache:
    """The series that are held, and how much they come to."""

    limit: Limit
    bytes: int = 0
    _loaded: dict[Series, LoadedSeries] = attrs.field(factory=dict)
    # The least recently used first, each with the names it was used by.
    _names: OrderedDict[LoadedSeries, list[tuple[str, str]]] = attrs.field(factory=OrderedDict)
    _by_name: dict[tuple[str, str], LoadedSeries] = attrs.field(factory=dict)  # `1440` and `D` are two names of one

    def find(self, symbol: str, timeframe: str) -> LoadedSeries | None:
        """What is held under a name that was used before; it counts as used now."""
        loaded = self._by_name.get((symbol, timeframe))
        if loaded is not None:
            self._names.move_to_end(loaded)
        return loaded

    def name(self, loaded: LoadedSeries, symbol: str, timeframe: str) -> None:
        """Lets `find` know what is held by this name too; it counts as used now."""
        self._names.move_to_end(loaded)
        self._names[loaded].append((symbol, timeframe))
        self._by_name[symbol, timeframe] = loaded

    def held(self) -> list[Series]:
        """The series that are held."""
        return list(self._loaded)

    def get(self, series: Series) -> LoadedSeries | None:
        return self._loaded.get(series)

    def put(self, loaded: LoadedSeries) -> None:
        """Takes in a series in place of what was held of it; others make room.

        Raises:
            DoesNotFit: it would not fit even alone; all others stay.
        """
        self.drop(loaded.series)
        needed = loaded.snapshot.bytes
        allowed = self.limit.allowed_bytes(self.bytes + needed)
        if needed > allowed:
            raise DoesNotFit(
                f"{loaded.series} needs {needed / _MB:.1f} MB of memory where {allowed / _MB:.1f} MB are allowed: "
                "load a shorter span of it, or raise the feeder's memory limit"
            )
        while self.bytes + needed > allowed:
            self.drop(next(iter(self._names)).series)
        self._names[loaded] = []
        self._loaded[loaded.series] = loaded
        self.bytes += needed

    def drop(self, series: Series) -> None:
        """Lets go of a series, if it is held."""
        loaded = self._loaded.pop(series, None)
        if loaded is not None:
            self.bytes -= loaded.snapshot.bytes
            for name in self._names.pop(loaded):
                del self._by_name[name]
