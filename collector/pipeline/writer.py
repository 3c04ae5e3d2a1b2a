"""The single writer: takes what the exchange answered from the channel and puts it into the files.

Rows that continue a file are appended; rows beyond a hole that somebody is about to fill wait (staged) until it is
filled or given up; rows that belong before the end of a file are inserted. After each, the book learns what is held.
Nobody else changes a file, and the writer never decides what to fetch.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice, pairwise
from math import inf
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from collector.core.candle import Series
from collector.core.counters import Counters, Work
from collector.core.coverage import CoverageIndex
from collector.core.events import Answered, Confirmed, Event, GaveUp
from collector.core.planning import NEWEST
from collector.core.rows import Rows, candles_in
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import counted, moment_text
from collector.core.verification import unverified_at_opening
from collector.errors import LeftAlone, StorageError
from collector.logs import get_logger
from collector.machine import Machine
from collector.settings.settings import Settings
from collector.storage.csv_store import FileChangedError, SeriesFile, Store
from collector.storage.inspection import Checkpoint
from collector.storage.ledger import Ledger
from collector.storage.quarantine import Piece

log = get_logger(__name__)
T = TypeVar("T")

# Enough pages for every request in flight to land at once, few enough that memory stays small (a page is some 80 KB).
CHANNEL = 64
# Beyond these, staged rows are written although the hole before them is still open. It is filled within seconds unless
# nobody answers; then a series that the stream goes on with must not become stale, let alone wait in memory for hours.
_STAGED_BYTES = 64 * 1024 * 1024
_STAGED_S = 120.0
# Syncing and saving are done in slices, so that candles that come meanwhile, a whole minute's end of them, hardly wait.
_SLICE_S = 0.005
_SYNC_S = 0.0002  # to sync one file; many are begun so much earlier, to be done within the flush interval
_SYNC_AT_ONCE = 32
_SAVE_AFTER_S = 5.0
_SAVE_AT_ONCE = 256
_ROLLED_AT_ONCE = 8  # full files: each is synced, and a disk makes what comes together durable together
_TRIES = 4  # to write a file that somebody else writes too


@attrs.define
class _Stage:
    """Answers of one series that wait for what lies before them."""

    answers: list[Answered | Confirmed] = attrs.field(factory=list)
    spans: Spans = NOTHING
    since_s: float = attrs.field(
        factory=trio.current_time
    )  # when they began to wait, or the last before them was written

    @property
    def bytes(self) -> int:
        return sum(len(answer.rows.text) for answer in self.answers)


@attrs.define(eq=False)
class Writer:
    """Writes until its channel ends. Raises `StorageError` when the disk refuses; the files are intact then."""

    _store: Store
    _ledger: Ledger
    _coverage: CoverageIndex
    _counters: Counters
    _settings: Settings
    _checkpoints: dict[Series, Checkpoint]
    _exchange_ms: Callable[[int], Awaitable[int]]  # its time; sure to have been asked if it is before the given one
    _machine: Machine
    _spares_long: bool  # the limit is not for files that are longer already
    _files: dict[Series, SeriesFile] = attrs.field(factory=dict)
    _stages: dict[Series, _Stage] = attrs.field(factory=dict)
    _unsynced: dict[Series, float] = attrs.field(factory=dict)  # since when, oldest first
    _unsaved: dict[Series, float] = attrs.field(factory=dict)
    # The newest close on record: the exchange's clock had passed it, whatever answers say that lie about the time.
    _passed_ms: int = attrs.field(init=False)
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _channel: trio.MemoryReceiveChannel[Event] | None = None
    _to_open: int = 0
    _done: int = 0  # events taken, and every file begun with
    _call: tuple[str, Path] | None = None  # what the thread is doing to which file

    @_passed_ms.default
    def _newest_close(self) -> int:
        return max(
            (checkpoint.held.bounds.end_ms for checkpoint in self._checkpoints.values() if checkpoint.held), default=0
        )

    def change(self, settings: Settings) -> None:
        """Follows other settings from now on."""
        self._settings = settings

    @property
    def work(self) -> Work:
        """What waits because it has come or is overdue, what was done so far, and what is being done."""
        queued = self._channel.statistics().current_buffer_used if self._channel else 0
        overdue = sum(due_s <= trio.current_time() for due_s in (self._sync_due_s, self._save_due_s))
        waiting = self._to_open + queued + overdue + (self._call is not None)
        at = f"{self._call[0]} {self._call[1].name}" if self._call else ""
        return Work(waiting, self._done + self._store.files.parts, at)

    async def open_files(self, every_series: Sequence[Series]) -> None:
        """Finds out what the files hold; to be done before anything is fetched, and again if the disk refuses."""
        due = deque(series for series in every_series if series not in self._files)
        self._to_open += len(due)
        try:
            while due:
                await self._open_or_leave(due[0])
                self._to_open -= 1
                self._note(self._unsaved, due.popleft())
        finally:
            self._to_open -= len(due)

    async def _open_or_leave(self, series: Series) -> None:
        try:
            await self._open_file(series)
        except LeftAlone as refusal:
            self._leave_alone(series, str(refusal))
        except StorageError:
            self._files.pop(series, None)
            self._unsynced.pop(series, None)
            raise

    async def _open_file(self, series: Series) -> None:
        file = self._files[series] = await self._opened(series)
        if file.name_unsynced:
            self._note(self._unsynced, series)
        self._hold(series, file)
        await self._put_back(series, file)

    def remember(self, every_series: Iterable[Series]) -> None:
        """What the book says of these has changed: it is saved with the next that are."""
        for series in every_series:
            self._note(self._unsaved, series)

    async def write(self, channel: trio.MemoryReceiveChannel[Event]) -> None:
        """Takes events until every sender has closed; then everything received is written, synced and saved."""
        self._channel = channel
        with channel:
            while await self._take_one(channel):
                await self._tidy(busy=channel.statistics().current_buffer_used > 0)
        for series in list(self._stages):
            answers = self._stages.pop(series).answers
            await self._write(series, answers, _rows_of(answers))
        for series, file in self._files.items():
            await self._put_back(series, file)
        while self._unsaved:
            await self._save(list(self._unsaved))

    async def _take_one(self, channel: trio.MemoryReceiveChannel[Event]) -> bool:
        """Deals with the next event, if one comes before it is time to tidy; False at the end of the channel."""
        event: Event | None = None
        await trio.lowlevel.checkpoint()
        try:
            event = channel.receive_nowait()
        except trio.WouldBlock:
            with (
                suppress(trio.EndOfChannel),
                trio.move_on_at(min(self._sync_due_s, self._save_due_s)),
            ):
                event = await channel.receive()
        except trio.EndOfChannel:
            return False
        if event is not None:
            await self._take(event)
            self._done += 1
        return True

    async def _tidy(self, *, busy: bool) -> None:
        """Syncs or saves a little if it is time. While candles wait to be written they come first, but not for
        ever."""
        by_s = trio.current_time() - (self._settings.flush_interval_s if busy else 0)
        if self._sync_due_s <= by_s:
            await self._sync(list(islice(self._unsynced, _SYNC_AT_ONCE)))
        elif self._save_due_s <= by_s:
            await self._save(list(islice(self._unsaved, _SAVE_AT_ONCE)))

    @property
    def _sync_due_s(self) -> float:
        early_s = self._settings.flush_interval_s - len(self._unsynced) * _SYNC_S
        return next(iter(self._unsynced.values()), inf) + early_s

    @property
    def _save_due_s(self) -> float:
        return next(iter(self._unsaved.values()), inf) + _SAVE_AFTER_S

    async def _take(self, event: Event) -> None:
        if isinstance(event, tuple):
            candles = [each for each in event if each.series in self._files]
            for candle in await self._append_all(candles) if candles else ():
                await self._stage(candle)
            self._counters.taken += len(event)
        elif event.series in self._coverage.left_alone:
            self._coverage.cancel_fetch(event.series, Spans((event.asked,)))
            self._counters.landed += 1
        elif isinstance(event, GaveUp):
            self._note(self._unsaved, event.series)
            self._coverage.fail(event.series, event.asked, event.why, event.at_ms)
            await self._release(event.series)
            self._counters.landed += 1
        else:
            await self._stage(event)
            self._counters.landed += 1

    async def _append_all(self, candles: Sequence[Confirmed]) -> list[Confirmed]:
        """Appends the candles from the stream that directly follow their files; returns the others.

        At a minute's end they come by the thousand, and nearly all do: one thread call takes a whole batch.
        """
        appended: list[Confirmed] = []
        others: list[Confirmed] = []
        path = self._files[candles[0].series].path
        try:
            await self._in_thread("appending to", path, partial(self._append_some, candles, appended, others))
        finally:
            for candle in appended:
                self._note_appended(candle)
        return others

    def _append_some(self, candles: Sequence[Confirmed], appended: list[Confirmed], others: list[Confirmed]) -> None:
        full: dict[Series, list[Confirmed]] = {}
        for candle in candles:
            if self._files[candle.series].is_full:
                full.setdefault(candle.series, []).append(candle)
            else:
                self._append(candle, appended, others)

        def roll(of_one_file: Sequence[Confirmed]) -> None:
            for candle in of_one_file:
                self._append(candle, appended, others)

        self._machine.threads.run_on_each(roll, [*full.values()], _ROLLED_AT_ONCE)

    def _append(self, candle: Confirmed, appended: list[Confirmed], others: list[Confirmed]) -> None:
        file = self._files[candle.series]
        if candle.asked.start_ms != file.end_ms or candle.series in self._stages:
            if candle.rows.text != file.last:  # the exchange may confirm twice
                others.append(candle)
            return
        self._begin("appending to", file.path)
        try:
            file.append(candle.rows)
        except FileChangedError:
            others.append(candle)
        else:
            appended.append(candle)

    def _note_appended(self, candle: Confirmed) -> None:
        series, file = candle.series, self._files[candle.series]
        self._note(self._unsaved, series)
        self._note(self._unsynced, series)
        self._coverage[series].confirm(candle.rows.covered, file.held)
        if file.keep is not None:
            self._hold(series, file)
        self._counters.appended(series, 1, candle.asked.end_ms)

    async def _stage(self, answer: Answered | Confirmed) -> None:
        stage = self._stages.setdefault(answer.series, _Stage())
        stage.answers.append(answer)
        stage.spans |= Spans((answer.asked,))
        await self._release(answer.series, arrived=answer)

    async def _release(self, series: Series, arrived: Answered | Confirmed | None = None) -> None:
        """Writes the staged answers that nothing holds back any more, or all when they are too many or wait too long.

        All but the one that has just arrived have waited.
        """
        stage = self._stages.get(series)
        if stage is None:
            return
        ready = self._ready(series, stage)
        if len(ready) < len(stage.answers) and self._is_too_much(stage):
            ready = stage.answers
        if not ready:
            return
        waiting = [answer for answer in stage.answers if not any(answer is each for each in ready)]
        if waiting:
            self._stages[series] = _Stage(waiting, Spans.of(*(answer.asked for answer in waiting)))
        else:
            del self._stages[series]
        await self._write(series, ready, _rows_of(answer for answer in ready if answer is not arrived))

    def _is_too_much(self, stage: _Stage) -> bool:
        too_long = trio.current_time() - stage.since_s > _STAGED_S
        return too_long or sum(each.bytes for each in self._stages.values()) > _STAGED_BYTES

    def _ready(self, series: Series, stage: _Stage) -> list[Answered | Confirmed]:
        """The answers that need not wait.

        Behind the file's end, those with no hole before them that is going to be filled: so a file grows at its tail.
        Before it, all of them once nothing before the end is in flight: so a deeper history goes in with one copy.
        """
        end_ms, record = self._files[series].end_ms, self._coverage[series]
        filling = (record.in_flight - stage.spans).within(-1, end_ms)
        hole = self._coverage[series].fillable(end_ms, stage.spans.bounds.end_ms, stage.spans)
        first_hole_ms = hole[0].start_ms if hole else inf
        return [
            answer
            for answer in stage.answers
            if (answer.asked.start_ms < first_hole_ms if answer.asked.start_ms >= end_ms else not filling)
        ]

    async def _write(self, series: Series, answers: list[Answered | Confirmed], staged: int) -> None:
        """Writes answers, so many rows of which have waited."""
        try:
            await self._write_all(series, answers, staged)
        except LeftAlone as refusal:
            self._leave_alone(series, str(refusal))
        else:
            await self._put_back(series, self._files[series])

    async def _write_all(self, series: Series, answers: list[Answered | Confirmed], staged: int) -> None:
        file = self._files[series]
        pages = [answer.rows for answer in answers if answer.rows]
        if pages:
            for _ in range(_TRIES):
                try:
                    await self._put(series, file, pages, staged)
                    break
                except FileChangedError as change:
                    log.warning("file changed by somebody else, reading it again", series=str(series), why=str(change))
                self._checkpoints.pop(series, None)  # from now on nothing about the file is taken for granted
                file = self._files[series] = await self._opened(series)
            else:
                raise StorageError(f"{file.path} is changed by somebody else again and again; it cannot be written")
            self._note(self._unsynced, series)
        self._note(self._unsaved, series)
        self._hold(series, file)
        for answer in answers:
            if isinstance(answer, Answered):
                covered = answer.rows.covered & file.held
                self._coverage.answer(series, answer.asked, covered, answer.at_ms, answer.invalid)
            elif answer.asked.start_ms in file.held:
                self._coverage[series].confirm(answer.rows.covered, file.held)

    async def _put(self, series: Series, file: SeriesFile, pages: list[Rows], staged: int) -> None:
        hulls = sorted(page.covered.bounds for page in pages)
        count = sum(candles_in(series.timeframe, page.covered) for page in pages)
        apart = all(before.end_ms <= after.start_ms for before, after in pairwise(hulls))
        if apart and hulls[0].start_ms >= file.end_ms:
            await self._in_thread("appending to", file.path, partial(_append_pages, file, pages))
            self._counters.appended(series, count, hulls[-1].end_ms, staged)
        else:
            await self._insert(series, file, pages)

    async def _insert(self, series: Series, file: SeriesFile, pages: list[Rows]) -> None:
        size, held = file.size, file.held
        revisions = await self._in_thread("rewriting", file.path, partial(file.insert, pages))
        if revisions or file.size != size:
            new = candles_in(series.timeframe, file.held - held)
            self._counters.rewrote(series, new, file.end_ms, len(revisions))
        for revision in revisions:
            before, after = revision.before.decode("utf-8", "replace").strip(), revision.after.decode().strip()
            log.info("candle replaced", series=str(series), before=before, after=after)

    async def _put_back(self, series: Series, file: SeriesFile) -> None:
        """Has the exchange asked for what was taken out of a file, and puts in again what it does not have."""
        if not file.pieces:
            return
        reach = {piece: _reach(file, piece) for piece in file.pieces}
        if file.keep is None:  # with a limit, no more than the newest are wanted
            self._coverage.want_quarantined(series, Spans.of(*reach.values()))
        settled = self._coverage[series].settled()
        if any(piece.covered & settled - file.held for piece in file.pieces):
            await self._in_thread("putting back", file.path, partial(self._put_in, file, settled))
            self._note(self._unsynced, series)
            self._note(self._unsaved, series)
            self._hold(series, file)
        for piece, span in reach.items():
            if not Spans((span,)) - file.held - settled:
                await self._in_thread("putting back", piece.path, partial(self._store.finish, file, piece))

    def _put_in(self, file: SeriesFile, spans: Spans) -> None:
        with suppress(FileChangedError):  # will be noticed, and dealt with, when it is written
            rows = file.restore(spans)
            log.warning("rows put back that the exchange does not have", file=file.path.name, rows=rows)

    def _leave_alone(self, series: Series, why: str) -> None:
        """Goes on without a series: its file is not ours to write."""
        log.error("file left alone, its series is not collected", series=str(series), why=why)
        self._files.pop(series, None)
        self._stages.pop(series, None)
        self._unsynced.pop(series, None)
        self._coverage[series].hold(NOTHING)
        self._coverage.leave_alone(series, why)
        self._note(self._unsaved, series)

    def _hold(self, series: Series, file: SeriesFile) -> None:
        """Tells the book what the file holds; what a full file has no place for is not missing."""
        self._coverage[series].hold(file.held)
        if file.keep is not None and file.rows >= file.keep:
            self._coverage.stop_wanting(series, file.held[0].start_ms)

    async def _sync(self, every_series: Sequence[Series]) -> None:
        """Syncs the first of these, as many as can be done in a slice of time, but at least one."""
        files = [self._files[series] for series in every_series]
        since_s, began_s = self._unsynced[every_series[0]], trio.current_time()
        count = await self._in_thread("syncing", files[0].path, partial(self._sync_some, files))
        self._counters.flushed(trio.current_time() - began_s, trio.current_time() - since_s)
        for series in every_series[:count]:
            del self._unsynced[series]

    def _sync_some(self, files: Sequence[SeriesFile]) -> int:
        """Syncs files until the slice is over; how many."""
        elapsed_s, count = self._machine.clock.elapsed_s, 0
        until_s = elapsed_s() + _SLICE_S
        for file in files:
            count += 1
            if self._settings.fsync:
                self._begin("syncing", file.path)
                file.sync()
            if elapsed_s() >= until_s:
                break
        if self._settings.fsync or self._settings.limit_to_50_entries:
            self._begin("syncing", self._store.directory)
            self._store.sync_names(files[:count])
        return count

    async def _save(self, every_series: Sequence[Series]) -> None:
        """Saves these in the ledger, which never runs ahead of the files: those that are not synced are, first."""
        while unsynced := [series for series in every_series if series in self._unsynced]:
            await self._sync(unsynced)
        await self._in_thread("saving", self._ledger.path, partial(self._save_some, every_series))
        for series in every_series:
            del self._unsaved[series]
        for series in sorted(self._coverage.outdated):  # a clock was set back: their next candle may be a month away
            self._note(self._unsaved, series)
        self._coverage.outdated.clear()

    def _save_some(self, every_series: Sequence[Series]) -> None:
        checkpoints = {series: self._files[series].checkpoint() for series in every_series if series in self._files}
        alone = dict.fromkeys(series for series in every_series if series in self._coverage.left_alone)
        self._ledger.save(self._coverage, checkpoints | alone)

    def _note(self, waiting: dict[Series, float], series: Series) -> None:
        if series not in waiting:
            waiting[series] = trio.current_time()

    async def _opened(self, series: Series) -> SeriesFile:
        path = self._store.path(series)
        file, finding = await self._in_thread(
            "opening", path, partial(self._store.open, series, self._checkpoints.get(series))
        )
        if finding:
            log.warning("file mended", file=finding.file, what=finding.what)
            self._coverage[series].mark_unverified(finding.again & file.held)
        if file.end_ms > self._passed_ms and file.end_ms > (now_ms := await self._exchange_ms(file.end_ms)):
            await self._in_thread("cutting", file.path, partial(self._cut, file, max(now_ms, self._passed_ms)))
        if self._settings.limit_to_50_entries and (file.rows <= NEWEST or not self._spares_long):
            await self._in_thread("trimming", file.path, partial(self._limit, file))
        self._coverage[series].mark_unverified(unverified_at_opening(file.timeframe, file.held, file.checkpointed))
        return file

    def _limit(self, file: SeriesFile) -> None:
        """Keeps a file within the limit from now on."""
        if file.rows > NEWEST:
            file.trim(NEWEST)
            self._store.sync_names([file])
        file.keep = NEWEST

    def _cut(self, file: SeriesFile, now_ms: int) -> None:
        """Takes away what cannot have closed yet, which somebody else has written; it is fetched when it has closed."""
        end_ms, before = file.end_ms, file.size
        file.truncate(file.timeframe.floor(now_ms))
        cut = counted(before - file.size, "byte")
        what = f"cut back by {cut} to its last closed candle (it went on to {moment_text(end_ms)})"
        log.warning("file mended", file=file.path.name, what=what)

    async def _in_thread(self, what: str, path: Path, work: Callable[[], T]) -> T:
        """The only way to the disk: a system call that never returns must not hold up those who tell of it.

        What is done is noted in the thread, one after the other: new files may be opened while others are written.
        """

        def update_gaps() -> T:
            self._begin(what, path)
            try:
                return work()
            finally:
                self._call = None

        return await self._machine.threads.run(update_gaps, self._thread)

    def _begin(self, what: str, path: Path) -> None:
        self._call = (what, path)
        self._done += 1


def _append_pages(file: SeriesFile, pages: Iterable[Rows]) -> None:
    for page in sorted(pages, key=lambda page: page.covered.bounds):
        file.append(page)


def _reach(file: SeriesFile, piece: Piece) -> Span:
    """What a piece may have held, its unsound rows included: from where the file ended before it to its last row."""
    bounds = piece.covered.bounds
    before = [span.end_ms for span in file.held if span.end_ms <= bounds.start_ms]
    return Span(before[-1] if before else bounds.start_ms, bounds.end_ms)


def _rows_of(answers: Iterable[Answered | Confirmed]) -> int:
    return sum(candles_in(answer.series.timeframe, answer.rows.covered) for answer in answers)
