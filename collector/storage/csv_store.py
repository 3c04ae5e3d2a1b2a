"""The CSV files, one per series, and the only code that changes them.

Invariant: a file holds whole lines, in order, as the exchange sent them.

    append    rows behind the last one are added with one write
    insert    rows before it go into a copy, synced and renamed over the file; unchanged bytes are copied unparsed
    truncate, trim, remove_rows    what is taken out is first kept beside the file, durably (but for the limit's trim)
    open      finds out what a file holds (`recovery.py`) and repairs it; foreign files are left alone

Everything here blocks, and belongs in a thread where it takes long. What to fetch is decided elsewhere.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from collector.core.candle import Series, Timeframe
from collector.core.merging import Revision, merge
from collector.core.rows import HEADER, Rows, candles_in, open_of_line
from collector.core.spans import NOTHING, Spans
from collector.core.text import counted
from collector.errors import LeftAlone
from collector.machine.disk import Disk
from collector.machine.own_files import give_to_owner_of, remove_if_there
from collector.storage.files import Files, map_os_errors, storage_error, target_of, temp_path
from collector.storage.inspection import Bytes, Checkpoint, changed_ns, file_exists, mmap_file, valid_checkpoint
from collector.storage.quarantine import Piece, Quarantine, rows_in
from collector.storage.recovery import Recovery, recover

_CHUNK = 1024 * 1024


class FileChangedError(Exception):
    """Somebody else changed the file since it was read: read it again."""


@attrs.frozen
class Finding:
    """Something that was wrong with a file at its opening, and what was done about it.

    `again` has what the rows that went had covered: it is to be read again, where other rows hold it too.
    """

    file: str
    what: str
    again: Spans = NOTHING


@attrs.define
class SeriesFile:
    """One open file and what it holds. Methods raise `StorageError`, and leave the file as it was then."""

    path: Path
    timeframe: Timeframe
    files: Files
    keep: int | None = None  # the most rows that the file may hold at any moment; the oldest give way
    size: int = 0
    synced: int = 0  # bytes that a power loss leaves, for all that is known
    held: Spans = NOTHING
    checkpointed: Spans = NOTHING  # of what it held when it was opened, what the checkpoint vouches for
    last: bytes = b""  # what was appended last, to know it again without looking into the file
    pieces: tuple[Piece, ...] = ()  # what was taken out of it, and is not stored again
    name_unsynced: bool = (
        False  # lasts only once its directory is synced: created, renamed over, or found without a checkpoint
    )

    @property
    def end_ms(self) -> int:
        """The close of its last candle; 0 for an empty file."""
        return self.held[-1].end_ms if self.held else 0

    @property
    def rows(self) -> int:
        return candles_in(self.timeframe, self.held)

    @property
    def is_full(self) -> bool:
        """Whether old rows give way to the next one."""
        return self.keep is not None and self.rows >= self.keep

    def append(self, rows: Rows) -> None:
        """Appends rows behind all that the file holds, with one write.

        A file that is full is replaced, which is made durable as `trim` says.
        """
        if rows.covered[0].start_ms < self.end_ms:
            raise ValueError("rows that do not continue a file cannot be appended")
        if self.keep is not None and self.rows + len(rows) > self.keep:
            self._roll(rows, self.keep)
            return
        text, disk = rows.text if self.size else HEADER + rows.text, self.files.disk
        try:  # not `with storage`: at a minute's end this runs by the thousand
            file = disk.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                self._expect_size(os.lseek(file, 0, os.SEEK_END))
                if not self.size:
                    give_to_owner_of(self.path.parent, file)
                self._write_whole(file, text)
            finally:
                disk.close(file)
        except OSError as error:
            raise storage_error(self.path, error) from error
        self.name_unsynced |= not self.size
        self.size += len(text)
        self.held |= rows.covered
        self.last = rows.text

    def insert(self, pages: Sequence[Rows]) -> tuple[Revision, ...]:
        """Inserts rows before, between or over those the file holds; later pages win over earlier ones.

        Args:
            pages: rows in any order, overlapping or not.

        Returns:
            The rows that were replaced because the new ones say something else.
        """
        with map_os_errors(self.path):
            self._expect_size(self.path.stat().st_size if self.path.exists() else 0)
            with mmap_file(self.files.disk, self.path) as old:
                with self._expecting_rows():
                    edits, revisions = self._edits(old, pages)
                if not edits:
                    return ()
                held = Spans.of(*self.held, *(span for page in pages for span in page.covered))
                if self.keep is not None and candles_in(self.timeframe, held) > self.keep:
                    self._replace_with_newest(b"".join(_edited(old, edits)), held, self.keep)
                else:
                    self.size = self.synced = self.files.replace(self.path, _edited(old, edits))
                    self.held = held
        self.last = b""
        return revisions

    def restore(self, spans: Spans) -> int:
        """Inserts the quarantined rows that open in these spans and are missing; how many."""
        with map_os_errors(self.path):
            rows = rows_in(self.files.disk, self.timeframe, self.pieces, spans - self.held)
        if rows:
            self.insert([rows])
        return len(rows)

    def trim(self, keep: int) -> None:
        """Keeps only so many of the newest rows, by atomic replacement.

        The renaming itself outlives a power loss once its directory is synced; that is up to the caller, for many files
        at once. Before, the longer file is there, which is as good.
        """
        with map_os_errors(self.path), suppress(FileNotFoundError):
            data = self.files.disk.read_all(self.path)
            self._expect_size(len(data))
            self._replace_with_newest(data, self.held, keep)

    def truncate(self, from_ms: int) -> None:
        """Moves the rows that open at or after an instant into quarantine."""
        with map_os_errors(self.path):
            with mmap_file(self.files.disk, self.path) as data, self._expecting_rows():
                self._expect_size(len(data))
                size = _offset(data, from_ms)
                Quarantine(self.files).keep_removed(self.path, data[size:])
            self.files.truncate(self.path, size)
        self.size = self.synced = size
        self.held = self.held.within(0, from_ms)
        self.last = b""

    def sync(self) -> None:
        """Returns once everything written has reached the disk.

        A sync that fails may have lost any of it, although it can still be read, and a later one says nothing of that
        (https://wiki.postgresql.org/wiki/Fsync_Errors). So all of it is written once more, for the next one.
        """
        with (
            map_os_errors(self.path),
            suppress(FileNotFoundError),
        ):  # a file that is gone will be noticed when it is written
            try:
                self.files.sync(self.path)
            except OSError:
                with suppress(OSError):
                    self.rewrite_unsynced()
                raise
        self.synced = self.size

    def rewrite_unsynced(self) -> None:
        """Writes the unsynced bytes once more; the last sync, of a process before too, may have failed."""
        disk = self.files.disk
        file = disk.open(self.path, os.O_RDWR)
        try:
            disk.write(file, disk.read(file, self.size - self.synced, self.synced), self.synced)
        finally:
            disk.close(file)

    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint from which the next start reads on; None for an empty file."""
        if not self.held:
            return None
        last_ms = self.timeframe.floor(self.held[-1].end_ms - 1)
        with map_os_errors(self.path):
            return Checkpoint(self.size, self.held[0].start_ms, last_ms, self.held, changed_ns(self.path))

    def _roll(self, rows: Rows, keep: int) -> None:
        """Appends rows for which there is no room. The file is never longer than it may be, not even for a moment: a
        file that is too long is somebody else's, and that has to be sure also after a crash."""
        with map_os_errors(self.path):
            data = self.files.disk.read_all(self.path) if self.path.exists() else b""
            self._expect_size(len(data))
            self._replace_with_newest((data or HEADER) + rows.text, self.held | rows.covered, keep)
        self.last = rows.text

    def _replace_with_newest(self, text: bytes, held: Spans, keep: int) -> None:
        lines = text[len(HEADER) :].splitlines(keepends=True)[-keep:]
        with self._expecting_rows():
            held = held.within(open_of_line(lines[0]), held[-1].end_ms)
        self.size = self.synced = self.files.atomic_replace(self.path, [HEADER, *lines])
        self.held = held
        self.name_unsynced = True

    def _expect_size(self, size: int) -> None:
        if size != self.size:
            raise FileChangedError(f"{self.path.name} has {counted(size, 'byte')} where {self.size:,} were written")

    @contextmanager
    def _expecting_rows(self) -> Iterator[None]:
        """What was written were rows; if they are none, somebody else wrote over them, and kept the size."""
        try:
            yield
        except (ValueError, IndexError) as error:
            raise FileChangedError(f"{self.path.name} does not hold the rows that were written ({error})") from error

    def _write_whole(self, file: int, text: bytes) -> None:
        """All of the text or nothing of it."""
        try:
            self.files.disk.write(file, text)
        except OSError:
            with suppress(OSError):  # what is left of the text then, the next start cuts off
                self.files.disk.truncate(file, self.size)
            raise

    def _edits(self, old: Bytes, pages: Sequence[Rows]) -> tuple[list["_Edit"], tuple[Revision, ...]]:
        """Where the pages go, in order of place. Pages that cover the same stretch are merged first."""
        edits: list[_Edit] = []
        revisions: tuple[Revision, ...] = ()
        for text, start_ms, end_ms in _disjoint(pages):
            first, behind = _offset(old, start_ms), _offset(old, end_ms)
            before = bytes(old[first:behind])
            merged = merge(before, text)
            revisions += merged.revisions
            if merged.text != before:
                edits.append(_Edit(first, behind, merged.text))
        return edits, revisions


@attrs.define
class Store:
    """The files of a data directory."""

    directory: Path
    disk: Disk
    allow_replace: bool = False  # also a file that loses rows by it
    files: Files = attrs.field(default=attrs.Factory(lambda self: Files(self.disk), takes_self=True), init=False)
    _quarantine: Quarantine = attrs.field(
        default=attrs.Factory(lambda self: Quarantine(self.files), takes_self=True), init=False
    )

    def path(self, series: Series) -> Path:
        return self.directory / series.file_name

    def every_series(self) -> list[Series]:
        """Those that have a file, or a piece of one that waits, by name."""
        with map_os_errors(self.directory):
            named = {Series.of_file(name) for name in self._names()}
            every = {series for series in named if series} | self._quarantine.every_series(self.directory)
        return sorted(every, key=lambda series: series.file_name)

    def _names(self) -> list[str]:
        return self.disk.names(self.directory) if self.directory.is_dir() else []

    def open(self, series: Series, checkpoint: Checkpoint | None) -> tuple[SeriesFile, Finding | None]:
        """Finds out what a file holds, and repairs it as `recovery` says.

        With a checkpoint that still fits, only what came after it is read.

        Raises:
            LeftAlone: the file cannot be written, or would lose rows.
        """
        path, timeframe = self.path(series), series.timeframe
        with map_os_errors(path):
            remove_if_there(self.disk, temp_path(path))
            file, finding = SeriesFile(path, timeframe, self.files), None
            if file_exists(path):
                with mmap_file(self.disk, path) as data:
                    found = recover(timeframe, data, valid_checkpoint(path, checkpoint))
                    finding = self._settle(path, found, data)
                if found.held or not found.rest:
                    file.size = len(found.text) if found.repaired else found.size
                    file.synced = checkpoint.size if checkpoint and found.checkpointed else file.size
                    file.held, file.checkpointed = found.held, found.checkpointed
                file.name_unsynced = (
                    found.held != found.checkpointed
                )  # a process that was killed may not have synced it
                if file.synced < file.size:
                    file.rewrite_unsynced()
            file.pieces = self._quarantine.pieces(timeframe, path)
        return file, finding

    def _settle(self, path: Path, found: Recovery, data: Bytes) -> Finding | None:
        """Does to a file what was found to be due; what that was."""
        length, rest = len(data), found.rest
        if found.loses_rows and not self.allow_replace:
            lost = f"{counted(found.foreign, 'line')} of it cannot be read and would be lost"
            remedy = "move it away, or allow it with --allow-replace"
            raise LeftAlone(f"{path.name} is left as it is ({found.why}): {lost}; {remedy}")
        if rest and not found.held:
            piece = self._quarantine.keep_file(path, pending=rest.rows > 0)
            return Finding(path.name, f"is not ours ({found.why}): set aside as {piece.name}, {rest}", rest.covered)
        said = []
        if rest:
            piece = self._quarantine.keep_tail(path, data[found.size :], pending=rest.rows > 0)
            said.append(f"cut off from a bad row on ({found.why}): what follows is kept as {piece.name}, {rest}")
        elif found.size < length:
            said.append(f"cut back by {counted(length - found.size, 'byte')} to its last good row ({found.why})")
        if found.repaired:
            said.append(f"{found.repaired} put right, {counted(found.rows, 'row')} stay")
            self.files.replace(path, [found.text])
        elif found.size < length:
            self.files.truncate(path, found.size)
        return Finding(path.name, "; ".join(said), rest.covered if rest else NOTHING) if said else None

    def finish(self, file: SeriesFile, piece: Piece) -> None:
        """Nothing more is to be had from a piece of a file."""
        with map_os_errors(piece.path):
            self._quarantine.finish(piece)
        file.pieces = tuple(each for each in file.pieces if each != piece)

    def remove_rows(self, series: Series, kept: Iterable[bytes], removed: Sequence[bytes]) -> Path | None:
        """Leaves only these lines in a file; the others go into quarantine first.

        Returns:
            Where the removed lines are; None if there are none.
        """
        path = self.path(series)
        with map_os_errors(path):
            beside = self._quarantine.keep_removed(path, b"".join(removed)) if removed else None
            self.files.replace(path, [HEADER, b"".join(kept)])
        return beside

    def sync_names(self, files: Iterable[SeriesFile]) -> None:
        """Syncs the directories of those files that were created or renamed."""
        anew = [file for file in files if file.name_unsynced]
        with map_os_errors(self.directory):
            for directory in {target_of(file.path).parent for file in anew}:
                self.files.sync(directory)
        for file in anew:
            file.name_unsynced = False

    def is_foreign(self, series: Series) -> bool:
        """Whether a file holds rows of another kind, and is left alone."""
        path = self.path(series)
        with map_os_errors(path), mmap_file(self.disk, path) as data:
            return recover(series.timeframe, data, None).loses_rows

    def count_rows(self, series: Series) -> int:
        """How many rows a file holds, without looking at them."""
        path = self.path(series)
        with map_os_errors(path), mmap_file(self.disk, path) as data:
            return max(0, sum(chunk.count(b"\n") for chunk in _chunks(data, 0, len(data))) - 1)


@attrs.frozen
class _Edit:
    """Bytes from `first` up to `behind` give way to `text`."""

    first: int
    behind: int
    text: bytes


def _disjoint(pages: Sequence[Rows]) -> Iterator[tuple[bytes, int, int]]:
    """The pages as stretches of text that do not reach into one another, oldest first, each with its span."""
    ordered = sorted(pages, key=lambda page: page.covered.bounds.start_ms)
    group: list[Rows] = []
    for page in ordered:
        if group and page.covered.bounds.start_ms >= max(each.covered.bounds.end_ms for each in group):
            yield _joined(group, pages)
            group = []
        group.append(page)
    if group:
        yield _joined(group, pages)


def _joined(group: list[Rows], arrival: Sequence[Rows]) -> tuple[bytes, int, int]:
    text = b""
    for page in arrival:  # later arrivals win
        if any(page is each for each in group):
            text = merge(text, page.text).text if text else page.text
    bounds = [page.covered.bounds for page in group]
    return text, min(bounds.start_ms for bounds in bounds), max(bounds.end_ms for bounds in bounds)


def _offset(data: Bytes, open_ms: int) -> int:
    """Where the first row stands that opens at or after the instant, by bisection; the end when there is none."""
    low, high = len(HEADER), len(data)
    while low < high:
        middle = (low + high) // 2
        start = max(len(HEADER), data.rfind(b"\n", 0, middle) + 1)
        if open_of_line(data[start : start + 24]) < open_ms:
            low = data.find(b"\n", middle) + 1
        else:
            high = start
    return low


def _edited(old: Bytes, edits: list[_Edit]) -> Iterator[bytes]:
    """The old bytes with the edits in their places, in pieces; an empty file gets its header."""
    if not len(old):
        yield HEADER
    at = 0
    for edit in edits:
        yield from _chunks(old, at, edit.first)
        yield edit.text
        at = edit.behind
    yield from _chunks(old, at, len(old))


def _chunks(data: Bytes, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _CHUNK):
        yield data[at : min(at + _CHUNK, end)]
