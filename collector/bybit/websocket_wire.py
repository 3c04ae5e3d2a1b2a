"""The bytes below a WebSocket: TCP, a tunnel through a proxy where the environment names one, TLS, and the sieve."""

import os
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import attrs
import h11
import trio

from collector.bybit.certificates import trusted
from collector.bybit.proxies import Proxy, proxy_for
from collector.bybit.websocket_sieve import Pushes, Sieve, Sifted
from collector.machine.network import Network

_PORTS = {"ws": 80, "wss": 443}
_CHUNK = 4096
# Pushes come one by one, and to receive one costs about as much as to receive dozens. So, unless much comes, what has
# come is looked at every now and then.
_PAUSE_S = 0.02
_LITTLE = 1 << 14
_MUCH = 1 << 18

Wire = trio.abc.Stream  # of bytes, or of TLS, which may be spoken inside of TLS


class ProxyFailed(Exception):
    """A proxy cannot be reached, or does not connect us.

    The text names it without its password.
    """


@attrs.define(eq=False)
class _Layer(trio.abc.Stream):
    """A wire over another."""

    _wire: Wire

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._wire.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._wire.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._wire.aclose()


@attrs.define(eq=False)
class PausingWire(_Layer):
    """A wire that gathers what comes for a moment whenever little has come.

    It belongs below TLS, which hands on a record at a time.
    """

    _pauses: bool = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._pauses:
            await trio.sleep(_PAUSE_S)
        data = await self._wire.receive_some(max_bytes or _MUCH)
        self._pauses = len(data) < _LITTLE
        return data


@attrs.define(eq=False)
class SiftedWire(_Layer):
    """A wire whose pushes are sent to a channel; the rest is received as ever.

    Pushes are discarded once `is_closed` says that what comes is no longer heard, or their channel is closed.
    """

    _out: trio.MemorySendChannel[Pushes]
    _watched: Container[str] = ()
    is_closed: Callable[[], bool] = lambda: False
    _sieve: Sieve = attrs.field(default=attrs.Factory(lambda self: Sieve(self._watched), takes_self=True))
    _sifted: deque[Sifted] = attrs.field(factory=deque)  # and yet to be handed on

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes that pass.

        To be called without a limit.
        """
        while True:
            while self._sifted:
                sifted = self._sifted.popleft()
                if isinstance(sifted, bytes):
                    return sifted
                if not self.is_closed():
                    with suppress(trio.BrokenResourceError):
                        await self._out.send(sifted)
            data = bytes(await self._wire.receive_some(max_bytes or _MUCH))
            if not data:
                return self._sieve.rest()
            self._sifted.extend(self._sieve.sift(data))


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
    plain: Wire = await _tunnel(network, proxy, host, port) if proxy else await _connect(network, host, port)
    return await _speak_tls(plain, host) if parts.scheme == "wss" else plain


async def _connect(network: Network, host: str, port: int) -> Wire:
    return PausingWire(await network.connect(host, port))


async def _tunnel(network: Network, proxy: Proxy, host: str, port: int) -> Wire:
    """Has a proxy connect us to a host."""
    try:
        plain = await _connect(network, proxy.host, proxy.port)
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
