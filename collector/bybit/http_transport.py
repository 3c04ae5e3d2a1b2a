"""HTTP requests.

`HttpClient` sends requests over idle connections and returns status and body; every failure is one of our errors.
Retries belong to `retrying`, the meaning of a body to `rest_protocol`.
"""

import os
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import cast

import attrs
import httpx
import trio

from collector.bybit.gunzip import DAMAGED, unpacker
from collector.bybit.http_connection import Transport
from collector.bybit.proxies import proxy_for
from collector.core.errors import InvalidResponse, SettingsError, TryAgain
from collector.core.pacing import TRY_S
from collector.machine.network import Network, words_of

_GOODBYE_S = 2.0
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
    cookies, redirects and URL merging, which would cost as much again. The address is taken apart once; what is asked
    for goes as httpx's extension `target`.
    """

    _address: httpx.URL
    _connect: Callable[[], httpx.AsyncBaseTransport]
    _idle: list[httpx.AsyncBaseTransport] = attrs.field(factory=list)
    _in_flight: dict[trio.CancelScope, None] = attrs.field(factory=dict)  # the oldest first

    async def get(self, target: str, longest: int) -> tuple[int, bytes]:
        """Status and body of one response, of at most so many bytes.

        Args:
            target: the path below the address, and the query, in characters that need no quoting.
            longest: bytes of the body, packed or unpacked.

        Raises:
            NoResponse: the network failed, or `TRY_S` have passed.
            InvalidResponse: the body broke off or is too long.
            Interrupted: `interrupt` was called.
        """
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            with self._limited(), _mapped():
                extensions = {"target": self._address.raw_path.rstrip(b"/") + target.encode()}
                request = httpx.Request("GET", self._address, headers=_HEADERS, extensions=extensions)
                async with aclosing(await connection.handle_async_request(request)) as response:
                    return response.status_code, await _body(response, longest)
        finally:
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
    return HttpClient(httpx.URL(url), partial(Transport, network, proxy_for(url, os.environ)))


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
    transport = Transport(network, proxy_for(url, os.environ))
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
    except httpx.ProxyError as error:
        raise NoResponse(str(error)) from error
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
