"""The streams of options and spreads: they answer and stay silent.

The box lacks such instruments; clients that open every stream find them. Pure; see
https://bybit-exchange.github.io/docs/v5/ws/connect.
"""

import msgspec

from collector.sandbox.stream.client_messages import ClientMessage
from collector.sandbox.stream.session import Response, Session


class SilentSession(Session):
    """The protocol of these streams.

    Refusals follow the contracts' (a guess).
    """

    def _ping(self, message: ClientMessage, now_ms: int) -> Response:
        return _response(message, {"args": [str(now_ms)], "op": "pong"})

    def _subscribe(self, message: ClientMessage, now_ms: int) -> Response:
        """Accepts every topic, and begins none."""
        topics = {"failTopics": [], "successTopics": message.args}
        return _response(message, {"success": True, "conn_id": self.conn_id, "data": topics, "type": "COMMAND_RESP"})

    def _unsubscribe(self, message: ClientMessage, now_ms: int) -> Response:
        return self._subscribe(message, now_ms)


def _response(message: ClientMessage, reply: dict[str, object]) -> Response:
    return Response(message.op, (msgspec.json.encode(reply).decode(),))
