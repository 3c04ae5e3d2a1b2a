"""One HTTP connection to a site: a request and its response at a time."""

import attrs
import trio

from collector.bybit.http_message import Headers, Response, ResponseReader, request_text
from collector.bybit.proxies import Proxy
from collector.bybit.tls import Tls
from collector.bybit.wire import Site, Wire, open_wire, open_wire_to_proxy, receive_head
from collector.machine.network import Network, Stream

_KEPT_S = 5.0  # for an idle connection; the exchange's gateway closes one that idles for long


@attrs.frozen
class Way:
    """The way to a site: through a proxy or not."""

    site: Site
    proxy: Proxy | None

    def request(self, method: str, target: str, headers: Headers, content: bytes = b"") -> bytes:
        """The text of a request; a proxy is told all of an address that is not tunnelled to."""
        headers = [("Host", self.site.named), *headers]
        if self.proxy and not self.site.secure:
            return request_text(method, f"http://{self.site.named}{target}", [*headers, *self.proxy.headers], content)
        return request_text(method, target, headers, content)

    async def connect(self, network: Network) -> Wire:
        """A connection, trusting the authorities of the moment; raises as `open_wire` does."""
        if self.proxy and not self.site.secure:
            return await open_wire_to_proxy(self.proxy, network.connect)
        return await open_wire(self.site, self.proxy, network.connect)


async def open_connection(way: Way, network: Network) -> "Connection":
    """A new connection; raises as `open_wire` does."""
    return Connection(network, await way.connect(network))


@attrs.define(eq=False)
class Connection:
    """An open connection."""

    _network: Network
    _wire: Wire
    is_open: bool = True  # for another request
    _used_s: float = attrs.field(factory=trio.current_time)

    @property
    def is_fresh(self) -> bool:
        """Whether it can be used: it has not come to its end meanwhile, nor been idle for long."""
        if trio.current_time() - self._used_s > _KEPT_S:
            return False
        return not self._network.has_news(_below_tls(self._wire))

    async def ask(self, request: bytes, longest: int | None) -> Response:
        """The response to a request, with a body of at most so many bytes; None leaves the body alone.

        Whoever asks limits the time. The connection is closed unless it takes another request.

        Raises:
            OSError, trio.BrokenResourceError, trio.ClosedResourceError: the connection failed.
            InvalidResponse: the response is not HTTP, too long, or breaks off.
        """
        self.is_open = False
        try:
            await self._wire.send_all(request)
            response = await self._response(longest)
            self.is_open, self._used_s = response.keeps, trio.current_time()
            return response
        finally:
            if not self.is_open:
                with trio.CancelScope(shield=True):
                    await self.aclose()

    async def _response(self, longest: int | None) -> Response:
        if longest is None:
            head = await receive_head(self._wire)
            return Response(head.status, head.encoding, b"", keeps=False)
        reader = ResponseReader(longest)
        while True:
            if response := reader.feed(await self._wire.receive_some()):
                return response

    async def aclose(self) -> None:
        """Closes it, whatever its state."""
        self.is_open = False
        await trio.aclose_forcefully(self._wire)


def _below_tls(wire: Wire) -> Stream:
    while isinstance(wire, Tls):
        wire = wire.transport_stream
    assert isinstance(wire, Stream)
    return wire
