"""HTTP requests: the only module that imports httpx.

`HttpClient` sends requests over idle connections and returns status and body; every failure is one of our errors.
Below it, `Transport` is what httpx asks of a transport, over one of our connections: httpx's own would open them past a
simulated network, and costs as much as a page's TLS, unpacking and rows together. Retries belong to `retrying`, the
meaning of a body to `rest_protocol`.
"""

import os
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import cast

import attrs
import httpx
import trio

from collector.bybit.gunzip import DAMAGED, unpacker
from collector.bybit.http_connection import Connection, Way, open_connection
from collector.bybit.proxies import Proxy, proxy_for
from collector.bybit.wire import PORTS, ProxyFailed, Site
from collector.core.errors import InvalidResponse, SettingsError, TryAgain
from collector.core.pacing import TRY_S
from collector.machine.network import Network, words_of

_GOODBYE_S = 2.0
_CONNECT_S = 10.0
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
_BROKEN_OFF: tuple[type[Exception], ...] = (httpx.RemoteProtocolError, *DAMAGED)
_HEADERS = httpx.Headers({"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "collector"})


class Interrupted(Exception):
    """The request was stopped because another was answered with a ban."""


class NoResponse(TryAgain):
    """The network failed; the exchange may be well."""


@attrs.define(eq=False)
class HttpClient:
    """GET requests for any number of tasks, each over a connection of its own.

    A client shared by many requests would spend more time on its pool than on the network. A transport does without
    cookies, redirects and URL merging, which would cost as much again.
    """

    _connect: Callable[[], httpx.AsyncBaseTransport]
    _idle: list[httpx.AsyncBaseTransport] = attrs.field(factory=list)
    _in_flight: dict[trio.CancelScope, None] = attrs.field(factory=dict)  # the oldest first

    async def get(self, url: str, longest: int) -> tuple[int, bytes]:
        """Status and body of one response, of at most so many bytes.

        Raises:
            NoResponse: the network failed, or `TRY_S` have passed.
            InvalidResponse: the body broke off or is too long.
            Interrupted: `interrupt` was called.
        """
        connection = self._idle.pop() if self._idle else self._connect()
        usable = True
        try:
            with self._limited(), _mapped():
                request = httpx.Request("GET", url, headers=_HEADERS, extensions={"longest": longest})
                async with aclosing(await connection.handle_async_request(request)) as response:
                    return response.status_code, await _body(response, longest)
        except NoResponse:  # a new connection trusts the authorities of its moment
            usable = False
            raise
        finally:
            if usable:
                self._idle.append(connection)

    def interrupt(self) -> None:
        """Stops every request in flight."""
        for scope in self._in_flight:
            scope.cancel()

    async def aclose(self) -> None:
        """Closes the idle connections."""
        for each in self._idle:
            await each.aclose()

    @contextmanager
    def _limited(self) -> Iterator[None]:
        with trio.CancelScope(deadline=trio.current_time() + TRY_S) as scope:
            self._in_flight[scope] = None
            try:
                yield
            finally:
                del self._in_flight[scope]
        if scope.cancelled_caught:
            if trio.current_time() < scope.deadline:
                raise Interrupted
            raise NoResponse(f"no answer within {TRY_S:.0f} s")


def http_client(url: str, network: Network) -> HttpClient:
    """A client for one host, through the proxy that the environment names for it.

    Its connections trust the authorities of the moment at which they are opened.

    Raises:
        SettingsError: that proxy cannot be used.
    """
    return HttpClient(_connector(url, network))


def _connector(url: str, network: Network) -> Callable[[], httpx.AsyncBaseTransport]:
    named = proxy_for(url, os.environ)

    return lambda: Transport(network, named)


async def post(url: str, content: bytes, headers: Sequence[tuple[str, str]], network: Network) -> int:
    """Posts to any host, over a connection of its own and the proxy for that host; returns the status.

    Redirects are left alone, and the body of the answer unread. The caller limits the time.

    Raises:
        NoResponse: the network failed.
        InvalidResponse: the answer is not HTTP.
        SettingsError: the address, or its proxy, cannot be used.
    """
    try:
        request = httpx.Request("POST", url, content=content, headers=[("User-Agent", "collector"), *headers])
    except (httpx.InvalidURL, UnicodeError) as error:
        raise SettingsError(["the address cannot be used"]) from error
    transport = _connector(url, network)()
    try:
        with _mapped():
            async with aclosing(await transport.handle_async_request(request)) as response:
                return response.status_code
    finally:
        with trio.move_on_after(_GOODBYE_S, shield=True):
            await transport.aclose()


def check_address(url: str) -> None:
    """Raises `SettingsError` unless this is the address of a host."""
    try:
        httpx.Request("GET", url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise SettingsError([f"[exchange] rest_url: {url!r} is not an address ({error})"]) from error


@attrs.define(eq=False)
class Transport(httpx.AsyncBaseTransport):
    """What httpx asks of a transport, one request at a time; its connection is made with the first.

    Raises httpx's errors, and `InvalidResponse` for what is no HTTP. Of a body so much is read at the most as the
    request's extension `longest` says.
    """

    _network: Network
    _proxy: Proxy | None
    _connection: Connection | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = await self._usable(request.url)
        target = request.url.raw_path.decode("ascii")
        text = self._way(request.url).request(request.method, target, _fields(request), request.read())
        try:
            answer = await connection.ask(text, request.extensions.get("longest"))
        except _BROKEN as error:
            raise httpx.ReadError(str(error)) from error
        return httpx.Response(
            answer.status, headers={"content-encoding": answer.encoding}, stream=httpx.ByteStream(answer.body)
        )

    async def _usable(self, url: httpx.URL) -> Connection:
        if self._connection and self._connection.is_open:
            if self._connection.is_fresh:
                return self._connection
            await self._connection.aclose()
        try:
            with trio.fail_after(_CONNECT_S):
                self._connection = await open_connection(self._way(url), self._network)
        except trio.TooSlowError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except ProxyFailed as error:
            raise httpx.ProxyError(str(error)) from error
        except _BROKEN as error:
            raise httpx.ConnectError(str(error)) from error
        return self._connection

    def _way(self, url: httpx.URL) -> Way:
        return Way(Site(url.scheme, url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]), self._proxy)

    async def aclose(self) -> None:
        if self._connection and self._connection.is_open:
            await self._connection.aclose()


def _fields(request: httpx.Request) -> list[tuple[str, str]]:
    """The headers of a request without `Host`, which a connection writes."""
    return [(name, value) for name, value in request.headers.items() if name != "host"]


async def _body(response: httpx.Response, longest: int) -> bytes:
    """The whole body, unpacked.

    At most so many bytes of it, packed or unpacked.
    """
    encoding = response.headers.get("content-encoding", "identity")
    if encoding not in ("gzip", "identity"):
        raise InvalidResponse(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
    unpack = unpacker() if encoding == "gzip" else None
    body, came = bytearray(), 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async with aclosing(cast("AsyncGenerator[bytes, None]", aiter(response.stream))) as chunks:
        async for chunk in chunks:
            came += len(chunk)
            body += unpack.decompress(chunk, longest + 1 - len(body)) if unpack else chunk
            if max(came, len(body)) > longest:
                raise InvalidResponse(f"the answer is longer than {longest} bytes")
    if unpack and body and not unpack.eof:
        raise InvalidResponse("the answer broke off")
    return bytes(body)


@contextmanager
def _mapped() -> Iterator[None]:
    """httpx's errors as ours, each with a reason a person understands."""
    try:
        yield
    except httpx.ConnectError as error:
        cause = _root(error)
        if isinstance(cause, ssl.SSLCertVerificationError):  # it may be renewed, or the clock set, or a portal left
            raise NoResponse(f"its TLS certificate cannot be trusted: {cause.verify_message}") from error
        raise NoResponse(f"cannot connect: {words_of(cause)}") from error
    except httpx.TimeoutException as error:
        raise NoResponse("no answer in time") from error
    except _BROKEN_OFF as error:
        raise InvalidResponse(f"the answer broke off or cannot be decoded: {error}") from error
    except httpx.TransportError as error:
        raise NoResponse(f"the connection failed: {words_of(_root(error)) or type(error).__name__}") from error


def _root(error: BaseException) -> BaseException:
    """The innermost error, with the system's own words.

    It lies beneath causes, and inside the group of all attempts to connect.
    """
    while True:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        deeper = inner or error.__cause__ or error.__context__
        if deeper is None:
            return error
        error = deeper
