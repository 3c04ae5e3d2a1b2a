"""Connections: those we make, and those we wait for."""

import os
import select
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import trio

from collector.machine.local_socket import LocalSocket

SHARED_DIRECTORIES: Sequence[str] = ("/dev/shm", f"/run/user/{os.geteuid()}", "/tmp")

_LINGER_0 = struct.pack("ii", 1, 0)  # close sends a reset instead of an orderly end

Stream = trio.abc.HalfCloseableStream
Listener = trio.abc.Listener[trio.abc.HalfCloseableStream]


class Network:
    """TCP, and sockets in the file system. A simulated one has connections in memory."""

    async def connect(self, host: str, port: int) -> Stream:
        """A connection to a host.

        Raises:
            OSError: it cannot be made.
        """
        return await trio.open_tcp_stream(host, port)

    async def listen(self, host: str, port: int) -> Sequence[Listener]:
        """Listeners at a port of this machine, or at any free one for 0.

        Raises:
            OSError: it is taken, or not allowed.
        """
        return await trio.open_tcp_listeners(port, host=host)

    def address_of(self, end: Stream | Listener) -> tuple[str, int]:
        """The host and the port of our side; of a Unix socket its name, and no port."""
        assert isinstance(end, trio.SocketStream | trio.SocketListener)
        return _host_and_port(end.socket.getsockname())

    def peer_of(self, stream: Stream) -> tuple[str, int]:
        """The same of the other side.

        Raises:
            OSError: it is gone.
        """
        assert isinstance(stream, trio.SocketStream)
        return _host_and_port(stream.socket.getpeername())

    def has_news(self, stream: Stream) -> bool:
        """Whether something has arrived, the end for one, that nobody has read."""
        assert isinstance(stream, trio.SocketStream)
        poll = select.poll()
        poll.register(stream.socket, select.POLLIN)
        return bool(poll.poll(0))

    def reset(self, stream: Stream) -> None:
        """Ends a connection at once, and has the other side told that it was no orderly end."""
        assert isinstance(stream, trio.SocketStream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        stream.socket.close()

    def local_socket(self, directory: Path, name: str) -> LocalSocket:
        """A Unix socket by its name in a directory."""
        return LocalSocket(directory, name)

    def send_datagram(self, address: str, words: bytes) -> None:
        """Sends a datagram to a Unix socket, without waiting; a leading @ stands for one that is in no file system.

        Raises:
            OSError: nobody listens there.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(words, "\0" + address[1:] if address.startswith("@") else address)

    def shared_directories(self) -> Sequence[str]:
        """The directories in which the processes that share our address on the network find one another, the best
        first."""
        return SHARED_DIRECTORIES


def _host_and_port(address: object) -> tuple[str, int]:
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else (str(address), 0)
