"""The CSV files of a data directory, one per series.

    series_file    one open file: append, insert, truncate, trim
    row_edits      where rows go in its text
    opening        finds out what a file holds (`recovery`) and repairs it

Everything here blocks, and belongs in a thread where it takes long.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.errors import SkipFile
from collector.core.rows import HEADER
from collector.machine.disk import Disk
from collector.machine.own_files import remove_if_there
from collector.storage.files import Files, map_file_errors, map_os_errors, target_of
from collector.storage.inspection import Checkpoint, file_exists, mmap_file, stamp_of
from collector.storage.opening import Finding, Opening
from collector.storage.quarantine import Piece, Quarantine
from collector.storage.recovery import recover
from collector.storage.row_edits import chunks
from collector.storage.series_file import SeriesFile


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
        """Opens the file of a series, repaired as `opening` says.

        Raises:
            SkipFile: the file cannot be written, or would lose rows.
        """
        return Opening(self.files, self._quarantine, self.allow_replace).open_file(
            self.path(series), series.timeframe, checkpoint
        )

    def finish(self, file: SeriesFile, piece: Piece) -> None:
        """Nothing more is to be had from a piece of a file."""
        with map_file_errors(self.disk, piece.path):
            self._quarantine.finish(piece)
        file.pieces = tuple(each for each in file.pieces if each != piece)

    def remove_rows(self, series: Series, kept: Iterable[bytes], removed: Sequence[bytes]) -> Path | None:
        """Leaves only these lines in a file; the others go into quarantine first.

        Returns:
            Where the removed lines are; None if there are none.
        """
        path = self.path(series)
        with map_file_errors(self.disk, path):
            beside = self._quarantine.keep_removed(path, b"".join(removed)) if removed else None
            before = stamp_of(path)
            try:
                self.files.replace(path, [HEADER, b"".join(kept)])
            except OSError:
                if beside and stamp_of(path) == before:  # nothing was removed
                    with suppress(OSError):
                        remove_if_there(self.disk, beside)
                raise
        return beside

    def keep_imported(self, series: Series, text: bytes) -> Path:
        """Keeps rows of another tool's file beside ours.

        The next opening puts those in that the exchange lacks.
        """
        path = self.path(series)
        with map_os_errors(path):
            return self._quarantine.keep_imported(path, text)

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
        """How many rows a file holds, without looking at them; none if it is left alone."""
        path = self.path(series)
        with map_os_errors(path), suppress(SkipFile):
            if file_exists(path):
                with mmap_file(self.disk, path) as data:
                    return max(0, sum(chunk.count(b"\n") for chunk in chunks(data, 0, len(data))) - 1)
        return 0
