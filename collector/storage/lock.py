"""The lock of a data directory: one collector at a time, whatever readers do.

A collector holds flock(2) on a file of its own for as long as it works; the kernel gives the lock back however the
process ends. flock asks for an open file alone, so the file is for its owner (mode 0600).
/proc/locks tells everybody who holds a lock, and /proc/PID/fd tells the user of a process what it has open.

What may go wrong, and what is done:

- The file is removed or replaced while it is being locked: what was locked is compared with what the name leads to, and
  the locking begins again.
- It is removed while a collector holds it. The collector locks the data directory as well, which keeps its place. So
  may any reader; it counts only if the holder has such a lock file open too.
- It is open to others (an earlier version made it so), has a second name, or is no file: whoever can open it may hold
  it. It gives way to a new file, unless its holder has it open for writing, which no reader can. Those who replace it
  exclude one another by a lock on the new file before it gets its name.
- Nobody can be seen that holds it (a container sees its own processes only): then it is held.
"""

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs

from collector.machine.clock import THIS_CLOCK
from collector.machine.disk import Disk
from collector.machine.own_files import NotAFile, open_own

NAME = "lock"
UNKNOWN = "unknown"  # the process that holds a lock, where we cannot see it
_TRIES = 10  # those who only look hold it for some microseconds
_PAUSE_S = 0.01
# A line of /proc/locks: "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131099 0 EOF". Who waits has "->" in it.
_LOCK = re.compile(r"^\d+: FLOCK +\S+ +(\S+) +(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) ", re.MULTILINE)


@attrs.frozen
class Holder:
    """The holder of a lock: its process number, and whether it wrote that down, as a collector does."""

    process: str
    is_collector: bool = True


