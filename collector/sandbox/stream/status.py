"""The stream of the exchange's status: it has one topic, `system.status`, and pushes announced maintenance.

Pure; see https://bybit-exchange.github.io/docs/v5/websocket/system/system-status. How it refuses is not known, so it
does as the contracts' stream does.
"""

from collector.sandbox.maintenance import TOPIC
from collector.sandbox.stream.dialect import Heard, Session
from collector.sandbox.stream.orders import Order


class StatusSession(Session):
    """One connection; `listens` while it is subscribed."""

    def _subscribe(self, order: Order, now_ms: int) -> Heard:
        unknown = next((text for text in order.args if text != TOPIC), None)
        if unknown is not None:
            return self._no(order, f"error:handler not found,topic:{unknown}")
        if self.listens and order.args:
            return self._no(order, f"error:already subscribed,topic:{TOPIC}")
        self.listens = self.listens or bool(order.args)
        return Heard("subscribe", (self._done(order),))

    def _unsubscribe(self, order: Order, now_ms: int) -> Heard:
        self.listens = self.listens and TOPIC not in order.args
        return Heard("unsubscribe", (self._done(order),))
