"""One connection below the HTTP library: its limits in time and size.

The library reads and writes here as if it were a socket. It is given the head of one request and no body, since nothing
is taken in. The limits hold also where the library waits behind a shield: whoever takes nothing in time is cut off.
"""

import re
from contextlib import suppress
from math import inf
from socket import AF_INET

import attrs
import trio

from collector.machine.network import Network, Stream

_REQUEST_TIMEOUT_S = 5.0  # for the whole head of the request
_RESPONSE_TIMEOUT_S = 5.0  # for each piece of the response
_LIFETIME_S = 60.0  # for all of it, unless it is an answer that waits for something
_HALF_CLOSED_S = 1.0  # an end of input is a client that left, or one that has said all it wants to say
_LINGER_S = 1.0
_MAX_HEAD_BYTES = 8192
_MAX_BYTES_BEHIND = 1 << 20
_CHUNK = 4096
_PIECE = 1 << 16
_END_OF_HEAD = re.compile(rb"\n\r?\n")
# What would make the library speak another protocol; a server is free to ignore it (RFC 9110, section 7.8).
_UPGRADE = re.compile(rb"(?i)(?<=\n)upgrade[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*")
_HTTP_2 = re.compile(rb"PRI \* HTTP/2")
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_STOPPING = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 37\r\n"
    b'Cache-Control: no-store\r\nConnection: close\r\n\r\n{"error":"the collector is stopping"}'
)
_CHUNKED = re.compile(rb"(?i)\ntransfer-encoding: chunked\r\n")
_LAST_CHUNK = b"0\r\n\r\n"
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.frozen
class _Ends:
    """Both addresses of a connection, asked for as a socket is."""

    _network: Network
    _stream: Stream
    family: int = AF_INET

    def getsockname(self) -> tuple[str, int]:
        return self._network.address_of(self._stream)

    def getpeername(self) -> tuple[str, int]:
        return self._network.peer_of(self._stream)


@attrs.define(eq=False)
class Connection(trio.abc.HalfCloseableStream):
    """A stream that carries one request and its response."""

    _stream: Stream
    _network: Network
    stays: bool = False  # it waits for events: it is old because it may be
    _head_read: bool = False
    _reading: bool = False
    _closing: trio.Event = attrs.field(factory=trio.Event)
    _gone: trio.Event = attrs.field(factory=trio.Event)
    _cut: bool = False
    _asked: bool = False  # a request has come
    _begun: bytes = b""  # what the response began with
    _sending: trio.CancelScope | None = None
    scope: trio.CancelScope = attrs.field(
        factory=lambda: trio.CancelScope(deadline=trio.current_time() + _LIFETIME_S), init=False
    )

    @property
    def socket(self) -> _Ends:
        return _Ends(self._network, self._stream)

    @property
    def has_left(self) -> bool:
        """Whether the client has said all it wants to say: nobody waits for an answer."""
        return self._gone.is_set()

    def allow(self, seconds: float = inf) -> None:
        """Lets an answer take longer than others.

        Without a number, as long as the client reads it.
        """
        self.stays = True
        self.scope.deadline = trio.current_time() + seconds + _LIFETIME_S

    def cut(self) -> None:
        """Ends it at once, whatever it waits for."""
        self._cut = True
        self.scope.cancel()
        if self._sending:
            self._sending.cancel()

    async def dismiss(self) -> None:
        """Ends it with an answer to whoever waits for one: the server stops.

        A stream of events ends as one that is complete. What is on its way is cut off.
        """
        is_sending, self._cut = self._sending is not None, True
        if (last := self._last_words) and not is_sending:
            with suppress(*_GONE, trio.BusyResourceError):  # it may be about to end by itself
                await self._stream.send_all(last)
        self.cut()

    @property
    def _last_words(self) -> bytes:
        if self._asked and not self._begun:
            return _STOPPING
        return _LAST_CHUNK if self.stays and _CHUNKED.search(self._begun) else b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The head of the request.

        Then the end, once the client has left.
        """
        if not self._head_read:
            self._head_read = True
            return await self._read_head() or await self._end_unasked()
        self._reading = True
        try:
            await self._read_rest()
        finally:
            self._reading = False
        return b""

    async def _end_unasked(self) -> bytes:
        """Ends a connection that brought no request."""
        await self.aclose()
        self.scope.cancel()
        return b""

    async def _read_head(self) -> bytes:
        head = b""
        with trio.move_on_after(_REQUEST_TIMEOUT_S) as waiting:
            while not (end := _END_OF_HEAD.search(head)) and len(head) <= _MAX_HEAD_BYTES:
                if not (data := await self._stream.receive_some(_CHUNK)):
                    return b""
                head += data
        if waiting.cancelled_caught:
            await self.send_all(_TOO_LATE)
            await self.send_eof()
            return b""
        self._asked = True
        if _HTTP_2.match(head):
            head = head.replace(b"HTTP/2", b"HTTP/1", 1)
        return _UPGRADE.sub(b"", head[: end.end()]) if end else head

    async def _read_rest(self) -> None:
        """Reads and drops what comes behind the head, until the client leaves."""
        left = _MAX_BYTES_BEHIND
        try:
            while left > 0 and (data := await self._stream.receive_some(_PIECE)):
                left -= len(data)
        finally:
            self._gone.set()
        with trio.move_on_after(_HALF_CLOSED_S):
            await self._closing.wait()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for at in range(0, len(view), _PIECE):
            await self._send_piece(view[at : at + _PIECE])

    async def _send_piece(self, piece: memoryview) -> None:
        self._begun = self._begun or bytes(piece[:_CHUNK])
        with trio.move_on_after(_RESPONSE_TIMEOUT_S) as sending:
            self._sending = sending
            if self._cut:
                sending.cancel()
            try:
                await self._stream.send_all(piece)
            finally:
                self._sending = None
        if sending.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the client does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Closes it when the client has had a moment to read.

        Closing with unread input would send a reset, which discards the response on its way.
        """
        if not self._closing.is_set():
            self._closing.set()
            with trio.move_on_after(_LINGER_S):
                await self._drain()
        await self._stream.aclose()

    async def _drain(self) -> None:
        if self._reading:
            await self._gone.wait()
            return
        try:
            while await self._stream.receive_some(_PIECE):
                pass
        except _GONE:
            return
