"""A request as it came in, and the reply to it: what the server and the exchange inside say to each other."""

from typing import Literal

import attrs

Break = Literal["", "truncated", "dripped", "dropped", "reset", "stalled"]
"""How a reply comes to grief on its way: cut short, in pieces, or never sent."""


@attrs.frozen
class Request:
    """What a client sent. The target is the path with the query, as it stood in the request line."""

    address: str
    method: str
    target: str
    body: bytes = b""
    has_body: bool = False


@attrs.frozen
class Reply:
    """What to send back, how long to hold it, and how to break it."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    delay_s: float = 0.0
    broken: Break = ""
    headers: tuple[tuple[str, str], ...] = ()
