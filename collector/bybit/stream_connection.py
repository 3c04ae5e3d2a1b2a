"""A connection to the exchange's stream: the only module that imports trio_websocket.

It opens, sends and receives, and maps every failure to one error. Pushes come sifted, from below the library; all else
comes as texts. `live` opens lost connections again, and the session understands what comes.
"""

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

import attrs
import trio
import trio_websocket
from h11 import ProtocolError as HttpError
from wsproto.utilities import ProtocolError as WebSocketError

from collector.bybit.proxies import proxy_for
from collector.bybit.websocket_sieve import Pushes
from collector.bybit.websocket_wire import Gathered, PausingWire, SiftedWire
from collector.bybit.wire import Layer, ProxyFailed, Wire, open_line
from collector.core.errors import TryAgain
from collector.machine.network import Network, words_of

_CONNECT_S = 15.0  # for TCP and TLS, and again for the WebSocket handshake
_GOODBYE_S = 1.0
_LONGEST_TEXT = 4 * 1024 * 1024
_FORBIDDEN = (403, 429, 451)  # HTTP statuses of the gateway: blocked, too many connections, legal reasons


_BROKEN = (trio.BrokenResourceError, trio_websocket.HandshakeError, trio_websocket.ConnectionClosed)

E = TypeVar("E", bound=Exception)


class StreamLost(TryAgain):
    """The connection is lost or failed to open.

    Another attempt may do better.
    """


class StreamForbidden(StreamLost):
    """The gateway refused the handshake of this address.

    The next attempt waits long.
    """


@attrs.frozen
class Stream:
    """An open connection. Both methods raise `StreamLost`.

    Pushes and other texts come in the order in which they were sent, if both are awaited all the time.
    """

    _socket: trio_websocket.WebSocketConnection
    pushes: trio.MemoryReceiveChannel[Pushes]

    async def send(self, text: str) -> None:
        try:
            await self._socket.send_message(text)
        except trio_websocket.ConnectionClosed as error:
            raise _lost(error) from error

    async def receive(self) -> str:
        """The next text that is no push.

        Call it often, because the library answers pings while receiving.
        """
        try:
            message = await self._socket.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise _lost(error) from error
        return message if isinstance(message, str) else ""


@asynccontextmanager
async def open_stream(
    url: str, network: Network, now_ms: Callable[[], int] = lambda: 0, watched: Container[str] = ()
) -> AsyncIterator[Stream]:
    """A connection to a stream, closed on leaving.

    TLS is spoken before the WebSocket library sees the connection: it would hide a certificate that cannot be trusted
    until its own time ran out.

    Args:
        now_ms: the exchange's time, or 0: pushes are looked at more often while candles close.
        watched: topics whose pushes are handed on also where they confirm nothing; it may change meanwhile.

    Raises:
        StreamLost: it cannot be opened at the moment, or its certificate not be trusted; `StreamForbidden` if the
            gateway turns us away.
    """
    sent, pushes = trio.open_memory_channel[Pushes](0)
    socket: trio_websocket.WebSocketConnection | None = None

    async def hand_on(sifted: Pushes) -> None:  # until a goodbye, while somebody receives
        if socket is None or socket.closed is None:
            with suppress(trio.BrokenResourceError):
                await sent.send(sifted)

    gathered = Gathered(hand_on)
    stream = await _connect(url, network, partial(PausingWire, gathered=gathered, now_ms=now_ms))
    try:
        with _met_by_the_reader(url):
            async with trio.open_nursery() as nursery:
                with _Reader(nursery).ended_on_leaving() as reader:
                    socket = await _shake_hands(reader, SiftedWire(stream, gathered, watched), url)
                    try:
                        yield Stream(socket, pushes)
                    finally:
                        pushes.close()
                        with trio.move_on_after(_GOODBYE_S, shield=True):
                            await socket.aclose()
    finally:  # the library leaves the socket open when the other side is gone without a word
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


@contextmanager
def _met_by_the_reader(url: str) -> Iterator[None]:
    """Errors of the library's reader, which runs in our nursery, as ours."""
    try:
        yield
    except* trio_websocket.ConnectionRejected as rejected:
        status = next(_leaves(rejected)).status_code
        lost = StreamForbidden if status in _FORBIDDEN else StreamLost
        raise lost(f"{url} refused the handshake with HTTP {status}") from rejected
    # What the library cannot bear: a header beyond ASCII, for one.
    except* (HttpError, WebSocketError, UnicodeError) as broken:
        raise StreamLost(f"{url} does not speak WebSocket: {next(_leaves(broken))}") from broken


@attrs.define(eq=False)
class _Reader:
    """The library's reader, which a stop leaves at work: it hears the other side's answer to our goodbye."""

    _nursery: trio.Nursery
    _scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))

    def start_soon(self, read: Callable[[], Awaitable[None]]) -> None:
        """Called by the library in the place of the nursery's."""
        self._nursery.start_soon(self._run, read)

    @contextmanager
    def ended_on_leaving(self) -> Iterator["_Reader"]:
        try:
            yield self
        finally:
            self._scope.cancel()

    async def _run(self, read: Callable[[], Awaitable[None]]) -> None:
        with self._scope:
            await read()


async def _connect(url: str, network: Network, layer: Layer) -> Wire:
    with _mapped(url):
        with trio.fail_after(_CONNECT_S):
            return (await open_line(url, network, proxy_for(url, os.environ), layer)).wire


async def _shake_hands(reader: _Reader, stream: SiftedWire, url: str) -> trio_websocket.WebSocketConnection:
    parts = urlsplit(url)
    with _mapped(url):
        with trio.fail_after(_CONNECT_S):
            return await trio_websocket.wrap_client_stream(
                reader,  # type: ignore[arg-type]  # it starts one task, and that is all
                stream,  # type: ignore[arg-type]  # any stream will do
                parts.netloc.rpartition("@")[2],
                parts.path or "/",
                max_message_size=_LONGEST_TEXT,
                receive_buffer_size=None,  # as much as has come
            )


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise StreamLost(f"the TLS certificate of {url} cannot be trusted: {error.verify_message}") from error
    except ProxyFailed as error:
        raise StreamLost(f"cannot connect to {url}: {error}") from error
    except trio.TooSlowError as error:
        raise StreamLost(f"{url} did not answer within {_CONNECT_S:.0f} s") from error
    except (OSError, UnicodeError, *_BROKEN) as error:
        why = words_of(error.__cause__ or error) or type(error).__name__
        raise StreamLost(f"cannot connect to {url}: {why}") from error


def _lost(error: trio_websocket.ConnectionClosed) -> StreamLost:
    reason = error.reason
    return StreamLost(f"the connection was closed ({reason.code} {reason.name})" if reason else "the connection broke")


def _leaves(group: ExceptionGroup[E]) -> Iterator[E]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
