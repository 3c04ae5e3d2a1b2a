"""The log on disk: rotated, readable while it is written, and never worth more than the collection.

What cannot be written is told once on stderr and left out. A file that cannot be moved away to be rotated is told of
too, and grows on. A file or directory that somebody has taken away is made again, and a file that somebody (logrotate)
has put in its place is gone on with. What is no file of ours alone is not written to but rotated away.
"""

import logging
import os
import sys
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from itertools import pairwise
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from collector.machine.disk import Disk
from collector.machine.own_files import NotAFile, make_directory, open_own, reason

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FILE_NAME = "collector.log"
_FILE_BYTES = 10_000_000  # with five older files beside it: weeks of a normal run, and never more than 60 MB
_OLDER_FILES = 5


class LogFile(RotatingFileHandler):
    """Raises `OSError` when `open` cannot open it, and never again. Later it is opened as soon as it can be."""

    def __init__(self, disk: Disk, logs_dir: Path) -> None:
        path, errors = logs_dir / FILE_NAME, "backslashreplace"  # a name from the system may be no text
        self._disk = disk
        self._told = False
        self._failed = False
        self._told_of_rotation = False
        super().__init__(path, "a", _FILE_BYTES, _OLDER_FILES, encoding="utf-8", delay=True, errors=errors)

    def open(self) -> None:
        make_directory(self._disk, Path(self.baseFilename).parent)
        self.stream = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        try:
            self._find_again()
        except OSError:
            self.handleError(record)
            return
        super().emit(record)
        self._told = self._failed

    def _find_again(self) -> None:
        """Opens the file anew if it is gone or has been replaced; who reads it from its name would wait for ever."""
        path = Path(self.baseFilename)
        if self._writes_to(path):
            return
        if self.stream:
            self.stream.close()
        self.open()

    def _writes_to(self, path: Path) -> bool:
        if not self.stream or self.stream.closed:
            return False
        try:
            return os.path.samestat(path.lstat(), os.fstat(self.stream.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _open(self) -> TextIOWrapper:
        path = Path(self.baseFilename)
        try:
            return self._opened(path)
        except (NotAFile, PermissionError) as error:
            why = reason(path, error)
            try:
                self._move_away()
                stream = self._opened(path)
            except OSError:  # the directory is not ours either
                raise error from None
            self._say(f"was not written to ({why}) and is {path.name}.1 now")
            return stream

    def _opened(self, path: Path) -> TextIOWrapper:
        file = open_own(self._disk, path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return TextIOWrapper(BufferedWriter(_OnDisk(self._disk, file)), encoding=self.encoding, errors=self.errors)

    def doRollover(self) -> None:  # noqa: N802  (the base class's name)
        """Its lines are worth more than its limit."""
        try:
            self._move_away()
        except OSError as error:
            if not self._told_of_rotation:
                self._say(f"cannot be rotated: {error.strerror or error}; it grows on")
            self._told_of_rotation = True
            self.stream = self._open()

    def _move_away(self) -> None:
        """Gives the file the name of the first older one, and each older one that of the next; the last one goes."""
        if self.stream:
            self.stream.close()
            self.stream = None
        names = [
            Path(self.baseFilename),
            *(Path(f"{self.baseFilename}.{number + 1}") for number in range(_OLDER_FILES)),
        ]
        for newer, older in reversed([*pairwise(names)]):
            if newer.exists():
                self._disk.rename(newer, older)

    def _say(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(f"collector: the log {self.baseFilename} {text}\n")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the base class's name)
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._failed = True
        if not self._told:
            self._told = True
            self._say(f"cannot be written: {error.strerror or error}; going on without it")

    def close(self) -> None:
        with suppress(OSError):  # it was told before
            super().close()


class _OnDisk(FileIO):
    """What is written goes through the disk."""

    def __init__(self, disk: Disk, file: int) -> None:
        super().__init__(file, "a", closefd=False)
        self._disk = disk

    def write(self, data: "ReadableBuffer") -> int:
        self._disk.write(self.fileno(), memoryview(data))
        return memoryview(data).nbytes

    def close(self) -> None:
        if not self.closed:
            file = self.fileno()
            super().close()
            self._disk.close(file)
