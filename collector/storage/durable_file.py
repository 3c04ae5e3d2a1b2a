"""What of an open file a power loss leaves: how much is synced, and what is known of the rest.

    size       bytes that the file has
    synced     bytes that the file has for certain
    unsynced   the rows behind these that neither the file nor the journal has for certain
    vouched    what the synced bytes hold, for the ledger's checkpoint

Invariant: a checkpoint says no more than what is synced in the file itself.
"""

import os
from contextlib import suppress
from pathlib import Path

import attrs

from collector.core.candle import Timeframe
from collector.core.spans import NOTHING, Spans
from collector.storage.files import Files, map_os_errors
from collector.storage.inspection import Checkpoint, changed_ns
from collector.storage.unsynced import NOBODY, Unsynced, Vouched


@attrs.define
class DurableFile:
    """An open file, and how much of it is durable. Methods raise `StorageError`."""

    path: Path
    timeframe: Timeframe
    files: Files
    size: int = 0
    synced: int = 0  # bytes that a power loss leaves in the file, for all that is known
    vouched: Vouched = NOBODY  # of the synced bytes, while there are more
    unsynced: Unsynced = attrs.field(factory=Unsynced)  # rows that neither the file nor the journal holds for certain
    held: Spans = NOTHING
    # The name lasts only once its directory is synced: it was created, renamed over, or found without a checkpoint.
    name_unsynced: bool = False

    @property
    def is_synced(self) -> bool:
        """Whether a power loss leaves all of it, for all that is known."""
        return self.synced == self.size and self.unsynced.is_known

    @property
    def can_be_journaled(self) -> bool:
        """Whether it has unsynced rows, and all of them are known."""
        return self.unsynced.is_known and bool(self.unsynced.text)

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
        self.mark_synced(self.size)

    def rewrite_unsynced(self) -> None:
        """Writes the unsynced bytes once more.

        The last sync, of a process before too, may have failed.
        """
        disk, at = self.files.disk, self.synced if self.unsynced.is_known else 0
        file = disk.open(self.path, os.O_RDWR)
        try:
            disk.write(file, disk.read(file, self.size - at, at), at)
        finally:
            disk.close(file)

    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint from which the next start reads on: what is synced; None if that is nothing."""
        with map_os_errors(self.path):
            vouched = self.vouched if self.synced < self.size else Vouched(self.held, changed_ns(self.path))
        held = vouched.held
        if not held:
            return None
        last_ms = self.timeframe.floor(held[-1].end_ms - 1)
        return Checkpoint(self.synced, held[0].start_ms, last_ms, held, vouched.changed_ns)

    def mark_synced(self, size: int) -> None:
        """Notes that it has this size and all of it is on the disk, or that nobody asks for that."""
        self.size = self.synced = size
        self.unsynced = Unsynced()
