"""Whole file systems: syncing one with a single call, where that is as good as syncing each file.

`syncfs` waits for everything that any program has written there. It is taken on those systems alone that are known to
write all of it and to tell of what they could not write, which Linux does since 5.8 to whoever had the file system
open before.
"""

import ctypes
import errno
import os
import re

_MAGIC = {
    0xEF53: "ext4",  # and ext2, ext3
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0xF2F52010: "f2fs",
    0x01021994: "tmpfs",
}
_SINCE = (5, 8)
_STATFS_BYTES = 512  # more than any system's structure has; the kind comes first
_NOT_HERE = (errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP)


def sync_whole(file: int) -> bool:
    """Syncs the file system of an open file; False where each file is to be synced by itself.

    Raises:
        OSError: something was not written since the file was opened, or since the last call with it.
    """
    if _release() < _SINCE or _kind(file) not in _MAGIC:
        return False
    system = ctypes.CDLL(None, use_errno=True)
    if not hasattr(system, "syncfs"):
        return False
    if system.syncfs(ctypes.c_int(file)):
        number = ctypes.get_errno()
        if number in _NOT_HERE:
            return False
        raise OSError(number, os.strerror(number))
    return True


def _release() -> tuple[int, ...]:
    system = os.uname()
    if system.sysname != "Linux":
        return (0,)
    return tuple(map(int, re.findall(r"[0-9]+", system.release)[:2]))


def _kind(file: int) -> int:
    """The number of the kind of a file system.

    0 if it cannot be told.
    """
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None, use_errno=True).fstatfs(ctypes.c_int(file), found):
        return 0
    return ctypes.c_long.from_buffer(found).value & 0xFFFFFFFF
