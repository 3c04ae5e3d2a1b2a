"""The bytes below HTTP: a transport of httpx whose connections are the machine's.

httpx's own makes its connections itself. This one gives the HTTP library below it, httpcore, what that needs of a
network, and its errors the names that httpx has for them. Nothing here repeats a request or understands an answer.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import attrs
import httpcore
import httpx
import trio

from collector.bybit.proxies import Proxy
from collector.machine.network import Network, Stream

_KEPT_S = 5.0  # for a connection that nobody uses; the exchange's gateway closes one that idles for long
_THEIRS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)


def open_transport(
    network: Network, trusts: ssl.SSLContext | None, proxy: Proxy | None, proxy_trusts: ssl.SSLContext | None
) -> "Transport":
    """A transport of one connection at a time, which is made with the first request; through a proxy, if there is one.

    Args:
        trusts: for https addresses.
        proxy_trusts: for a proxy that is spoken to in TLS.
    """
    kept = {"ssl_context": trusts, "max_connections": 1, "network_backend": _Backend(network)}
    if proxy is None:
        return Transport(httpcore.AsyncConnectionPool(**kept))  # type: ignore[arg-type]
    return Transport(
        httpcore.AsyncHTTPProxy(
            proxy.url,
            proxy_headers=proxy.headers,
            proxy_ssl_context=proxy_trusts,
            **kept,  # type: ignore[arg-type]
        )
    )


@attrs.define(eq=False)
class Transport(httpx.AsyncBaseTransport):
    """What httpx asks of a transport. Raises httpx's errors."""

    _pool: httpcore.AsyncConnectionPool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            answer = await self._pool.handle_async_request(asked)
        except _THEIRS as error:
            raise _named_as_httpx_does(error) from error
        assert isinstance(answer.stream, AsyncIterable)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


@attrs.define(eq=False)
class _Body(httpx.AsyncByteStream):
    """The body of an answer."""

    _parts: AsyncIterable[bytes]

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        try:
            async for part in self._parts:
                yield part
        except _THEIRS as error:
            raise _named_as_httpx_does(error) from error

    async def aclose(self) -> None:
        await self._parts.aclose()  # type: ignore[attr-defined]  # httpcore's have it


def _named_as_httpx_does(error: Exception) -> httpx.TransportError:
    named: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
    return named(str(error))


@attrs.define(eq=False)
class _Backend(httpcore.AsyncNetworkBackend):
    """What httpcore asks of a network."""

    _network: Network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with _within(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            raw = await self._network.connect(host, port)
        return _Connection(self._network, raw, raw)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


@attrs.define(eq=False)
class _Connection(httpcore.AsyncNetworkStream):
    """What httpcore asks of a connection; `raw` is the one below TLS."""

    _network: Network
    _raw: Stream
    _stream: trio.abc.Stream
    _used_s: float = attrs.field(factory=trio.current_time)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _within(timeout, httpcore.ReadTimeout, httpcore.ReadError):
            data = await self._stream.receive_some(max_bytes)
        self._used_s = trio.current_time()
        return bytes(data)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            with _within(timeout, httpcore.WriteTimeout, httpcore.WriteError):
                await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        secured = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        try:
            with _within(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
                await secured.do_handshake()
        except Exception:
            await self.aclose()
            raise
        return _Connection(self._network, self._raw, secured)

    def get_extra_info(self, info: str) -> Any:
        """A connection that has something to read although nothing was asked has come to its end. So has one that was
        not used for long: httpcore would time that by a clock of its own."""
        if info == "is_readable":
            return trio.current_time() - self._used_s > _KEPT_S or self._network.has_news(self._raw)
        return None


@contextmanager
def _within(seconds: float | None, too_slow: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """Ends what takes longer, and gives errors httpcore's names."""
    try:
        with trio.fail_after(inf if seconds is None else seconds):
            yield
    except trio.TooSlowError as error:
        raise too_slow(str(error)) from error
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise broken(str(error)) from error
