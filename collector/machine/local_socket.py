"""Unix sockets by their name in a directory.

Their user and root may connect. Binding removes whatever has the name: it is a leftover of a crash, or was put there.
Everything here blocks for a moment.
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
    """A name where one process listens and others connect."""

    directory: Path
    name: str

    def listen(self) -> trio.abc.Listener[trio.abc.HalfCloseableStream]:
        """A trio listener; raises as `bind` does."""
        return trio.SocketListener(trio.socket.from_stdlib_socket(self.bind()))

    def bind(self) -> socket.socket:
        """A listening socket.

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
        """A connection to the listener.

        Raises:
            OSError: nobody listens, or permission is denied.
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
        """Whether the name is a socket."""
        return (self.directory / self.name).is_socket()

    def remove(self) -> None:
        with suppress(OSError):
            (self.directory / self.name).unlink()

    @contextmanager
    def _address(self) -> Iterator[str]:
        """The address, at most 107 bytes: a deep directory is shortened to its descriptor."""
        if not _DESCRIPTORS.exists():
            yield str(self.directory / self.name)
            return
        directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"{_DESCRIPTORS}/{directory}/{self.name}"
        finally:
            os.close(directory)
