"""A script that loads the files with the library, again and again: P1 holds for it also between a crash and the next
start, as the library takes sound rows or nothing."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.feeder.feeder import DataFeeder
from tests.simulation.promises.reader import rows_of_file
from tests.simulation.promises.truths import Truths


@attrs.define(eq=False)
class Library:
    """Loads through links from a directory of its own, so that what it writes beside them is not in the way."""

    files: Path
    own: Path
    truths: Truths
    _feeder: DataFeeder = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.own.mkdir()
        self._feeder = DataFeeder(data_dir=self.own)

    def look(self, series: Series, *, sound: bool) -> Iterator[str]:
        """What is wrong with the rows of a file as they are loaded. One that is `sound` has to be loaded."""
        data = (self.files / series.file_name).read_bytes() if (self.files / series.file_name).exists() else b""
        link = self.own / series.file_name
        if not link.is_symlink():
            link.symlink_to(self.files / series.file_name)
        lines = dict(rows_of_file(data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = self._feeder.load_data([series.symbol], [series.timeframe.name])
        if not loaded:
            if sound and lines:
                yield f"{series} cannot be loaded"
            return
        columns = ("open_time", "open", "high", "low", "close", "volume", "turnover")
        loaded_rows = self._feeder.frame(series.symbol, series.timeframe.name)
        frame = loaded_rows.select(columns).with_columns(loaded_rows["open_time"].dt.epoch("ms"))
        for at, *numbers in frame.iter_rows():
            line = lines.get(at)
            if line is None or numbers != [float(text) for text in line.split(b",")[2:]]:
                yield f"{series} is loaded with a row that its file does not have: {at}, {numbers}"
            elif not (self.truths.is_true(series, at, line) or self.truths.was_confirmed(series, at, line)):
                yield f"{series} is loaded with an invented row: {line!r}"
        if sound and frame.height != len(lines):
            yield f"{series} is loaded with {frame.height} of {len(lines)} rows"
