"""One client's stream connection: frames in, frames out.

I/O only: texts go to a callback, and frames to send are queued, so that the sender goes on at once. A client that
reads too slowly is cut off.
"""

from collections.abc import Callable

import trio
from wsproto import WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from collector.sandbox.stream.pushes import frame

_CHUNK = 65_536
_MAX_MESSAGE = 1 << 20  # of one message; 21,000 characters of topics are the most that make sense
_DRAIN_S = 1.0
_GOING_AWAY = 1001
# How far away the exchange is at least. Some clients note what they have asked for only after they have sent it, and
# fail when the answer is there before.
_LATENCY_S = 0.005


class Connection:
    """An open connection.

    Args:
        unsent_most: bytes that may wait for the client.
        unsent_s: how long one write may take.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        websocket: WSConnection,
        unsent_most: int,
        unsent_s: float,
    ) -> None:
        self.unsent = 0
        self.muted = False
        self.ended_by = "gone"
        self._stream = stream
        self._websocket = websocket
        self._unsent_most = unsent_most
        self._unsent_s = unsent_s
        self._outbox: list[bytes] = []
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._scope = trio.CancelScope()
        self._parts: list[str] = []

    @property
    def closed(self) -> bool:
        """True once queued frames are discarded."""
        return self._scope.cancel_called or self.muted

    def send_text(self, text: str) -> None:
        """Queues a text."""
        self.send(frame(text.encode()))

    def send(self, data: bytes) -> None:
        """Queues whole frames.

        Cuts the connection at too many unsent bytes.
        """
        if self.closed:
            return
        self._outbox.append(data)
        self.unsent += len(data)
        self._filled.set()
        if self.unsent > self._unsent_most:
            self.cut("slow")

    def cut(self, why: str) -> None:
        """Ends the connection abruptly, which clients see as 1006."""
        self.ended_by = why
        self._scope.cancel()

    def close(self) -> None:
        """Sends a close frame, the last frame of ours.

        The client answers it.
        """
        self._send_control(CloseConnection(_GOING_AWAY, "going away"))
        self.mute()

    def _send_control(self, event: Event) -> None:
        """Sends a control frame, unless a close frame of ours was the last."""
        if self._websocket.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self.send(self._websocket.send(event))

    def mute(self) -> None:
        """Keeps the connection open in silence: neither texts nor pongs are sent."""
        self.muted = True

    async def run(self, on_text: Callable[[str], None], on_ping: Callable[[], None]) -> None:
        """Reads and writes until either side ends; the caller closes the stream.

        Args:
            on_text: receives every text of the client.
            on_ping: called at every protocol ping, which is answered here.
        """
        self._on_text, self._on_ping = on_text, on_ping
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read()
                await self._drain()
                nursery.cancel_scope.cancel()

    async def drained(self) -> None:
        """Waits until the send queue is empty."""
        while self.unsent and not self._scope.cancel_called:
            await self._emptied.wait()

    async def _write(self) -> None:
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            data = b"".join(self._outbox)
            self._outbox.clear()
            try:
                with trio.fail_after(self._unsent_s):
                    await self._stream.send_all(data)
            except trio.TooSlowError:
                return self.cut("slow")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return self._scope.cancel()
            self.unsent -= len(data)
            if not self.unsent:
                self._emptied.set()
                self._emptied = trio.Event()

    async def _read(self) -> None:
        while True:
            for event in self._websocket.events():
                if not self._handle(event):
                    return
                await trio.lowlevel.checkpoint()  # one request may take long, and a client may send many at once
            try:
                data = bytes(await self._stream.receive_some(_CHUNK))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            await trio.sleep(_LATENCY_S)
            self._websocket.receive_data(data)

    def _handle(self, event: Event) -> bool:
        """Handles an event; false if it was the client's last."""
        if isinstance(event, TextMessage | BytesMessage):
            return self._add_part(event)
        if isinstance(event, Ping):
            self._on_ping()
            self._send_control(event.response())
        elif isinstance(event, CloseConnection):
            self.ended_by = "closed"
            self._send_control(event.response())
            return False
        return True

    def _add_part(self, event: TextMessage | BytesMessage) -> bool:
        part = event.data if isinstance(event, TextMessage) else bytes(event.data).decode(errors="replace")
        self._parts.append(part)
        if sum(map(len, self._parts)) > _MAX_MESSAGE:
            self._send_control(CloseConnection(1009, "message too long"))
            return False
        if event.message_finished:
            text = "".join(self._parts)
            self._parts.clear()
            if not self.muted:
                self._on_text(text)
        return True

    async def _drain(self) -> None:
        with trio.move_on_after(_DRAIN_S):
            await self.drained()
