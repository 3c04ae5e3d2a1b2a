"""The streams of options and spreads: they answer and never push, as the box has no such instruments.

Clients that open every stream there is find them. Pure; see https://bybit-exchange.github.io/docs/v5/ws/connect.
"""

import msgspec

from collector.sandbox.stream.dialect import Heard, Session
from collector.sandbox.stream.orders import Order


class SilentSession(Session):
    """A dialect of its own for what succeeds. How it refuses is not known, so it does as the other contracts' does."""

    def _ping(self, order: Order, now_ms: int) -> Heard:
        return _heard(order, {"args": [str(now_ms)], "op": "pong"})

    def _subscribe(self, order: Order, now_ms: int) -> Heard:
        """Every topic is taken, and none is begun."""
        topics = {"failTopics": [], "successTopics": order.args}
        return _heard(order, {"success": True, "conn_id": self.conn_id, "data": topics, "type": "COMMAND_RESP"})

    def _unsubscribe(self, order: Order, now_ms: int) -> Heard:
        return self._subscribe(order, now_ms)


def _heard(order: Order, reply: dict[str, object]) -> Heard:
    return Heard(order.op, (msgspec.json.encode(reply).decode(),))
