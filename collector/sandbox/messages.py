"""Requests and replies between the server and the exchange inside."""

from typing import Literal

import attrs

Break = Literal["", "truncated", "dripped", "dropped", "reset", "stalled"]
"""How a reply comes to grief on its way: cut short, in pieces, or never sent."""


@attrs.frozen
class Request:
    """A client's request.

    The target is path and query as sent.
    """

    address: str
    method: str
    target: str
    body: bytes = b""
    has_body: bool = False


@attrs.frozen
class Reply:
    """A response, its delay, and how it breaks."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    delay_s: float = 0.0
    broken: Break = ""
    headers: tuple[tuple[str, str], ...] = ()
