"""The open file of a series: rows are appended, inserted and taken out.

Invariant: a file holds whole lines, in order, as the exchange sent them.

    append    rows behind the last one are added with one write
    insert    rows before it go into a copy, synced and renamed over the file; unchanged bytes are copied unparsed
    truncate, trim    old bytes give way; what `truncate` takes out is first kept beside the file, durably

Everything here blocks, and belongs in a thread where it takes long. What to fetch is decided elsewhere.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from collector.core.merging import Revision
from collector.core.rows import HEADER, Rows, candles_in, open_of_line
from collector.core.spans import NOTHING, Spans
from collector.core.text import counted
from collector.machine.own_files import give_to_owner_of
from collector.storage.durable_file import DurableFile
from collector.storage.files import Replacement, file_error, map_file_errors
from collector.storage.inspection import mmap_file
from collector.storage.quarantine import Piece, Quarantine, rows_in
from collector.storage.row_edits import edited, edits_for, offset_of
from collector.storage.unsynced import Vouched


class FileChangedError(Exception):
    """Somebody else changed the file since it was read: read it again."""


@attrs.frozen
class Roll:
    """A full file's replacement, with the rows that it has more."""

    new: Replacement
    rows: Rows
    held: Spans


@attrs.define
class SeriesFile(DurableFile):
    """One open file and what it holds. Methods raise `StorageError`, and leave the file as it was then.

    Of that, `SkipFile` says that the system refuses this file alone.
    """

    keep: int | None = None  # the most rows that the file may hold at any moment; the oldest give way
    checkpointed: Spans = NOTHING  # of what it held when it was opened, what the checkpoint vouches for
    last: bytes = b""  # what was appended last, to know it again without looking into the file
    pieces: tuple[Piece, ...] = ()  # what was taken out of it, and is not stored again

    @property
    def end_ms(self) -> int:
        """The close of its last candle.

        0 for an empty file.
        """
        return self.held.end_ms

    @property
    def rows(self) -> int:
        return candles_in(self.timeframe, self.held)

    @property
    def is_full(self) -> bool:
        """Whether old rows give way to the next one."""
        return self.keep is not None and self.rows >= self.keep

    def append(self, rows: Rows, kept: int | None = None) -> None:
        """Appends rows behind all that the file holds, with one write.

        A file that is full is replaced, which is made durable as `trim` says.

        Args:
            kept: a descriptor of the file, to append to, that stays open.
        """
        if rows.covered[0].start_ms < self.end_ms:
            raise ValueError("rows that do not continue a file cannot be appended")
        if self.keep is not None and self.rows + len(rows) > self.keep:
            self._roll(rows)
            return
        text, disk = rows.text if self.size else HEADER + rows.text, self.files.disk
        try:  # not `with map_file_errors`: at a minute's end this runs by the thousand
            file = disk.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if kept is None else kept
            try:
                self._expect_size(disk.size(file))
                if not self.size:
                    give_to_owner_of(self.path.parent, file)
                vouched = self.vouched if self.synced < self.size else Vouched(self.held, os.fstat(file).st_mtime_ns)
                self._write_whole(file, text)
            finally:
                if kept is None:
                    disk.close(file)
        except OSError as error:
            raise file_error(disk, self.path, error) from error
        self.vouched = vouched
        self.unsynced.add(text)
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
        with map_file_errors(self.files.disk, self.path):
            self._expect_size(self.path.stat().st_size if self.path.exists() else 0)
            with mmap_file(self.files.disk, self.path) as old:
                with _expecting_rows(self.path):
                    edits, revisions = edits_for(old, pages)
                if not edits:
                    return ()
                held = Spans.of(*self.held, *(span for page in pages for span in page.covered))
                if self.keep is not None and candles_in(self.timeframe, held) > self.keep:
                    self._replace_with_newest(b"".join(edited(old, edits)), held, self.keep)
                else:
                    self.mark_synced(self.files.replace(self.path, edited(old, edits)))
                    self.held = held
        self.last = b""
        return revisions

    def restore(self, spans: Spans) -> int:
        """Inserts the quarantined rows that open in these spans and are missing; how many."""
        with map_file_errors(self.files.disk, self.path):
            rows = rows_in(self.files.disk, self.timeframe, self.pieces, spans - self.held)
        if rows:
            self.insert([rows])
        return len(rows)

    def trim(self, keep: int) -> None:
        """Keeps only so many of the newest rows, by atomic replacement.

        The renaming itself outlives a power loss once its directory is synced; that is up to the caller, for many files
        at once. Before, the longer file is there, which is as good.
        """
        with map_file_errors(self.files.disk, self.path), suppress(FileNotFoundError):
            data = self.files.disk.read_all(self.path)
            self._expect_size(len(data))
            self._replace_with_newest(data, self.held, keep)

    def truncate(self, from_ms: int) -> None:
        """Moves the rows that open at or after an instant into quarantine."""
        with map_file_errors(self.files.disk, self.path):
            with mmap_file(self.files.disk, self.path) as data, _expecting_rows(self.path):
                self._expect_size(len(data))
                size, disk = offset_of(data, from_ms), self.files.disk
                disk.close(disk.open(self.path, os.O_WRONLY))  # a refusal comes before anything is kept
                Quarantine(self.files).keep_removed(self.path, data[size:])
            self.files.truncate(self.path, size)
        self.mark_synced(size)
        self.held = self.held.within(0, from_ms)
        self.last = b""

    def prepare_roll(self, rows: Rows) -> "Roll":
        """Writes the replacement of a full file, with rows appended; it is to be synced before `finish_roll`.

        The file is never longer than it may be, not even for a moment: a file that is too long is somebody else's, and
        that has to be sure also after a crash.

        Raises:
            FileChangedError: somebody else changed the file.
        """
        assert self.keep is not None
        with map_file_errors(self.files.disk, self.path):
            data = self.files.disk.read_all(self.path) if self.path.exists() else b""
            self._expect_size(len(data))
            text, held = self._newest((data or HEADER) + rows.text, self.held | rows.covered, self.keep)
            return Roll(self.files.prepare(self.path, [text]), rows, held)

    def finish_roll(self, roll: "Roll") -> None:
        """Puts a synced replacement in the place of the file."""
        with map_file_errors(self.files.disk, self.path):
            self.files.commit(roll.new)
        self._take_replacement(roll.new.size, roll.held)
        self.last = roll.rows.text

    def _roll(self, rows: Rows) -> None:
        roll = self.prepare_roll(rows)
        with map_file_errors(self.files.disk, self.path):
            try:
                self.files.sync(roll.new.path)
            except OSError:
                self.files.discard(roll.new)
                raise
        self.finish_roll(roll)

    def _replace_with_newest(self, text: bytes, held: Spans, keep: int) -> None:
        text, held = self._newest(text, held, keep)
        self._take_replacement(self.files.atomic_replace(self.path, [text]), held)

    def _newest(self, text: bytes, held: Spans, keep: int) -> tuple[bytes, Spans]:
        """The text with so many of its newest rows, and what they cover."""
        lines = text[len(HEADER) :].splitlines(keepends=True)[-keep:]
        with _expecting_rows(self.path):
            held = held.within(open_of_line(lines[0]), held[-1].end_ms)
        return b"".join((HEADER, *lines)), held

    def _take_replacement(self, size: int, held: Spans) -> None:
        self.mark_synced(size)
        self.held = held
        self.name_unsynced = True

    def _expect_size(self, size: int) -> None:
        if size != self.size:
            raise FileChangedError(f"{self.path.name} has {counted(size, 'byte')} where {self.size:,} were written")

    def _write_whole(self, file: int, text: bytes) -> None:
        """All of the text or nothing of it."""
        try:
            self.files.disk.write(file, text)
        except OSError:
            with suppress(OSError):  # what is left of the text then, the next start cuts off
                self.files.disk.truncate(file, self.size)
            raise


@contextmanager
def _expecting_rows(path: Path) -> Iterator[None]:
    """What was written were rows.

    If they are none, somebody else wrote over them, and kept the size.
    """
    try:
        yield
    except (ValueError, IndexError) as error:
        raise FileChangedError(f"{path.name} does not hold the rows that were written ({error})") from error
