"""The single writer: takes what the exchange answered from the channel and puts it into the files.

Rows that continue a file are appended; rows beyond a hole that somebody is about to fill wait (staged) until it is
filled or given up; rows that belong before the end of a file are inserted. After each, the book learns what is held.
Nobody else changes a file, and the writer never decides what to fetch.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from math import inf
from typing import TypeVar

import attrs
import trio

from collector.book import Book
from collector.candle import Series
from collector.coverage import NOTHING, Spans
from collector.events import Answered, Confirmed, Event, GaveUp
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

    answers: list[Answered | Confirmed] = attrs.field(factory=list)
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
            file = self._files[series] = await self._in_thread(partial(self._open, series))
            self._book.hold(series, file.held)
            if (mark := self._marks.get(series)) is not None:
                self._book.suspect(series, file.held - mark.held)
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
        if isinstance(event, tuple):
            for candle in event:
                await self._take_confirmed(candle)
        elif isinstance(event, GaveUp):
            self._unsaved.add(event.series)
            self._book.fail(event.series, event.asked, event.why, event.at_ms)
            await self._release(event.series)
        else:
            await self._stage(event)

    async def _take_confirmed(self, candle: Confirmed) -> None:
        """A candle from the stream. At a minute's end they come by the thousand, and nearly all simply go on."""
        series, file = candle.series, self._files[candle.series]
        if candle.asked.start_ms != file.end_ms or series in self._stages or self._is_full(file, 1):
            if candle.rows.text != file.last:  # the exchange may confirm twice
                await self._stage(candle)
            return
        try:
            file.append(candle.rows)
        except FileChangedError:
            await self._stage(candle)
            return
        self._unsaved.add(series)
        self._unsynced.add(series)
        self._book.confirm(series, candle.asked)
        self._vitals.appended(series, 1, candle.asked.end_ms)

    async def _stage(self, answer: Answered | Confirmed) -> None:
        self._unsaved.add(answer.series)
        stage = self._stages.setdefault(answer.series, _Stage())
        stage.answers.append(answer)
        stage.spans |= Spans((answer.asked,))
        await self._release(answer.series)

    async def _release(self, series: Series) -> None:
        """Writes the staged answers that nothing holds back any more, or all when they are too many."""
        stage = self._stages.get(series)
        if stage is None:
            return
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

    def _ready(self, series: Series, stage: _Stage) -> list[Answered | Confirmed]:
        """The answers that need not wait.

        Behind the file's end, those with no hole before them that is going to be filled: so a file grows at its tail.
        Before it, all of them once nothing before the end is in flight: so a deeper history goes in with one copy.
        """
        end_ms, record = self._files[series].end_ms, self._book[series]
        filling = (record.in_flight - stage.spans).within(-1, end_ms)
        hole = self._book.hole(series, end_ms, stage.spans.hull.end_ms, stage.spans)
        first_hole_ms = hole[0].start_ms if hole else inf
        return [
            answer
            for answer in stage.answers
            if (answer.asked.start_ms < first_hole_ms if answer.asked.start_ms >= end_ms else not filling)
        ]

    async def _write(self, series: Series, answers: list[Answered | Confirmed]) -> None:
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
            if isinstance(answer, Answered):
                self._book.answer(series, answer.asked, answer.rows.covered & file.held, answer.at_ms)
            elif answer.asked.start_ms in file.held:
                self._book.confirm(series, answer.asked)

    async def _put(self, series: Series, file: SeriesFile, pages: list[Rows]) -> None:
        hulls = sorted(page.covered.hull for page in pages)
        count = sum(candles_in(series.timeframe, page.covered) for page in pages)
        apart = all(before.end_ms <= after.start_ms for before, after in pairwise(hulls))
        if apart and hulls[0].start_ms >= file.end_ms and not self._is_full(file, count):
            for page in sorted(pages, key=lambda page: page.covered.hull):
                file.append(page)
            self._vitals.appended(series, count, hulls[-1].end_ms)
            return
        size, held = file.size, file.held
        revisions = await self._in_thread(partial(file.insert, pages, self._keep))
        if revisions or file.size != size:
            new = candles_in(series.timeframe, file.held - held)
            self._vitals.rewrote(series, new, file.end_ms, len(revisions))
        for revision in revisions:
            log.info("candle revised", series=str(series), before=revision.before, after=revision.after)

    @property
    def _keep(self) -> int | None:
        """How many of the newest rows a file may hold; None: all."""
        return NEWEST if self._settings.limit_to_50_entries else None

    def _is_full(self, file: SeriesFile, more: int) -> bool:
        return self._keep is not None and file.rows + more > self._keep

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
