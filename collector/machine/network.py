"""TCP connections and listeners, Unix sockets, datagrams."""

import os
import select
import socket
import ssl
import struct
from collections.abc import Sequence
from pathlib import Path

import trio

from collector.machine.local_socket import LocalSocket

SHARED_DIRECTORIES: Sequence[str] = ("/dev/shm", f"/run/user/{os.geteuid()}", "/tmp")

_LINGER_0 = struct.pack("ii", 1, 0)  # close sends a reset instead of an orderly end

Stream = trio.abc.HalfCloseableStream
Listener = trio.abc.Listener[trio.abc.HalfCloseableStream]


def words_of(error: BaseException) -> str:
    """What the system says of a connection that failed, without its number and address.

    Of a name with several addresses, one text for each.
    """
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(map(words_of, error.exceptions)))
    if isinstance(error, ssl.SSLError | socket.gaierror):  # their numbers are not the system's
        return error.strerror or str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)


class Network:
    """The network of this machine.

    A simulated one connects in memory.
    """

    async def connect(self, host: str, port: int) -> Stream:
        """A TCP connection.

        Raises:
            OSError: the connection failed.
        """
        return await trio.open_tcp_stream(host, port)

    async def listen(self, host: str, port: int) -> Sequence[Listener]:
        """Listeners at a local port; 0 takes a free one.

        Raises:
            OSError: the port is taken, or permission is denied.
        """
        return await trio.open_tcp_listeners(port, host=host)

    def address_of(self, end: Stream | Listener) -> tuple[str, int]:
        """Host and port of our end.

        Name and port 0 of a Unix socket.
        """
        assert isinstance(end, trio.SocketStream | trio.SocketListener)
        return _host_and_port(end.socket.getsockname())

    def peer_of(self, stream: Stream) -> tuple[str, int]:
        """Host and port of the other end.

        Raises:
            OSError: it is disconnected.
        """
        assert isinstance(stream, trio.SocketStream)
        return _host_and_port(stream.socket.getpeername())

    def has_news(self, stream: Stream) -> bool:
        """Whether bytes or the end of the stream can be read."""
        assert isinstance(stream, trio.SocketStream)
        poll = select.poll()
        poll.register(stream.socket, select.POLLIN)
        return bool(poll.poll(0))

    def reset(self, stream: Stream) -> None:
        """Closes a connection with a TCP reset."""
        assert isinstance(stream, trio.SocketStream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        stream.socket.close()

    def local_socket(self, directory: Path, name: str) -> LocalSocket:
        """A Unix socket by its name in a directory."""
        return LocalSocket(directory, name)

    def send_datagram(self, address: str, words: bytes) -> None:
        """Sends a datagram to a Unix socket; a leading @ means the abstract namespace.

        Raises:
            OSError: nobody listens there.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(words, "\0" + address[1:] if address.startswith("@") else address)

    def shared_directories(self) -> Sequence[str]:
        """Directories where the processes behind one network address meet, the best first."""
        return SHARED_DIRECTORIES


def _host_and_port(address: object) -> tuple[str, int]:
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else (str(address), 0)
