"""Connections: those we make, and those we wait for."""

from collections.abc import Sequence

import trio


class Network:
    """TCP. A simulated one has connections in memory."""

    async def connect(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        """A connection to a host.

        Raises:
            OSError: it cannot be made.
        """
        return await trio.open_tcp_stream(host, port)

    async def listen(self, host: str, port: int) -> Sequence[trio.abc.Listener[trio.abc.HalfCloseableStream]]:
        """Listeners at a port of this machine, or at any free one for 0.

        Raises:
            OSError: it is taken, or not allowed.
        """
        return await trio.open_tcp_listeners(port, host=host)
