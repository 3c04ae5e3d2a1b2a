"""The append batch: candles of one moment that directly follow their files, appended within one thread call.

At the end of a minute they come by the thousand, and nearly all follow. A thread call for each would cost more than the
writing does.
"""

from collections.abc import Container, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.errors import SkipFile
from collector.core.events import Confirmed
from collector.pipeline.open_files import OpenFiles
from collector.storage.files import map_os_errors
from collector.storage.series_file import FileChangedError, Roll, SeriesFile

_AT_ONCE = 8  # renames and syncs: a disk makes what comes together durable together


@attrs.define(eq=False)
class AppendBatch:
    """Appends candles and sorts out the others.

    All that it tells is right also when the disk refused half-way.
    """

    _files: OpenFiles
    _waiting: Container[Series]  # series of which earlier answers wait
    appended: list[Confirmed] = attrs.field(factory=list)
    others: list[Confirmed] = attrs.field(factory=list)  # new ones that belong elsewhere
    refused: dict[Series, str] = attrs.field(factory=dict)  # whose files may not be written, and why

    def run(self, candles: Sequence[Confirmed]) -> None:
        """Appends what it can, within the disk thread.

        Full files, under the limit, are replaced together.
        """
        self._files.kept.look()
        full: dict[Series, list[Confirmed]] = {}
        for candle in candles:
            file = self._files[candle.series]
            if file.is_full:
                full.setdefault(candle.series, []).append(candle)
            elif self._follows(candle, file):
                self._append(candle, file)
        for round_of in zip_longest(*full.values()):  # a file's candles one after another
            self._roll([each for each in round_of if each and self._follows(each, self._files[each.series])])

    def _follows(self, candle: Confirmed, file: SeriesFile) -> bool:
        """Whether a candle directly follows its file; another is put aside.

        The file's last row, confirmed again, is dropped.
        """
        follows = candle.asked.start_ms == file.end_ms and candle.series not in self._waiting
        if not follows and candle.rows.text != file.last:
            self.others.append(candle)
        return follows

    def _append(self, candle: Confirmed, file: SeriesFile) -> None:
        self._files.thread.step("appending to", file.path)
        try:
            file.append(candle.rows, self._files.kept.get(file.path))
        except FileChangedError:
            self.others.append(candle)
        except SkipFile as refusal:
            self.refused[candle.series] = str(refusal)
        else:
            self.appended.append(candle)

    def _roll(self, candles: Iterable[Confirmed]) -> None:
        """Replaces full files: all new ones are written, then made durable, then put in their places."""
        rolls: list[tuple[Confirmed, Roll]] = []
        try:
            for candle in candles:
                file = self._files[candle.series]
                self._files.thread.step("replacing", file.path)
                try:
                    rolls.append((candle, file.prepare_roll(candle.rows)))
                except FileChangedError:
                    self.others.append(candle)
                except SkipFile as refusal:
                    self.refused[candle.series] = str(refusal)
            self._sync([roll.new.path for _, roll in rolls])
            self._files.thread.threads.run_on_each(self._finish, rolls, _AT_ONCE)
        finally:
            finished = set(map(id, self.appended))
            for candle, roll in rolls:
                if id(candle) not in finished:
                    self._files.store.files.discard(roll.new)

    def _finish(self, rolled: tuple[Confirmed, Roll]) -> None:
        candle, roll = rolled
        try:
            self._files[candle.series].finish_roll(roll)
        except SkipFile as refusal:
            self.refused[candle.series] = str(refusal)
        else:
            self.appended.append(candle)

    def _sync(self, paths: Sequence[Path]) -> None:
        store, thread = self._files.store, self._files.thread
        thread.step("syncing", store.directory)
        with map_os_errors(store.directory):
            left = self._files.systems.sync_whole(store.disk, paths)
            thread.threads.run_on_each(store.files.sync, left, _AT_ONCE)
