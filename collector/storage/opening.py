"""The opening of a file: what it holds is found out, and it is repaired as `recovery` says."""

from pathlib import Path

import attrs

from collector.core.candle import Timeframe
from collector.core.errors import SkipFile
from collector.core.spans import NOTHING, Spans
from collector.core.text import counted
from collector.machine.own_files import remove_if_there
from collector.storage.files import Files, map_file_errors, temp_path
from collector.storage.inspection import Bytes, Checkpoint, file_exists, mmap_file, valid_checkpoint
from collector.storage.quarantine import Quarantine
from collector.storage.recovery import Recovery, recover
from collector.storage.series_file import SeriesFile
from collector.storage.unsynced import Vouched


@attrs.frozen
class Finding:
    """Something that was wrong with a file at its opening, and what was done about it.

    `again` has what the rows that went had covered: it is to be read again, where other rows hold it too.
    """

    file: str
    what: str
    again: Spans = NOTHING


@attrs.frozen
class Opening:
    """What the opening of a file needs to know beside the file."""

    _files: Files
    _quarantine: Quarantine
    _allow_replace: bool  # also a file that loses rows by it

    def open_file(
        self, path: Path, timeframe: Timeframe, checkpoint: Checkpoint | None
    ) -> tuple[SeriesFile, Finding | None]:
        """Opens a file, repaired.

        With a checkpoint that still fits, only what came after it is read.

        Raises:
            SkipFile: the file may not be read, cannot be written, or would lose rows.
        """
        with map_file_errors(self._files.disk, path):
            is_there = file_exists(path)
            remove_if_there(self._files.disk, temp_path(path))
            file, finding = SeriesFile(path, timeframe, self._files), None
            if is_there:
                with mmap_file(self._files.disk, path) as data:
                    found = recover(timeframe, data, valid_checkpoint(path, checkpoint))
                    size, finding = self._repair(path, found, data)
                if found.held or not found.rest:
                    file.size = size
                    file.synced = file.size
                    if checkpoint and found.checkpointed:
                        file.synced, file.vouched = checkpoint.size, Vouched(checkpoint.held, checkpoint.changed_ns)
                    file.held, file.checkpointed = found.held, found.checkpointed
                file.name_unsynced = (
                    found.held != found.checkpointed
                )  # a process that was killed may not have synced it
                if file.synced < file.size:
                    file.rewrite_unsynced()
                file.unsynced.is_known = not file.name_unsynced
            file.pieces = self._quarantine.pieces(timeframe, path)
        return file, finding

    def _repair(self, path: Path, found: Recovery, data: Bytes) -> tuple[int, Finding | None]:
        """Does to a file what was found to be due; how many bytes of rows it has then, and what that was."""
        length, rest, size = len(data), found.rest, found.size
        if found.loses_rows and not self._allow_replace:
            lost = f"{counted(found.foreign, 'line')} of it cannot be read and would be lost"
            remedy = "move it away, or have `collector repair --allow-replace` set it aside"
            raise SkipFile(f"{path.name} is left as it is ({found.why}): {lost}; {remedy}")
        if rest and not found.held:
            piece = self._quarantine.keep_file(path, pending=rest.rows > 0)
            return size, Finding(
                path.name, f"is not ours ({found.why}): set aside as {piece.name}, {rest}", rest.covered
            )
        said = []
        if rest:
            piece = self._quarantine.keep_tail(path, data, size, pending=rest.rows > 0)
            said.append(f"cut off from a bad row on ({found.why}): what follows is kept as {piece.name}, {rest}")
        elif size < length:
            said.append(f"cut back by {counted(length - size, 'byte')} to its last good row ({found.why})")
        if found.repaired:
            said.append(f"{found.repaired} put right, {counted(found.rows, 'row')} stay")
            size = self._files.replace(path, found.text)
        elif size < length:
            self._files.truncate(path, size)
        return size, Finding(path.name, "; ".join(said), rest.covered if rest else NOTHING) if said else None
