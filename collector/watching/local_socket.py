"""The Unix socket in a data directory at which its collector says how it is.

It lies in `.collector/`, so that whoever knows the directory finds its own collector. Only the collector's own
user (and root) may connect, and no peer of the TCP port takes a place here. The owner of the directory binds it; what
has its name is a leftover of a crash or was put there, and is removed, never followed.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from collector.ownership import OWN

NAME = "status.sock"
_BACKLOG = 16
_DESCRIPTORS = Path("/proc/self/fd")


def bind_socket(data_dir: Path) -> socket.socket:
    """A socket that listens there.

    Raises:
        OSError: the file system lacks sockets, or something is in the way.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(bound.fileno(), 0o600)  # before it has a name; binding takes it over
        with _address(data_dir) as address:
            with suppress(FileNotFoundError):
                Path(address).unlink()
            bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def connect_socket(data_dir: Path, within_s: float) -> socket.socket:
    """A connection to the collector of a data directory.

    Raises:
        OSError: nobody listens there, or we may not ask.
    """
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(within_s)
        with _address(data_dir) as address:
            connected.connect(address)
    except OSError:
        connected.close()
        raise
    return connected


def is_bound(data_dir: Path) -> bool:
    """Whether the socket is where whoever asks looks for it."""
    return (data_dir / OWN / NAME).is_socket()


def remove_socket(data_dir: Path) -> None:
    with suppress(OSError):
        (data_dir / OWN / NAME).unlink()


@contextmanager
def _address(data_dir: Path) -> Iterator[str]:
    """The socket's address. It has room for 107 bytes, so the way to a deep directory is shortened to a descriptor."""
    if not _DESCRIPTORS.exists():
        yield str(data_dir / OWN / NAME)
        return
    directory = os.open(data_dir / OWN, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"{_DESCRIPTORS}/{directory}/{NAME}"
    finally:
        os.close(directory)
