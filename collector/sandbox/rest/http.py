"""One HTTP connection: reads requests and writes replies, broken ones as told.

I/O only: `respond` decides replies, and `upgrade` takes over an upgraded connection with the request and the bytes
after it.
"""

import re
import zlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus

import attrs
import h11
import trio

from collector.machine.network import Network
from collector.sandbox.messages import Reply, Request

Respond = Callable[[Request], Reply]
Upgrade = Callable[[trio.abc.Stream, h11.Request, bytes], Awaitable[None]]
_CHUNK = 65_536
_MAX_BODY = 1 << 20  # for the box's own paths; nothing of the exchange's takes a body
_MIN_GZIP_BYTES = 1024  # below, packing costs more than it saves
_GZIP = re.compile(rb"\bgzip\b(?! *; *q=0(\.0*)? *(,|$))", re.IGNORECASE)  # a weight of nothing is a no
_HOST_OF_TARGET = re.compile(rb"\A[a-z]+://[^/?]*", re.IGNORECASE)
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_DRIPS = 20


@attrs.frozen
class Wire:
    """What connections share: the responder, the clock, durations of stalls and drips."""

    respond: Respond
    now_ms: Callable[[], int]
    stall_s: Callable[[], float]
    network: Network
    upgrade: Upgrade | None = None
    drip_s: Callable[[], float] = lambda: 1.0


async def serve_http(stream: trio.abc.Stream, address: str, wire: Wire) -> None:
    """Answers one client until it leaves or a reply is broken.

    The caller closes the stream. A client that breaks the protocol or the connection counts as gone.
    """
    connection = h11.Connection(h11.SERVER)
    await trio.lowlevel.checkpoint()
    try:
        await _answer_all(connection, stream, address, wire)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def _answer_all(connection: h11.Connection, stream: trio.abc.Stream, address: str, wire: Wire) -> None:
    try:
        while await _exchange(connection, stream, address, wire):
            connection.start_next_cycle()
    except h11.RemoteProtocolError:
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await _send_bad_request(connection, stream)


async def _exchange(connection: h11.Connection, stream: trio.abc.Stream, address: str, wire: Wire) -> bool:
    """One request and its reply; true if another can follow."""
    head = await _next(connection, stream)
    if not isinstance(head, h11.Request):
        return False
    head = _with_plain_path(head)
    if wire.upgrade is not None and _wants_upgrade(head):
        await wire.upgrade(stream, head, connection.trailing_data[0])
        return False
    body = await _body(connection, stream)
    headers = dict(head.headers)
    has_body = bool(body) or b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
    reply = wire.respond(Request(address, head.method.decode(), head.target.decode("latin-1"), body, has_body))
    if reply.delay_s:
        await trio.sleep(reply.delay_s)
    if reply.broken in ("dropped", "reset", "stalled"):
        await _break_off(stream, reply, wire)
        return False
    gzipped = bool(_GZIP.search(headers.get(b"accept-encoding", b""))) and len(reply.body) >= _MIN_GZIP_BYTES
    written = _written(connection, reply, gzipped, head.method == b"HEAD", wire.now_ms())
    if reply.broken == "dripped":
        await _drip(stream, written, wire)
        return connection.our_state is not h11.MUST_CLOSE
    await stream.send_all(written)
    return reply.broken == "" and connection.our_state is not h11.MUST_CLOSE


async def _next(connection: h11.Connection, stream: trio.abc.Stream) -> h11.Event | type[h11.PAUSED]:
    await trio.lowlevel.checkpoint()  # a client that sends many requests at once must not keep the others waiting
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event  # type: ignore[return-value]  # what is left are events and PAUSED
        if connection.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await stream.send_all(connection.send(go_on) or b"")
        connection.receive_data(await _received(connection, stream))


async def _received(connection: h11.Connection, stream: trio.abc.Stream) -> bytes:
    """Received bytes, minus empty lines before a request (RFC 9112, 2.2).

    h11 would take them for a request.
    """
    before_a_request = connection.their_state is h11.IDLE and not connection.trailing_data[0]
    while True:
        data = bytes(await stream.receive_some(_CHUNK))
        kept = data.lstrip(b"\r\n") if before_a_request else data
        if kept or not data:
            return kept


