"""A small HTTP server for a few pages that only show something: GET and HEAD, and one request a connection.

Built to be left open on a machine whose browsers visit hostile pages: it answers only to names that are its own (a page
can make its own name lead here, but not send another), takes nothing in but a short request, and gives every connection
a place and a few seconds; where all places are taken, the oldest connection gives way. What a page shows is the
caller's; one that fails is logged, answered with 500, and ends nothing. It is no framework: a server with HTTP/2,
WebSocket and an application behind it would be ten times as much to trust, and none that was looked at limits how long
a client may take to read.
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

_PLACES = 32  # connections at once; a scraper and a person need one each
_ASK_S = 5.0  # for a client to say what it wants
_ANSWER_S = 5.0  # for it to take the answer
_GOODBYE_S = 1.0  # for it to notice the end, so that the answer is not lost with what it was still sending
_LONGEST_HEAD = 8192
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
    """What is shown."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Pages = Mapping[str, Callable[[], Page]]


@attrs.define(eq=False)
class HttpServer:
    """The pages by path, and the further names (or addresses) this server is known by."""

    _pages: Pages
    _network: Network
    _names: Collection[str] = ()
    _open: dict[trio.CancelScope, None] = attrs.field(factory=dict)  # one for each connection, the oldest first

    async def answer(self, listeners: Sequence[Listener]) -> None:
        """Answers until cancelled."""
        await trio.serve_listeners(self._serve_client, list(listeners))

    async def _serve_client(self, stream: Stream) -> None:
        """One connection; the caller closes it."""
        if len(self._open) == _PLACES:
            self._make_room()
        with trio.CancelScope() as scope:
            self._open[scope] = None
            try:
                await self._converse(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # gone
            finally:
                self._open.pop(scope, None)

    def _make_room(self) -> None:
        """Ends the oldest connection: whoever has come to ask is answered long before so many others come."""
        oldest = next(iter(self._open))
        del self._open[oldest]
        oldest.cancel()
        log.warning("status connection closed", why=f"it was the oldest of {_PLACES} that do not ask or do not read")

    async def _converse(self, stream: Stream) -> None:
        request: h11.Request | Page | None = _refusal(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")
        with trio.move_on_after(_ASK_S):
            request = await _request(stream)
        if isinstance(request, h11.Request):
            await _say(stream, self._page(request, stream), body=request.method != b"HEAD")
        elif request is not None:
            await _say(stream, request)

    def _page(self, request: h11.Request, stream: Stream) -> Page:
        headers = dict(request.headers)
        path = request.target.partition(b"?")[0].decode("latin-1")
        if not self._is_me(headers.get(b"host", b"").decode("latin-1"), stream):
            return _refusal(HTTPStatus.MISDIRECTED_REQUEST, "this name is not one of mine")
        if request.method not in (b"GET", b"HEAD"):  # many a watcher asks with HEAD
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "nothing is taken in here")
        if path not in self._pages:
            return _refusal(HTTPStatus.NOT_FOUND, f"there is {', '.join(self._pages)}")
        try:
            return self._pages[path]()
        except Exception:  # whatever is wrong with a page must not end the work it tells of
            log.exception("a page failed", path=path)
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "this page failed; the log says why")

    def _is_me(self, host: str, stream: Stream) -> bool:
        """Whether a Host header names this machine: as itself, by the address that was connected to, or as told."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name == "localhost" or name in self._names:
                return True
            address = ip_address(name)
            return address.is_loopback or address == ip_address(self._network.address_of(stream)[0])
        except ValueError:
            return False


async def _request(stream: Stream) -> h11.Request | Page | None:
    """The head of the request; a refusal when it is none; None when the client went away instead."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_CHUNK)))
    except h11.RemoteProtocolError as error:
        return _refusal(HTTPStatus(error.error_status_hint), str(error))
    return event if isinstance(event, h11.Request) else None


def _refusal(status: HTTPStatus, why: str) -> Page:
    return Page(f"{why}\n".encode(), status=status)


def _written(page: Page, *, body: bool) -> bytes:
    """The bytes of an answer, whatever state the protocol is in: it is the last on its connection."""
    status = HTTPStatus(page.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in _HEADERS)]
    lines += [f"Content-Type: {page.content_type}", f"Content-Length: {len(page.body)}"]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join((*lines, "", "")).encode() + (page.body if body else b"")


async def _say(stream: Stream, page: Page, *, body: bool = True) -> None:
    with trio.move_on_after(_ANSWER_S):
        await stream.send_all(_written(page, body=body))
        await stream.send_eof()
        await _let_go(stream)


async def _let_go(stream: Stream) -> None:
    """Reads what the client is still sending, for a moment: to close over it would take the answer back."""
    with trio.move_on_after(_GOODBYE_S):
        while await stream.receive_some(_CHUNK):
            pass
