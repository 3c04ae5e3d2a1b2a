"""The open files: one per series, changed and marked here.

Opening reads what is new since the checkpoint, and brings a file into the state that the rest relies on, in this order:
rows that cannot be parsed are taken out (`Store.open`), rows of candles that have yet to close are truncated, and with
a limit only the newest rows stay. What was taken out waits in pieces beside the file until the exchange has answered
for it: `restore` puts in again what the exchange does not have.

A file that changes behind our back is opened again (`reopen`); one that is foreign, or that we may not write, is left
alone, and its series is no longer collected.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import trio

from collector.core.candle import Series
from collector.core.changes import Changes
from collector.core.coverage import CoverageIndex
from collector.core.errors import StorageError
from collector.core.events import Confirmed
from collector.core.missing import settled
from collector.core.request_windows import NEWEST
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import counted, moment_text
from collector.core.verification import unverified_at_opening
from collector.logs import get_logger
from collector.pipeline.disk_thread import DiskThread
from collector.pipeline.flush_queue import FlushQueue
from collector.storage.csv_store import Store
from collector.storage.inspection import Checkpoint
from collector.storage.kept_files import KeptFiles
from collector.storage.quarantine import Piece
from collector.storage.series_file import FileChangedError, SeriesFile
from collector.storage.sync_many import FileSystems

log = get_logger(__name__)


@attrs.define(eq=False)
class OpenFiles:
    """The files of the collected series."""

    store: Store
    systems: FileSystems
    thread: DiskThread
    _coverage: CoverageIndex
    _queue: FlushQueue
    _checkpoints: dict[Series, Checkpoint]
    _exchange_ms: Callable[[int], Awaitable[int]]  # its time, asked for anew if it is before the given one
    _limited: bool
    _spares_long: bool  # files longer than the limit keep their rows
    changes: Changes = attrs.field(factory=Changes)
    _files: dict[Series, SeriesFile] = attrs.field(factory=dict)
    kept: KeptFiles = attrs.field(init=False)
    # The newest close on record. The exchange's clock had passed it, whatever an answer claims about the time.
    _passed_ms: int = attrs.field(init=False)

    @kept.default
    def _none_kept(self) -> KeptFiles:
        return KeptFiles(self.store.disk, self.store.directory)

    @_passed_ms.default
    def _newest_close(self) -> int:
        held = (checkpoint.held for checkpoint in self._checkpoints.values())
        return max((each.bounds.end_ms for each in held if each), default=0)

    def __contains__(self, series: object) -> bool:
        return series in self._files

    def __getitem__(self, series: Series) -> SeriesFile:
        return self._files[series]

    @asynccontextmanager
    async def closed_at_end(self) -> AsyncIterator[None]:
        """Lets go of what stays open, however it ends."""
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self.thread.run("closing files in", self.store.directory, self.kept.close)

    def __iter__(self) -> Iterator[Series]:
        return iter(self._files)

    def checkpoint(self, series: Series) -> Checkpoint | None:
        """What the ledger is to say of a file: as it is now or, of one that was not opened, as the ledger has it."""
        if file := self._files.get(series):
            return file.checkpoint()
        return None if series in self._coverage.skipped else self._checkpoints.get(series)

    async def open_file(self, series: Series) -> None:
        """Opens the file of a series and records what it holds.

        Raises:
            SkipFile: the file is foreign, or may not be written.
            StorageError: the disk refuses; the series counts as closed, and may be opened again.
        """
        try:
            file = self._files[series] = await self._opened(series)
            if file.name_unsynced:
                self._queue.mark_unsynced(series, trio.current_time())
            self.update_coverage(series)
            await self.restore(series)
            self.changes.doubt([series], trio.current_time())
        except StorageError:
            self._files.pop(series, None)
            self._queue.mark_synced([series])
            raise

    def skip(self, series: Series, why: str) -> None:
        """Closes a file for good: it is foreign."""
        log.error("file left alone, its series is not collected", series=str(series), why=why)
        self._files.pop(series, None)
        self._queue.mark_synced([series])
        self._coverage[series].hold(NOTHING)
        self._coverage.skip(series, why)
        self._queue.mark_unsaved(series, trio.current_time())

    def update_coverage(self, series: Series) -> None:
        """Records what a file holds.

        What a full file has no place for is wanted no longer.
        """
        file, known = self._files[series], self._checkpoints.get(series)
        self._coverage[series].hold(file.held, known.held if known else NOTHING)
        if file.is_full:
            self._coverage.stop_wanting(series, file.held[0].start_ms)

    async def reopen(self, series: Series) -> None:
        """Reads a file anew that somebody else changed.

        Its checkpoint is dropped.
        """
        self._checkpoints.pop(series, None)
        self._files[series] = await self._opened(series)
        self.changes.doubt([series], trio.current_time())

    def mark_appended(self, candles: Iterable[Confirmed]) -> None:
        """Notes that the files of these are to be synced.

        The ledger follows by itself.
        """
        now_s = trio.current_time()
        for candle in candles:
            self._queue.mark_unsynced(candle.series, now_s)
            self._note(candle.series, candle.rows.covered)

    def mark_changed(self, series: Series, spans: Spans) -> None:
        """Notes that a file is to be synced and saved, and where it changed."""
        self._queue.mark_changed(series, trio.current_time())
        self._note(series, spans)

    def _note(self, series: Series, spans: Spans) -> None:
        """Notes where a file changed.

        Under the limit, rows before its first one have given way.
        """
        if self.changes.followed and spans:
            file = self._files[series]
            trimmed = Spans.between(0, file.held[0].start_ms) if file.keep is not None and file.held else NOTHING
            self.changes.wrote(series, trimmed | spans)

    async def restore(self, series: Series) -> None:
        """Puts quarantined rows back that the exchange turned out to lack.

        Until then their spans are wanted. A piece that is settled as a whole is dropped.
        """
        file = self._files[series]
        if not file.pieces:
            return
        extents = {piece: _extent(file, piece) for piece in file.pieces}
        if file.keep is None:  # with a limit, only the newest are wanted
            self._coverage.want_quarantined(series, Spans.of(*extents.values()))
        lacking = settled(self._coverage[series].gaps)
        if any(piece.covered & lacking - file.held for piece in file.pieces):
            held = file.held
            await self.thread.run("putting back", file.path, partial(_put_back, file, lacking))
            self.mark_changed(series, file.held - held)
            self.update_coverage(series)
        for piece, span in extents.items():
            if not Spans((span,)) - file.held - lacking:
                await self.thread.run("putting back", piece.path, partial(self.store.finish, file, piece))

    async def _opened(self, series: Series) -> SeriesFile:
        path = self.store.path(series)
        file, finding = await self.thread.run(
            "opening", path, partial(self.store.open, series, self._checkpoints.get(series))
        )
        if finding:
            log.warning("file mended", file=finding.file, what=finding.what)
            self._coverage[series].mark_unverified(finding.again & file.held)
        if file.end_ms > self._passed_ms and file.end_ms > (now_ms := await self._exchange_ms(file.end_ms)):
            closed_ms = max(now_ms, self._passed_ms)
            await self.thread.run("cutting", file.path, partial(_cut_unclosed, file, closed_ms))
        if self._limited and (file.rows <= NEWEST or not self._spares_long):
            await self.thread.run("trimming", file.path, partial(self._limit, file))
        self._coverage[series].mark_unverified(unverified_at_opening(file.timeframe, file.held, file.checkpointed))
        return file

    def _limit(self, file: SeriesFile) -> None:
        """Keeps a file within the limit from now on."""
        if file.rows > NEWEST:
            file.trim(NEWEST)
            self.store.sync_names([file])
        file.keep = NEWEST


def _cut_unclosed(file: SeriesFile, now_ms: int) -> None:
    """Truncates rows of candles that have yet to close.

    Somebody else wrote them; they are fetched once closed.
    """
    end_ms, before = file.end_ms, file.size
    file.truncate(file.timeframe.floor(now_ms))
    cut = counted(before - file.size, "byte")
    what = f"cut back by {cut} to its last closed candle (it went on to {moment_text(end_ms)})"
    log.warning("file mended", file=file.path.name, what=what)


def _put_back(file: SeriesFile, spans: Spans) -> None:
    with suppress(FileChangedError):  # the next write notices, and opens the file again
        rows = file.restore(spans)
        log.warning("rows put back that the exchange does not have", file=file.path.name, rows=rows)


def _extent(file: SeriesFile, piece: Piece) -> Span:
    """The span a piece may have held, invalid rows included.

    From the file's end before it to its last row.
    """
    bounds = piece.covered.bounds
    before = [span.end_ms for span in file.held if span.end_ms <= bounds.start_ms]
    return Span(before[-1] if before else bounds.start_ms, bounds.end_ms)
