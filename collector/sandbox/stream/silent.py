"""The streams of options and spreads: they answer and never push, as the box has no such instruments.

Clients that open every stream there is find them. Pure; see https://bybit-exchange.github.io/docs/v5/ws/connect.
"""

import msgspec

from collector.sandbox.stream.client_messages import ClientMessage
from collector.sandbox.stream.session import Response, Session


class SilentSession(Session):
    """A dialect of its own for what succeeds. How it refuses is not known, so it does as the other contracts' does."""

    def _ping(self, message: ClientMessage, now_ms: int) -> Response:
        return _response(message, {"args": [str(now_ms)], "op": "pong"})

    def _subscribe(self, message: ClientMessage, now_ms: int) -> Response:
        """Every topic is taken, and none is begun."""
        topics = {"failTopics": [], "successTopics": message.args}
        return _response(message, {"success": True, "conn_id": self.conn_id, "data": topics, "type": "COMMAND_RESP"})

    def _unsubscribe(self, message: ClientMessage, now_ms: int) -> Response:
        return self._subscribe(message, now_ms)


def _response(message: ClientMessage, reply: dict[str, object]) -> Response:
    return Response(message.op, (msgspec.json.encode(reply).decode(),))
