"""The append batch: candles of one moment that directly follow their files, appended within one thread call.

At the end of a minute they come by the thousand, and nearly all follow. A thread call for each would cost more than the
writing does.
"""

from collections.abc import Container, Iterable, Sequence

import attrs

from collector.core.candle import Series
from collector.core.events import Confirmed
from collector.pipeline.open_files import OpenFiles
from collector.storage.series_file import FileChangedError

_FULL_FILES_AT_ONCE = 8  # each is synced, and a disk makes what comes together durable together


@attrs.define(eq=False)
class AppendBatch:
    """Appends candles and sorts out the others.

    Both lists are right also when the disk refused half-way.
    """

    _files: OpenFiles
    _waiting: Container[Series]  # series of which earlier answers wait
    appended: list[Confirmed] = attrs.field(factory=list)
    others: list[Confirmed] = attrs.field(factory=list)  # new ones that belong elsewhere

    def run(self, candles: Sequence[Confirmed]) -> None:
        """Appends what it can, within the disk thread.

        Full files, under the limit, are replaced, several at once.
        """
        full: dict[Series, list[Confirmed]] = {}
        for candle in candles:
            if self._files[candle.series].is_full:
                full.setdefault(candle.series, []).append(candle)
            else:
                self._try_append(candle)
        self._files.thread.threads.run_on_each(self._append_each, [*full.values()], _FULL_FILES_AT_ONCE)

    def _append_each(self, of_one_file: Iterable[Confirmed]) -> None:
        for candle in of_one_file:
            self._try_append(candle)

    def _try_append(self, candle: Confirmed) -> None:
        """Appends a candle if it directly follows its file.

        The file's last row, confirmed again, is dropped.
        """
        file = self._files[candle.series]
        if candle.asked.start_ms != file.end_ms or candle.series in self._waiting:
            if candle.rows.text != file.last:
                self.others.append(candle)
            return
        self._files.thread.step("appending to", file.path)
        try:
            file.append(candle.rows)
        except FileChangedError:
            self.others.append(candle)
        else:
            self.appended.append(candle)
