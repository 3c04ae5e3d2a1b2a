"""The single writer: takes what the exchange answered from the channel and puts it into the files.

Rows that continue a file are appended; rows beyond a hole that somebody is about to fill wait (staged) until it is
filled or given up; rows that belong before the end of a file are inserted. After each, the book learns what is held.
Nobody else changes a file, and the writer never decides what to fetch.
"""

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import TypeVar

import attrs
import trio

from collector.book import Book
from collector.candle import Series
from collector.coverage import NOTHING, Spans
from collector.events import Answered, Event, GaveUp
from collector.inspection import Mark
from collector.ledger import Ledger
from collector.logs import get_logger
from collector.planning import NEWEST
from collector.rows import Rows, candles_in
from collector.settings import Settings
from collector.store import FileChangedError, SeriesFile, Store
from collector.vitals import Vitals

log = get_logger(__name__)
T = TypeVar("T")

# Enough pages for every request in flight to land at once, few enough that memory stays small (a page is some 80 KB).
CHANNEL = 64
_STAGED_BYTES = 64 * 1024 * 1024  # beyond this, staged rows are written although the hole before them is still open
_SAVE_EVERY_S = 5.0


@attrs.define
class _Stage:
    """Answers of one series that wait for what lies before them."""

    answers: list[Answered] = attrs.field(factory=list)
    spans: Spans = NOTHING

    @property
    def bytes(self) -> int:
        return sum(len(answer.rows.text) for answer in self.answers)


@attrs.define(eq=False)
class Writer:
    """Writes until its channel ends. Raises `StorageError` when the disk refuses; the files are intact then."""

    _store: Store
    _ledger: Ledger
    _book: Book
    _vitals: Vitals
    _settings: Settings
    _marks: dict[Series, Mark]
    _files: dict[Series, SeriesFile] = attrs.field(factory=dict)
    _stages: dict[Series, _Stage] = attrs.field(factory=dict)
    _unsynced: set[Series] = attrs.field(factory=set)
    _unsaved: set[Series] = attrs.field(factory=set)
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    async def open_files(self, every_series: Iterable[Series]) -> None:
        """Finds out what the files hold; to be done before anything is fetched."""
        for series in every_series:
            self._files[series] = await self._in_thread(partial(self._open, series))
            self._book.hold(series, self._files[series].held)
            self._unsaved.add(series)

    async def write(self, channel: trio.MemoryReceiveChannel[Event]) -> None:
        """Takes events until every sender has closed; then everything received is written, synced and saved."""
        flush_s = self._settings.flush_interval_s
        next_flush_s = trio.current_time() + flush_s
        next_save_s = trio.current_time() + _SAVE_EVERY_S
        with channel:
            while await self._take_one(channel, next_flush_s):
                now_s = trio.current_time()
                if now_s >= next_flush_s:
                    await self._sync()
                    next_flush_s = now_s + flush_s
                if now_s >= next_save_s:
                    await self._save()
                    next_save_s = now_s + _SAVE_EVERY_S
        for series in list(self._stages):
            await self._write(series, self._stages.pop(series).answers)
        await self._sync()
        await self._save()

    async def _take_one(self, channel: trio.MemoryReceiveChannel[Event], until_s: float) -> bool:
        """Deals with the next event, if one comes in time; False at the end of the channel."""
        event: Event | None = None
        try:
            with trio.move_on_at(until_s):
                event = await channel.receive()
        except trio.EndOfChannel:
            return False
        if event is not None:
            await self._take(event)
        return True

    async def _take(self, event: Event) -> None:
        series = event.series
        self._unsaved.add(series)
        if isinstance(event, GaveUp):
            self._book.fail(series, event.asked, event.why, event.at_ms)
        else:
            stage = self._stages.setdefault(series, _Stage())
            stage.answers.append(event)
            stage.spans |= Spans((event.asked,))
        if series in self._stages:
            await self._release(series)

    async def _release(self, series: Series) -> None:
        """Writes the staged answers that nothing in flight holds back any more, or all when they are too many."""
        stage = self._stages[series]
        ready = self._ready(series, stage)
        if len(ready) < len(stage.answers) and sum(each.bytes for each in self._stages.values()) > _STAGED_BYTES:
            ready = stage.answers
        if not ready:
            return
        waiting = [answer for answer in stage.answers if not any(answer is each for each in ready)]
        if waiting:
            self._stages[series] = _Stage(waiting, Spans.of(*(answer.asked for answer in waiting)))
        else:
            del self._stages[series]
        await self._write(series, ready)

    def _ready(self, series: Series, stage: _Stage) -> list[Answered]:
        """The answers that need not wait.

        Behind the file's end, those with nothing in flight between them and the end: so a file grows at its tail.
        Before it, all of them once nothing before the end is in flight: so a deeper history goes in with one copy.
        """
        end_ms = self._files[series].end_ms
        under_way = self._book[series].in_flight - stage.spans
        before = under_way.within(-1, end_ms)
        behind = under_way - before
        first_hole_ms = behind.hull.start_ms if behind else inf
        return [
            answer
            for answer in stage.answers
            if (answer.asked.end_ms <= first_hole_ms if answer.asked.start_ms >= end_ms else not before)
        ]

    async def _write(self, series: Series, answers: list[Answered]) -> None:
        file = self._files[series]
        pages = [answer.rows for answer in answers if answer.rows]
        if pages:
            try:
                await self._put(series, file, pages)
            except FileChangedError as change:
                log.warning("file changed by somebody else, reading it again", series=str(series), why=str(change))
                file = self._files[series] = await self._in_thread(partial(self._open, series))
                await self._put(series, file, pages)
            self._unsynced.add(series)
        self._book.hold(series, file.held)
        for answer in answers:
            self._book.answer(series, answer.asked, answer.rows.covered & file.held, answer.at_ms)

    async def _put(self, series: Series, file: SeriesFile, pages: list[Rows]) -> None:
        keep = NEWEST if self._settings.limit_to_50_entries else None
        hull = Spans.of(*(page.covered.hull for page in pages)).hull
        count = sum(candles_in(series.timeframe, page.covered) for page in pages)
        if hull.start_ms >= file.end_ms and (keep is None or file.rows + count <= keep):
            for page in sorted(pages, key=lambda page: page.covered.hull.start_ms):
                file.append(page)
            self._vitals.appends += 1
        else:
            revisions = await self._in_thread(partial(file.insert, pages, keep))
            self._vitals.rewrites += 1
            self._vitals.revisions += len(revisions)
            for revision in revisions:
                log.info("candle revised", series=str(series), before=revision.before, after=revision.after)
        self._vitals.wrote(series, count, hull.end_ms)

    async def _sync(self) -> None:
        if self._settings.fsync and self._unsynced:
            files = [self._files[series] for series in self._unsynced]
            await self._in_thread(partial(_sync_all, files))
        self._unsynced.clear()

    async def _save(self) -> None:
        """Saves the ledger; the files were synced just before, so it never runs ahead of them."""
        await self._sync()
        marks = {series: self._files[series].mark() for series in self._unsaved if series in self._files}
        if marks:
            await self._in_thread(partial(self._ledger.save, self._book, marks))
        self._unsaved.clear()

    def _open(self, series: Series) -> SeriesFile:
        file, finding = self._store.open(series, self._marks.get(series))
        if finding:
            log.warning("file mended", file=finding.file, what=finding.what)
        return file

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._thread)


def _sync_all(files: list[SeriesFile]) -> None:
    for file in files:
        file.sync()
