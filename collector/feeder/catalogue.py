"""The series of a place by their names, and messages for what is absent."""

from collections.abc import Iterable, Iterator

import attrs

from collector.core.candle import Series, timeframe
from collector.core.errors import NoSuchSeries
from collector.feeder.source import Source

_SHOWN = 20


@attrs.frozen
class Catalogue:
    """The series of a place, listed anew each time: a collector may be adding some."""

    source: Source

    def stored(self) -> Iterator[Series]:
        """Every series that is there; empty for an unreadable directory."""
        return self.source.stored()

    def symbols(self) -> list[str]:
        return sorted({series.symbol for series in self.stored()})

    def timeframes(self, symbol: str) -> list[str]:
        """Those of a symbol, the finest first."""
        return [series.timeframe.name for series in sorted(self.stored()) if series.symbol == symbol]

    def series(self, symbol: str, name: str) -> Series:
        """The series that a script means, whether it is stored or not.

        Raises:
            NoSuchSeries: there cannot be one of that name.
        """
        try:
            return Series(symbol, timeframe(str(name)))
        except (ValueError, TypeError) as error:
            raise NoSuchSeries(f"{error}; {self._what_there_is(symbol)}") from None

    def name(self, symbol: str, name: str) -> str:
        """One name for what a script means, valid or not."""
        try:
            return self.series(symbol, name).name
        except NoSuchSeries:
            return f"{symbol}_{name}"

    def has(self, symbol: str, name: str) -> bool:
        """Whether there is a file of that name; False for an invalid one."""
        try:
            series = Series(symbol, timeframe(str(name)))
        except (ValueError, TypeError):
            return False
        return self.source.has(series)

    def absent(self, series: Series) -> NoSuchSeries:
        """What to say of a series that has no file."""
        return NoSuchSeries(f"{series} is not stored; {self._what_there_is(series.symbol)}")

    def _what_there_is(self, symbol: str) -> str:
        timeframes, symbols = self.timeframes(symbol), self.symbols()
        if timeframes:
            return f"{self.source.place} has {symbol} in the timeframes {_listed(timeframes)}"
        return f"{self.source.place} has {_listed(symbols) if symbols else 'no candle files'}"


def _listed(names: Iterable[str]) -> str:
    shown, more = list(names)[:_SHOWN], list(names)[_SHOWN:]
    return ", ".join(shown) + (f" and {len(more)} more" if more else "")
