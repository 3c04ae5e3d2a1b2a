"""The flusher: syncs files and saves the ledger when due."""

from collections.abc import Iterable, Sequence
from functools import partial

import attrs
import trio

from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.machine.clock import LocalClock
from collector.pipeline.flush_queue import SYNC_BATCH, FlushQueue, Save, Sync
from collector.pipeline.open_files import OpenFiles
from collector.settings.settings import Settings
from collector.storage.ledger import Ledger
from collector.storage.series_file import SeriesFile

_SLICE_S = 0.005  # of syncing at a time, so that candles that come meanwhile, a whole minute's end of them, hardly wait


@attrs.define(eq=False)
class Flusher:
    """Makes durable what was written."""

    _files: OpenFiles
    _ledger: Ledger
    _queue: FlushQueue
    _coverage: CoverageIndex
    _counters: Counters
    _settings: Settings
    _clock: LocalClock

    def apply(self, settings: Settings) -> None:
        """Follows other settings from now on."""
        self._settings = settings

    @property
    def due_s(self) -> float:
        """When the next step is due."""
        return self._queue.next_due_s(self._settings.flush_interval_s)

    @property
    def overdue(self) -> int:
        return self._queue.overdue(trio.current_time(), self._settings.flush_interval_s)

    def mark_unsaved(self, every_series: Iterable[Series]) -> None:
        """Has these saved with the next that are."""
        for series in every_series:
            self._queue.mark_unsaved(series, trio.current_time())

    async def run_due(self, *, busy: bool) -> None:
        """Takes the next step if it is due.

        A busy writer takes it later.
        """
        match self._queue.due(trio.current_time(), self._settings.flush_interval_s, busy=busy):
            case Sync(every_series):
                await self._sync(every_series)
            case Save(every_series):
                await self._save(every_series)

    async def save_all(self) -> None:
        """Syncs and saves everything."""
        while unsaved := self._queue.unsaved:
            await self._save(unsaved)

    async def _sync(self, every_series: Sequence[Series]) -> None:
        """Syncs the first of these: a slice of time, at least one."""
        files = [self._files[series] for series in every_series]
        since_s, began_s = self._queue.unsynced_since_s(every_series[0]), trio.current_time()
        count = await self._files.thread.run("syncing", files[0].path, partial(self._sync_some, files))
        self._counters.flushed(trio.current_time() - began_s, trio.current_time() - since_s)
        self._queue.mark_synced(every_series[:count])

    def _sync_some(self, files: Sequence[SeriesFile]) -> int:
        """Syncs files until the slice is over; how many."""
        elapsed_s, count = self._clock.elapsed_s, 0
        until_s = elapsed_s() + _SLICE_S
        for file in files:
            count += 1
            if self._settings.fsync:
                self._files.thread.step("syncing", file.path)
                file.sync()
            if elapsed_s() >= until_s:
                break
        if self._settings.fsync or self._settings.limit_to_50_entries:
            self._files.thread.step("syncing", self._files.store.directory)
            self._files.store.sync_names(files[:count])
        return count

    async def _save(self, every_series: Sequence[Series]) -> None:
        """Saves these in the ledger; those that are unsynced are synced first."""
        while unsynced := self._queue.unsynced_among(every_series):  # again for those that change meanwhile
            for at in range(0, len(unsynced), SYNC_BATCH):
                while batch := self._queue.unsynced_among(unsynced[at : at + SYNC_BATCH]):
                    await self._sync(batch)
        await self._files.thread.run("saving", self._ledger.path, partial(self._save_some, every_series))
        self._queue.mark_saved(every_series)
        self.mark_unsaved(sorted(self._coverage.outdated))  # the clock went back: their next candle may be far away
        self._coverage.outdated.clear()

    def _save_some(self, every_series: Sequence[Series]) -> None:
        self._ledger.save(self._coverage, {series: self._files.checkpoint(series) for series in every_series})
