"""Connections: those we make, and those we wait for."""

import os
from collections.abc import Sequence

import trio

SHARED_PLACES: Sequence[str] = ("/dev/shm", f"/run/user/{os.geteuid()}", "/tmp")


class Network:
    """TCP. A simulated one has connections in memory."""

    async def connect(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        """A connection to a host.

        Raises:
            OSError: it cannot be made.
        """
        return await trio.open_tcp_stream(host, port)

    def shared_places(self) -> Sequence[str]:
        """The directories in which the processes that share our address on the network find one another, the best
        first."""
        return SHARED_PLACES

    async def listen(self, host: str, port: int) -> Sequence[trio.abc.Listener[trio.abc.HalfCloseableStream]]:
        """Listeners at a port of this machine, or at any free one for 0.

        Raises:
            OSError: it is taken, or not allowed.
        """
        return await trio.open_tcp_listeners(port, host=host)
