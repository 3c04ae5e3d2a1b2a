"""The live connections: topics spread over them, subscribed, kept alive, and opened again for as long as it takes.

A connection passes on every candle the exchange confirms and forgets the rest. When one is lost, what it confirmed last
is put in doubt and the reconciler is woken: what was missed is fetched over REST like everything else. Nothing here
knows files or decides what to fetch.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count

import attrs
import trio

from collector.book import Book
from collector.bybit import frames
from collector.bybit.frames import NOTHING_CONFIRMED, Acknowledged, Frame, Malformed, Pong, Pushed
from collector.bybit.stream import Stream, StreamLost, open_stream
from collector.candle import MINUTE_MS, Series
from collector.clock import Clock
from collector.events import Confirmed, Event
from collector.logs import get_logger
from collector.pacing import Budget, backoff_s
from collector.settings import Settings
from collector.vitals import CONNECTION_LOST, Vitals

log = get_logger(__name__)

Out = trio.MemorySendChannel[Event]

# The exchange allows 500 new connections in 5 minutes from one address; ours are evenly spaced below that.
_CONNECT_EVERY_S = 300 / 450
_PING_EVERY_S = 20.0
_PONG_WITHIN_S = 10.0
_SILENT_FOR_S = 45.0  # two pings and their pongs: nobody is there
_ACKNOWLEDGED_WITHIN_S = 10.0
_REQUESTS_AT_ONCE = 8
_STEADY_S = 60.0  # a connection that lived this long was a good one: the next attempt need not wait long
_LAST_WORDS_S = 5.0  # to hand on what was received when a stop came
_DOUBT_MS = 3 * MINUTE_MS  # the exchange was seen to confirm a candle again within seconds
_MALFORMED_IN_A_ROW = 20
# A burst is handed on by the dozen, not candle by candle: each handing over costs about as much as writing one does.
_GATHER_S = 0.01
# More than all topics of a connection confirm at once. Beyond it the writer is stuck; REST brings the candles later.
_WAITING = 10_000


@attrs.define(eq=False)
class Live:
    """All connections to the stream. `on_break` is called when one was lost or opened: some candles may be missing."""

    _settings: Settings
    _book: Book
    _clock: Clock
    _vitals: Vitals
    _on_break: Callable[[], None]
    _budget: Budget = attrs.field(factory=lambda: Budget(_CONNECT_EVERY_S))
    _added: list[tuple[Series, ...]] = attrs.field(factory=list)
    _more: trio.Event = attrs.field(factory=trio.Event)
    _streamed: set[Series] = attrs.field(factory=set)

    def add(self, every_series: Sequence[Series]) -> None:
        """Streams more series, over connections of their own; not those that are streamed already, unless refused."""
        again = {series for series in self._streamed if frames.topic_of(series) in self._vitals.refused}
        new = [series for series in every_series if series not in self._streamed or series in again]
        self._vitals.refused.difference_update(map(frames.topic_of, new))
        self._streamed.update(new)
        self._added += frames.connections(new)
        self._more.set()

    async def stream(
        self,
        every_series: Sequence[Series],
        out: Out,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Streams until cancelled; reports as started when every connection has subscribed, or failed to, once.

        Raises:
            Refused: the exchange's certificate cannot be trusted.
        """
        self._streamed.update(every_series)
        groups = [(group, trio.Event()) for group in frames.connections(every_series)]
        with out:
            async with trio.open_nursery() as nursery:
                for group, settled in groups:
                    nursery.start_soon(self._keep, group, out.clone(), settled)
                for _, settled in groups:
                    await settled.wait()
                task_status.started()
                while True:
                    await self._more.wait()
                    self._more = trio.Event()
                    for group in self._added:
                        nursery.start_soon(self._keep, group, out.clone(), trio.Event())
                    self._added.clear()

    async def _keep(self, group: Sequence[Series], out: Out, settled: trio.Event) -> None:
        """One connection, opened again whenever it is lost."""
        tries = 0
        with out:
            while True:
                await self._turn()
                began_s = trio.current_time()
                why = await self._connected(group, out, settled)
                settled.set()
                self._doubt(group)
                tries = 1 if trio.current_time() - began_s >= _STEADY_S else tries + 1
                wait_s = backoff_s(tries, random.random())
                self._vitals.trouble(CONNECTION_LOST)
                log.warning("connection lost", topics=len(group), why=why, wait_s=round(wait_s, 1))
                await trio.sleep(wait_s)

    async def _turn(self) -> None:
        start_s, self._budget = self._budget.reserve(trio.current_time())
        await trio.sleep_until(start_s)

    async def _connected(self, group: Sequence[Series], out: Out, settled: trio.Event) -> str:
        """One connection from its opening to its loss; why it was lost."""
        self._vitals.connects += 1
        why = ""
        try:
            async with open_stream(self._settings.stream_url) as stream:
                self._vitals.connections += 1
                try:
                    topics = {frames.topic_of(series): series for series in sorted(group)}
                    session = _Session(stream, self._settings.category, topics, self._clock, self._vitals)
                    await session.run(out, partial(self._settle, settled))
                finally:
                    self._vitals.connections -= 1
        except* StreamLost as lost:
            why = str(_first(lost))
        return why

    def _settle(self, settled: trio.Event) -> None:
        self._vitals.subscriptions += 1
        settled.set()
        self._on_break()

    def _doubt(self, group: Sequence[Series]) -> None:
        since_ms = self._clock.now_ms - _DOUBT_MS
        for series in group:
            self._book.doubt(series, since_ms)
        self._on_break()


