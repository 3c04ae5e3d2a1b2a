"""The feed: which candle is pushed or confirmed next, and to whom.

Pure: given the exchange's time and real seconds, it returns what is due, and others send it. A push to several
listeners is composed once. A candle is confirmed some time after its close, and only then is the next one pushed;
pushes are sent once, to those connected at the time.
"""

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

import attrs

from collector.sandbox.market import noise
from collector.sandbox.market.listing import Category, Row, Source
from collector.sandbox.market.prices import with_exponents
from collector.sandbox.stream import pushes
from collector.sandbox.stream.corrupt_frames import untraded, with_wrong_numbers
from collector.sandbox.stream.rules import StreamRules
from collector.sandbox.stream.script import Plan, Script
from collector.sandbox.stream.topics import Topic

_End = tuple[int, Category]  # when candles close, and of which category they are: these are confirmed together
SLOTS = 20  # a second's pushes are spread over so many moments, as trades do not all come at once
Listener = TypeVar("Listener", bound=Hashable)


@attrs.frozen
class Push(Generic[Listener]):
    """A text for its listeners, and its number of confirmed candles."""

    text: str
    listeners: tuple[Listener, ...]
    confirmed: int = 0


@attrs.define(eq=False)
class _TopicState(Generic[Listener]):
    """A subscribed topic, and the candle that is confirmed next."""

    topic: Topic
    slot: int
    open_ms: int
    close_ms: int
    listeners: dict[Listener, None] = attrs.field(factory=dict)
    last: Row = ""
    pushed_s: float = 0.0
    ready: tuple[Row, Row] | None = None  # the candle as it will be confirmed, and the next one as it begins

    @property
    def end(self) -> _End:
        return self.close_ms, self.topic.category


