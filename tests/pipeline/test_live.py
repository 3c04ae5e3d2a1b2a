"""Live connections against a fake exchange in memory, whose clock jumps: every wait is tested, and none is waited."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from collector.bybit.address_limit import AddressLimit
from collector.bybit.clock import Clock
from collector.bybit.refused_topics import RefusedTopics
from collector.bybit.stream_connection import StreamForbidden, StreamLost
from collector.bybit.websocket_sieve import Pushes, Sieve
from collector.core.candle import MINUTE_MS, Series, timeframe
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.events import Confirmed, Event
from collector.machine import THIS_MACHINE
from collector.pipeline.live import Live
from collector.sandbox.stream.pushes import frame
from tests.support.candles import BTC, T0, spans
from tests.support.market import settings_for

_LONG_S = 10_000  # what has not happened by then never will
Clockwork = trio.testing.MockClock
ETH = Series("ETHUSDT", timeframe("1"))
PONG = '{"success":true,"ret_msg":"pong","conn_id":"d0","req_id":"","op":"ping"}'


def pushed(place: int, series: Series = BTC, confirm: bool = True) -> str:
    """A push of the candle so many minutes after T0."""
    start = T0 + place * MINUTE_MS
    candle = {"start": start, "end": start + MINUTE_MS - 1, "interval": "1", "confirm": confirm, "timestamp": start}
    candle |= dict.fromkeys(("open", "high", "low", "close", "volume", "turnover"), "1")
    return json.dumps({"topic": f"kline.1.{series.symbol}", "data": [candle], "ts": start + MINUTE_MS + 200})


def sifted(text: str) -> Pushes | bytes:
    """What the sieve makes of a text."""
    sieve = Sieve()
    sieve.sift(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    (sifted,) = sieve.sift(frame(text.encode()))
    return sifted


@attrs.define(eq=False)
class Wire:
    """One connection: towards the collector it is a stream, towards the test the exchange's end of it.

    `sifts` says whether pushes are sifted out, as they are on a real one.
    """

    exchange: "FakeExchange"
    heard: list[dict[str, Any]] = attrs.field(factory=list)
    topics: list[str] = attrs.field(factory=list)
    sifts: bool = True
    pushes: trio.MemoryReceiveChannel[Pushes] = attrs.field(init=False)
    _sifted: trio.MemorySendChannel[Pushes] = attrs.field(init=False)
    _say: trio.MemorySendChannel[str] = attrs.field(init=False)
    _texts: trio.MemoryReceiveChannel[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._say, self._texts = trio.open_memory_channel[str](10_000)
        self._sifted, self.pushes = trio.open_memory_channel[Pushes](10_000)

    async def send(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.exchange.hear(self, json.loads(text))

    async def receive(self) -> str:
        try:
            return await self._texts.receive()
        except trio.EndOfChannel:
            raise StreamLost("cut") from None

    def say(self, *texts: str) -> None:
        for text in texts:
            if self.sifts and isinstance(pushes := sifted(text), Pushes):
                self._sifted.send_nowait(pushes)
            else:
                self._say.send_nowait(text)

    def say_at_once(self, *pushes: str) -> None:
        """Pushes that the wire has gathered."""
        self._sifted.send_nowait(Pushes([*pushes]))

    def cut(self) -> None:
        self._say.close()
        self._sifted.close()


@attrs.define(eq=False)
class FakeExchange:
    """Keeps to the linear dialect as far as it is not told otherwise."""

    unreachable: bool = False
    forbidden: int = 0  # so many attempts
    pongs: bool = True
    sifts: bool = True
    acknowledges: bool = True
    naming: Callable[[str], dict[str, str]] = lambda request: {"req_id": request}  # how an answer says what it is to
    refuses: dict[str, str] = attrs.field(factory=dict)  # topic or "": in which words
    attempts_s: list[float] = attrs.field(factory=list)
    wires: list[Wire] = attrs.field(factory=list)
    _opened: trio.Event = attrs.field(factory=trio.Event)

    @asynccontextmanager
    async def open(self, *_: object) -> AsyncIterator[Wire]:
        self.attempts_s.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.unreachable:
            raise StreamLost("nobody answers")
        if self.forbidden:
            self.forbidden -= 1
            raise StreamForbidden("HTTP 403")
        wire = Wire(self, sifts=self.sifts)
        self.wires.append(wire)
        self._opened.set()
        yield wire

    def hear(self, wire: Wire, said: dict[str, Any]) -> None:
        wire.heard.append(said | {"at_s": trio.current_time()})
        if said["op"] == "ping":
            if self.pongs:
                wire.say(PONG)
            return
        words = next((words for topic, words in self.refuses.items() if topic in ("", *said["args"])), None)
        if words is None:
            wire.topics += said["args"]
        if self.acknowledges:
            answer = {"success": words is None, "ret_msg": words or "", "op": said["op"]}
            wire.say(json.dumps(answer | self.naming(said["req_id"])))

    async def connection(self, number: int = 1) -> Wire:
        """The numbered connection, as soon as there is one, and all has been said on it."""
        while len(self.wires) < number:
            await self._opened.wait()
            self._opened = trio.Event()
        await trio.testing.wait_all_tasks_blocked()
        return self.wires[number - 1]


@attrs.define(eq=False)
class Station:
    """Live at work, and what comes of it."""

    exchange: FakeExchange
    live: Live
    counters: Counters
    coverage: CoverageIndex
    refused: RefusedTopics
    clock: Clock
    receive: trio.MemoryReceiveChannel[Event]
    scope: trio.CancelScope
    breaks: list[float] = attrs.field(factory=list)

    async def confirmed(self, count: int = 1) -> list[int]:
        """The places of the candles that came next."""
        came: list[int] = []
        while len(came) < count:
            came += places(await self.receive.receive())
        return came


def places(event: Event) -> list[int]:
    assert isinstance(event, tuple)
    return [place_of(candle) for candle in event]


def place_of(candle: Confirmed) -> int:
    return (candle.asked.start_ms - T0) // MINUTE_MS


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> FakeExchange:
    fake = FakeExchange()
    monkeypatch.setattr("collector.pipeline.live.open_stream", fake.open)
    return fake


@asynccontextmanager
async def on_air(
    exchange: FakeExchange, every_series: Sequence[Series] = (BTC, ETH), buffer: int = 64, **changes: object
) -> AsyncIterator[Station]:
    """Streams these series until left."""
    settings = settings_for("http://127.0.0.1", Path("nowhere"), **changes)
    send, receive = trio.open_memory_channel[Event](buffer)
    coverage, refused, clock, counters = CoverageIndex(), RefusedTopics(), Clock(), Counters()
    breaks: list[float] = []
    limit = AddressLimit(settings, "ours")
    live = Live(
        settings, coverage, clock, counters, lambda: breaks.append(trio.current_time()), limit, THIS_MACHINE, refused
    )
    with receive, trio.fail_after(_LONG_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(live.stream, every_series, send)
            yield Station(exchange, live, counters, coverage, refused, clock, receive, nursery.cancel_scope, breaks)
            nursery.cancel_scope.cancel()


def requests(wire: Wire) -> list[list[str]]:
    return [said["args"] for said in wire.heard if said["op"] == "subscribe"]


async def every_attempt(exchange: FakeExchange, seconds: float) -> list[float]:
    """The pauses between the attempts to connect within a time."""
    began_s = trio.current_time()
    async with on_air(exchange):
        await trio.sleep_until(began_s + seconds)
    return [later - earlier for earlier, later in pairwise(exchange.attempts_s)]


# What is confirmed.


async def test_what_is_confirmed_is_passed_on_and_nothing_else(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        wire.say(pushed(0, confirm=False), pushed(0), pushed(1, confirm=False), pushed(1))
        assert await station.confirmed(2) == [0, 1]
        assert station.clock.newest_ms == T0 + 2 * MINUTE_MS + 200
        assert (station.counters.confirmed, station.counters.connections) == (2, 1)


async def test_a_candle_of_a_series_that_nobody_asked_for_is_not_passed_on(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        wire.say(pushed(0, Series("XRPUSDT", BTC.timeframe)), pushed(1))
        assert await station.confirmed() == [1]
        assert station.counters.unknown == 1


async def test_series_that_are_added_have_connections_of_their_own(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange, [BTC]) as station:
        station.live.add([ETH])
        wire = await exchange.connection(2)
        assert wire.topics == ["kline.1.ETHUSDT"]
        wire.say(pushed(3, ETH))
        assert await station.confirmed() == [3]


async def test_a_series_that_is_added_again_has_no_second_connection_unless_it_was_refused(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"kline.1.ETHUSDT": "error:handler not found,topic:kline.1.ETHUSDT"}
    async with on_air(exchange) as station:
        await exchange.connection()
        exchange.refuses.clear()
        for _ in range(3):
            station.live.add([BTC, ETH])
            await trio.sleep(5)
        assert [wire.topics for wire in exchange.wires] == [["kline.1.BTCUSDT"], ["kline.1.ETHUSDT"]]
        assert set(station.refused) == set()


async def test_a_candle_of_the_future_is_not_passed_on_and_does_not_move_the_clock(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        station.clock.observe(T0 + MINUTE_MS)
        wire.say(*[pushed(600 + place) for place in range(5)], pushed(0))
        assert await station.confirmed() == [0]
        assert station.clock.newest_ms == T0 + MINUTE_MS + 200
        assert (station.counters.malformed, station.counters.connects) == (5, 1)


async def test_a_stream_that_lags_behind_by_hours_does_not_set_the_clock_back(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        station.clock.observe(T0 + 600 * MINUTE_MS)
        for place in range(20):
            wire.say(pushed(place))
            assert await station.confirmed() == [place]
        assert station.clock.newest_ms == T0 + 600 * MINUTE_MS
        station.clock.observe(T0 + 20 * MINUTE_MS)  # but it was right, says an answer
        assert station.clock.newest_ms == T0 + 20 * MINUTE_MS


async def test_pushes_tell_the_time_once_a_second_also_when_they_confirm_nothing(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        newest: list[int] = []
        for second in range(3):  # twenty times as fast as our own
            for eighth in range(8):
                wire.say(in_progress(T0 + second * 20_000 + eighth * 2_500))
                await trio.sleep(0.125)
            newest.append(station.clock.newest_ms - T0)
        assert newest == [0, 20_000, 40_000]
        assert (station.counters.confirmed, station.counters.malformed) == (0, 0)


async def test_a_push_in_progress_does_not_move_the_clock_far(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        station.clock.observe(T0)
        for ts in (T0 + 600 * MINUTE_MS, T0 + 601 * MINUTE_MS, T0 - 600 * MINUTE_MS, 0):
            wire.say(in_progress(ts))
            await trio.sleep(1.1)
        assert station.clock.newest_ms == T0


def in_progress(ts: int) -> str:
    return json.dumps(json.loads(pushed(0, confirm=False)) | {"ts": ts})


# Subscriptions.


async def test_topics_are_asked_for_in_batches(exchange: FakeExchange, autojump_clock: Clockwork) -> None:
    many = [Series(f"A{number}USDT", BTC.timeframe) for number in range(25)]
    async with on_air(exchange, many, category="spot"):
        wire = await exchange.connection()
        assert sorted(map(len, requests(wire))) == [5, 10, 10]
        assert len(set(wire.topics)) == 25


async def test_a_refused_topic_is_left_out_and_the_rest_asked_for_again(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"kline.1.ETHUSDT": "error:handler not found,topic:kline.1.ETHUSDT"}
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        assert requests(wire) == [["kline.1.BTCUSDT", "kline.1.ETHUSDT"], ["kline.1.BTCUSDT"]]
        assert set(station.refused) == {"kline.1.ETHUSDT"}
        wire.say(pushed(0))
        assert await station.confirmed() == [0]


async def test_a_topic_that_the_next_connection_has_is_refused_no_more(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"kline.1.ETHUSDT": "error:handler not found,topic:kline.1.ETHUSDT"}
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        exchange.refuses.clear()
        wire.cut()
        await exchange.connection(2)
        assert set(station.refused) == set()
        station.live.add([ETH])
        await trio.sleep(5)
        assert [wire.topics for wire in exchange.wires[1:]] == [["kline.1.BTCUSDT", "kline.1.ETHUSDT"]]


async def test_a_refused_topic_of_a_symbol_that_trades_no_more_is_forgotten(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"kline.1.ETHUSDT": "error:handler not found,topic:kline.1.ETHUSDT"}
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        station.coverage.delist({"ETHUSDT"})
        station.live.stop_asking({"ETHUSDT"})
        asked = len(requests(wire))
        await trio.sleep(1500)
        assert (set(station.refused), len(requests(wire))) == (set(), asked)
        station.coverage.relist({"ETHUSDT"})
        exchange.refuses.clear()
        station.live.add([ETH])
        assert (await exchange.connection(2)).topics == ["kline.1.ETHUSDT"]


async def test_a_connection_opened_again_leaves_out_symbols_that_trade_no_more(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        station.coverage.delist({"ETHUSDT"})
        station.live.stop_asking({"ETHUSDT"})
        assert wire.topics == ["kline.1.BTCUSDT", "kline.1.ETHUSDT"]
        wire.cut()
        assert (await exchange.connection(2)).topics == ["kline.1.BTCUSDT"]
        station.coverage.delist({"BTCUSDT"})
        exchange.wires[-1].cut()
        await trio.sleep(1500)
        assert (len(exchange.wires), station.live.state.wanted) == (2, 0)


async def test_a_series_that_changed_its_connection_is_not_on_both(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"kline.1.ETHUSDT": "error:handler not found,topic:kline.1.ETHUSDT"}
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        exchange.refuses.clear()
        station.live.add([ETH])
        assert (await exchange.connection(2)).topics == ["kline.1.ETHUSDT"]
        wire.cut()
        assert (await exchange.connection(3)).topics == ["kline.1.BTCUSDT"]
        assert (station.live.state.subscribed, station.live.state.series) == (2, 2)


async def test_a_series_that_comes_back_during_a_loss_is_on_its_new_connection_alone(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        exchange.unreachable = True
        wire.cut()
        await trio.sleep(0.1)
        station.live.leave([ETH])
        station.live.add([ETH])
        exchange.unreachable = False
        await trio.sleep(120)
        assert sorted(wire.topics for wire in exchange.wires[1:]) == [["kline.1.BTCUSDT"], ["kline.1.ETHUSDT"]]


@pytest.mark.parametrize("words", ["error:handler not found,topic:kline.1.ETHUSDT", "try later"])
async def test_a_topic_that_was_refused_is_asked_for_again_on_the_same_connection(
    words: str, exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"kline.1.ETHUSDT": words}
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        await trio.sleep(1500)
        assert requests(wire)[-2:] == [["kline.1.ETHUSDT"]] * 2
        assert (wire.topics, set(station.refused)) == (["kline.1.BTCUSDT"], {"kline.1.ETHUSDT"})
        exchange.refuses.clear()
        await trio.sleep(3000)
        assert (wire.topics, set(station.refused)) == (["kline.1.BTCUSDT", "kline.1.ETHUSDT"], set())
        assert len(exchange.wires) == 1


async def test_what_was_refused_is_asked_for_again_in_the_same_order_in_every_process(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    every_series = [Series(f"A{number}USDT", BTC.timeframe) for number in range(8)]
    topics = [f"kline.1.{series.symbol}" for series in every_series]
    exchange.refuses = {topic: f"error:handler not found,topic:{topic}" for topic in topics}
    async with on_air(exchange, every_series) as station:
        wire = await exchange.connection()
        await trio.sleep(700)
        assert set(station.refused) == set(topics)
        assert requests(wire)[-8:] == [[topic] for topic in topics]


async def test_when_every_topic_is_refused_the_connection_stays(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    topics = ("kline.1.BTCUSDT", "kline.1.ETHUSDT")
    exchange.refuses = {topic: f"Invalid symbol :[{topic}]" for topic in topics}
    async with on_air(exchange) as station:
        await trio.sleep(100)
        assert len(exchange.wires) == 1
        assert set(station.refused) == set(topics)


async def test_already_subscribed_is_as_good_as_subscribed(exchange: FakeExchange, autojump_clock: Clockwork) -> None:
    exchange.refuses = {"kline.1.ETHUSDT": "error:already subscribed,topic:kline.1.ETHUSDT"}
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        assert requests(wire)[-1] == ["kline.1.BTCUSDT"]
        assert not station.refused
        assert station.counters.connects == 1


@pytest.mark.parametrize("words", ["Params Error", "error:handler not found,topic:kline.1.OTHER", ""])
async def test_a_refusal_that_names_none_of_the_topics_costs_only_the_bad_one(
    exchange: FakeExchange, autojump_clock: Clockwork, words: str
) -> None:
    exchange.refuses = {"kline.1.A7USDT": words}
    many = [Series(f"A{number}USDT", BTC.timeframe) for number in range(12)]
    async with on_air(exchange, many) as station:
        wire = await exchange.connection()
        assert sorted([*wire.topics, "kline.1.A7USDT"]) == sorted(f"kline.1.{series.symbol}" for series in many)
        assert set(station.refused) == {"kline.1.A7USDT"}
        assert station.counters.connects == 1
        assert len(requests(wire)) < 10


async def test_a_refusal_that_names_no_topic_is_about_the_only_one_that_was_asked_for(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"": "Params Error"}
    async with on_air(exchange, [BTC]) as station:
        await trio.sleep(100)
        assert (station.counters.connects, set(station.refused)) == (1, {"kline.1.BTCUSDT"})


async def test_already_subscribed_is_as_good_also_without_the_name(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"kline.1.ETHUSDT": "error:already subscribed"}
    async with on_air(exchange) as station:
        assert (await exchange.connection()).topics == ["kline.1.BTCUSDT"]
        assert (station.counters.connects, set(station.refused)) == (1, set())


async def test_a_refusal_of_everything_that_names_no_topic_ends_the_connection(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"": "error:internal"}
    async with on_air(exchange) as station:
        await exchange.connection()
        exchange.refuses = {}
        assert (await exchange.connection(2)).topics
        assert not station.refused


async def test_an_acknowledgement_that_does_not_come_ends_the_connection_after_ten_seconds(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.acknowledges = False
    async with on_air(exchange):
        exchange.acknowledges = True
        await exchange.connection(2)
        assert 10.7 < exchange.attempts_s[1] - exchange.attempts_s[0] < 11.3


async def test_an_acknowledgement_of_something_else_does_no_harm(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        wire.say('{"success":true,"ret_msg":"","req_id":"subscribe-99","op":"subscribe"}', pushed(0))
        assert await station.confirmed() == [0]


@pytest.mark.parametrize("naming", [{}, {"req_id": ""}])
async def test_an_answer_that_does_not_say_to_what_is_to_what_was_asked(
    exchange: FakeExchange, autojump_clock: Clockwork, naming: dict[str, str]
) -> None:
    exchange.naming = lambda _: naming
    exchange.refuses = {"kline.1.A17USDT": "Invalid symbol :[kline.1.A17USDT]", "kline.1.A22USDT": "Params Error"}
    many = [Series(f"A{number}USDT", BTC.timeframe) for number in range(25)]
    async with on_air(exchange, many, category="spot") as station:
        wire = await exchange.connection()
        assert len(set(wire.topics)) == len(wire.topics) == 23
        assert set(station.refused) == exchange.refuses.keys()
        assert station.counters.connects == 1


async def test_a_refusal_that_does_not_say_to_what_is_to_the_request_with_its_topic(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.acknowledges = False
    many = [Series(f"A{number}USDT", BTC.timeframe) for number in range(15)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_the_last_first, exchange)
        async with on_air(exchange, many, category="spot") as station:
            assert set(station.refused) == {requests(exchange.wires[0])[1][0]}
            assert station.counters.connects == 1


async def answer_the_last_first(exchange: FakeExchange) -> None:
    wire = await exchange.connection()
    bad = requests(wire)[1][0]
    wire.say(json.dumps({"success": False, "ret_msg": f"Invalid symbol :[{bad}]", "op": "subscribe"}))
    await trio.testing.wait_all_tasks_blocked()
    assert bad not in requests(wire)[2]
    wire.say(*['{"success":true,"op":"subscribe"}'] * 2)


async def test_the_start_does_not_wait_for_a_stream_that_is_not_there(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.unreachable = True
    async with on_air(exchange) as station:
        assert trio.current_time() == exchange.attempts_s[0]
        assert station.counters.connections == 0


# Kept alive.


async def test_it_says_ping_every_twenty_seconds(exchange: FakeExchange, autojump_clock: Clockwork) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        await trio.sleep(205)
        pings_s = [said["at_s"] for said in wire.heard if said["op"] == "ping"]
        assert [round(later - earlier) for earlier, later in pairwise(pings_s)] == [20] * 10
        assert station.counters.connects == 1


async def test_a_pong_that_does_not_come_within_ten_seconds_ends_the_connection(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        exchange.pongs = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter, wire)  # pushes alone are no sign of life
            await exchange.connection(2)
            nursery.cancel_scope.cancel()
        assert 30.7 < exchange.attempts_s[1] - exchange.attempts_s[0] < 31.3
        assert station.counters.troubles == {"connection lost": 1}


async def chatter(wire: Wire) -> None:
    while True:
        wire.say(pushed(0, confirm=False))
        await trio.sleep(1)


async def test_the_pong_may_take_its_time(exchange: FakeExchange, autojump_clock: Clockwork) -> None:
    exchange.pongs = False
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        for _ in range(5):
            await trio.sleep(9)
            wire.say(PONG)
            await trio.sleep(20)
        assert station.counters.connects == 1


async def test_frames_that_make_no_sense_are_borne_unless_they_go_on(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        for _ in range(3):
            wire.say(*["{"] * 19)
            await trio.testing.wait_all_tasks_blocked()
            wire.say(pushed(0))
            assert await station.confirmed() == [0]
        assert (station.counters.malformed, station.counters.connects) == (57, 1)
        wire.say(*["{"] * 20)
        await exchange.connection(2)
        assert station.counters.malformed == 77


async def test_a_push_that_makes_no_sense_costs_none_of_those_that_came_with_it(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        wire.say(pushed(0))
        assert await station.confirmed() == [0]
        in_a_year = 365 * 24 * 60
        wire.say_at_once(pushed(1), pushed(1).replace('"low": "1"', '"low": "2"'), pushed(in_a_year), pushed(2))
        assert await station.confirmed(2) == [1, 2]
        assert station.counters.malformed == 2


async def test_frames_that_mean_nothing_to_us_are_counted_and_borne(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        wire.say(*['{"topic":"news","data":{"urgent":true}}'] * 50, pushed(0))
        assert await station.confirmed() == [0]
        assert (station.counters.unknown, station.counters.connects) == (50, 1)


# Lost and opened again.


async def test_a_lost_connection_is_opened_again_and_looked_behind(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange, [BTC]) as station:
        wire = await exchange.connection()
        wire.say(*map(pushed, range(6)))
        for place in await station.confirmed(6):
            station.coverage[BTC].confirm(spans(place, place + 1), held=spans(0, place + 1))
        wire.cut()
        again = await exchange.connection(2)
        assert again.topics == ["kline.1.BTCUSDT"]
        assert len(station.breaks) == 3  # opened, lost, opened
        recheck_now = station.coverage[BTC].verification.recheck_now
        assert (recheck_now.bounds.start_ms, recheck_now.bounds.end_ms) == (T0 + 3 * MINUTE_MS, T0 + 6 * MINUTE_MS)


async def test_reconnects_wait_ever_longer_up_to_sixteen_seconds_and_never_end(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.unreachable = True
    pauses = await every_attempt(exchange, 3600)
    assert len(pauses) > 200
    for pause, usual in zip(pauses, [1, 2, 4, 8] + [16] * len(pauses), strict=False):
        assert 0.75 * usual <= pause <= 1.25 * usual


async def test_an_outage_is_told_once_and_a_loss_each_time(
    exchange: FakeExchange, autojump_clock: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    exchange.unreachable = True
    async with on_air(exchange) as station:
        await trio.sleep(3600)
        assert (station.live.state.wanted, station.live.state.subscribed) == (1, 0)
        exchange.unreachable = False
        for number in (1, 2):
            wire = await exchange.connection(number)
            await trio.sleep(1)
            assert (station.live.state.subscribed, station.live.state.series) == (1, 2)
            wire.cut()
            await trio.sleep(0.1)
            assert (station.live.state.subscribed, station.live.state.series) == (0, 0)
            await trio.sleep(20)
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 3


async def test_a_stream_that_refuses_this_address_is_left_alone_by_all(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.forbidden = 1
    many = [Series(f"A{place:05}USDT", timeframe("1")) for place in range(2000)]
    async with on_air(exchange, many, ban_wait_s=600) as station:
        began_s = exchange.attempts_s[0]
        assert station.live.state.refused_until_s == began_s + 600
        await exchange.connection(2)
    assert exchange.attempts_s[1] == began_s + 600


async def test_a_connection_that_breaks_at_once_each_time_is_not_hammered(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.refuses = {"": "error:no"}
    pauses = await every_attempt(exchange, 600)
    assert min(pauses[4:]) >= 12


async def test_after_a_minute_of_good_service_the_next_attempt_comes_soon(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    exchange.unreachable = True
    async with on_air(exchange):
        await trio.sleep(300)
        exchange.unreachable = False
        wire = await exchange.connection()
        await trio.sleep(61)
        before = trio.current_time()
        wire.cut()
        await exchange.connection(2)
        assert trio.current_time() - before <= 1.25


@pytest.fixture
def small_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """About ten topics fill one."""
    monkeypatch.setattr("collector.bybit.stream_protocol._CONNECTION_CHARACTERS", 200)


async def test_connections_stay_below_five_hundred_in_five_minutes_however_many_fail(
    exchange: FakeExchange, autojump_clock: Clockwork, small_connections: None
) -> None:
    exchange.unreachable = True
    many = [Series(f"A{number}USDT", BTC.timeframe) for number in range(400)]
    async with on_air(exchange, many):
        await trio.sleep(900)
    attempts = exchange.attempts_s
    assert len(attempts) > 1000
    assert all(later - earlier >= 300 for earlier, later in zip(attempts, attempts[499:], strict=False))


async def test_one_connection_that_is_lost_leaves_the_others_alone(
    exchange: FakeExchange, autojump_clock: Clockwork, small_connections: None
) -> None:
    many = [Series(f"A{number}USDT", BTC.timeframe) for number in range(30)]
    async with on_air(exchange, many) as station:
        wires = [await exchange.connection(number) for number in (1, 2, 3)]
        wires[1].cut()
        again = await exchange.connection(4)
        assert sorted(again.topics) == sorted(wires[1].topics)
        symbol = wires[0].topics[0].rpartition(".")[2]
        wires[0].say(pushed(0, Series(symbol, BTC.timeframe)))
        assert await station.confirmed() == [0]
        assert station.counters.connections == 3


# The end.


@pytest.mark.parametrize("buffer", [0, 1, 64])
@pytest.mark.parametrize("end", ["stop", "cut"])
async def test_what_was_received_before_the_end_is_handed_on_however_busy_the_writer_is(
    exchange: FakeExchange, autojump_clock: Clockwork, buffer: int, end: str
) -> None:
    taken: list[int] = []
    async with trio.open_nursery() as writing:
        async with on_air(exchange, buffer=buffer) as station:
            wire = await exchange.connection()
            for place in range(100):
                wire.say(pushed(place))
                await trio.testing.wait_all_tasks_blocked()
            if end == "cut":
                wire.cut()
                await trio.testing.wait_all_tasks_blocked()
            receive = station.receive.clone()
            writing.start_soon(write_slowly, receive, taken)
        writing.cancel_scope.deadline = trio.current_time() + 60
    assert taken == list(range(100))


async def write_slowly(receive: trio.MemoryReceiveChannel[Event], taken: list[int]) -> None:
    """A writer that has other things to do first."""
    with receive:
        await trio.sleep(2)
        async for event in receive:
            taken.extend(places(event))


async def test_a_writer_that_takes_nothing_any_more_cannot_hold_up_a_stop(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange, buffer=0):
        (await exchange.connection()).say(pushed(0))
        await trio.testing.wait_all_tasks_blocked()
        before_s = trio.current_time()
    assert trio.current_time() - before_s <= 5


async def test_a_writer_that_is_gone_is_no_error_of_the_stream(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    """Whoever ends everything at once hears of that and of nothing else."""
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        wire.say(pushed(0))
        station.receive.close()
        station.scope.cancel()
    assert station.scope.cancelled_caught


async def test_a_writer_that_is_stuck_ends_the_connection_before_memory_runs_out(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange, buffer=0) as station:
        wire = await exchange.connection()
        for _ in range(3):
            wire.say(*map(pushed, range(4_000)))
            await trio.testing.wait_all_tasks_blocked()
        await exchange.connection(2)
        assert station.counters.connects == 2


async def test_what_is_left_is_streamed_no_more_and_the_rest_goes_on(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        await exchange.connection()
        station.live.leave([BTC])
        wire = await exchange.connection(2)
        assert wire.topics == ["kline.1.ETHUSDT"]
        wire.say(pushed(1, ETH))
        assert await station.confirmed() == [1]
        assert (station.live.state.wanted, station.counters.lost) == (1, 0)


async def test_a_connection_of_which_all_is_left_ends(exchange: FakeExchange, autojump_clock: Clockwork) -> None:
    async with on_air(exchange) as station:
        await exchange.connection()
        station.live.leave([BTC, ETH])
        await trio.sleep(60)
        assert (len(exchange.wires), station.live.state.wanted, station.counters.connections) == (1, 0, 0)
        station.live.add([BTC])
        assert (await exchange.connection(2)).topics == ["kline.1.BTCUSDT"]


async def test_a_connection_that_was_cut_off_when_all_was_left_is_opened_once_more_for_nothing(
    exchange: FakeExchange, autojump_clock: Clockwork
) -> None:
    async with on_air(exchange) as station:
        wire = await exchange.connection()
        exchange.unreachable = True
        wire.cut()
        await trio.sleep(5)
        station.live.leave([BTC, ETH])
        await trio.sleep(60)
        assert (len(exchange.wires), station.live.state.wanted) == (1, 1)
        exchange.unreachable = False
        wire = await exchange.connection(2)
        await trio.sleep(60)
        assert (wire.heard, station.live.state.wanted, len(exchange.wires)) == ([], 0, 2)
        assert station.counters.connections == 0
