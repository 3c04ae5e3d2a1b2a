"""A small HTTP server for read-only pages: GET and HEAD, one request per connection.

It may stay open on a machine whose browsers visit hostile pages. Against DNS rebinding it answers only requests whose
Host header is one of its own names. Against slow clients every request and response has a few seconds, and when all
connections are in use the oldest is closed. A request is limited to a short head. A page that raises is logged and
answered with 500.

Alternative refused: a framework with HTTP/2, WebSocket and an application would be ten times the code to trust, and of
those examined every one lets a client read its response forever.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

import attrs
import h11
import trio

from collector.logs import get_logger
from collector.machine.network import Listener, Network, Stream

log = get_logger(__name__)

_MAX_CONNECTIONS = 32  # a scraper and a person need one each
_REQUEST_TIMEOUT_S = 5.0
_RESPONSE_TIMEOUT_S = 5.0
_LINGER_S = 1.0
_MAX_HEAD_BYTES = 8192
_CHUNK = 4096
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Connection", "close"),
)


@attrs.frozen
class Page:
    """One response."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Pages = Mapping[str, Callable[[], Page]]


@attrs.define(eq=False)
class HttpServer:
    """Serves pages by path, under further host names or addresses of this machine."""

    _pages: Pages
    _network: Network
    _names: Collection[str] = ()
    _open: dict[trio.CancelScope, None] = attrs.field(factory=dict)  # one per connection, oldest first

    async def answer(self, listeners: Sequence[Listener]) -> None:
        """Answers until cancelled."""
        await trio.serve_listeners(self._serve_client, list(listeners))

    async def _serve_client(self, stream: Stream) -> None:
        """Serves one connection; the caller closes it."""
        if len(self._open) == _MAX_CONNECTIONS:
            self._evict_oldest()
        with trio.CancelScope() as scope:
            self._open[scope] = None
            try:
                await self._handle(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # gone
            finally:
                self._open.pop(scope, None)

    def _evict_oldest(self) -> None:
        """Closes the oldest connection: an honest client is done long before."""
        oldest = next(iter(self._open))
        del self._open[oldest]
        oldest.cancel()
        log.warning(
            "status connection closed", why=f"it was the oldest of {_MAX_CONNECTIONS} that do not ask or do not read"
        )

    async def _handle(self, stream: Stream) -> None:
        request: h11.Request | Page | None = _error_page(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")
        with trio.move_on_after(_REQUEST_TIMEOUT_S):
            request = await _request(stream)
        if isinstance(request, h11.Request):
            await _send(stream, self._page(request, stream), body=request.method != b"HEAD")
        elif request is not None:
            await _send(stream, request)

    def _page(self, request: h11.Request, stream: Stream) -> Page:
        headers = dict(request.headers)
        path = request.target.partition(b"?")[0].decode("latin-1")
        if not self._is_own_host(headers.get(b"host", b"").decode("latin-1"), stream):
            return _error_page(HTTPStatus.MISDIRECTED_REQUEST, "this name is not one of mine")
        if request.method not in (b"GET", b"HEAD"):  # uptime monitors often send HEAD
            return _error_page(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            return _error_page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "nothing is taken in here")
        if path not in self._pages:
            return _error_page(HTTPStatus.NOT_FOUND, f"there is {', '.join(self._pages)}")
        try:
            return self._pages[path]()
        except Exception:  # a broken page must leave collection running
            log.exception("a page failed", path=path)
            return _error_page(HTTPStatus.INTERNAL_SERVER_ERROR, "this page failed; the log says why")

    def _is_own_host(self, host: str, stream: Stream) -> bool:
        """True if a Host header names this machine.

        That is: localhost, a loopback address, the address connected to, or a configured name.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name == "localhost" or name in self._names:
                return True
            address = ip_address(name)
            return address.is_loopback or address == ip_address(self._network.address_of(stream)[0])
        except ValueError:
            return False


async def _request(stream: Stream) -> h11.Request | Page | None:
    """The head of the request, an error page if it is invalid, None if the client left."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_CHUNK)))
    except h11.RemoteProtocolError as error:
        return _error_page(HTTPStatus(error.error_status_hint), str(error))
    return event if isinstance(event, h11.Request) else None


def _error_page(status: HTTPStatus, why: str) -> Page:
    return Page(f"{why}\n".encode(), status=status)


def _encoded(page: Page, *, body: bool) -> bytes:
    """The bytes of the response, the last one on its connection."""
    status = HTTPStatus(page.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in _HEADERS)]
    lines += [f"Content-Type: {page.content_type}", f"Content-Length: {len(page.body)}"]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join((*lines, "", "")).encode() + (page.body if body else b"")


async def _send(stream: Stream, page: Page, *, body: bool = True) -> None:
    with trio.move_on_after(_RESPONSE_TIMEOUT_S):
        await stream.send_all(_encoded(page, body=body))
        await stream.send_eof()
        await _linger(stream)


async def _linger(stream: Stream) -> None:
    """Reads the client's remaining bytes for a moment.

    Closing with unread input would send a reset, which discards the response on its way.
    """
    with trio.move_on_after(_LINGER_S):
        while await stream.receive_some(_CHUNK):
            pass
