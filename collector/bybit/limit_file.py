"""The file in which all processes of a user keep one rate limit.

It lies in a directory that all of them see, whatever their environment: a service without XDG_RUNTIME_DIR, one that is
locked in with a /tmp of its own, a shell. That is /dev/shm: systemd's PrivateTmp, PrivateDevices, ProtectHome and
ProtectSystem leave it shared and writable. Where there is none, it is the user's runtime directory, or the one for
temporary files. Whoever can write there might plant something, so nothing is used but a directory and a file of our
own that nobody else can open.

The kernel's lock on the file is held for microseconds, and given back however a process ends. The file may go at any
moment (systemd and logind remove a user's shared memory at the end of a service or session): whoever comes next makes
it anew from what it knows.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import attrs
import msgspec

from collector.core.rate_limit import RateLimit
from collector.machine.clock import LocalClock
from collector.machine.disk import Disk

T = TypeVar("T")
Change = Callable[[RateLimit], tuple[T, RateLimit]]

_VERSION = 1
_LONGEST = 16 * 1024  # bytes; a process takes 130
_STALE_S = 3600.0  # a file that nobody has written for so long may be removed
_TRIES = 4  # to get the lock, in a third of a millisecond
_PAUSE_S = 0.00005


class LimitBusy(Exception):
    """Somebody holds the lock at this moment."""


class LimitFileError(Exception):
    """The file cannot be used; the text says why."""


@attrs.frozen
class _Record:
    """What stands in the file.

    Its times are valid until the machine is started anew.
    """

    version: int
    boot: str
    limit: RateLimit


@attrs.define(eq=False)
class LimitFile:
    """A rate limit in a file.

    Both methods raise `LimitBusy` and `LimitFileError`; `damage` says what was replaced.
    """

    _disk: Disk
    name: str
    directories: Sequence[str]
    clock: LocalClock
    damage: str = ""
    _directory: int = -1
    _file: int = -1
    _boot: str = attrs.field(default=attrs.Factory(lambda self: self.clock.boot_id(), takes_self=True))

    def update(self, known: RateLimit, change: Change[T]) -> tuple[T, RateLimit]:
        """Reads the limit, changes it, and writes it down; what the change returns, and the limit after it.

        Args:
            known: the limit for a file that is new, damaged, or from before the machine was started.
            change: gives the same limit to leave the file as it is.
        """
        try:
            with self._locked():
                text = self._disk.read(self._file, _LONGEST)
                limit = self._limit_in(text)
                result, after = change(known if limit is None else limit)
                if after != limit:
                    self._write(msgspec.json.encode(_Record(_VERSION, self._boot, after)), len(text))
        except LimitFileError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise LimitFileError(error.strerror or str(error)) from error
        return result, after

    def replace(self) -> None:
        """Removes the file: who holds its lock for long has stopped, and the others go on."""
        with suppress(OSError):
            if self._is_in_place():
                self._disk.remove(self.name, self._directory)
        self.close()

    def close(self) -> None:
        for each in (self._file, self._directory):
            if each >= 0:
                self._disk.close(each)
        self._file = self._directory = -1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock()
        try:
            yield
        finally:
            if self._file >= 0:
                self._disk.lock(self._file, fcntl.LOCK_UN)

    def _lock(self) -> None:
        for _ in range(_TRIES):
            if self._file < 0:
                self._open()
            try:
                self._disk.lock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.clock.pause(_PAUSE_S)
                continue
            if self._is_in_place():
                return
            self.close()
        raise LimitBusy

    def _is_in_place(self) -> bool:
        """Whether the file that is open is the one that others find."""
        try:
            return os.path.samestat(
                os.fstat(self._file), os.stat(self.name, dir_fd=self._directory, follow_symlinks=False)
            )
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        self._directory = _own_directory(self._disk, self.directories)
        self._file = _opened(self._disk, self.name, self._directory)
        _remove_stale(self._disk, self.name, self._directory, self.clock.now_ms() / 1000)

    def _limit_in(self, text: bytes) -> RateLimit | None:
        """The limit in the file, if valid and written since the machine started."""
        if not text:
            return None
        try:
            version = msgspec.json.decode(text, type=_Version).version
            if version > _VERSION:
                raise LimitFileError(f"it is of version {version}")
            record = msgspec.json.decode(text, type=_Record)
        except msgspec.MsgspecError as error:
            self.damage = str(error)
            return None
        return record.limit if record.boot == self._boot else None

    def _write(self, text: bytes, length_before: int) -> None:
        """Writes the text, padded with blanks: a crash between truncating and writing would leave nothing."""
        self._disk.write(self._file, text.ljust(length_before), 0)


class _Version(msgspec.Struct):
    version: int


def _own_directory(disk: Disk, directories: Sequence[str]) -> int:
    """Opens our first directory that is closed to others.

    Makes it if need be.
    """
    name, why = f"collector-{os.geteuid()}", "there is no directory for it"
    for place in directories:
        path = Path(place, name)
        try:
            with suppress(FileExistsError):
                disk.make_directory(path, 0o700)
            directory = disk.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            why = f"{path}: {error.strerror}"
            continue
        found = os.fstat(directory)
        if found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            return directory
        disk.close(directory)
        why = f"{path} is open to others"
    raise LimitFileError(why)


def _opened(disk: Disk, name: str, directory: int) -> int:
    file = disk.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, directory)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    disk.close(file)
    raise LimitFileError(f"{name} is no file")


def _remove_stale(disk: Disk, ours: str, directory: int, now_s: float) -> None:
    """Removes the files of sandboxes that are long gone."""
    for name in disk.names(directory):
        with suppress(OSError):
            written_s = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime
            if name != ours and now_s - written_s > _STALE_S:
                disk.remove(name, directory)
