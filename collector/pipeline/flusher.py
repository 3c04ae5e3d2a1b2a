"""The flusher: makes durable what was written, and saves the ledger, when due.

    one file that waits            its own sync
    many                           one block of the journal, with one sync
    the journal, after a while     all of its files are synced, together where the system can; then it is emptied

The ledger calls held what is synced in its file, so it follows when the journal is emptied.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from math import inf
from pathlib import Path

import attrs
import trio

from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.machine.clock import LocalClock
from collector.pipeline.flush_queue import SYNC_BATCH, FlushQueue, Save, Sync
from collector.pipeline.open_files import OpenFiles
from collector.settings.settings import Settings
from collector.storage.files import map_os_errors
from collector.storage.journal import JournalChangedError
from collector.storage.journal_format import Entry
from collector.storage.ledger import Ledger
from collector.storage.series_file import SeriesFile

_SLICE_S = 0.005  # of syncing at a time, so that candles that come meanwhile, a whole minute's end of them, hardly wait
_JOURNAL_S = 1800.0  # rows are unverified for longer than that, whether the ledger has them or not
_JOURNAL_BYTES = 16 * 1024 * 1024
_SAVED_WITH_A_BLOCK = 8  # series: what the newest of them want tells the time to who reads the ledger


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
    _journaled: dict[Series, None] = attrs.field(factory=dict)  # in the journal, and not synced in their files since
    _journal_due_s: float = inf  # for emptying
    _most_at_once: int | None = None  # files to be synced, where a slice of time was not enough for all

    def apply(self, settings: Settings) -> None:
        """Follows other settings from now on."""
        self._settings = settings

    @property
    def due_s(self) -> float:
        """When the next step is due."""
        return min(self._queue.next_due_s(self._settings.flush_interval_s), self._journal_due_s)

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
            case None:
                by_s = trio.current_time() - (_JOURNAL_S if busy else 0)
                if self._journal_due_s <= by_s:
                    await self._settle_some()

    async def save_all(self) -> None:
        """Syncs and saves everything."""
        while self._queue.unsynced or self._journaled:
            self._journaled |= dict.fromkeys(self._queue.unsynced)
            await self.settle()
        while unsaved := self._queue.unsaved:
            await self._save(unsaved)

    async def settle(self) -> None:
        """Empties the journal, whose files are synced before."""
        while self._journaled:
            await self._settle_some()

    async def _sync(self, every_series: Sequence[Series]) -> None:
        """Makes the first of these durable, and with them all that a block of the journal takes."""
        since_s, began_s = self._queue.unsynced_since_s(every_series[0]), trio.current_time()
        done = await self._journal(every_series) or await self._name_all() or await self._sync_files(every_series)
        self._counters.flushed(trio.current_time() - began_s, trio.current_time() - since_s)
        self._queue.mark_synced(done)
        self._files.changes.flushed(done, trio.current_time())

    async def _journal(self, every_series: Sequence[Series]) -> Sequence[Series]:
        """Writes a block with the rows of all files that wait; none where a file's own sync is as good."""
        if not self._settings.fsync or not any(self._files[series].can_be_journaled for series in every_series):
            return ()
        chosen = [series for series in self._queue.unsynced if self._files[series].can_be_journaled]
        if len(chosen) < 2:
            return ()
        files = [self._files[series] for series in chosen]
        journal = self._ledger.journal
        try:
            await self._files.thread.run("writing to", journal.path, partial(self._write_block, chosen, files))
        except JournalChangedError:
            self._journaled |= dict.fromkeys(chosen)
            await self.settle()
            return chosen
        self._journaled |= dict.fromkeys(chosen)
        now_s = trio.current_time()
        self._journal_due_s = min(self._journal_due_s, now_s + _JOURNAL_S)
        if journal.size > _JOURNAL_BYTES:
            self._journal_due_s = now_s
        self.mark_unsaved(chosen[-_SAVED_WITH_A_BLOCK:])
        return chosen

    def _write_block(self, every_series: Sequence[Series], files: Sequence[SeriesFile]) -> None:
        named = zip(every_series, files, strict=True)
        self._ledger.journal.append([_entry(series, file) for series, file in named])
        for file in files:
            file.unsynced.clear()
        self._sync_names(files)

    async def _name_all(self) -> Sequence[Series]:
        """Makes the names of all files durable that wait for nothing else, if there are several."""
        chosen = [series for series in self._queue.unsynced if self._files[series].is_synced]
        if len(chosen) < 2:
            return ()
        files = [self._files[series] for series in chosen]
        await self._files.thread.run("syncing", self._files.store.directory, partial(self._sync_names, files))
        for series in chosen:
            self._note_synced(series)
        return chosen

    def _note_synced(self, series: Series) -> None:
        """The ledger may say what the file holds."""
        self._journaled.pop(series, None)
        self._queue.mark_unsaved(series, self._queue.unsynced_since_s(series))

    async def _sync_files(self, every_series: Sequence[Series]) -> Sequence[Series]:
        """Syncs the files of the first of these: a slice of time, at least one."""
        files = [self._files[series] for series in every_series]
        count = await self._files.thread.run("syncing", files[0].path, partial(self._sync_some, files))
        for series in every_series[:count]:
            self._note_synced(series)
        return every_series[:count]

    def _sync_some(self, files: Sequence[SeriesFile]) -> int:
        """Syncs files until the slice is over; how many."""
        elapsed_s, count = self._clock.elapsed_s, 0
        until_s = elapsed_s() + _SLICE_S
        for file in files:
            count += 1
            if not self._settings.fsync:
                file.mark_synced(file.size)
            elif not file.is_synced:
                self._files.thread.step("syncing", file.path)
                file.sync()
            if elapsed_s() >= until_s:
                break
        self._sync_names(files[:count])
        return count

    def _sync_names(self, files: Sequence[SeriesFile]) -> None:
        if self._settings.fsync or self._settings.limit_to_50_entries:
            self._files.thread.step("syncing", self._files.store.directory)
            self._files.store.sync_names(files)

    async def _settle_some(self) -> None:
        """Syncs files of the journal: all of a file system at once, or a slice of time; empties it after the last."""
        chosen = [*islice(self._journaled, self._most_at_once)]
        left = {series: self._files[series] for series in chosen if series in self._files}
        now_s = trio.current_time()
        since_s = min(map(self._queue.unsynced_since_s, self._queue.unsynced_among(left)), default=now_s)
        self._queue.mark_synced(left)
        work = partial(self._settle_slice, list(left.values()), is_last=len(chosen) == len(self._journaled))
        done = await self._files.thread.run("syncing", self._files.store.directory, work)
        self._counters.flushed(trio.current_time() - now_s, trio.current_time() - since_s)
        for series in chosen:
            if series not in left or left[series].path in done:
                del self._journaled[series]
            else:
                self._queue.mark_unsynced(series, now_s)
        settled = [series for series in left if series not in self._journaled]
        self.mark_unsaved(settled)
        self._files.changes.flushed(settled, trio.current_time())
        self._most_at_once = SYNC_BATCH if self._journaled else None
        self._journal_due_s = self._journal_due_s if self._journaled else inf

    def _settle_slice(self, files: Sequence[SeriesFile], *, is_last: bool) -> set[Path]:
        """Syncs the first of these files; which."""
        elapsed_s, thread, journal = self._clock.elapsed_s, self._files.thread, self._ledger.journal
        until_s, paths = elapsed_s() + _SLICE_S, {file.path: file.size for file in files if not file.is_synced}

        def goes_on(path: Path) -> bool:
            thread.step("syncing", path)
            return elapsed_s() < until_s

        synced = set(paths)
        if self._settings.fsync or journal.size:
            with map_os_errors(self._files.store.directory), _written_again(files):
                synced = set(self._ledger.file_systems.sync(self._files.store.files, paths, goes_on))
        for file in files:
            if file.path in synced and file.size == paths[file.path]:
                file.mark_synced(file.size)
        done = {*synced, *(file.path for file in files if file.path not in paths)}
        self._sync_names([file for file in files if file.path in done])
        if is_last and len(done) == len(files):
            journal.empty()
        return done

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
        self._files.changes.saved(every_series)

    def _save_some(self, every_series: Sequence[Series]) -> None:
        self._ledger.save(self._coverage, {series: self._files.checkpoint(series) for series in every_series})


def _entry(series: Series, file: SeriesFile) -> Entry:
    return Entry(series.name, file.synced, file.size - len(file.unsynced.text), file.unsynced.text)


@contextmanager
def _written_again(files: Iterable[SeriesFile]) -> Iterator[None]:
    """Writes what is unsynced once more if syncing fails: as `SeriesFile.sync` says, it may be lost."""
    try:
        yield
    except OSError:
        for file in files:
            with suppress(OSError):
                file.rewrite_unsynced()
        raise
