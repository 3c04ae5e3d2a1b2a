"""The series of a directory by its file names, and messages for what is absent."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from collector.core.candle import Series, timeframe
from collector.errors import NoSuchSeries
from collector.machine.disk import Disk

_SHOWN = 20


@attrs.frozen
class Catalogue:
    """The candle files of a directory, listed anew each time: a collector may be adding some."""

    _disk: Disk
    directory: Path

    def path(self, series: Series) -> Path:
        return self.directory / series.file_name

    def stored(self) -> Iterator[Series]:
        """Every series that has a file; empty for an unreadable directory."""
        names: Sequence[str] = ()
        with suppress(PermissionError, FileNotFoundError, NotADirectoryError):
            names = self._disk.names(self.directory)
        named = map(Series.of_file, names)
        return (series for series in named if series)

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
            return self.path(Series(symbol, timeframe(str(name)))).exists()
        except (ValueError, TypeError):
            return False

    def absent(self, series: Series) -> NoSuchSeries:
        """What to say of a series that has no file."""
        return NoSuchSeries(f"{series} is not stored; {self._what_there_is(series.symbol)}")

    def _what_there_is(self, symbol: str) -> str:
        timeframes, symbols = self.timeframes(symbol), self.symbols()
        if timeframes:
            return f"{self.directory} has {symbol} in the timeframes {_listed(timeframes)}"
        return f"{self.directory} has {_listed(symbols) if symbols else 'no candle files'}"


def _listed(names: Iterable[str]) -> str:
    shown, more = list(names)[:_SHOWN], list(names)[_SHOWN:]
    return ", ".join(shown) + (f" and {len(more)} more" if more else "")
