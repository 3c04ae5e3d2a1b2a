"""What a power loss took of the files is put back from the journal, before anything else looks at them.

Rows go back where the file still is as it was when they were appended: it holds what was synced then, its last row
there comes before them, and behind it are bytes of these rows or zeros, as a disk leaves them that was cut off. Any
other file was changed by somebody since, and is left as it is. What is there already is written once more: a sync that
failed before may have lost it, although it can still be read.

A crash on the way changes nothing: the journal is emptied in the end.
"""

import os
from pathlib import Path

from collector.core.candle import Series
from collector.core.errors import SkipFile
from collector.core.rows import HEADER, open_of_line
from collector.core.text import counted
from collector.logs import get_logger
from collector.machine.own_files import give_to_owner_of
from collector.storage.files import NOT_OURS, Files, is_refused, map_os_errors, target_of
from collector.storage.inspection import file_exists
from collector.storage.journal import Journal
from collector.storage.journal_format import Entry, chains
from collector.storage.sync_many import FileSystems

log = get_logger(__name__)

_LINE = 512  # bytes: more than any line has


def put_back(files: Files, systems: FileSystems, directory: Path, journal: Journal) -> None:
    """Puts back the rows that files have lost, and empties the journal.

    Raises:
        StorageError: the disk refuses.
    """
    written, directories, rows = list[Path](), set[Path](), 0
    for name, entry in chains(journal.read()).items():
        if (series := _series(name)) is None:
            continue
        path = directory / series.file_name
        with map_os_errors(path):
            lost, is_new = _put_back(files, path, entry)
        if lost is not None:
            written.append(path)
            rows += lost
        if is_new:
            directories.add(target_of(path).parent)
    with map_os_errors(directory):
        systems.sync(files, written)
        for each in directories:
            files.sync(each)
    journal.empty()
    if rows:
        log.info("rows put back from the journal", rows=rows, files=counted(len(written), "file"))


def _series(name: str) -> Series | None:
    try:
        return Series.named(name)
    except ValueError:
        return None


def _put_back(files: Files, path: Path, entry: Entry) -> tuple[int | None, bool]:
    """How many rows the file had lost, None if it is left alone; and whether it was gone."""
    disk = files.disk
    try:
        is_there = file_exists(path)
    except SkipFile:
        return None, False
    if not is_there and entry.at:
        return None, False
    try:
        file = disk.open(path, os.O_RDWR | (0 if is_there else os.O_CREAT))
    except OSError as error:
        if error.errno in NOT_OURS or is_refused(disk, path, error):
            return None, False
        raise
    try:
        start = max(0, entry.at - _LINE)
        behind = disk.read(file, entry.at - start + len(entry.text), start)
        before, there = behind[: entry.at - start], behind[entry.at - start :]
        if len(before) < entry.at - start or not _continues(before, entry) or not _is_left_of(there, entry.text):
            return None, False
        if not is_there:
            give_to_owner_of(path.parent, file)
        disk.write(file, entry.text, entry.at)
    finally:
        disk.close(file)
    return _rows(entry) - (0 if b"\0" in there else there.count(b"\n") - (there[: len(HEADER)] == HEADER)), not is_there


def _rows(entry: Entry) -> int:
    return entry.text.count(b"\n") - (entry.at == 0)


def _continues(before: bytes, entry: Entry) -> bool:
    """Whether the rows come after what stands before them."""
    if not entry.at:
        return entry.text.startswith(HEADER)
    if not before.endswith(b"\n"):
        return False
    last = before[:-1].rpartition(b"\n")[2]
    try:
        return last + b"\n" == HEADER or open_of_line(last) < open_of_line(entry.text)
    except (ValueError, IndexError):
        return False


def _is_left_of(there: bytes, text: bytes) -> bool:
    """Whether bytes are what a disk may have left of a text: its own, or zeros."""
    return text.startswith(there) or all(byte in (0, due) for byte, due in zip(there, text, strict=False))
