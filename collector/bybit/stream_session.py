"""One open connection to the stream: subscribed to its topics, kept alive, and heard until it is lost.

Every candle that is confirmed on it is handed to the writer, also what was received when a stop came. Nothing here
opens a connection, or opens one again, and nothing here looks for what was missed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count

import attrs
import trio

from collector.bybit import stream_protocol
from collector.bybit.clock import Clock
from collector.bybit.refused_topics import RefusedTopics
from collector.bybit.stream_connection import Stream, StreamLost
from collector.bybit.stream_protocol import NOTHING_CONFIRMED, Acknowledged, Frame, Malformed, Pong, Pushed
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.events import Confirmed, Event
from collector.logs import get_logger

log = get_logger(__name__)

Out = trio.MemorySendChannel[Event]

_PING_EVERY_S = 20.0
_PONG_WITHIN_S = 10.0
_SILENT_FOR_S = 45.0  # two pings and their pongs: nobody is there
_ACKNOWLEDGED_WITHIN_S = 10.0
_REQUESTS_AT_ONCE = 8
_REFUSED_AGAIN_S = 600.0  # as often as the list of symbols is looked at
_LAST_WORDS_S = 5.0  # to hand on what was received when a stop came
_MALFORMED_IN_A_ROW = 20
_TIME_EVERY_S = 1.0  # one push tells the time; to decode them all would be a cost on every push
# A burst is handed on by the dozen, not candle by candle: each handing over costs about as much as writing one does.
_GATHER_S = 0.01
# More than all topics of a connection confirm at once. Beyond it the writer is stuck; REST brings the candles later.
_WAITING = 10_000


@attrs.frozen(eq=False)
class _Asked:
    """A request that waits for its answer."""

    topics: frozenset[str]
    answer: trio.MemorySendChannel[Acknowledged]


@attrs.define(eq=False)
class Session:
    """What happens on one open connection: `topics` are the series to subscribe to, by what the stream calls them.

    Raises `StreamLost`, alone or in a group, when the connection is no use any more.
    """

    _stream: Stream
    _category: str
    _topics: Mapping[str, Series]
    _clock: Clock
    _counters: Counters
    _refused: RefusedTopics
    _requests: Iterator[int] = attrs.field(factory=lambda: count(1))
    _asked: dict[str, _Asked] = attrs.field(factory=dict)  # the oldest first
    _asking: trio.Lock = attrs.field(factory=trio.Lock)
    _pong: trio.Event = attrs.field(factory=trio.Event)
    _confirmed: list[Confirmed] = attrs.field(factory=list)
    _some: trio.Event = attrs.field(factory=trio.Event)
    _malformed_in_a_row: int = 0
    _heard_s: float = attrs.field(factory=trio.current_time)
    _time_due_s: float = 0.0
    _ended: bool = False
    _forwarding: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))

    async def run(self, out: Out, on_subscribed: Callable[[], None]) -> None:
        """Subscribes and passes on what is confirmed, until the connection is lost."""
        async with trio.open_nursery() as forwarding:
            forwarding.start_soon(self._forward, out)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive)
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self._beat)
                    await self._subscribe_all(list(self._topics))
                    on_subscribed()
                    await self._ask_again()
            finally:
                self._hand_on_and_end()

    async def _receive(self) -> None:
        """Takes texts as fast as they come: nothing in here waits for anybody but the exchange."""
        while True:
            text = await self._stream.receive()
            self._heard_s = trio.current_time()
            self._counters.messages += 1
            try:
                frame = stream_protocol.read(text, self._topics)
                if frame is not NOTHING_CONFIRMED:
                    self._take(frame)
                elif self._heard_s >= self._time_due_s:
                    self._tell_time(text)
            except Malformed as defect:
                self._note_malformed(defect)

    def _tell_time(self, text: str) -> None:
        """A push that confirms nothing tells the time as well: nothing else does while confirmations stay out."""
        self._time_due_s = self._heard_s + _TIME_EVERY_S
        if (at_ms := stream_protocol.time_of(text)) is not None:
            self._clock.observe_push(at_ms)

    async def _watch(self) -> None:
        """Notices silence. A deadline around every single receive would be a cost on every push."""
        while True:
            left_s = self._heard_s + _SILENT_FOR_S - trio.current_time()
            if left_s <= 0:
                raise StreamLost(f"nothing came for {_SILENT_FOR_S:.0f} s")
            await trio.sleep(left_s)

    def _take(self, frame: Frame) -> None:
        match frame:
            case Pushed(confirmed):
                self._pass_on(confirmed)
            case Pong():
                self._pong.set()
            case Acknowledged():
                if (request := self._answered_by(frame)) in self._asked:
                    self._asked.pop(request).answer.send_nowait(frame)
            case _:
                self._counters.unknown += 1
        self._malformed_in_a_row = 0

    def _answered_by(self, answer: Acknowledged) -> str:
        """The request that an answer belongs to. One that does not say which is of the request with the topic that it
        refuses, or of the oldest."""
        if answer.request or not self._asked:
            return answer.request
        bad = None if answer.success else answer.topic
        return next((request for request, asked in self._asked.items() if bad in asked.topics), next(iter(self._asked)))

    def _pass_on(self, confirmed: Sequence[Confirmed]) -> None:
        if len(self._confirmed) > _WAITING:
            raise StreamLost("candles come faster than they can be written")
        if not confirmed:
            return
        if self._clock.is_far_off(at_ms := confirmed[0].at_ms):
            raise Malformed(f"a candle is confirmed at {at_ms}, far ahead of the exchange's time")
        self._counters.confirmed += len(confirmed)
        self._confirmed += confirmed
        self._some.set()

    def _note_malformed(self, defect: Malformed) -> None:
        self._counters.malformed += 1
        self._malformed_in_a_row += 1
        log.debug("malformed frame", what=str(defect))
        if self._malformed_in_a_row >= _MALFORMED_IN_A_ROW:
            raise StreamLost(f"{_MALFORMED_IN_A_ROW} malformed frames in a row, the last: {defect}") from defect

    async def _forward(self, out: Out) -> None:
        """Hands what was confirmed to the writer, as much at once as there is.

        It outlives whatever ends the connection, a stop too, until all is handed on or the writer takes too long. A
        cancelled send would take its candles with it.
        """
        taken: tuple[Confirmed, ...] = ()
        with self._forwarding, suppress(trio.BrokenResourceError):  # the writer is gone, and says itself why
            while self._confirmed or not self._ended:
                await self._some.wait()
                self._some = trio.Event()
                if not self._ended:
                    await trio.sleep(_GATHER_S)
                if self._confirmed:
                    taken, self._confirmed = tuple(self._confirmed), []
                    self._look_at(taken[-1])
                    await out.send(taken)
                    taken = ()
        self._counters.dropped += len(taken) + len(self._confirmed)

    def _look_at(self, newest: Confirmed) -> None:
        """One candle of a batch tells the time, and how late confirmations are."""
        self._clock.observe_push(newest.at_ms)
        self._counters.confirm_lags += 1
        self._counters.confirm_lag_s += max(0, newest.at_ms - newest.asked.end_ms) / 1000

    def _hand_on_and_end(self) -> None:
        self._ended = True
        self._forwarding.deadline = trio.current_time() + _LAST_WORDS_S
        self._some.set()

    async def _beat(self) -> None:
        """The heartbeat. The exchange wants a text of its own kind, not a ping of the protocol."""
        while True:
            self._pong = trio.Event()
            await self._stream.send(stream_protocol.PING)
            with trio.move_on_after(_PONG_WITHIN_S) as waiting:
                await self._pong.wait()
            if waiting.cancelled_caught:
                raise StreamLost(f"no pong within {_PONG_WITHIN_S:.0f} s")
            await trio.sleep(_PING_EVERY_S)

    async def _subscribe_all(self, topics: Sequence[str]) -> None:
        at_once = trio.CapacityLimiter(_REQUESTS_AT_ONCE)
        nameless: dict[str, str] = {}
        async with trio.open_nursery() as nursery:
            for batch in stream_protocol.batches(self._category, topics):
                nursery.start_soon(self._subscribe, list(batch), nameless, nursery, at_once)
        if len(nameless) == len(topics) > 1:  # then it is hardly the topics that are not liked
            raise StreamLost(f"every subscription was refused: {nameless[topics[0]]}")
        for topic, said in nameless.items():
            self._leave_out(topic, said)

    async def _subscribe(
        self, topics: list[str], nameless: dict[str, str], nursery: trio.Nursery, at_once: trio.CapacityLimiter
    ) -> None:
        """Subscribes to as many of the topics as the exchange has. One it does not have refuses them all: it is left
        out, and the rest is asked for again. A refusal that does not say which one it is has both halves asked for by
        themselves, until one topic is left; that goes to the `nameless`, with what was said."""
        while topics:
            async with at_once:
                answer = await self._ask(topics)
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
                nursery.start_soon(self._subscribe, topics[half:], nameless, nursery, at_once)
                del topics[half:]
            elif answer.already:
                return
            else:
                nameless[topics.pop()] = answer.text

    async def _ask_again(self) -> None:
        """What was refused may be there later: in mode `live`, nothing else brings its candles. Each by itself, so that
        a refusal that names none is about it."""
        while True:
            await trio.sleep(_REFUSED_AGAIN_S)
            for topic in [each for each in self._topics if each in self._refused]:  # in order
                await self._subscribe_all([topic])

    def _leave_out(self, topic: str, said: str) -> None:
        if self._refused.add(topic):
            log.warning("topic refused, its candles come over REST", topic=topic, said=said)

    async def _ask(self, topics: Sequence[str]) -> Acknowledged:
        request = f"subscribe-{next(self._requests)}"
        send, receive = trio.open_memory_channel[Acknowledged](1)
        async with self._asking:  # an answer that does not say to what is to what was sent first
            self._asked[request] = _Asked(frozenset(topics), send)
            await self._stream.send(stream_protocol.subscribe_text(request, topics))
        with trio.move_on_after(_ACKNOWLEDGED_WITHIN_S):
            return await receive.receive()
        raise StreamLost(f"a subscription was not acknowledged within {_ACKNOWLEDGED_WITHIN_S:.0f} s")
