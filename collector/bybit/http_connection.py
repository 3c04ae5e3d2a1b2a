"""HTTP/1.1 as a transport of httpx: h11 over one connection at a time.

httpx's own transport opens connections past a simulated network, and keeps a pool for them. Here, whoever wants several
connections at once has several transports.
"""

from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial

import attrs
import h11
import httpx
import trio

from collector.bybit.proxies import Proxy
from collector.bybit.wire import Line, ProxyFailed, open_line, open_proxy
from collector.machine.network import Network

_CONNECT_S = 10.0  # with TLS, and a proxy
_KEPT_S = 5.0  # for an idle connection; the exchange's gateway closes one that idles for long
_LONGEST_HEAD = 100 * 1024
_MUCH = 1 << 16
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.define(eq=False)
class Transport(httpx.AsyncBaseTransport):
    """Requests to one host, one at a time, over a connection that is made with the first.

    It is kept for the next request, and made anew once it has come to its end. Raises httpx's errors.

    Args:
        proxy: forwards requests in plain HTTP, and is asked for a tunnel to a host that is spoken to in TLS.
    """

    _network: Network
    _proxy: Proxy | None = None
    _connection: "_Connection | None" = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        forwards = self._proxy if request.url.scheme == "http" else None
        target, headers = request.extensions.get("target", request.url.raw_path), request.headers.raw
        if forwards:
            target = b"http://%b%b" % (request.url.netloc, target)
            headers = [*headers, *((name.encode(), value.encode()) for name, value in forwards.headers)]
        try:
            asked = h11.Request(method=request.method, target=target, headers=headers)
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        connection = self._connection
        if connection is None or not connection.is_idle:
            await self._drop()
            connection = self._connection = await self._connect(request.url)
        head = await connection.exchange(asked, request.content)
        return httpx.Response(head.status_code, headers=list(head.headers), stream=_Body(connection))

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.line.wire.aclose()

    async def _drop(self) -> None:
        """Closes the connection at once, without a goodbye."""
        with trio.CancelScope() as scope:
            scope.cancel()
            await self.aclose()

    async def _connect(self, url: httpx.URL) -> "_Connection":
        try:
            with trio.fail_after(_CONNECT_S):
                if self._proxy and url.scheme == "http":
                    line = await open_proxy(self._proxy, self._network)
                else:
                    line = await open_line(f"{url.scheme}://{url.netloc.decode()}", self._network, self._proxy)
        except trio.TooSlowError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except ProxyFailed as error:
            raise httpx.ProxyError(str(error)) from error
        except _BROKEN as error:
            raise httpx.ConnectError(str(error)) from error
        return _Connection(line, self._network)


@attrs.define(eq=False)
class _Connection:
    """An open connection, and how far its exchange has come."""

    line: Line
    _network: Network
    _http: h11.Connection = attrs.field(factory=partial(h11.Connection, h11.CLIENT, _LONGEST_HEAD))
    _used_s: float = attrs.field(factory=trio.current_time)

    @property
    def is_idle(self) -> bool:
        """Whether it is good for another request: its last answer was the last that came, and that is a moment ago."""
        return (
            self._http.our_state is h11.IDLE
            and trio.current_time() - self._used_s <= _KEPT_S
            and not self._network.has_news(self.line.raw)
        )

    async def exchange(self, asked: h11.Request, content: bytes) -> h11.Response:
        """Sends a request; returns the head of the response."""
        data = [self._http.send(asked), self._http.send(h11.Data(content)) if content else b""]
        data.append(self._http.send(h11.EndOfMessage()))
        try:
            with suppress(*_BROKEN):  # why it was refused may have been said before
                await self.line.wire.send_all(b"".join(data))
            while not isinstance(event := await self._next_event(), h11.Response):
                pass  # an interim response
        except BaseException:
            await trio.aclose_forcefully(self.line.wire)
            raise
        return event

    async def body(self) -> AsyncGenerator[bytes, None]:
        while isinstance(event := await self._next_event(), h11.Data):
            yield bytes(event.data)

    async def end(self) -> None:
        """Makes it idle; closes it where a part of the body is unread, the server wants to close, or more has come."""
        if self._http.our_state is self._http.their_state is h11.DONE and self._http.trailing_data == (b"", False):
            self._http.start_next_cycle()
            self._used_s = trio.current_time()
        else:
            await trio.aclose_forcefully(self.line.wire)

    async def _next_event(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = await self.line.wire.receive_some(_MUCH)
                if not data and self._http.their_state is h11.SEND_RESPONSE:
                    raise httpx.RemoteProtocolError("the connection was closed without a response")
                self._http.receive_data(bytes(data))
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        except _BROKEN as error:
            raise httpx.ReadError(str(error)) from error
        return event


@attrs.frozen(eq=False)
class _Body(httpx.AsyncByteStream):
    """The body of a response, which ends the exchange."""

    _connection: _Connection

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._connection.body()

    async def aclose(self) -> None:
        await self._connection.end()
