"""Atomic replacement, truncation and syncing of files.

A replacement is written to a temporary file beside the target, synced, and renamed over it; the directory's sync makes
the new name durable. Of a symbolic link, the target is replaced and the link stands. Everything here blocks.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from collector.core.errors import SkipFile, StorageError
from collector.machine.disk import Disk
from collector.machine.own_files import give_to_owner_of, reason, remove_if_there

NOT_OURS = (errno.EACCES, errno.EPERM)  # the system refuses this user a file, and waiting does not help
_MODE = 0o644  # of a new file; the umask applies


@attrs.frozen
class Replacement:
    """A new file beside the one that it is to replace."""

    path: Path
    target: Path
    size: int = 0


@attrs.define
class Files:
    """Replaces files, cuts them, and makes them durable.

    Raises `OSError`, of which `map_os_errors` makes a sentence.
    """

    disk: Disk
    parts: int = 0  # of files that were put in the place of others: what tells a slow disk from one that hangs

    def replace(self, path: Path, parts: Iterable[bytes]) -> int:
        """Replaces a file atomically and durably; its size."""
        size = self.atomic_replace(path, parts)
        self.sync(target_of(path).parent)
        return size

    def atomic_replace(self, path: Path, parts: Iterable[bytes]) -> int:
        """Replaces a file atomically by a synced one; its size.

        The new file has the old one's mode, and its owner where that is allowed. The renaming itself outlives a power
        loss only once the directory is synced.
        """
        new = self._prepare(path, parts, sync=True)
        self.commit(new)
        return new.size

    def prepare(self, path: Path, parts: Iterable[bytes]) -> "Replacement":
        """Writes a file's replacement beside it, which is to be synced before `commit`."""
        return self._prepare(path, parts, sync=False)

    def commit(self, new: "Replacement") -> None:
        """Puts a synced replacement in its place."""
        try:
            self.disk.rename(new.path, new.target)
        except OSError:
            self.discard(new)
            raise

    def discard(self, new: "Replacement") -> None:
        """Removes a replacement that failed.

        The error that made it fail is the one to report.
        """
        with suppress(OSError):
            remove_if_there(self.disk, new.path)

    def _prepare(self, path: Path, parts: Iterable[bytes], *, sync: bool) -> "Replacement":
        new = Replacement(temp_path(path), target_of(path))
        try:
            remove_if_there(self.disk, new.path)
            return attrs.evolve(new, size=self._write_new(new, parts, sync=sync))
        except OSError:
            self.discard(new)
            raise

    def _write_new(self, new: "Replacement", parts: Iterable[bytes], *, sync: bool) -> int:
        file = self.disk.open(new.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        try:
            _take_after(file, new.target)
            for part in parts:
                self.disk.write(file, part)
                self.parts += 1
            size = os.fstat(file).st_size
            if sync:
                self.disk.sync(file)
        finally:
            self.disk.close(file)
        return size

    def sync(self, path: Path) -> None:
        """Returns once all of a file, or every name in a directory, has reached the disk."""
        file = self.disk.open(path, os.O_RDONLY)
        try:
            self.disk.sync(file)
        finally:
            self.disk.close(file)

    def truncate(self, path: Path, size: int) -> None:
        """Truncates a file durably."""
        file = self.disk.open(path, os.O_WRONLY)
        try:
            self.disk.truncate(file, size)
            self.disk.sync(file)
        finally:
            self.disk.close(file)


def target_of(path: Path) -> Path:
    """The file that a name stands for: the end of a chain of symbolic links, whether it exists or not."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def temp_path(path: Path) -> Path:
    """The temporary file of a replacement.

    A crash may leave it there.
    """
    target = target_of(path)
    return target.with_name(f"{target.name}.new")


def _take_after(file: int, old: Path) -> None:
    """Gives a new file the owner and the mode of the one that it replaces, as far as the system allows it."""
    try:
        status = old.stat()
    except FileNotFoundError:
        give_to_owner_of(old.parent, file)
        return
    if not stat.S_ISREG(status.st_mode):  # a pipe or a device, perhaps at the end of a link
        raise OSError(errno.EINVAL, "it is no regular file and is not replaced", str(old))
    with suppress(PermissionError):
        os.fchown(file, status.st_uid, status.st_gid)
    with suppress(PermissionError):
        os.fchmod(file, stat.S_IMODE(status.st_mode))


@contextmanager
def map_os_errors(path: Path) -> Iterator[None]:
    """Raises the system's errors as `StorageError`."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


@contextmanager
def map_file_errors(disk: Disk, path: Path) -> Iterator[None]:
    """Raises the system's errors while a candle file is changed as `file_error` says."""
    try:
        yield
    except OSError as error:
        raise file_error(disk, path, error) from error


def file_error(disk: Disk, path: Path, error: OSError) -> StorageError:
    """The error for a candle file that could not be changed: `SkipFile` where the others are not affected."""
    if not is_refused(disk, path, error):
        return storage_error(path, error)
    why = reason(target_of(path), OSError(error.errno, error.strerror))
    remedy = "let this user read and write it" if error.errno in NOT_OURS else "mount its directory, not the file alone"
    return SkipFile(f"{path} may not be written ({why}); what it holds is intact; {remedy}")


def is_refused(disk: Disk, path: Path, error: OSError) -> bool:
    """Whether the system refuses this user one candle file, and not all that is beside it.

    A mount of a single file refuses to be replaced (EBUSY), and one that is read-only to be written (EROFS).
    """
    if error.errno in NOT_OURS:
        return disk.writable(path.parent)
    return error.errno == errno.EBUSY or (error.errno == errno.EROFS and disk.writable(target_of(path).parent))


def storage_error(path: Path, error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"the disk is full: {path} could not be written; what it holds is intact")
    return StorageError(f"{path} could not be read or written ({reason(path, error)}); what it holds is intact")
