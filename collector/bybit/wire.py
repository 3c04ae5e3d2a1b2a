"""The bytes below HTTP and WebSocket: TCP, a tunnel through a proxy, and TLS."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import attrs
import h11
import trio

from collector.bybit.certificates import trusted
from collector.bybit.proxies import Proxy
from collector.machine.network import Network, Stream, words_of

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_CHUNK = 4096

Wire = trio.abc.Stream  # of bytes, or of TLS, which may be spoken inside of TLS
Layer = Callable[[Stream], Wire]


class ProxyFailed(Exception):
    """A proxy is away, or refuses to connect us.

    The text names it; its password stays out.
    """


@attrs.frozen
class Line:
    """An open connection; `raw` is the stream below TLS."""

    raw: Stream
    wire: Wire


async def open_line(url: str, network: Network, proxy: Proxy | None = None, layer: Layer | None = None) -> Line:
    """A connection to the host of an address; the caller closes it.

    Args:
        proxy: is asked for a tunnel.
        layer: is put over TCP, below everything else.

    Raises:
        OSError, trio.BrokenResourceError, ProxyFailed: it cannot be made.
        ssl.SSLCertVerificationError: a certificate cannot be trusted.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    if proxy:
        line = await _tunnel(proxy, host, port, network, layer)
    else:
        raw = await network.connect(host, port)
        line = Line(raw, layer(raw) if layer else raw)
    return Line(line.raw, await _speak_tls(line.wire, host)) if parts.scheme in ("https", "wss") else line


async def open_proxy(proxy: Proxy, network: Network, layer: Layer | None = None) -> Line:
    """A connection to a proxy itself.

    Raises:
        ProxyFailed: it cannot be made.
    """
    try:
        return await open_line(proxy.url, network, None, layer)
    except ssl.SSLCertVerificationError as error:
        raise ProxyFailed(
            f"the certificate of the proxy {proxy.url} cannot be trusted: {error.verify_message}"
        ) from error
    except (OSError, trio.BrokenResourceError) as error:
        raise ProxyFailed(f"the proxy {proxy.url} cannot be reached: {words_of(error.__cause__ or error)}") from error


async def _tunnel(proxy: Proxy, host: str, port: int, network: Network, layer: Layer | None) -> Line:
    """A connection to a host that a proxy makes for us."""
    line = await open_proxy(proxy, network, layer)
    async with _closed_on_failure(line.wire):
        try:
            status = await _asked_to_connect(line.wire, proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except h11.RemoteProtocolError as error:
            raise ProxyFailed(f"the proxy {proxy.url} does not speak HTTP: {error}") from error
        if not 200 <= status < 300:
            raise ProxyFailed(f"the proxy {proxy.url} answered HTTP {status}")
    return line


async def _asked_to_connect(wire: Wire, proxy: Proxy, target: str) -> int:
    """Asks a proxy for a tunnel; returns the status."""
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(method="CONNECT", target=target, headers=[("Host", target), *proxy.headers])
    asked = (http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b"")
    await wire.send_all(asked)
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await wire.receive_some(_CHUNK)))
        elif isinstance(event, h11.Response):
            return event.status_code


async def _speak_tls(wire: Wire, host: str) -> Wire:
    async with _closed_on_failure(wire):
        secured = trio.SSLStream(wire, trusted(), server_hostname=host, https_compatible=True)
        try:
            await secured.do_handshake()
            return secured
        except trio.BrokenResourceError as error:
            if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise
            distrust = error.__cause__
        raise distrust


@asynccontextmanager
async def _closed_on_failure(wire: Wire) -> AsyncIterator[None]:
    """Closes a connection when an error keeps it from its caller."""
    good = False
    try:
        yield
        good = True
    finally:
        if not good:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(wire)
