"""Unix sockets by the name they have in a directory. Only their own user (and root) may connect.

What has the name of one that is to be bound is a leftover of a crash or was put there, and is removed, never followed.
Everything here blocks, for a moment.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import trio

_BACKLOG = 16
_DESCRIPTORS = Path("/proc/self/fd")


@attrs.frozen
class LocalSocket:
    """A name at which one process listens and others ask."""

    directory: Path
    name: str

    def listen(self) -> trio.abc.Listener[trio.abc.HalfCloseableStream]:
        """A listener there, for trio. Raises as `bind` does."""
        return trio.SocketListener(trio.socket.from_stdlib_socket(self.bind()))

    def bind(self) -> socket.socket:
        """A socket that listens there.

        Raises:
            OSError: the file system lacks sockets, or something is in the way.
        """
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(bound.fileno(), 0o600)  # before it has a name; binding takes it over
            with self._address() as address:
                with suppress(FileNotFoundError):
                    Path(address).unlink()
                bound.bind(address)
            bound.listen(_BACKLOG)
        except OSError:
            bound.close()
            raise
        return bound

    def connect(self, within_s: float) -> socket.socket:
        """A connection to whoever listens there.

        Raises:
            OSError: nobody does, or we may not ask.
        """
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(within_s)
            with self._address() as address:
                connected.connect(address)
        except OSError:
            connected.close()
            raise
        return connected

    def is_bound(self) -> bool:
        """Whether the socket is where whoever asks looks for it."""
        return (self.directory / self.name).is_socket()

    def remove(self) -> None:
        with suppress(OSError):
            (self.directory / self.name).unlink()

    @contextmanager
    def _address(self) -> Iterator[str]:
        """It has room for 107 bytes, so the way to a deep directory is shortened to a descriptor."""
        if not _DESCRIPTORS.exists():
            yield str(self.directory / self.name)
            return
        directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"{_DESCRIPTORS}/{directory}/{self.name}"
        finally:
            os.close(directory)