async def _body(connection: h11.Connection, stream: trio.abc.Stream) -> bytes:
    parts: list[bytes] = []
    while isinstance(event := await _next(connection, stream), h11.Data):
        parts.append(event.data)
        if sum(map(len, parts)) > _MAX_BODY:
            raise h11.RemoteProtocolError("the body is too long", error_status_hint=413)
    return b"".join(parts)


def _written(connection: h11.Connection, reply: Reply, gzipped: bool, head_only: bool, now_ms: int) -> bytes:
    """The bytes of a reply: truncated in the middle of its body, or head only."""
    body = _gzipped(reply.body) if gzipped else reply.body
    headers = [
        ("Date", format_datetime(datetime.fromtimestamp(now_ms // 1000, UTC), usegmt=True)),
        ("Content-Type", reply.content_type),
        ("Content-Length", str(len(body))),
        *([("Content-Encoding", "gzip")] if gzipped else []),
        *([("Allow", "GET")] if reply.status == 405 else []),
        ("Connection", "keep-alive"),
        *reply.headers,
    ]
    start = h11.Response(status_code=reply.status, headers=headers, reason=_REASONS[reply.status])
    head = connection.send(start) or b""
    if head_only:
        return head + (connection.send(h11.EndOfMessage()) or b"")
    if reply.broken == "truncated":
        return head + body[: len(body) // 2]
    data = connection.send(h11.Data(data=body)) or b""
    return head + data + (connection.send(h11.EndOfMessage()) or b"")


def _gzipped(body: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)  # level 1: a page of candles in 0.7 ms, to a third
    return compressor.compress(body) + compressor.flush()


async def _drip(stream: trio.abc.Stream, written: bytes, wire: Wire) -> None:
    size = -(-len(written) // _DRIPS)
    for at in range(0, len(written), size):
        await stream.send_all(written[at : at + size])
        await trio.sleep(wire.drip_s())


async def _break_off(stream: trio.abc.Stream, reply: Reply, wire: Wire) -> None:
    await trio.lowlevel.checkpoint()
    if reply.broken == "stalled":
        with trio.move_on_after(wire.stall_s()):  # or until the client gives up
            while await stream.receive_some(_CHUNK):
                pass
    elif reply.broken == "reset":
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        assert isinstance(transport, trio.abc.HalfCloseableStream)
        wire.network.reset(transport)


async def _send_bad_request(connection: h11.Connection, stream: trio.abc.Stream) -> None:
    headers = [("Content-Length", "0"), ("Connection", "close")]
    head = h11.Response(status_code=400, headers=headers, reason=_REASONS[400])
    written = (connection.send(head) or b"") + (connection.send(h11.EndOfMessage()) or b"")
    with trio.move_on_after(1):
        await stream.send_all(written)


def _with_plain_path(head: h11.Request) -> h11.Request:
    """The request with a plain path: without a host (RFC 9112, 3.2.2), without empty segments.

    Many clients of the exchange ask for `//v5/market/kline`, some for `/v5/market/kline/`, and are answered.
    """
    path, mark, query = _HOST_OF_TARGET.sub(b"", head.target).partition(b"?")
    plain = b"/" + b"/".join(filter(None, path.split(b"/"))) + mark + query
    if plain == head.target:
        return head
    return h11.Request(method=head.method, headers=head.headers, target=plain, http_version=head.http_version)


def _wants_upgrade(head: h11.Request) -> bool:
    return "websocket" in tokens(head, b"upgrade")


def tokens(head: h11.Request, name: bytes) -> set[str]:
    """What a header lists, in small letters; a list may be spread over several lines (RFC 9110, 5.3)."""
    listed = b",".join(value for each, value in head.headers if each == name)
    return {each.strip() for each in listed.decode("latin-1").lower().split(",")}
