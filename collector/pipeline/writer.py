"""The single writer: takes answers from the channel and changes the files.

    channel ──> Writer ──> ReorderBuffer    answers that wait for what lies before them
                  │  │
                  │  ├──> AppendBatch       streamed candles that directly follow their files
                  │  └──> PageWriter        all else: appended, or inserted
                  v              │
               OpenFiles <───────┘          every change of a file; marks it in the
                  │
               FlushQueue ──> Flusher       syncs files, then saves the ledger

Rows that continue a file are appended, rows beyond a hole that is being fetched wait in the buffer, and rows that
belong before the end of a file are inserted by rewriting it. After each, the coverage index learns what is held. All
changes of files are made here; what to fetch is decided elsewhere.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial, reduce
from operator import or_

import attrs
import trio

from collector.core.candle import Series
from collector.core.counters import Counters, Work
from collector.core.coverage import CoverageIndex
from collector.core.errors import SkipFile
from collector.core.events import Answered, Confirmed, Event, GaveUp, Hydrated, Lacking
from collector.core.rows import candles_in
from collector.core.spans import NOTHING, Spans
from collector.integrity.repair import OwnedDirectory
from collector.logs import get_logger
from collector.machine import Machine
from collector.pipeline.append_batch import AppendBatch
from collector.pipeline.disk_thread import DiskThread
from collector.pipeline.flush_queue import FlushQueue
from collector.pipeline.flusher import Flusher
from collector.pipeline.open_files import OpenFiles
from collector.pipeline.page_writer import PageWriter
from collector.pipeline.reorder_buffer import Answer, Ready, ReorderBuffer
from collector.settings.settings import Settings

log = get_logger(__name__)

# Enough pages for every request in flight to land at once, few enough that memory stays small (a page is some 80 KB).
CHANNEL = 64
_BATCH = 256  # candles of the stream at a time, between which other tasks run: some 10 ms if all of them have to wait


def build_writer(
    owned: OwnedDirectory,
    settings: Settings,
    machine: Machine,
    counters: Counters,
    exchange_ms: Callable[[int], Awaitable[int]],
    *,
    spares_long: bool = False,
) -> "Writer":
    """Builds a writer and its parts.

    Args:
        exchange_ms: the exchange's time, asked for anew if it is before the given instant.
        spares_long: whether files longer than the limit keep their rows.
    """
    thread, queue = DiskThread(machine.threads), FlushQueue()
    files = OpenFiles(
        owned.store,
        owned.ledger.file_systems,
        thread,
        owned.coverage,
        queue,
        owned.checkpoints,
        exchange_ms,
        settings.limit_to_50_entries,
        spares_long,
        owned.changes,
    )
    flusher = Flusher(files, owned.ledger, queue, owned.coverage, counters, settings, machine.clock)
    return Writer(files, flusher, PageWriter(files, flusher, counters, owned.coverage), owned.coverage, counters)


@attrs.define(eq=False)
class Writer:
    """Writes until its channel ends.

    Raises:
        StorageError: the disk refuses; the files are intact.
    """

    _files: OpenFiles
    _flusher: Flusher
    _pages: PageWriter
    _coverage: CoverageIndex
    _counters: Counters
    _buffer: ReorderBuffer = attrs.field(init=False)
    _channel: trio.MemoryReceiveChannel[Event] | None = None
    written: trio.Event = attrs.field(factory=trio.Event)  # set, and replaced, whenever an event has been handled
    _to_open: int = 0
    _events: int = 0  # taken from the channel
    _receiving: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # until something is due

    def __attrs_post_init__(self) -> None:
        self._buffer = ReorderBuffer(self._coverage)

    def apply(self, settings: Settings) -> None:
        """Follows other settings from now on."""
        self._flusher.apply(settings)

    @property
    def queued(self) -> int:
        """Events in the channel."""
        return self._channel.statistics().current_buffer_used if self._channel else 0

    @property
    def work(self) -> Work:
        """The work that waits, is done, and is under way."""
        thread = self._files.thread
        waiting = self._to_open + self.queued + self._flusher.overdue + bool(thread.at)
        return Work(waiting, self._events + thread.begun + self._files.store.files.parts, thread.at)

    async def open_files(self, every_series: Sequence[Series]) -> None:
        """Opens files and finds out what they hold.

        To be done before anything is fetched; may be called again if the disk refuses.
        """
        due = deque(each for each in every_series if each not in self._files and each not in self._coverage.skipped)
        self._to_open += len(due)
        self._counters.files += len(due)
        try:
            while due:
                with _skipped_if_refused(due[0], self._skip):
                    await self._files.open_file(due[0])
                self._to_open -= 1
                self._counters.files_read += 1
                self.mark_unsaved([due.popleft()])
        finally:
            self._to_open -= len(due)
            self._counters.files -= len(due)

    def mark_unsaved(self, every_series: Iterable[Series]) -> None:
        """Has the ledger updated for these soon, also while no event comes."""
        self._flusher.mark_unsaved(every_series)
        self._receiving.deadline = self._due_s

    async def write(self, channel: trio.MemoryReceiveChannel[Event]) -> None:
        """Writes events until every sender has closed, then flushes all."""
        self._channel = channel
        async with self._files.closed_at_end():
            with channel:
                while await self._take_one(channel):
                    for series in self._buffer.take_due(trio.current_time()):
                        await self._write_ready(series)
                    await self._flusher.run_due(busy=self.queued > 0)
            for series, ready in self._buffer.drain():
                await self._write(series, ready)
            for series in [*self._files]:
                with _skipped_if_refused(series, self._skip):
                    await self._files.restore(series)
            await self._flusher.save_all()

    async def _take_one(self, channel: trio.MemoryReceiveChannel[Event]) -> bool:
        """Handles the next event unless something is due before.

        Returns False at the end of the channel.
        """
        event: Event | None = None
        await trio.lowlevel.checkpoint()
        try:
            event = channel.receive_nowait()
        except trio.WouldBlock:
            self._receiving = trio.CancelScope(deadline=self._due_s)
            with suppress(trio.EndOfChannel), self._receiving:
                event = await channel.receive()
        except trio.EndOfChannel:
            return False
        if event is not None:
            await self.handle(event)
            self._events += 1
        return True

    async def handle(self, event: Event) -> None:
        """Writes what an event makes ready."""
        if isinstance(event, tuple):
            for at in range(0, len(event), _BATCH):
                await self._append_confirmed([each for each in event[at : at + _BATCH] if each.series in self._files])
                self._tell_written()
            self._counters.taken += len(event)
            return
        if event.series in self._coverage.skipped:
            self._coverage.cancel_fetch(event.series, self._coverage[event.series].in_flight)
        elif isinstance(event, GaveUp):
            self.mark_unsaved([event.series])
            self._coverage.fail(event.series, event.asked, event.why, event.at_ms)
            await self._write_ready(event.series)
        elif isinstance(event, Lacking):
            self.mark_unsaved([event.series])
            self._coverage.take_gaps(event.series, event.gaps)
            await self._write_ready(event.series)
        else:
            await self._add(event)
        self._counters.landed += 1
        self._tell_written()

    def _tell_written(self) -> None:
        """Wakes whoever waits for candles."""
        self.written.set()
        self.written = trio.Event()

    async def _append_confirmed(self, candles: Sequence[Confirmed]) -> None:
        """Appends candles that follow their files, and buffers the others."""
        if not candles:
            return
        batch = AppendBatch(self._files, self._buffer)
        path = self._files[candles[0].series].path
        try:
            await self._files.thread.run("appending to", path, partial(batch.run, candles))
        finally:
            self._record_appended(batch.appended)
        for series, why in batch.refused.items():
            self._skip(series, why)
        for candle in batch.others:
            if candle.series in self._files:
                await self._add(candle)

    def _record_appended(self, candles: Sequence[Confirmed]) -> None:
        if not candles:
            return
        self._files.mark_appended(candles)
        for candle in candles:
            series, file = candle.series, self._files[candle.series]
            self._coverage[series].confirm(candle.rows.covered, file.held)
            if file.keep is not None:
                self._files.update_coverage(series)
        self._counters.streamed += len(candles)
        self._counters.appended(series, len(candles), candle.asked.end_ms)

    @property
    def _due_s(self) -> float:
        """When there is something to do, whether an event comes or not."""
        return min(self._flusher.due_s, self._buffer.due_s)

    async def _add(self, answer: Answer) -> None:
        self._buffer.add(answer, trio.current_time())
        await self._write_ready(answer.series)

    async def _write_ready(self, series: Series) -> None:
        """Writes the buffered answers that are ready."""
        if series not in self._buffer:
            return
        if ready := self._buffer.take_ready(series, self._files[series].end_ms, trio.current_time()):
            await self._write(series, ready)

    async def _write(self, series: Series, ready: Ready) -> None:
        with _skipped_if_refused(series, self._skip):
            await self._write_all(series, ready.answers, _rows_of(ready.staged))
            await self._files.restore(series)

    async def _write_all(self, series: Series, answers: list[Answer], staged: int) -> None:
        if pages := [answer.rows for answer in answers if answer.rows]:
            held = self._files[series].held
            changed = await self._pages.put(series, pages, staged)
            self._counters.streamed += _streamed(series, answers, self._files[series].held - held)
            self._files.mark_changed(series, changed - _copied(answers))
        self.mark_unsaved([series])
        self._files.update_coverage(series)
        held = self._files[series].held
        for answer in answers:
            if isinstance(answer, Answered):
                covered = answer.rows.covered & held
                self._coverage.answer(series, answer.asked, covered, answer.at_ms, answer.invalid)
            elif isinstance(answer, Hydrated):
                self._coverage.take_copied(series, answer.rows.covered, answer.unverified & held)
            elif answer.asked.start_ms in held:
                self._coverage[series].confirm(answer.rows.covered, held)

    def _skip(self, series: Series, why: str) -> None:
        self._buffer.discard(series)
        self._files.skip(series, why)


@contextmanager
def _skipped_if_refused(series: Series, skip: Callable[[Series, str], None]) -> Iterator[None]:
    """Has a series skipped whose file is foreign, or may not be written."""
    try:
        yield
    except SkipFile as refusal:
        skip(series, str(refusal))


def _streamed(series: Series, answers: Sequence[Answer], new: Spans) -> int:
    """Counts the new candles that only the stream has brought."""
    confirmed = [answer for answer in answers if isinstance(answer, Confirmed)]
    if not confirmed:
        return 0
    others = _covered(answer for answer in answers if not isinstance(answer, Confirmed))
    return candles_in(series.timeframe, (_covered(confirmed) - others) & new)


def _copied(answers: Sequence[Answer]) -> Spans:
    """What only the shared table has brought, and so need not get."""
    hydrated = [answer for answer in answers if isinstance(answer, Hydrated)]
    if not hydrated:
        return NOTHING
    return _covered(hydrated) - _covered(answer for answer in answers if not isinstance(answer, Hydrated))


def _covered(answers: Iterable[Answer]) -> Spans:
    return reduce(or_, (answer.rows.covered for answer in answers), NOTHING)


def _rows_of(answers: Iterable[Answer]) -> int:
    return sum(candles_in(answer.series.timeframe, answer.rows.covered) for answer in answers)