@attrs.define(eq=False)
class _Session:
    """What happens on one open connection. Raises `StreamLost`, alone or in a group, when it is no use any more."""

    _stream: Stream
    _category: str
    _topics: Mapping[str, Series]
    _clock: Clock
    _vitals: Vitals
    _requests: Iterator[int] = attrs.field(factory=lambda: count(1))
    _answers: dict[str, trio.MemorySendChannel[Acknowledged]] = attrs.field(factory=dict)
    _pong: trio.Event = attrs.field(factory=trio.Event)
    _confirmed: list[Confirmed] = attrs.field(factory=list)
    _some: trio.Event = attrs.field(factory=trio.Event)
    _malformed_in_a_row: int = 0
    _heard_s: float = attrs.field(factory=trio.current_time)
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
            finally:
                self._hand_on_and_end()

    async def _receive(self) -> None:
        """Takes texts as fast as they come: nothing in here waits for anybody but the exchange."""
        while True:
            text = await self._stream.receive()
            self._heard_s = trio.current_time()
            self._vitals.messages += 1
            try:
                frame = frames.read(text, self._topics)
                if frame is not NOTHING_CONFIRMED:
                    self._take(frame)
            except Malformed as defect:
                self._note_malformed(defect)

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
            case Acknowledged(request):
                if request in self._answers:
                    self._answers.pop(request).send_nowait(frame)
            case _:
                self._vitals.unknown += 1
        self._malformed_in_a_row = 0

    def _pass_on(self, confirmed: Sequence[Confirmed]) -> None:
        if len(self._confirmed) > _WAITING:
            raise StreamLost("candles come faster than they can be written")
        if not confirmed:
            return
        if self._clock.is_far_off(at_ms := confirmed[0].at_ms):
            raise Malformed(f"a candle is confirmed at {at_ms}, far ahead of the exchange's time")
        self._vitals.confirmed += len(confirmed)
        self._confirmed += confirmed
        self._some.set()

    def _note_malformed(self, defect: Malformed) -> None:
        self._vitals.malformed += 1
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
        self._vitals.dropped += len(taken) + len(self._confirmed)

    def _look_at(self, newest: Confirmed) -> None:
        """One candle of a batch tells the time, and how late confirmations are."""
        self._clock.hear(newest.at_ms)
        self._vitals.confirm_lags += 1
        self._vitals.confirm_lag_s += max(0, newest.at_ms - newest.asked.end_ms) / 1000

    def _hand_on_and_end(self) -> None:
        self._ended = True
        self._forwarding.deadline = trio.current_time() + _LAST_WORDS_S
        self._some.set()

    async def _beat(self) -> None:
        """The heartbeat. The exchange wants a text of its own kind, not a ping of the protocol."""
        while True:
            self._pong = trio.Event()
            await self._stream.send(frames.PING)
            with trio.move_on_after(_PONG_WITHIN_S) as waiting:
                await self._pong.wait()
            if waiting.cancelled_caught:
                raise StreamLost(f"no pong within {_PONG_WITHIN_S:.0f} s")
            await trio.sleep(_PING_EVERY_S)

    async def _subscribe_all(self, topics: Sequence[str]) -> None:
        at_once = trio.CapacityLimiter(_REQUESTS_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for batch in frames.batches(self._category, topics):
                nursery.start_soon(self._subscribe, list(batch), at_once)

    async def _subscribe(self, topics: list[str], at_once: trio.CapacityLimiter) -> None:
        """Subscribes to as many of the topics as the exchange has. One it does not have refuses them all: it is left
        out, and the rest is asked for again."""
        while topics:
            async with at_once:
                answer = await self._ask("subscribe", topics)
            if answer.success:
                return
            bad = answer.topic
            if bad not in topics:
                raise StreamLost(f"a subscription was refused: {answer.text}")
            topics.remove(bad)
            if not answer.already:
                self._vitals.refused.add(bad)
                log.warning("topic refused, its candles come over REST", topic=bad, said=answer.text)

    async def _ask(self, op: str, topics: Sequence[str]) -> Acknowledged:
        request = f"{op}-{next(self._requests)}"
        send, receive = trio.open_memory_channel[Acknowledged](1)
        self._answers[request] = send
        await self._stream.send(frames.request_text(op, request, topics))
        with trio.move_on_after(_ACKNOWLEDGED_WITHIN_S):
            return await receive.receive()
        raise StreamLost(f"a subscription was not acknowledged within {_ACKNOWLEDGED_WITHIN_S:.0f} s")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
