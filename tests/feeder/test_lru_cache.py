"""What is held within a limit, beside a list that is searched for what was not used for longest."""

from contextlib import suppress

import attrs
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import Series, timeframe
from collector.core.errors import DoesNotFit
from collector.feeder.columns import Columns
from collector.feeder.loaded_series import LoadedSeries
from collector.feeder.lru_cache import Limit, LruCache
from collector.feeder.reader import FileSnapshot

ROW = 56  # bytes in memory
LIMIT = 10  # rows


@attrs.frozen
class Machine:
    """A machine with memory to spare."""

    total: int = 10**12
    available: int = 10**12


def of_rows(symbol: str, rows: int) -> LoadedSeries:
    block = Columns(memoryview(bytes(8 * rows)).cast("q"), ())
    return LoadedSeries(Series(symbol, timeframe("D")), FileSnapshot((block,) if rows else ()))


@attrs.define
class Listed:
    """The same as a list of symbols with their rows, the least recently used first."""

    held: list[tuple[str, int]] = attrs.field(factory=list)

    def put(self, symbol: str, rows: int) -> None:
        self.held = [each for each in self.held if each[0] != symbol]
        if rows <= LIMIT:
            while sum(each for _, each in self.held) + rows > LIMIT:
                self.held.pop(0)
            self.held.append((symbol, rows))

    def find(self, symbol: str) -> None:
        self.held.sort(key=lambda each: each[0] == symbol)

    def drop(self, symbol: str) -> None:
        self.held = [each for each in self.held if each[0] != symbol]


a_step = st.tuples(st.sampled_from(["put", "find", "drop"]), st.sampled_from("ABCDEF"), st.integers(0, LIMIT + 1))


@given(st.lists(a_step, max_size=40))
def test_what_was_not_used_for_longest_gives_way(steps: list[tuple[str, str, int]]) -> None:
    cache, listed = LruCache(Limit(100, LIMIT * ROW, Machine)), Listed()
    for step, symbol, rows in steps:
        if step == "put":
            loaded = of_rows(symbol, rows)
            with suppress(DoesNotFit):
                cache.put(loaded)
                for name in ("D", "1440"):
                    cache.name(loaded, symbol, name)
            listed.put(symbol, rows)
        elif step == "find":
            cache.find(symbol, "1440")
            listed.find(symbol)
        else:
            cache.drop(Series(symbol, timeframe("D")))
            listed.drop(symbol)
        assert [loaded.series.symbol for loaded in cache._names] == [symbol for symbol, _ in listed.held]
        assert cache.bytes == ROW * sum(rows for _, rows in listed.held)
    for symbol in "ABCDEF":
        held = symbol in dict(listed.held)
        assert [cache.find(symbol, name) is not None for name in ("D", "1440", "60")] == [held, held, False]
