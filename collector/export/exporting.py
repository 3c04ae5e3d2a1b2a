"""Hands candle files to a target, series by series.

Files are opened one at a time and read as they are then, also while a collector writes them. A file that cannot be read
is reported, and the others go on.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.errors import NotReadable
from collector.core.rows import HEADER
from collector.export.months import Selected, months_of
from collector.export.results import Result, Target
from collector.feeder.csv_tail import not_readable, open_csv
from collector.machine.disk import Disk

Action = Callable[[Selected], Iterator[Result]]


@attrs.frozen
class Source:
    """The chosen series of a data directory, and the span of them."""

    disk: Disk
    directory: Path
    series: Sequence[Series]
    span: tuple[int, int]

    def size(self) -> int:
        """How many bytes of text are chosen.

        What cannot be read counts nothing.
        """
        return sum(map(self._size_of, self.series))

    def _size_of(self, series: Series) -> int:
        try:
            with open_csv(self.disk, self.directory / series.file_name) as lines:
                return lines.offset(self.span[1]) - max(lines.offset(self.span[0]), len(HEADER))
        except (FileNotFoundError, NotReadable):
            return 0

    def run(self, target: Target, action: Action) -> Iterator[tuple[Series, Result | NotReadable]]:
        """What becomes of each month of each series, or why a series cannot be read."""
        for series in self.series:
            path = self.directory / series.file_name
            try:
                with target.hold(series), open_csv(self.disk, path) as lines:
                    for result in action(Selected(series, path, self.span, months_of(lines, self.span))):
                        yield series, result
            except FileNotFoundError:
                yield series, not_readable(path, "it is gone")
            except NotReadable as error:
                yield series, error
