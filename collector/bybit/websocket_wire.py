"""The bytes below a WebSocket: TCP, a tunnel through a proxy where the environment names one, and TLS."""

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import h11
import trio

from collector.bybit.certificates import trusted
from collector.bybit.proxies import Proxy, proxy_for
from collector.machine.network import Network

_PORTS = {"ws": 80, "wss": 443}
_CHUNK = 4096

Wire = trio.abc.Stream  # of bytes, or of TLS, which may be spoken inside of TLS


class ProxyFailed(Exception):
    """A proxy cannot be reached, or does not connect us; the text names it without its password."""


async def open_wire(url: str, network: Network) -> Wire:
    """A connection to the host of an address; the caller closes it.

    Raises:
        OSError, trio.BrokenResourceError, ProxyFailed: it cannot be made.
        ssl.SSLCertVerificationError: a certificate cannot be trusted.
        SettingsError: the proxy that is named cannot be used.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    proxy = proxy_for(url, os.environ)
    plain: Wire = await _tunnel(network, proxy, host, port) if proxy else await network.connect(host, port)
    return await _speak_tls(plain, host) if parts.scheme == "wss" else plain


async def _tunnel(network: Network, proxy: Proxy, host: str, port: int) -> Wire:
    """Has a proxy connect us to a host."""
    try:
        plain = await network.connect(proxy.host, proxy.port)
    except OSError as error:
        raise ProxyFailed(f"the proxy {proxy.url} cannot be reached") from error
    stream = await _speak_tls(plain, proxy.host) if proxy.secure else plain
    async with _closed_on_failure(stream):
        try:
            status = await _asked_to_connect(stream, proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except h11.RemoteProtocolError as error:
            raise ProxyFailed(f"the proxy {proxy.url} does not speak HTTP: {error}") from error
        if not 200 <= status < 300:
            raise ProxyFailed(f"the proxy {proxy.url} answered HTTP {status}")
    return stream


async def _asked_to_connect(stream: Wire, proxy: Proxy, target: str) -> int:
    """Asks a proxy for a tunnel; returns the status."""
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(method="CONNECT", target=target, headers=[("Host", target), *proxy.headers])
    asked = (http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b"")
    await stream.send_all(asked)
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(_CHUNK)))
        elif isinstance(event, h11.Response):
            return event.status_code


async def _speak_tls(stream: Wire, host: str) -> Wire:
    async with _closed_on_failure(stream):
        secured = trio.SSLStream(stream, trusted(), server_hostname=host, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise error.__cause__ from error
            raise
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