class LockHeld(Exception):
    """Somebody else has the lock."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder.process)
        self.holder = holder


@contextmanager
def hold_lock(disk: Disk, directory: Path, own: Path) -> Iterator[None]:
    """Holds the lock of a data directory, a file in `own`, while it is entered.

    Raises:
        LockHeld: somebody else does.
        OSError: making or opening the file fails.
    """
    with ExitStack() as stack:
        file = _acquire(disk, own / NAME)
        stack.callback(disk.close, file)
        guard = disk.open(directory, os.O_RDONLY)
        stack.callback(disk.close, guard)
        if holder := _guard_holder(disk, os.fstat(guard), os.fstat(file)):
            raise LockHeld(holder)
        with suppress(OSError):  # a reader has locked it, or a network file system cannot
            disk.lock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):  # a full disk has no room for the number, and is no reason not to start
            disk.truncate(file, 0)
            disk.write(file, f"{os.getpid()}\n".encode(), 0)
        yield


def find_holder(disk: Disk, directory: Path, own: Path) -> Holder | None:
    """Finds the holder of a data directory's lock, as well as it can be known.

    Raises:
        OSError: the system refuses to tell.
    """
    there, path = directory.stat(), own / NAME
    try:
        file = open_own(disk, path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError, NotAFile):  # nobody ever had it, or it was taken away
        return _guard_holder(disk, there, None)
    except PermissionError:
        return _seen_holder(disk, os.lstat(path)) or _guard_holder(disk, there, os.lstat(path))
    try:
        holder = None if _locks(disk, file, fcntl.LOCK_SH) else _holder_that_counts(disk, file)
        return holder or _guard_holder(disk, there, os.fstat(file))
    finally:
        disk.close(file)


def _acquire(disk: Disk, path: Path) -> int:
    """Opens and locks the file that the name leads to, which is for its owner alone."""
    for _ in range(_TRIES):
        file = _open_lock(disk, path)
        taken = False
        try:
            taken = _try_take(disk, file, path)
            if taken:
                return file
        finally:
            if not taken:
                disk.close(file)
    raise LockHeld(Holder(UNKNOWN))


def _open_lock(disk: Disk, path: Path) -> int:
    try:
        return open_own(disk, path, os.O_RDWR | os.O_CREAT, 0o600)
    except NotAFile:
        if stat.S_ISDIR(os.lstat(path).st_mode):  # to which no file can give way
            raise
    _replace(disk, path, os.lstat(path))
    return open_own(disk, path, os.O_RDWR | os.O_CREAT, 0o600)


def _try_take(disk: Disk, file: int, path: Path) -> bool:
    """Whether the file is locked now, and good.

    A bad one gives way to another.

    Raises:
        LockHeld: somebody holds it who can write it.
    """
    has_lock, found = _locks_in_time(disk, file), os.fstat(file)
    if not has_lock and (holder := _holder_that_counts(disk, file)):
        raise LockHeld(holder)
    if has_lock and _is_private(found) and _is_in_place(found, path):
        return True
    _replace(disk, path, found)
    return False


def _locks_in_time(disk: Disk, file: int) -> bool:
    for _ in range(_TRIES):
        if _locks(disk, file, fcntl.LOCK_EX):
            return True
        THIS_CLOCK.pause(_PAUSE_S)
    return _locks(disk, file, fcntl.LOCK_EX)


def _locks(disk: Disk, file: int, how: int) -> bool:
    try:
        disk.lock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(disk: Disk, path: Path, judged: os.stat_result) -> None:
    """Puts a new file in the place of this one, if it is still there; the first of several who try wins."""
    new = path.with_name(f"{path.name}.new")
    file = open_own(disk, new, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.fchmod(file, 0o600)
        if _locks(disk, file, fcntl.LOCK_EX) and _is_in_place(os.fstat(file), new) and _is_in_place(judged, path):
            disk.rename(new, path)
    finally:
        disk.close(file)


def _is_in_place(found: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(found, os.lstat(path))
    except FileNotFoundError:
        return False


def _is_private(found: os.stat_result) -> bool:
    """Whether its owner alone can have opened the file."""
    return not found.st_mode & 0o077 and found.st_nlink == 1


# Who holds it.


def _holder_that_counts(disk: Disk, file: int) -> Holder | None:
    """Who holds the lock on an open file.

    None if it is somebody who can only read it.
    """
    found = os.fstat(file)
    written = disk.read(file, 20).decode("ascii", "replace").strip()
    holders = [*_holders(disk, found)]
    for process, _ in holders:
        if _can_write(disk, process, file):
            return Holder(str(process), is_collector=written in ("", str(process)))
    return None if any(certain for _, certain in holders) else Holder(UNKNOWN)


def _seen_holder(disk: Disk, found: os.stat_result) -> Holder | None:
    """Who holds the lock on a file that we cannot open."""
    for process, certain in _holders(disk, found, "WRITE"):
        if certain or _user_of(process) == found.st_uid:
            return Holder(str(process))
    return None


def _guard_holder(disk: Disk, directory: os.stat_result, lock: os.stat_result | None) -> Holder | None:
    """The collector that has locked the directory after its lock file was moved or removed."""
    for process, certain in _holders(disk, directory, "WRITE"):
        if _user_of(process) not in (0, directory.st_uid):
            continue
        try:
            holds = _has_another_lock_open(disk, process, lock)
        except PermissionError:
            holds = certain
        if holds:
            return Holder(str(process))
    return None


def _holders(disk: Disk, found: os.stat_result, *hows: str) -> Iterator[tuple[int, bool]]:
    """The processes that have locked a file (one of `hows`, or in any way), and whether it is certainly this one.

    Some file systems (btrfs, overlayfs) have another device in the list than in what they say of a file.
    """
    try:
        table = disk.read_all(Path("/proc/locks")).decode()
    except OSError:
        return
    ours = (os.major(found.st_dev), os.minor(found.st_dev))
    for how, process, major, minor, inode in _LOCK.findall(table):
        if int(inode) == found.st_ino and (not hows or how in hows):
            yield int(process), (int(major, 16), int(minor, 16)) == ours


def _can_write(disk: Disk, process: int, file: int) -> bool:
    """Whether a process that has locked this file has it open for writing, or may have where we cannot see."""
    found, ours = os.fstat(file), Path(f"/proc/{os.getpid()}/fd/{file}")
    ways = []
    with suppress(PermissionError):
        for link in _open_files(disk, process):
            with suppress(FileNotFoundError):  # it was closed at this moment
                if link != ours and os.path.samestat(link.stat(), found):
                    ways.append(_is_for_writing(disk, link))
    return any(ways) if ways else _is_private(found) or _user_of(process) == 0


def _has_another_lock_open(disk: Disk, process: int, lock: os.stat_result | None) -> bool:
    for link in _open_files(disk, process):
        with suppress(FileNotFoundError):  # it was closed at this moment
            is_other = lock is None or not os.path.samestat(link.stat(), lock)
            if is_other and link.readlink().name.startswith(NAME) and _is_for_writing(disk, link):
                return True
    return False


def _is_for_writing(disk: Disk, link: Path) -> bool:
    """Whether a descriptor can be written to, by what stands in its fdinfo: "flags:\t0100002", in octal."""
    told = disk.read_all(link.parent.parent / "fdinfo" / link.name).decode()
    return int(told.partition("flags:")[2].split()[0], 8) & os.O_ACCMODE != os.O_RDONLY


def _open_files(disk: Disk, process: int) -> list[Path]:
    """A link for each descriptor of a process.

    Empty if it is gone or hidden.
    """
    try:
        directory = Path(f"/proc/{process}/fd")
        return [directory / name for name in disk.names(directory)]
    except FileNotFoundError:
        return []


def _user_of(process: int) -> int | None:
    try:
        return Path(f"/proc/{process}").stat().st_uid
    except OSError:
        return None