class Feed(Generic[Listener]):
    """All subscribed topics and their current candles."""

    def __init__(self, source: Source, seed: int, rules: StreamRules, script: Script | None = None) -> None:
        self._source = source
        self._rules = rules
        self._script = script or Script()
        self._key = noise.key_of(seed, "confirm")
        self._states: dict[tuple[str, str], _TopicState[Listener]] = {}
        self._slots: list[dict[_TopicState[Listener], None]] = [{} for _ in range(SLOTS)]
        self._closing: dict[_End, dict[_TopicState[Listener], None]] = {}
        self._due: list[tuple[int, int, Callable[[int], Iterator[Push[Listener]]]]] = []
        self._prepared: tuple[_End | None, int] = (None, 0)
        self._order = count()
        self._beat: int | None = None

    def join(self, topic: Topic, listener: Listener, now_ms: int, real_s: float) -> Push[Listener] | None:
        """Adds a listener.

        Returns a first push of the candle in progress.
        """
        name = (topic.category, topic.text)
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = self._watch(topic, now_ms)
        state.listeners[listener] = None
        row = self._row(state.topic, state.open_ms, now_ms)
        if not self._shown(state, row):
            return None
        state.last, state.pushed_s = row, real_s
        return Push(self._text(state, row, now_ms), (listener,))

    def leave(self, topic: Topic, listener: Listener) -> None:
        name = (topic.category, topic.text)
        state = self._states.get(name)
        if state is None or listener not in state.listeners:
            return
        del state.listeners[listener]
        if not state.listeners:
            del self._states[name]
            self._forget(state)

    @property
    def busy(self) -> bool:
        """True if there is anything to push."""
        return bool(self._states or self._due)

    @property
    def next_ms(self) -> int | None:
        """The exchange time at which something falls due."""
        return self._due[0][0] if self._due else None

    def next_beat_s(self, real_s: float) -> float:
        """The time until the next slot of the cadence that has topics."""
        tick = self._rules.push_every_s / SLOTS
        beat = int(real_s / tick)
        slots = (self._slots[(beat + ahead) % SLOTS] for ahead in range(1, SLOTS + 1))
        ahead = next((number for number, slot in enumerate(slots) if slot), 0)
        return ahead * tick + tick - real_s % tick

    def prepare(self) -> Iterator[None]:
        """Looks up the candles of the next confirmations, one per step.

        They can then go out in one burst: the box knows beforehand what a candle will be. Results are the same either
        way.
        """
        end = min(self._closing, default=None)
        closing = self._closing.get(end, {}) if end else {}
        if end is None or self._prepared == (end, len(closing)):
            return
        due_ms = end[0] + self._lag_ms(end)
        for state in tuple(closing):
            if state.ready is None and state.end == end:
                state.ready = self._row(state.topic, state.open_ms, due_ms), self._first(state.topic, end[0])
                yield
        self._prepared = (end, len(closing))

    def due(self, now_ms: int) -> Iterator[Push[Listener]]:
        """Pops due confirmations and the candles after them, in order."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, _, act = heappop(self._due)
            yield from act(due_ms)

    def beats(self, now_ms: int, real_s: float) -> Iterator[Push[Listener]]:
        """The periodic pushes since the last call.

        Unmoved candles are left out.
        """
        beat = int(real_s / self._rules.push_every_s * SLOTS)
        first = beat if self._beat is None else max(self._beat + 1, beat - SLOTS + 1)
        self._beat = beat
        for slot in range(first, beat + 1):
            for state in tuple(self._slots[slot % SLOTS]):
                yield from self._tick(state, now_ms, real_s)

    def _tick(self, state: _TopicState[Listener], now_ms: int, real_s: float) -> Iterator[Push[Listener]]:
        # Past its close a candle waits for its confirmation; past the end of trading nothing comes.
        if not state.listeners or now_ms >= min(state.close_ms, state.topic.listing.end_ms):
            return
        row = self._row(state.topic, state.open_ms, now_ms)
        idle = row == state.last and real_s - state.pushed_s < self._rules.push_again_s
        if idle or not self._shown(state, row):
            return
        state.last, state.pushed_s = row, real_s
        yield Push(self._text(state, row, now_ms), tuple(state.listeners))

    def _watch(self, topic: Topic, now_ms: int) -> _TopicState[Listener]:
        open_ms = topic.timeframe.floor(now_ms)
        if now_ms < open_ms + self._lag_ms((open_ms, topic.category)) and open_ms > topic.listing.listed_ms:
            open_ms = topic.timeframe.shift(open_ms, -1)  # the one before it is yet to be confirmed
        state: _TopicState[Listener] = _TopicState(topic, self._slot(topic), open_ms, topic.timeframe.close(open_ms))
        self._slots[state.slot][state] = None
        self._await_close(state)
        return state

    def _slot(self, topic: Topic) -> int:
        """A trade moves the candles of its symbol in all timeframes: these share a slot."""
        return int(noise.share(self._key, topic.listing.symbol) * SLOTS)

    def _await_close(self, state: _TopicState[Listener]) -> None:
        """Schedules the confirmation, also if trading ends before the close."""
        if state.open_ms >= state.topic.listing.end_ms:
            return
        end = state.end
        if end not in self._closing:
            self._closing[end] = {}
            self._at(end[0] + self._lag_ms(end), partial(self._close, end))
        self._closing[end][state] = None

    def _close(self, end: _End, due_ms: int) -> Iterator[Push[Listener]]:
        for state in self._closing.pop(end, ()):
            if state.listeners:
                yield from self._rollover(state, due_ms)

    def _rollover(self, state: _TopicState[Listener], due_ms: int) -> Iterator[Push[Listener]]:
        """Confirms the candle, as the faults allow, and begins the next."""
        topic, open_ms = state.topic, state.open_ms
        final, first = state.ready or (self._row(topic, open_ms, due_ms), self._first(topic, state.close_ms))
        state.ready = None
        told = self._shown(state, final) and not self._script.absent(topic, open_ms)
        plan = self._script.plan(topic, open_ms) if told else Plan(())
        state.open_ms, state.close_ms = state.close_ms, topic.timeframe.close(state.close_ms)
        self._await_close(state)
        opening = self._opening(state, first, due_ms)
        joined = plan.joined or self._rules.joins(topic.category)
        for delay_ms, wrong in zip(plan.delays_ms, plan.wrong, strict=False):
            row = with_wrong_numbers(final) if wrong else final
            if delay_ms:
                self._at(due_ms + delay_ms, partial(self._confirmed, state, row))
            else:
                yield from self._confirmed(state, row, due_ms, opening if joined else ())
                opening = () if joined else opening
        if opening:
            yield Push(pushes.message(topic, opening, due_ms), tuple(state.listeners))

    def _opening(self, state: _TopicState[Listener], row: Row, ts_ms: int) -> tuple[str, ...]:
        """The next candle's first entry.

        Empty at the end of trading.
        """
        state.last = row
        return (pushes.entry(row, state.topic.timeframe, False, ts_ms),) if self._shown(state, row) else ()

    def _confirmed(
        self, state: _TopicState[Listener], row: Row, ts_ms: int, then: tuple[str, ...] = ()
    ) -> Iterator[Push[Listener]]:
        if state.listeners:
            row = with_exponents(row) if self._script.exponents else row
            entries = (pushes.entry(row, state.topic.timeframe, True, ts_ms), *then)
            yield Push(pushes.message(state.topic, entries, ts_ms), tuple(state.listeners), 1)

    def _row(self, topic: Topic, open_ms: int, now_ms: int) -> Row:
        rows = self._source.rows(topic.listing, topic.timeframe, open_ms, open_ms + 1, now_ms)
        return rows[0] if rows else ""

    def _first(self, topic: Topic, open_ms: int) -> Row:
        """A candle as it begins, before its first trade.

        Empty at the end of trading.
        """
        return self._row(topic, open_ms, open_ms) if open_ms < topic.listing.end_ms else ""

    def _shown(self, state: _TopicState[Listener], row: Row) -> bool:
        return bool(row) and not (untraded(row) and self._script.silent(state.topic))

    def _text(self, state: _TopicState[Listener], row: Row, now_ms: int) -> str:
        return pushes.message(state.topic, [pushes.entry(row, state.topic.timeframe, False, now_ms)], now_ms)

    def _at(self, due_ms: int, act: Callable[[int], Iterator[Push[Listener]]]) -> None:
        heappush(self._due, (due_ms, next(self._order), act))

    def _lag_ms(self, end: _End) -> int:
        """The confirmation lag, shared by a category's candles of one close: one burst."""
        return self._rules.lag_ms(end[1], noise.share(self._key, str(end[0])))

    def _forget(self, state: _TopicState[Listener]) -> None:
        self._slots[state.slot].pop(state, None)
        if (closing := self._closing.get(state.end)) is not None:
            closing.pop(state, None)
