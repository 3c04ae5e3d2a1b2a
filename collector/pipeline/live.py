"""The live connections: topics spread over them, each reopened when lost.

What happens on a connection that is open is its session's. When one is lost, what it confirmed last is rechecked and
the reconciler is woken: what was missed is fetched over REST like everything else. Nothing here knows files or decides
what to fetch.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

import attrs
import trio

from collector.bybit import stream_protocol
from collector.bybit.address_limit import AddressLimit
from collector.bybit.clock import Clock
from collector.bybit.exchange_state import StreamState
from collector.bybit.forming import FormingCandles
from collector.bybit.refused_topics import RefusedTopics
from collector.bybit.stream_connection import StreamForbidden, StreamLost, open_stream
from collector.bybit.stream_session import EventChannel, Session
from collector.core.candle import Series
from collector.core.counters import CONNECTION_LOST, Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import first_of
from collector.core.pacing import backoff_s
from collector.logs import get_logger
from collector.machine import Machine
from collector.settings.settings import Settings

log = get_logger(__name__)

_STEADY_S = 60.0  # a connection that lived this long was a good one: the next attempt need not wait long


@attrs.define(eq=False)
class Live:
    """All connections to the stream.

    `on_break` is called when one was lost or opened: some candles may be missing.
    """

    _settings: Settings
    _coverage: CoverageIndex
    _clock: Clock
    _counters: Counters
    _on_break: Callable[[], None]
    _limit: AddressLimit
    _machine: Machine
    _refused: RefusedTopics
    forming: FormingCandles = attrs.field(factory=FormingCandles)
    state: StreamState = attrs.field(factory=StreamState)
    _added: list[tuple[Series, ...]] = attrs.field(factory=list)
    _more: trio.Event = attrs.field(factory=trio.Event)
    _streamed: dict[Series, Sequence[Series]] = attrs.field(factory=dict)  # each on one connection: its group
    _open: dict[trio.CancelScope, frozenset[Series]] = attrs.field(factory=dict)

    def apply(self, settings: Settings) -> None:
        """Follows other settings from the next loss on."""
        self._settings = settings

    def add(self, every_series: Sequence[Series]) -> None:
        """Streams more series, over connections of their own.

        Those that are streamed already are left out, unless they were refused.
        """
        again = {series for series in self._streamed if stream_protocol.topic_of(series) in self._refused}
        new = [series for series in every_series if series not in self._streamed or series in again]
        self._refused.discard(map(stream_protocol.topic_of, new))
        self._added += self._grouped(new)
        self._more.set()

    def leave(self, every_series: Collection[Series]) -> None:
        """Streams these no more: their connections are opened again without them, or not at all."""
        self._stop(every_series)
        self._refused.discard(map(stream_protocol.topic_of, every_series))
        for scope, group in self._open.items():
            if not group.isdisjoint(every_series):
                scope.cancel()

    def stop_asking(self, symbols: Collection[str]) -> None:
        """Forgets the refused topics of symbols that trade no more.

        Those that are subscribed fall silent, and are left out when their connection is opened again.
        """
        topics = {stream_protocol.topic_of(each): each for each in self._streamed if each.symbol in symbols}
        refused = [topic for topic in topics if topic in self._refused]
        self._refused.discard(refused)
        self._stop(map(topics.__getitem__, refused))

    async def stream(
        self,
        every_series: Sequence[Series],
        out: EventChannel,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Streams until cancelled.

        Reports as started when every connection has subscribed, or failed to, once.
        """
        groups = [(group, trio.Event()) for group in self._grouped(every_series)]
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

    async def _keep(self, begun: Sequence[Series], out: EventChannel, settled: trio.Event) -> None:
        """One connection, opened again whenever it is lost, until none of its symbols is ours and trades."""
        tries, cut_off = 0, False  # who was left while cut off is opened once more: the stream may be there again
        with out:
            while (group := self._trading(begun)) or (cut_off and self._is_unseen(begun)):
                await self._turn(settled)
                began_s = trio.current_time()
                subscribed = trio.Event()
                lost = await self._connected(group, out, partial(self._settle, settled, subscribed, len(group)))
                settled.set()
                if subscribed.is_set():
                    self.state.closed(len(group))
                self._recheck(group)
                cut_off = lost is not None or (cut_off and bool(group) and not subscribed.is_set())
                if lost is None:
                    continue
                tries = 1 if trio.current_time() - began_s >= _STEADY_S else tries + 1
                wait_s = self._pause_s(lost, tries)
                self._counters.trouble(CONNECTION_LOST)
                self.state.lost(str(lost), trio.current_time() + wait_s)
                facts = {"topics": len(group), "why": str(lost), "wait_s": round(wait_s, 1)}
                if subscribed.is_set() or tries == 1:  # once in an outage
                    log.warning("connection lost", **facts)
                else:
                    log.debug("connection not opened", **facts)
                await trio.sleep(wait_s)
        settled.set()
        self.state.wanted -= 1

    def _is_unseen(self, group: Iterable[Series]) -> bool:
        """Whether no connection is open, although some of these trade."""
        return not self._counters.connections and not self._coverage.delisted.issuperset(each.symbol for each in group)

    def _trading(self, group: Sequence[Series]) -> Sequence[Series]:
        """The series of a connection that is opened, without those that were left or trade no more."""
        ours = [series for series in group if self._streamed.get(series) is group]
        self._stop(series for series in ours if series.symbol in self._coverage.delisted)
        return [series for series in ours if series in self._streamed]

    def _grouped(self, every_series: Sequence[Series]) -> list[tuple[Series, ...]]:
        """The connections to be for these series, each of which is on this one from now on."""
        groups = stream_protocol.connections(every_series)
        for group in groups:
            self._streamed |= dict.fromkeys(group, group)
        self.state.wanted += len(groups)
        return groups

    def _stop(self, every_series: Iterable[Series]) -> None:
        for series in every_series:
            self._streamed.pop(series, None)

    async def _turn(self, settled: trio.Event) -> None:
        """Waits until a connection may be tried.

        A stream that refuses us lets the start go on.
        """
        await self._limit.connection_turn()
        while trio.current_time() < (refused_until_s := self.state.refused_until_s):
            settled.set()
            await trio.sleep_until(refused_until_s)

    def _pause_s(self, lost: StreamLost, tries: int) -> float:
        """The pause after a loss.

        A refusal of this address is one for all connections.
        """
        if not isinstance(lost, StreamForbidden):
            return backoff_s(tries, self._machine.chance.fraction())
        wait_s = self._settings.ban_wait_s
        self.state.refused(trio.current_time() + wait_s)
        return wait_s

    async def _connected(
        self, group: Sequence[Series], out: EventChannel, on_subscribed: Callable[[], None]
    ) -> StreamLost | None:
        """One connection from its opening to its loss; how it was lost, or None if some of its series were left."""
        self._counters.connects += 1
        lost: BaseException | None = None
        scope = trio.CancelScope()
        self._open[scope] = frozenset(group)
        try:
            with scope:
                await self._run_session(group, out, on_subscribed)
        except* StreamLost as group_of_losses:
            lost = first_of(group_of_losses)
        finally:
            del self._open[scope]
        assert lost is None or isinstance(lost, StreamLost)
        return lost

    async def _run_session(self, group: Sequence[Series], out: EventChannel, on_subscribed: Callable[[], None]) -> None:
        url, network = self._settings.stream_url, self._machine.network
        async with open_stream(url, network, lambda: self._clock.now_ms, self.forming.topics) as stream:
            if not group:
                return
            self._counters.connections += 1
            try:
                topics = {stream_protocol.topic_of(series): series for series in sorted(group)}
                session = Session(
                    stream, self._settings.category, topics, self._clock, self._counters, self._refused, self.forming
                )
                await session.run(out, on_subscribed)
            finally:
                self._counters.connections -= 1

    def _settle(self, settled: trio.Event, subscribed: trio.Event, topics: int) -> None:
        self._counters.subscriptions += 1
        self.state.opened(topics)
        subscribed.set()
        settled.set()
        self._on_break()

    def _recheck(self, group: Sequence[Series]) -> None:
        self._coverage.recheck_after_loss(group, self._clock.now_ms)
        self._on_break()
