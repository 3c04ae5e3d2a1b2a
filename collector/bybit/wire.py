"""A connection to a site: TCP, a tunnel through a proxy where there is one, and TLS."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import attrs
import trio

from collector.bybit.certificates import trusted
from collector.bybit.http_message import Head, ResponseReader, request_text
from collector.bybit.proxies import Proxy
from collector.bybit.tls import Tls
from collector.core.errors import InvalidResponse

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

Wire = trio.abc.Stream  # of bytes, or of TLS, which may be spoken inside of TLS
Connect = Callable[[str, int], Awaitable[Wire]]


class ProxyFailed(Exception):
    """A proxy cannot be reached, or does not connect us.

    The text names it without its password.
    """


@attrs.frozen
class Site:
    """What an address names before its path."""

    scheme: str
    host: str  # in ASCII
    port: int

    @classmethod
    def of(cls, url: str) -> "Site":
        """The site of an address.

        Raises:
            ValueError: it names none.
        """
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        host.encode("ascii").decode("idna")  # which `xn--` alone is not
        return cls(parts.scheme, host, parts.port or PORTS[parts.scheme])

    @property
    def secure(self) -> bool:
        return self.scheme in ("https", "wss")

    @property
    def bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def named(self) -> str:
        """Host and port, without the scheme's own."""
        return self.bracketed if self.port == PORTS[self.scheme] else f"{self.bracketed}:{self.port}"


async def open_wire(site: Site, proxy: Proxy | None, connect: Connect) -> Wire:
    """A connection to a site, through a proxy if there is one; the caller closes it.

    Raises:
        OSError, trio.BrokenResourceError, ProxyFailed: it cannot be made.
        ssl.SSLCertVerificationError: a certificate cannot be trusted.
    """
    plain = await _tunnel(site, proxy, connect) if proxy else await connect(site.host, site.port)
    return await _speak_tls(plain, site.host) if site.secure else plain


async def open_wire_to_proxy(proxy: Proxy, connect: Connect) -> Wire:
    """A connection to a proxy itself; raises as `open_wire` does."""
    try:
        plain = await connect(proxy.host, proxy.port)
    except OSError as error:
        raise ProxyFailed(f"the proxy {proxy.url} cannot be reached") from error
    return await _speak_tls(plain, proxy.host) if proxy.secure else plain


async def _tunnel(site: Site, proxy: Proxy, connect: Connect) -> Wire:
    """Has a proxy connect us to a site."""
    stream = await open_wire_to_proxy(proxy, connect)
    async with _closed_on_failure(stream):
        try:
            status = await _asked_to_connect(stream, proxy, f"{site.bracketed}:{site.port}")
        except InvalidResponse as error:
            raise ProxyFailed(f"the proxy {proxy.url} does not speak HTTP: {error}") from error
        if not 200 <= status < 300:
            raise ProxyFailed(f"the proxy {proxy.url} answered HTTP {status}")
    return stream


async def _asked_to_connect(stream: Wire, proxy: Proxy, target: str) -> int:
    """Asks a proxy for a tunnel; returns the status."""
    await stream.send_all(request_text("CONNECT", target, [("Host", target), *proxy.headers]))
    return (await receive_head(stream)).status


async def receive_head(stream: Wire) -> Head:
    """The head of a response, whose body is left alone.

    Raises:
        trio.BrokenResourceError: the connection failed.
        InvalidResponse: it is not HTTP, or breaks off.
    """
    reader, head = ResponseReader(0), None
    while head is None:
        head = reader.feed_head(await stream.receive_some())
    return head


async def _speak_tls(stream: Wire, host: str) -> Wire:
    async with _closed_on_failure(stream):
        secured = Tls.over(stream, trusted(), host)
        await secured.do_handshake()
    return secured


@asynccontextmanager
async def _closed_on_failure(stream: Wire) -> AsyncIterator[None]:
    """Closes a connection that its caller will never see."""
    good = False
    try:
        yield
        good = True
    finally:
        if not good:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
