"""The collector's own small files: lock, ban, log and the like.

Their names may be taken by something hostile: a link to another user's file, a pipe whose opening blocks, a device. So
a file is opened if it is regular, by its own name, without blocking; directories on the way may be links. Reading is
bounded. A new file has an explicit mode and is durable once its directory is synced. Candle files may be links; other
modules open them.

What root creates in another user's directory is given to that user, as SQLite does with its journals: so the service
can write what a command under sudo left. Errors are `OSError`; `not_written` turns one into a sentence.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

try:
    import pwd
except ModuleNotFoundError:  # Windows
    pwd = None  # type: ignore[assignment]

from collector.core.errors import CollectorError, SettingsError, StorageError
from collector.machine.disk import NO_LINK, NO_WAIT, Disk

OWN = ".collector"  # the folder of a data directory that has them
IDENTITY = "identity.json"  # in it: whose candles the directory holds
_LONGEST = 64 * 1024  # bytes; the longest of them has some hundred
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


class NotAFile(OSError):
    """The name belongs to something else than a regular file; `strerror` says what."""


def open_own(disk: Disk, path: Path, flags: int, mode: int = 0o644) -> int:
    """Descriptor of a regular file, opened by its own name without blocking.

    Raises:
        NotAFile: it is a link, a directory, a pipe or the like, or, for writing, has a second hard link.
        OSError: the system refuses.
    """
    try:
        file = disk.open(path, flags | NO_LINK | NO_WAIT, mode)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        raise _not_a_file(path) or error from None
    try:
        _expect_regular(path, os.fstat(file))
        if flags & os.O_CREAT:
            _expect_one_name(path, os.fstat(file))
            give_to_owner_of(path.parent, file)
    except BaseException:
        disk.close(file)
        raise
    return file


def expect_own(path: Path) -> None:
    """Checks a name before a library such as SQLite opens it; a missing file passes.

    The file stays closed here: closing a descriptor of it would release the locks that SQLite holds in this process.

    Raises:
        NotAFile: as `open_own` does for writing.
    """
    with suppress(FileNotFoundError):
        found = os.lstat(path)
        _expect_regular(path, found)
        _expect_one_name(path, found)


def read_own(disk: Disk, path: Path) -> bytes:
    """The bytes of a file, at most 64 KiB."""
    file = open_own(disk, path, os.O_RDONLY)
    try:
        data = disk.read(file, _LONGEST + 1)
    finally:
        disk.close(file)
    if len(data) > _LONGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def create_own(disk: Disk, path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes and syncs a new file; its name is durable once the directory is synced.

    Raises:
        FileExistsError: the name is taken.
    """
    file = open_own(disk, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        disk.write(file, data)
        disk.sync(file)
    finally:
        disk.close(file)


def replace_own(disk: Disk, path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replaces a file atomically and durably."""
    new = disk.spare_name(path)  # others may do the same at this moment
    try:
        create_own(disk, new, data, mode)
        disk.rename(new, path)
    except BaseException:
        with suppress(OSError):
            remove_if_there(disk, new)
        raise
    sync_directory(disk, path.parent)


def remove_if_there(disk: Disk, path: Path) -> None:
    with suppress(FileNotFoundError):
        disk.remove(path)


def make_directory(disk: Disk, path: Path) -> None:
    """Creates a directory and its parents, durably.

    An existing one may be a link.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_directory(disk, path.parent)
    try:
        disk.make_directory(path)
    except FileExistsError as error:
        if not path.is_dir():  # or somebody else has made it at this moment
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
    give_to_owner_of(path.parent, path)
    with suppress(PermissionError):  # a parent that we may only pass through
        sync_directory(disk, path.parent)


def sync_directory(disk: Disk, path: Path) -> None:
    """Returns once the names in a directory are on the disk."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no directory
        return
    directory = disk.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        disk.sync(directory)
    finally:
        disk.close(directory)


def give_to_owner_of(directory: Path, made: int | Path) -> None:
    """Gives what root created to the owner of the directory."""
    if not hasattr(os, "geteuid") or os.geteuid() or not (owner := directory.stat()).st_uid:
        return
    with suppress(PermissionError):  # root of another machine, over the network
        os.chown(made, owner.st_uid, owner.st_gid)


def owner_of(path: Path) -> str:
    """The user who owns a path or its nearest existing parent; a number if the user has no name."""
    while not os.path.lexists(path) and path.parent != path:
        path = path.parent
    number = os.lstat(path).st_uid
    if pwd is None:
        return str(number)
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def is_known(user: str) -> bool:
    """Whether this machine knows the user."""
    if pwd is None:
        return False
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def reason(path: Path, error: OSError) -> str:
    """Why a path could not be used.

    For a permission error, also who owns it.
    """
    text = error.strerror or str(error)
    if error.errno not in (errno.EACCES, errno.EPERM):
        return text
    try:
        refused = Path(error.filename) if isinstance(error.filename, str) else path
        return f"{text}; it belongs to {owner_of(refused)}"
    except OSError:
        return text


def not_written(key: str, directory: Path, error: OSError) -> CollectorError:
    """The error for a directory that cannot be written.

    A path that cannot be a directory is a wrong setting; any other error is the disk's, and may pass.
    """
    refused = Path(error.filename) if isinstance(error.filename, str) else directory
    path = refused if refused.is_relative_to(directory) else directory
    what = f"[storage] {key}: {path} cannot be written ({reason(path, error)})"
    is_wrong = error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
    return SettingsError([what]) if is_wrong else StorageError(what)


def _not_a_file(path: Path) -> NotAFile | None:
    """The error if the path is something else than a regular file."""
    try:
        _expect_regular(path, os.lstat(path))
    except NotAFile as found:
        return found
    except OSError:
        pass
    return None


def _expect_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a device")
        raise NotAFile(errno.EINVAL, f"it is {kind}, and not a file", str(path))


def _expect_one_name(path: Path, found: os.stat_result) -> None:
    if found.st_nlink > 1:
        raise NotAFile(errno.EINVAL, "it is a file that has another name too (a hard link)", str(path))
