"""The journal: rows of many files, made durable with one sync.

    <data_dir>/.collector/journal

Rows are appended to their files first, where every reader finds them. The files are not synced one by one: a block with
the same rows goes to the end of the journal, which is. Some time later the files are synced together, and only then is
the journal emptied. A start puts back what a power loss took of the files (`put_back`), before it believes anything.

The ledger knows nothing of the journal: it calls held what is synced in the file itself. So a journal that is lost or
damaged costs the rows that the power loss took, which are fetched again, and no more.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import attrs

from collector.machine.own_files import NotAFile, open_own, sync_directory
from collector.storage.files import Files, map_os_errors
from collector.storage.journal_format import Entry, decode_blocks, encode_block

FILE = "journal"
_MODE = 0o600
_LONGEST = 256 * 1024 * 1024  # bytes: nothing of ours is so long
_PIECE = 16 * 1024 * 1024


class JournalChangedError(Exception):
    """Somebody else has changed or removed the journal."""


@attrs.define
class Journal:
    """The journal of a directory that we own. Methods raise `StorageError`."""

    _files: Files
    path: Path
    _market: str
    size: int = 0

    def append(self, entries: Iterable[Entry]) -> None:
        """Makes rows durable.

        Raises:
            JournalChangedError: what it held may be gone.
        """
        with map_os_errors(self.path):
            is_new, disk = not self.path.exists(), self._files.disk
            if is_new and self.size:
                raise JournalChangedError
            try:
                file = open_own(disk, self.path, os.O_WRONLY | os.O_CREAT, _MODE)
            except (FileNotFoundError, NotAFile) as error:
                raise JournalChangedError from error
            try:
                if os.fstat(file).st_size != self.size:
                    raise JournalChangedError
                block = encode_block(self._market, entries)
                disk.write(file, block, self.size)
                disk.sync(file)
            finally:
                disk.close(file)
            if not self.size:  # a process that was killed may not have synced the name
                sync_directory(disk, self.path.parent)
        self.size += len(block)

    def read(self) -> list[Entry]:
        """What it holds, as far as it can be believed."""
        with map_os_errors(self.path):
            return [*decode_blocks(self._market, self._read())]

    def empty(self) -> None:
        """Forgets everything: its rows are on the disk in their files."""
        with map_os_errors(self.path):
            if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
                self._clear_place()
            elif self.path.exists() and self.path.stat().st_size:
                self._files.truncate(self.path, 0)
        self.size = 0

    def _read(self) -> bytes:
        disk = self._files.disk
        try:
            file = open_own(disk, self.path, os.O_RDONLY)
        except (FileNotFoundError, NotAFile):
            return b""
        try:
            size, pieces = os.fstat(file).st_size, list[bytes]()
            at = 0 if size <= _LONGEST else size
            while at < size and (piece := disk.read(file, min(_PIECE, size - at), at)):
                pieces.append(piece)
                at += len(piece)
        finally:
            disk.close(file)
        return b"".join(pieces)

    def _clear_place(self) -> None:
        """Removes what somebody has put in its place.

        Of a link, the link itself.
        """
        if self.path.is_dir() and not self.path.is_symlink():
            self._files.disk.remove_tree(self.path)
        else:
            self._files.disk.remove(self.path)
