"""Subscribing one connection to its topics, whatever the exchange says to some of them.

A request names several topics, and one the exchange does not have refuses them all. A refusal that names the topic
takes that one out, and the rest is requested again. A refusal that names none has both halves requested by themselves,
until one topic is left. Refused topics are requested again every ten minutes; REST brings their candles meanwhile.
Responses carry the id of their request; one without an id belongs to the request with the topic it names, or to the
oldest.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import attrs
import trio

from collector.bybit import stream_protocol
from collector.bybit.refused_topics import RefusedTopics
from collector.bybit.stream_connection import Stream, StreamLost
from collector.bybit.stream_protocol import Acknowledged
from collector.core.candle import Series
from collector.logs import get_logger

log = get_logger(__name__)

_ACKNOWLEDGED_WITHIN_S = 10.0
_REQUESTS_AT_ONCE = 8
_REFUSED_AGAIN_S = 600.0  # as often as the list of symbols is looked at


@attrs.frozen(eq=False)
class _Pending:
    """A request that waits for its response."""

    topics: frozenset[str]
    answer: trio.MemorySendChannel[Acknowledged]


@attrs.define(eq=False)
class Subscriptions:
    """The subscriptions of one connection. Every method may raise `StreamLost`."""

    _stream: Stream
    _category: str
    _topics: Mapping[str, Series]
    _refused: RefusedTopics
    _requests: Iterator[int] = attrs.field(factory=lambda: count(1))
    _pending: dict[str, _Pending] = attrs.field(factory=dict)  # the oldest first
    _sending: trio.Lock = attrs.field(factory=trio.Lock)

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribes to the topics that the exchange has."""
        at_once = trio.CapacityLimiter(_REQUESTS_AT_ONCE)
        nameless: dict[str, str] = {}
        async with trio.open_nursery() as nursery:
            for batch in stream_protocol.batches(self._category, topics):
                nursery.start_soon(self._subscribe_batch, list(batch), nameless, nursery, at_once)
        if len(nameless) == len(topics) > 1:  # the topics are hardly the reason
            raise StreamLost(f"every subscription was refused: {nameless[topics[0]]}")
        for topic, said in nameless.items():
            self._leave_out(topic, said)

    async def retry_refused(self) -> None:
        """Requests refused topics again every ten minutes, until cancelled.

        In mode `live` nothing else brings their candles. Each is requested alone, so a refusal without a name is its.
        """
        while True:
            await trio.sleep(_REFUSED_AGAIN_S)
            for topic in [each for each in self._topics if each in self._refused]:  # in order
                await self.subscribe([topic])

    def answered(self, answer: Acknowledged) -> None:
        """Hands a response to its request."""
        if (request := self._answered_by(answer)) in self._pending:
            self._pending.pop(request).answer.send_nowait(answer)

    def _answered_by(self, answer: Acknowledged) -> str:
        """The id of the request that a response belongs to."""
        if answer.request or not self._pending:
            return answer.request
        bad = None if answer.success else answer.topic
        return next(
            (request for request, asked in self._pending.items() if bad in asked.topics), next(iter(self._pending))
        )

    async def _subscribe_batch(
        self, topics: list[str], nameless: dict[str, str], nursery: trio.Nursery, at_once: trio.CapacityLimiter
    ) -> None:
        """Subscribes to the topics of one request, halved as long as refusals name none.

        A topic refused alone and without a name goes into `nameless`, with what was said.
        """
        while topics:
            async with at_once:
                answer = await self._request(topics)
            if answer.success:
                self._refused.discard(topics)
                return
            bad = answer.topic
            if bad in topics:
                topics.remove(bad)
                if not answer.already:
                    self._leave_out(bad, answer.text)
            elif len(topics) > 1:
                half = len(topics) // 2
                nursery.start_soon(self._subscribe_batch, topics[half:], nameless, nursery, at_once)
                del topics[half:]
            elif answer.already:
                return
            else:
                nameless[topics.pop()] = answer.text

    def _leave_out(self, topic: str, said: str) -> None:
        if self._refused.add(topic):
            log.warning("topic refused, its candles come over REST", topic=topic, said=said)

    async def _request(self, topics: Sequence[str]) -> Acknowledged:
        request = f"subscribe-{next(self._requests)}"
        send, receive = trio.open_memory_channel[Acknowledged](1)
        async with self._sending:  # a response without an id is of the oldest, so they are sent in order
            self._pending[request] = _Pending(frozenset(topics), send)
            await self._stream.send(stream_protocol.subscribe_text(request, topics))
        with trio.move_on_after(_ACKNOWLEDGED_WITHIN_S):
            return await receive.receive()
        raise StreamLost(f"a subscription was not acknowledged within {_ACKNOWLEDGED_WITHIN_S:.0f} s")
