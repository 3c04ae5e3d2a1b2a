"""The log on disk: JSON lines, rotated, and less important than the collection.

A failed write is reported once on stderr and the line is dropped. A file that cannot be rotated is reported too, and
grows. A removed file or directory is created again; a file that was exchanged (logrotate) is continued. What is not a
regular file of ours alone is rotated away before the first write.
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

from collector.core.errors import SettingsError
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.own_files import NotAFile, make_directory, not_written, open_own, reason

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FILE_NAME = "collector.log"
_FILE_BYTES = 10_000_000  # with five older files: weeks of a normal run, at most 60 MB
_OLDER_FILES = 5


class LogFile(RotatingFileHandler):
    """A rotating file that is opened again after every failure."""

    def __init__(self, logs_dir: Path, disk: Disk = THIS_DISK, *, required: bool = True) -> None:
        """Describe the file; it is created by `open_first`.

        Args:
            required: whether a file that cannot be written at first is an error, or tried again with every line.
        """
        path, errors = logs_dir / FILE_NAME, "backslashreplace"  # file names from the system may be invalid UTF-8
        self._logs_dir = logs_dir
        self._disk = disk
        self._required = required
        self._failure_reported = False
        self._failed = False
        self._rotation_reported = False
        super().__init__(path, "a", _FILE_BYTES, _OLDER_FILES, encoding="utf-8", delay=True, errors=errors)

    def open_first(self) -> None:
        """Create the directory and the file.

        Raises:
            SettingsError: the directory cannot be one.
            StorageError: the file cannot be written, and is required.
        """
        try:
            self.open()
        except OSError as error:
            trouble = not_written("logs_dir", self._logs_dir, error)
            if self._required or isinstance(trouble, SettingsError):
                raise trouble from error

    def open(self) -> None:
        make_directory(self._disk, Path(self.baseFilename).parent)
        self.stream = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        try:
            self._reopen_if_replaced()
        except OSError:
            self.handleError(record)
            return
        super().emit(record)
        self._failure_reported = self._failed

    def _reopen_if_replaced(self) -> None:
        """Reopen the file if its name leads to another one, or to none."""
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
            except OSError:  # the directory is foreign too
                raise error from None
            self._report(f"was not written to ({why}) and is {path.name}.1 now")
            return stream

    def _opened(self, path: Path) -> TextIOWrapper:
        file = open_own(self._disk, path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return TextIOWrapper(BufferedWriter(_OnDisk(self._disk, file)), encoding=self.encoding, errors=self.errors)

    def doRollover(self) -> None:  # noqa: N802  (the base class's name)
        """Rotate; if that fails, continue the file beyond its limit."""
        try:
            self._move_away()
        except OSError as error:
            if not self._rotation_reported:
                self._report(f"cannot be rotated: {error.strerror or error}; it grows on")
            self._rotation_reported = True
            self.stream = self._open()

    def _move_away(self) -> None:
        """Rename the file to .1, .1 to .2 and so on; the last one is replaced."""
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

    def _report(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(f"collector: the log {self.baseFilename} {text}\n")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the base class's name)
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._failed = True
        if not self._failure_reported:
            self._failure_reported = True
            self._report(f"cannot be written: {error.strerror or error}; going on without it")

    def close(self) -> None:
        with suppress(OSError):  # reported before
            super().close()


class _OnDisk(FileIO):
    """A raw file that writes through the disk seam."""

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
