"""One open connection to the stream: subscribed, kept alive and read until it is lost.

Five tasks share it: two readers take pushes and all other texts as fast as they come, the watch ends a silent
connection, the heartbeat sends pings, and the forwarder hands confirmed candles to the writer. The forwarder outlives
the others, so that what was received before a stop or a loss still reaches the writer. `live` opens connections, and
the reconciler finds what was missed between them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import attrs
import trio

from collector.bybit import stream_protocol
from collector.bybit.clock import Clock
from collector.bybit.forming import FormingCandles
from collector.bybit.refused_topics import RefusedTopics
from collector.bybit.stream_connection import Stream, StreamLost
from collector.bybit.stream_protocol import NOTHING_CONFIRMED, Acknowledged, Frame, Malformed, Pong, Pushed
from collector.bybit.stream_subscriptions import Subscriptions
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.events import Confirmed, Event
from collector.core.text import exact_text
from collector.logs import get_logger

log = get_logger(__name__)

EventChannel = trio.MemorySendChannel[Event]

_PING_EVERY_S = 20.0
_PONG_WITHIN_S = 10.0
_SILENT_FOR_S = 45.0  # two pings and their pongs: nobody is there
_LAST_WORDS_S = 5.0  # to hand on what was received when a stop came
_MALFORMED_IN_A_ROW = 20
_TIME_EVERY_S = 1.0  # one push tells the time; to decode them all would be a cost on every push
# A burst is handed on by the dozen, not candle by candle: each handing over costs about as much as writing one does.
_GATHER_S = 0.01
# More than all topics of a connection confirm at once. Beyond it the writer is stuck; REST brings the candles later.
_WAITING = 10_000


@attrs.define(eq=False)
class Session:
    """One open connection, with the series of its topics.

    Raises `StreamLost`, alone or in a group, once the connection is lost.
    """

    _stream: Stream
    _category: str
    _topics: Mapping[str, Series]
    _clock: Clock
    _counters: Counters
    _refused: RefusedTopics
    _forming: FormingCandles = attrs.field(factory=FormingCandles)
    _pong: trio.Event = attrs.field(factory=trio.Event)
    _confirmed: list[Confirmed] = attrs.field(factory=list)
    _some_confirmed: trio.Event = attrs.field(factory=trio.Event)
    _malformed_in_a_row: int = 0
    _heard_s: float = attrs.field(factory=trio.current_time)
    _observe_due_s: float = 0.0
    _ended: bool = False
    _subscriptions: Subscriptions = attrs.field(
        default=attrs.Factory(
            lambda self: Subscriptions(self._stream, self._category, self._topics, self._refused), takes_self=True
        )
    )
    _forwarding: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))

    async def run(self, out: EventChannel, on_subscribed: Callable[[], None]) -> None:
        """Subscribes and passes on what is confirmed, until the connection is lost."""
        async with trio.open_nursery() as forwarding:
            forwarding.start_soon(self._forward, out)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive)
                    nursery.start_soon(self._receive_pushes)
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self._beat)
                    await self._subscriptions.subscribe(list(self._topics))
                    on_subscribed()
                    await self._subscriptions.retry_refused()
            finally:
                self._drain()

    async def _receive(self) -> None:
        """Reads texts as fast as they come: it waits for the exchange alone."""
        while True:
            text = await self._stream.receive()
            self._hear(1)
            self._read(text)

    async def _receive_pushes(self) -> None:
        """Reads pushes as fast as they come.

        Those that confirm nothing are but counted.
        """
        async for pushes in self._stream.pushes:
            self._hear(len(pushes))
            if pushes.dropped:
                self._observe_time(pushes.sample)
            for text in pushes.watched:
                self._forming.take(text, self._topics)
            if pushes.texts:
                self._read_all(pushes.texts)

    def _hear(self, messages: int) -> None:
        self._heard_s = trio.current_time()
        self._counters.messages += messages

    def _read_all(self, pushes: Sequence[str]) -> None:
        """Reads pushes that may confirm something: at once, unless one of them is malformed."""
        try:
            self._take(stream_protocol.read_all(pushes, self._topics))
        except Malformed:
            for text in pushes:
                self._read(text)

    def _read(self, text: str) -> None:
        try:
            frame = stream_protocol.read(text, self._topics)
            if frame is NOTHING_CONFIRMED:
                self._observe_time(text)
            else:
                self._take(frame)
        except Malformed as defect:
            self._count_malformed(defect)

    def _observe_time(self, text: str) -> None:
        """Observes the time of a push without candles now and then, for the clock to run on between confirmations."""
        if self._heard_s < self._observe_due_s:
            return
        self._observe_due_s = self._heard_s + _TIME_EVERY_S
        if (at_ms := stream_protocol.time_of(text)) is not None:
            self._clock.observe_push(at_ms)

    async def _watch(self) -> None:
        """Ends a silent connection.

        A deadline around every single receive would be a cost on every push.
        """
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
                self._subscriptions.answered(frame)
            case _:
                self._counters.unknown += 1
        self._malformed_in_a_row = 0

    def _pass_on(self, confirmed: Sequence[Confirmed]) -> None:
        if len(self._confirmed) > _WAITING:
            raise StreamLost("candles come faster than they can be written")
        if not confirmed:
            return
        if self._clock.is_far_off(at_ms := max(each.at_ms for each in confirmed)):
            raise Malformed(f"a candle is confirmed at {exact_text(at_ms)}, far ahead of the exchange's time")
        self._counters.confirmed += len(confirmed)
        self._confirmed += confirmed
        self._some_confirmed.set()

    def _count_malformed(self, defect: Malformed) -> None:
        self._counters.malformed += 1
        self._malformed_in_a_row += 1
        log.debug("malformed frame", what=str(defect))
        if self._malformed_in_a_row >= _MALFORMED_IN_A_ROW:
            raise StreamLost(f"{_MALFORMED_IN_A_ROW} malformed frames in a row, the last: {defect}") from defect

    async def _forward(self, out: EventChannel) -> None:
        """Hands confirmed candles to the writer, all at once.

        It outlives what ends the connection, until all are handed on or the writer takes too long: a cancelled send
        would take its candles with it.
        """
        taken: tuple[Confirmed, ...] = ()
        with self._forwarding, suppress(trio.BrokenResourceError):  # the writer is gone, and says itself why
            while self._confirmed or not self._ended:
                await self._some_confirmed.wait()
                self._some_confirmed = trio.Event()
                if not self._ended:
                    await trio.sleep_until(self._heard_s + _GATHER_S)
                if self._confirmed:
                    taken, self._confirmed = tuple(self._confirmed), []
                    self._observe_batch(taken[-1])
                    await out.send(taken)
                    taken = ()
        self._counters.dropped += len(taken) + len(self._confirmed)

    def _observe_batch(self, newest: Confirmed) -> None:
        """Observes the time and the lag of a batch by its last candle."""
        self._clock.observe_push(newest.at_ms)
        self._counters.confirm_lags += 1
        self._counters.confirm_lag_s += max(0, newest.at_ms - newest.asked.end_ms) / 1000

    def _drain(self) -> None:
        self._ended = True
        self._forwarding.deadline = trio.current_time() + _LAST_WORDS_S
        self._some_confirmed.set()

    async def _beat(self) -> None:
        """The heartbeat: the exchange wants pings as JSON texts of its own."""
        while True:
            self._pong = trio.Event()
            await self._stream.send(stream_protocol.PING)
            with trio.move_on_after(_PONG_WITHIN_S) as waiting:
                await self._pong.wait()
            if waiting.cancelled_caught:
                raise StreamLost(f"no pong within {_PONG_WITHIN_S:.0f} s")
            await trio.sleep(_PING_EVERY_S)
