"""The stream's protocol: from a client's text to replies and topics.

One `Session` per connection, pure; pushes of candles are the feed's. Linear and inverse share one protocol, spot has
another (https://bybit-exchange.github.io/docs/v5/ws/connect, and what was seen on the wire).
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import msgspec

from collector.sandbox.market.listing import Category, Source
from collector.sandbox.stream.client_messages import ClientMessage, read_message
from collector.sandbox.stream.rules import StreamRules, letters
from collector.sandbox.stream.topics import Topic, Unknown, read_topic

_SPOT_ARGS = 10  # docs: per subscribe request; futures have no limit of their own
_SPOT_WORDS: dict[Unknown, str] = {"interval": "Invalid kline type :[%s]", "symbol": "Invalid symbol :[%s]"}


@attrs.frozen
class Response:
    """The replies to send, and the topics that begin or end."""

    op: str = ""
    replies: tuple[str, ...] = ()
    begun: tuple[Topic, ...] = ()
    ended: tuple[Topic, ...] = ()
    refused: bool = False


def without_names(reply: str) -> str:
    """A reply stripped of its req_id and of the topic it refuses."""
    return re.sub(r',topic:[^"]*|(?<="req_id":")[^"]*| ?:\[[^"\]]*\]', "", reply)


class Session:
    """One connection's protocol state; `topics` holds its subscriptions by text.

    Args:
        conn_id: opaque, given back in every answer.
        refuses: true for a listed topic that a fault refuses.
    """

    listens = False  # to the exchange's status, which has a stream of its own

    def __init__(
        self,
        category: Category,
        source: Source,
        rules: StreamRules,
        conn_id: str,
        refuses: Callable[[str], bool] = lambda topic: False,
    ) -> None:
        self.category = category
        self.conn_id = conn_id
        self.topics: dict[str, Topic] = {}
        self._source = source
        self._rules = rules
        self._refuses = refuses
        self._characters = 0

    def receive(self, text: str, now_ms: int) -> Response:
        """Handles a text; the connection stays open whatever it says."""
        try:
            message = read_message(text)
        except ValueError as error:
            return self._refuse(ClientMessage("", (), None), str(error))
        if message.op == "ping":
            return self._ping(message, now_ms)
        if message.op == "subscribe":
            return self._subscribe(message, now_ms)
        if message.op == "unsubscribe":
            return self._unsubscribe(message, now_ms)
        return self._refuse(message, "error:invalid op")

    def drop(self, topics: Iterable[Topic]) -> None:
        """Removes subscriptions silently."""
        for topic in topics:
            if self.topics.pop(topic.text, None) is not None:
                self._characters -= len(topic.text)

    def _ping(self, message: ClientMessage, now_ms: int) -> Response:
        return Response("ping", (self._reply(True, "pong", message),))

    def _subscribe(self, message: ClientMessage, now_ms: int) -> Response:
        """Subscribes to all topics or, for one bad topic, to none.

        The first bad one is named.
        """
        if self._spot and len(message.args) > _SPOT_ARGS:
            return self._refuse(message, f"args size >{_SPOT_ARGS}")
        begun: dict[str, Topic] = {}  # a topic twice in one request counts once; what the exchange does is not known
        for text in message.args:
            topic = read_topic(text, self.category, self._source, now_ms)
            if not isinstance(topic, Topic) or self._refuses(text):
                return self._refuse(message, self._unknown(text, topic))
            if text not in self.topics:
                begun[text] = topic
            elif not self._spot:
                return self._refuse(message, f"error:already subscribed,topic:{text}")
        characters = self._characters + sum(map(len, begun))
        if letters(len(self.topics) + len(begun), characters, self._rules) > self._rules.args_limit:
            return self._refuse(message, self._rules.args_refusal)
        self.topics |= begun
        self._characters = characters
        if self._spot and message.args and not begun:
            return Response("subscribe")  # seen: silence, and no second stream
        return Response("subscribe", (self._done(message),), begun=tuple(begun.values()))

    def _unsubscribe(self, message: ClientMessage, now_ms: int) -> Response:
        """Ends subscriptions; unknown topics are ignored (a guess)."""
        ended = [self.topics[text] for text in dict.fromkeys(message.args) if text in self.topics]
        self.drop(ended)
        return Response("unsubscribe", (self._done(message),), ended=tuple(ended))

    @property
    def _spot(self) -> bool:
        return self.category == "spot"

    def _unknown(self, text: str, why: Topic | Unknown) -> str:
        if self._spot:
            words = "symbol" if isinstance(why, Topic) or why == "topic" else why
            return _SPOT_WORDS[words] % text
        return f"error:handler not found,topic:{text}"

    def _done(self, message: ClientMessage) -> str:
        return self._reply(True, message.op if self._spot else "", message)

    def _refuse(self, message: ClientMessage, words: str) -> Response:
        return Response(message.op, (self._reply(False, words, message),), refused=True)

    def _reply(self, success: bool, words: str, message: ClientMessage) -> str:
        """A reply: linear always has a `req_id`, spot only one that was sent."""
        fields: dict[str, Any] = {"success": success, "ret_msg": words, "conn_id": self.conn_id}
        if message.req_id is not None or not self._spot:
            fields["req_id"] = message.req_id or ""
        fields["op"] = message.op
        return msgspec.json.encode(fields).decode()
