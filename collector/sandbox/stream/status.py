"""The stream of the exchange's status: its topic pushes announced maintenance.

Pure; see https://bybit-exchange.github.io/docs/v5/websocket/system/system-status. Refusals follow the contracts'
stream (a guess).
"""

from collector.sandbox.maintenance import TOPIC
from collector.sandbox.stream.client_messages import ClientMessage
from collector.sandbox.stream.session import Response, Session


class StatusSession(Session):
    """One connection; `listens` while it is subscribed."""

    def _subscribe(self, message: ClientMessage, now_ms: int) -> Response:
        unknown = next((text for text in message.args if text != TOPIC), None)
        if unknown is not None:
            return self._refuse(message, f"error:handler not found,topic:{unknown}")
        if self.listens and message.args:
            return self._refuse(message, f"error:already subscribed,topic:{TOPIC}")
        self.listens = self.listens or bool(message.args)
        return Response("subscribe", (self._done(message),))

    def _unsubscribe(self, message: ClientMessage, now_ms: int) -> Response:
        self.listens = self.listens and TOPIC not in message.args
        return Response("unsubscribe", (self._done(message),))
