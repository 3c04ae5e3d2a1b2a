"""The series a collector tracks: chosen at the start, and more while it runs."""

from collections.abc import Iterable, Iterator

import attrs

from collector.core.candle import Series


@attrs.define(eq=False)
class TrackedSeries:
    """Every tracked series once, in the order in which they were added."""

    _series: dict[Series, None] = attrs.field(factory=dict)

    def add(self, every_series: Iterable[Series]) -> None:
        """Tracks these too."""
        self._series.update(dict.fromkeys(every_series))

    def discard(self, every_series: Iterable[Series]) -> None:
        """Tracks these no more."""
        for series in every_series:
            self._series.pop(series, None)

    def __contains__(self, series: object) -> bool:
        return series in self._series

    def __iter__(self) -> Iterator[Series]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)
