"""The network as httpcore sees it: connections of the machine, with TLS."""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import attrs
import httpcore
import trio

from collector.machine.network import Network, Stream

_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
_KEPT_S = 5.0  # for an idle connection; the exchange's gateway closes one that idles for long


@attrs.define(eq=False)
class Backend(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore."""

    _network: Network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with _connecting(timeout):
            raw = await self._network.connect(host, port)
        return Connection(self._network, raw, raw)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


@attrs.define(eq=False)
class Connection(httpcore.AsyncNetworkStream):
    """One connection; `raw` is the stream below TLS."""

    _network: Network
    _raw: Stream
    _stream: trio.abc.Stream
    _used_s: float = attrs.field(factory=trio.current_time)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Without a timeout, as `write`: whoever asks for an answer limits the time of the whole."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except _BROKEN as error:
            raise httpcore.ReadError(str(error)) from error
        self._used_s = trio.current_time()
        return bytes(data)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            try:
                await self._stream.send_all(buffer)
            except _BROKEN as error:
                raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        secured = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        try:
            with _connecting(timeout):
                await secured.do_handshake()
        except Exception:
            await self.aclose()
            raise
        return Connection(self._network, self._raw, secured)

    def get_extra_info(self, info: str) -> Any:
        """Whether an idle connection has come to its end: it has something to read, or was idle for long.

        httpcore would time that by a clock of its own.
        """
        if info == "is_readable":
            return trio.current_time() - self._used_s > _KEPT_S or self._network.has_news(self._raw)
        return None


@contextmanager
def _connecting(seconds: float | None) -> Iterator[None]:
    """A timeout, with httpcore's names for errors."""
    try:
        with trio.fail_after(inf if seconds is None else seconds):
            yield
    except trio.TooSlowError as error:
        raise httpcore.ConnectTimeout(str(error)) from error
    except _BROKEN as error:
        raise httpcore.ConnectError(str(error)) from error
