"""The WebSocket handshake: responses to upgrade requests, and connection names.

Pure. See RFC 6455, 4.2. Extensions are declined: whether the exchange compresses is unknown.
"""

from http import HTTPStatus

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from collector.sandbox.market import noise
from collector.sandbox.market.listing import CATEGORIES, Category
from collector.sandbox.rest import pages
from collector.sandbox.rest.http import tokens

PATHS: dict[str, Category] = {f"/v5/public/{category}": category for category in CATEGORIES}
SILENT_PATHS = ("/v5/public/option", "/v5/public/spread")
_STATUSES = {"handshake_403": 403, "handshake_5xx": 503, "handshake_page": 200}
_LETTERS = "0123456789abcdefghijklmnopqrstuv"


def accepted(head: h11.Request, after: bytes) -> tuple[WSConnection, bytes] | None:
    """The connection and the accepting bytes; None for an invalid handshake.

    `after` are the bytes received after the request.
    """
    websocket = WSConnection(ConnectionType.SERVER)
    if head.method != b"GET":
        return None
    try:
        websocket.initiate_upgrade_connection(_without_lists(head), head.target)
        answer = websocket.send(AcceptConnection())
        websocket.receive_data(after)
    except (RemoteProtocolError, LocalProtocolError, UnicodeError):  # a header may hold any byte
        return None
    for _ in websocket.handshake.events():
        pass
    return websocket, answer


def _without_lists(head: h11.Request) -> list[tuple[bytes, bytes]]:
    """The headers, with one of those protocols and options alone that the library looks for."""
    names = {b"upgrade": b"websocket", b"connection": b"upgrade"}
    rest = [(name, value) for name, value in head.headers if name not in names]
    return [(name, value) for name, value in names.items() if value.decode() in tokens(head, name)] + rest


def refused(status: int) -> bytes:
    """The gateway's response."""
    body = pages.HANDSHAKES[status]
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/html\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def corrupt_handshake(kind: str, answer: bytes) -> bytes:
    """The response to a handshake hit by a fault; `answer` is the honest one."""
    if kind == "handshake_nonsense":
        return b"\x15\x03\x01\x00\x02\x02\x46SSH-2.0-OpenSSH_9.6\r\n"
    if kind == "handshake_header":
        return answer.replace(b"\r\n", b"\r\nSec-WebSocket-Extensions: \xe9\xff\r\n", 1)
    return refused(_STATUSES[kind])


def conn_id(seed: int, number: int) -> str:
    """A connection's name in the exchange's shape: letters with a hyphen."""
    letters = [_LETTERS[draw % 32] for draw in noise.draws(25)(noise.key_of(seed, "connection", number))]
    return f"d{''.join(letters[1:20])}-{''.join(letters[20:])}"
