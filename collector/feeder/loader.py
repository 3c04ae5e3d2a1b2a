"""The series of a place in memory, each loaded when it is first asked for.

A look-up for what is not stored costs a look at one name from the second time on, since scripts look up in loops. Why a
series is absent is said once, in a `DataWarning`, and again only after it was there.
"""

import attrs

from collector.core.candle import Series
from collector.core.errors import CollectorError, DoesNotFit, NoSuchSeries, NotReadable
from collector.feeder.catalogue import Catalogue
from collector.feeder.columns import same_rows
from collector.feeder.loaded_series import LoadedSeries
from collector.feeder.lru_cache import LruCache
from collector.feeder.warn import warn


@attrs.define
class Loader:
    """Loads series into a cache, whole or in the spans that were chosen."""

    _catalogue: Catalogue
    _cache: LruCache
    _spans: dict[Series, tuple[int, int] | None] = attrs.field(factory=dict)
    _missing: set[tuple[str, str]] = attrs.field(factory=set)  # what look-ups did not find
    _warned: dict[str, type[CollectorError]] = attrs.field(factory=dict)  # of which series, and of what

    def with_cache(self, cache: LruCache) -> "Loader":
        """The same for another cache."""
        return attrs.evolve(self, cache=cache)

    def get(self, symbol: str, name: str) -> LoadedSeries:
        """A series in memory, loaded now if it is not.

        Raises:
            NoSuchSeries: it is not stored.
            NotReadable: its file is none of ours.
            DoesNotFit: it alone is beyond the limit.
        """
        loaded = self._cache.find(symbol, name)
        if loaded is None:
            series = self._catalogue.series(symbol, name)
            loaded = self._cache.get(series) or self._load(series)
            self._cache.name(loaded, symbol, name)
        return loaded

    def get_if_stored(self, symbol: str, name: str) -> LoadedSeries | None:
        """The same, or None and a warning for what is not stored."""
        if (symbol, name) in self._missing and not self._catalogue.has(symbol, name):
            return None
        try:
            return self.get(symbol, name)
        except NoSuchSeries as error:
            self._missing.add((symbol, name))
            self._warn(symbol, name, error)
            return None

    def try_to_load(self, symbol: str, name: str, span: tuple[int, int] | None) -> bool:
        """Loads a series anew in a span, or whole; False and a warning where that fails."""
        try:
            series = self._catalogue.series(symbol, name)
            self._spans[series] = span
            self._load(series)
        except (NoSuchSeries, NotReadable, DoesNotFit) as error:
            self._warn(symbol, name, error)
            return False
        return True

    def refresh(self, series: Series) -> bool:
        """Brings a series in memory up to date; whether it has changed."""
        before = self._cache.get(series)
        try:
            now = self._load(series)
        except (NoSuchSeries, NotReadable, DoesNotFit) as error:
            self._warn(series.symbol, series.timeframe.name, error)
            return True
        return before is None or not same_rows(before.snapshot.blocks, now.snapshot.blocks)

    def _load(self, series: Series) -> LoadedSeries:
        """A series as it is now."""
        span, known = self._spans.get(series), self._cache.get(series)
        try:
            rows = self._catalogue.source.read(series, span, known.snapshot if known else None)
        except (FileNotFoundError, NotReadable) as error:
            self._cache.drop(series)
            raise self._catalogue.absent(series) if isinstance(error, FileNotFoundError) else error from None
        if known and rows is known.snapshot:
            return known
        loaded = LoadedSeries(series, rows)
        self._cache.put(loaded)
        self._warned.pop(series.name, None)
        return loaded

    def _warn(self, symbol: str, name: str, error: CollectorError) -> None:
        """Says why a series is absent, the first time."""
        series = self._catalogue.name(symbol, name)
        if self._warned.get(series) is not type(error):
            self._warned[series] = type(error)
            warn(str(error))
