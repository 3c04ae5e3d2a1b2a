"""The REST edge: paced, patient with passing troubles, silent during a ban, and never fooled."""

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import attrs
import httpx
import pytest
import trio

from collector.bybit.clock import Clock
from collector.bybit.exchange_state import RestState
from collector.bybit.rate_ban import RateBan
from collector.bybit.rest_client import Rest, open_rest
from collector.bybit.rest_protocol import KlineAnswer
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.errors import Refused, Rejected, RequestFailed, SettingsError, Unreachable
from collector.core.spans import Span, Spans
from collector.machine import THIS_MACHINE
from collector.sandbox.rest import pages
from collector.settings.settings import Settings
from tests.support.candles import BTC, T0, span, spans
from tests.support.replies import client_answered_by, instruments_body, kline_body
from tests.support.throttle import throttle_for

Reply = httpx.Response | Exception
NOW = T0 + 10**9
CANDLES = 3


def candles() -> httpx.Response:
    rows = [[str(T0 + place * 60_000), "2", "3", "1", "2", "0", "0"] for place in range(CANDLES)]
    return httpx.Response(200, content=kline_body(rows[::-1], now_ms=NOW))


def code(number: int) -> httpx.Response:
    return httpx.Response(200, json={"retCode": number, "retMsg": "said so", "result": {}, "time": 1})


BAN = httpx.Response(403, text="access too frequent")
COUNTRY = httpx.Response(403, content=pages.GEO_BLOCK)
BLOCKED = httpx.Response(403, content=pages.WAF_BLOCK)
BAD_REQUEST = httpx.Response(403, content=pages.BAD_REQUEST)


def wall_ms() -> int:
    """A local clock that goes with the test's."""
    return 1_000_000 + round(trio.current_time() * 1000)


@attrs.define
class LocalClock:
    """A local clock that goes with the test's, unless somebody sets it."""

    set_by_ms: int = 0

    def now_ms(self) -> int:
        return wall_ms() + self.set_by_ms


@attrs.define
class FakeExchange:
    """Answers with what it was told to, one after another, then with candles; notes when it was asked."""

    replies: list[Reply] = attrs.field(factory=list)
    asked_at: list[float] = attrs.field(factory=list)
    queries: list[dict[str, str]] = attrs.field(factory=list)
    raw_queries: list[str] = attrs.field(factory=list)
    latency_s: float = 0.0
    remembered: list[int] = attrs.field(factory=list)
    counters: Counters = attrs.field(factory=Counters)
    state: RestState = attrs.field(factory=RestState)
    local: LocalClock = attrs.field(factory=LocalClock)
    written: int | None = None  # the record of a ban, where others may write too
    disk_is_full: bool = False

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked_at.append(trio.current_time())
        self.queries.append(dict(request.url.params))
        self.raw_queries.append(request.url.query.decode())
        reply = self.replies.pop(0) if self.replies else candles()
        await trio.sleep(self.latency_s)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def remember(self, until_ms: int) -> None:
        if self.disk_is_full:
            raise OSError("the disk is full")
        self.remembered.append(until_ms)
        if self.written is not None:
            self.written = until_ms

    @asynccontextmanager
    async def rest(self, until_ms: int = 0, *, served: bool = False, **changes: Any) -> AsyncIterator[Rest]:
        settings = Settings(
            **{"rest_url": "http://localhost:1", "ban_wait_s": 60.0, "bulk_request_delay_ms": 0} | changes
        )
        recorded = None if self.written is None else lambda: self.written or 0
        rate_ban = RateBan(until_ms, self.remember, self.local.now_ms, recorded)
        http = client_answered_by(self.answer)
        throttle = throttle_for(settings, rate_ban, served=served)
        async with open_rest(settings, throttle, self.counters, Clock(), THIS_MACHINE, http) as rest:
            self.state = rest.state
            yield rest


Ask = Callable[[Rest], Any]
WINDOW = span(0, CANDLES)


async def test_candles_are_asked_for_and_the_time_is_noted(autojump_clock: trio.testing.MockClock) -> None:
    exchange = FakeExchange()
    async with exchange.rest() as rest:
        answer = await rest.klines(BTC, WINDOW)
        assert rest.now_ms == NOW
    assert answer.rows.covered == spans(0, CANDLES)
    assert exchange.queries[0]["start"] == str(T0)


def candles_at(*places: int) -> httpx.Response:
    rows = [[str(T0 + place * 60_000), "2", "3", "1", "2", "0", "0"] for place in places]
    return httpx.Response(200, content=kline_body(rows[::-1], now_ms=NOW))


@pytest.mark.parametrize("question", [Rest.klines, Rest.klines_from])
@pytest.mark.parametrize(
    ("wider", "kept", "retries"),
    [
        ([(-91, -90, 1, 2)], spans(1, 3), 0),  # a second one stands in for the candle before
        ([(-1, 0, 1, 2)], spans(0, 3), 0),  # the first answer was false
        ([(-90, -1, 1, 2), (-1, 0, 1, 2)], spans(0, 3), 1),  # and the second too
    ],
)
async def test_an_old_candle_alone_is_told_from_a_stand_in_by_one_candle_more(
    question: Callable[[Rest, Series, Span], Awaitable[KlineAnswer]],
    wider: list[tuple[int, ...]],
    kept: Spans,
    retries: int,
    autojump_clock: trio.testing.MockClock,
) -> None:
    exchange = FakeExchange([candles_at(-90, 1, 2), *(candles_at(*places) for places in wider)])
    async with exchange.rest() as rest:
        answer = await question(rest, BTC, WINDOW)
    assert (answer.rows.covered, answer.asked, exchange.counters.retries) == (kept, WINDOW, retries)
    assert (exchange.queries[1]["start"], exchange.queries[1]["limit"]) == (str(T0 - 60_000), "4")


@pytest.mark.parametrize(
    "trouble",
    [
        code(10006),
        code(10016),
        httpx.Response(429),
        httpx.Response(502, text="<html>"),
        httpx.Response(200, text="{"),
        httpx.Response(200, content=b'{"retCode":0,"retMsg":"\xff","result":{},"time":1}'),
        httpx.Response(200, content=kline_body([], symbol="ETHUSDT")),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("broke off"),
        httpx.ReadError("reset"),
    ],
)
async def test_passing_troubles_are_tried_again_ever_more_slowly(
    autojump_clock: trio.testing.MockClock, trouble: Reply
) -> None:
    exchange = FakeExchange([trouble] * 4)
    async with exchange.rest() as rest:
        answer = await rest.klines(BTC, WINDOW)
    assert answer.rows.covered == spans(0, CANDLES)
    waits = [after - before for before, after in zip(exchange.asked_at, exchange.asked_at[1:], strict=False)]
    assert [round(wait / about) for wait, about in zip(waits, [1, 2, 4, 8], strict=True)] == [1, 1, 1, 1]
    assert exchange.counters.retries == 4


async def test_when_all_tries_are_used_up_the_request_fails_with_the_last_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    exchange = FakeExchange([code(10006), code(10006), httpx.Response(502)])
    async with exchange.rest(bulk_max_retries=3) as rest:
        with pytest.raises(RequestFailed, match=r"HTTP 502 \(tried 3 times\)"):
            await rest.klines(BTC, WINDOW)
    assert len(exchange.asked_at) == 3


async def test_an_exchange_that_never_answers_anybody_is_unreachable(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeExchange([httpx.ConnectError("refused")] * 2).rest(bulk_max_retries=2) as rest:
        with pytest.raises(Unreachable, match="http://localhost:1 cannot be reached: cannot connect: refused"):
            await rest.server_time()


async def test_a_request_that_gets_no_answer_while_others_do_only_fails(autojump_clock: trio.testing.MockClock) -> None:
    exchange = FakeExchange([httpx.ConnectError("refused"), candles(), httpx.ConnectError("refused")])
    async with exchange.rest(bulk_max_retries=2) as rest, trio.open_nursery() as nursery:

        async def unlucky() -> None:
            with pytest.raises(RequestFailed, match="cannot connect"):
                await rest.klines(BTC, WINDOW)

        nursery.start_soon(unlucky)
        await trio.sleep(0.1)
        await rest.klines(BTC, WINDOW)


@pytest.mark.parametrize(
    ("reply", "error"),
    [(code(10001), Rejected), (httpx.Response(403, text="CloudFront blocks your country"), Refused)],
)
async def test_what_cannot_get_better_is_not_tried_again(
    autojump_clock: trio.testing.MockClock, reply: Reply, error: type[Exception]
) -> None:
    exchange = FakeExchange([reply])
    async with exchange.rest() as rest:
        with pytest.raises(error):
            await rest.klines(BTC, WINDOW)
    assert len(exchange.asked_at) == 1


async def test_since_when_no_question_is_answered_is_known_until_one_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    exchange = FakeExchange([candles(), httpx.Response(502), httpx.ConnectError("refused")])
    async with exchange.rest() as rest:
        await rest.klines(BTC, WINDOW)
        await trio.sleep(10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rest.klines, BTC, WINDOW)
            await trio.sleep(2)
            assert exchange.state.unserved_since_s == exchange.asked_at[1]
            assert exchange.state.unserved_why == "cannot connect: refused"
        assert exchange.state.unserved_since_s is None


async def test_an_address_that_is_none_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(SettingsError, match="is not an address"):
        async with FakeExchange().rest(rest_url="http://xn--:1", ban_wait_s=600):
            pass


async def test_an_exchange_elsewhere_without_tls_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for url in ("http://proxy.example", "http://127.0.0.1:1"):
        settings = Settings(rest_url=url, enable_websocket=False)
        async with open_rest(settings, throttle_for(settings), Counters(), Clock(), THIS_MACHINE):
            pass
    assert [record.getMessage() for record in caplog.records] == [
        "connection not encrypted address=http://proxy.example"
    ]


async def test_requests_start_evenly_however_many_are_waiting(autojump_clock: trio.testing.MockClock) -> None:
    exchange = FakeExchange(latency_s=0.5)
    async with exchange.rest(bulk_request_delay_ms=20) as rest, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(rest.klines, BTC, WINDOW)
    gaps = [after - before for before, after in zip(exchange.asked_at, exchange.asked_at[1:], strict=False)]
    assert min(gaps) >= 0.018
    assert max(in_flight(exchange.asked_at, 0.5)) <= 20


def in_flight(asked_at: list[float], latency_s: float) -> list[int]:
    return [sum(1 for at in asked_at if start - latency_s + 1e-6 < at <= start) for start in asked_at]


async def test_a_ban_silences_every_request_until_it_ends(autojump_clock: trio.testing.MockClock) -> None:
    exchange = FakeExchange([candles(), BAN], latency_s=0.2)
    async with exchange.rest() as rest, trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(rest.klines, BTC, WINDOW)
    (until_ms,) = set(exchange.remembered)
    answered = exchange.asked_at[1] + 0.2
    assert not [at for at in exchange.asked_at if answered < at < answered + 60]
    assert until_ms == pytest.approx(1_000_000 + (answered + 60) * 1000, abs=2)
    assert len(exchange.asked_at) >= 40
    assert exchange.counters.bans == 1


async def test_a_ban_from_before_the_start_is_waited_out(autojump_clock: trio.testing.MockClock) -> None:
    exchange = FakeExchange()
    async with exchange.rest(until_ms=wall_ms() + 30_000) as rest:
        began = trio.current_time()
        await rest.klines(BTC, WINDOW)
    assert exchange.asked_at[0] - began >= 30


async def test_a_ban_written_down_by_a_clock_that_ran_ahead_is_not_believed_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    exchange = FakeExchange()
    async with exchange.rest(until_ms=wall_ms() + 10**12) as rest:
        await rest.klines(BTC, WINDOW)
    assert exchange.asked_at[0] <= 61


@pytest.mark.parametrize("set_by_ms", [-(10**11), -3_600_000, 3_600_000, 10**11])
async def test_a_local_clock_that_is_set_makes_a_silence_neither_shorter_nor_longer(
    autojump_clock: trio.testing.MockClock, set_by_ms: int
) -> None:
    exchange = FakeExchange([BAN])
    async with exchange.rest() as rest, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(rest.klines, BTC, WINDOW)
        await trio.sleep(1)
        exchange.local.set_by_ms = set_by_ms
    assert len(exchange.asked_at) == 4
    assert exchange.asked_at[1] == pytest.approx(60, abs=0.1)


async def test_a_ban_that_another_command_writes_down_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    exchange = FakeExchange(written=0)
    async with exchange.rest() as rest:
        await rest.klines(BTC, WINDOW)
        exchange.written = wall_ms() + 30_000
        began = trio.current_time()
        await rest.klines(BTC, WINDOW)
        assert exchange.asked_at[1] - began >= 29.9
        assert exchange.state.ban is None
        exchange.written = 0
        await rest.klines(BTC, WINDOW)
        assert exchange.asked_at[2] - exchange.asked_at[1] < 1


async def test_a_record_by_a_clock_that_ran_ahead_is_corrected_so_that_the_next_start_need_not_wait_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    exchange = FakeExchange()
    async with exchange.rest(until_ms=wall_ms() + 10**12):
        pass
    assert exchange.remembered == [wall_ms() + 60_001]


async def test_a_ban_that_cannot_be_written_down_is_kept_all_the_same(autojump_clock: trio.testing.MockClock) -> None:
    exchange = FakeExchange([BAN], written=0, disk_is_full=True)
    async with exchange.rest() as rest:
        await rest.klines(BTC, WINDOW)
    assert exchange.asked_at[1] >= 60


@pytest.mark.parametrize("page", [BAN, BLOCKED])
async def test_an_exchange_that_turns_everybody_away_is_unreachable(
    autojump_clock: trio.testing.MockClock, page: httpx.Response
) -> None:
    async with FakeExchange([page] * 2).rest(bulk_max_retries=2) as rest:
        with pytest.raises(Unreachable, match=r"turns us away: .*\(tried 2 times\)"):
            await rest.klines(BTC, WINDOW)


async def test_bans_of_one_request_while_others_are_served_fail_it_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    exchange = FakeExchange([BAN, candles(), BAN], latency_s=0.1)
    async with exchange.rest(bulk_max_retries=2, bulk_batch_size=1) as rest, trio.open_nursery() as nursery:

        async def unlucky() -> None:
            with pytest.raises(RequestFailed, match="too frequent"):
                await rest.klines(BTC, WINDOW)

        nursery.start_soon(unlucky)
        await trio.sleep(0.05)  # one at a time: the second question waits for the first to be banned
        await rest.klines(BTC, WINDOW)


@pytest.mark.parametrize("refusal", [COUNTRY, code(10009), code(10024), httpx.Response(451)])
async def test_a_country_block_is_final_where_nobody_was_ever_served(
    autojump_clock: trio.testing.MockClock, refusal: httpx.Response
) -> None:
    exchange = FakeExchange([refusal])
    async with exchange.rest() as rest:
        with pytest.raises(Refused, match="asking again will hardly help"):
            await rest.klines(BTC, WINDOW)
    assert (len(exchange.asked_at), exchange.remembered) == (1, [])


@pytest.mark.parametrize("refusal", [COUNTRY, code(10009), code(10024), httpx.Response(451), BLOCKED, BAD_REQUEST])
@pytest.mark.parametrize("served", ["before this start", "since this start"])
async def test_a_block_after_a_good_answer_is_waited_out_without_growth(
    autojump_clock: trio.testing.MockClock, refusal: httpx.Response, served: str
) -> None:
    exchange = FakeExchange([refusal] * 3 if served == "before this start" else [candles(), *[refusal] * 3])
    async with exchange.rest(served=served == "before this start") as rest:
        if served == "since this start":
            await rest.klines(BTC, WINDOW)
        await rest.klines(BTC, WINDOW)
    asked_at = exchange.asked_at[-4:]
    pauses = [after - before for before, after in pairwise(asked_at)]
    assert pauses == pytest.approx([60, 60, 60], abs=0.1)
    assert len(exchange.remembered) == 3


async def test_an_unknown_page_is_waited_out_also_where_nobody_was_served(
    autojump_clock: trio.testing.MockClock,
) -> None:
    exchange = FakeExchange([BLOCKED])
    async with exchange.rest() as rest, trio.open_nursery() as nursery:
        nursery.start_soon(rest.klines, BTC, WINDOW)
        await trio.sleep(1)
        assert exchange.state.ban is not None
        assert exchange.state.ban.why == "the exchange's gateway turns requests away (HTTP 403)"
    assert exchange.asked_at[1] >= 60


async def test_the_whole_list_of_symbols_is_read_page_by_page(autojump_clock: trio.testing.MockClock) -> None:
    pages = [instruments_body("c1", "A", "B"), instruments_body("c2", "C"), instruments_body("c2")]
    exchange = FakeExchange([httpx.Response(200, content=page) for page in pages])
    async with exchange.rest() as rest:
        assert [each.symbol for each in await rest.instruments()] == ["A", "B", "C"]
    assert [query.get("cursor") for query in exchange.queries] == [None, "c1", "c2"]


async def test_a_cursor_is_sent_back_with_its_own_characters(autojump_clock: trio.testing.MockClock) -> None:
    cursors = ["first%3D0GUSDT%26last%3DNIGHTUSDT", "first=A&last=B+C", "first%3dA%26last%3d\u00e4"]
    pages = [instruments_body(cursor, str(place)) for place, cursor in enumerate(cursors)] + [instruments_body("")]
    exchange = FakeExchange([httpx.Response(200, content=page) for page in pages])
    async with exchange.rest() as rest:
        await rest.instruments()
    sent = [query.partition("cursor=")[2] for query in exchange.raw_queries]
    assert sent == [
        "",
        "first%3D0GUSDT%26last%3DNIGHTUSDT",
        "first%3DA%26last%3DB%2BC",
        "first%3dA%26last%3d%C3%A4",
    ]


@pytest.mark.parametrize(
    "page", [instruments_body("c1", "A", "B"), instruments_body("c2", "B", "A"), instruments_body("", "B")]
)
async def test_a_page_that_does_not_lead_on_is_never_a_silent_half_list(
    autojump_clock: trio.testing.MockClock, page: bytes
) -> None:
    first = httpx.Response(200, content=instruments_body("c1", "A", "B"))
    exchange = FakeExchange([first, *[httpx.Response(200, content=page)] * 3])
    async with exchange.rest(bulk_max_retries=3) as rest:
        with pytest.raises(RequestFailed, match="brings nothing new"):
            await rest.instruments()
    assert len(exchange.asked_at) == 4
    replies: list[Reply] = [
        first,
        httpx.Response(200, content=page),
        httpx.Response(200, content=instruments_body("", "C")),
    ]
    async with FakeExchange(replies).rest() as rest:
        assert [each.symbol for each in await rest.instruments()] == ["A", "B", "C"]


async def test_a_cursor_that_comes_again_ends_the_list(autojump_clock: trio.testing.MockClock) -> None:
    pages = [instruments_body("c1", "A", "B"), instruments_body("c1", "C")]
    exchange = FakeExchange([httpx.Response(200, content=page) for page in pages])
    async with exchange.rest() as rest:
        assert [each.symbol for each in await rest.instruments()] == ["A", "B", "C"]


async def test_a_symbol_that_is_listed_twice_is_one(autojump_clock: trio.testing.MockClock) -> None:
    pages = [instruments_body("c1", "A", "B", "A"), instruments_body("", "B", "C")]
    exchange = FakeExchange([httpx.Response(200, content=page) for page in pages])
    async with exchange.rest() as rest:
        assert [each.symbol for each in await rest.instruments()] == ["A", "B", "C"]


async def test_a_list_that_does_not_end_is_none(autojump_clock: trio.testing.MockClock) -> None:
    pages = [instruments_body(f"c{place}", f"A{place}") for place in range(60)]
    exchange = FakeExchange([httpx.Response(200, content=page) for page in pages])
    async with exchange.rest() as rest:
        with pytest.raises(RequestFailed, match="does not end after 50 pages"):
            await rest.instruments()


async def test_an_empty_list_of_symbols_is_a_failure_and_no_list(autojump_clock: trio.testing.MockClock) -> None:
    exchange = FakeExchange([httpx.Response(200, content=instruments_body(""))])
    async with exchange.rest() as rest:
        with pytest.raises(RequestFailed, match="empty"):
            await rest.instruments()


def packed(body: bytes, behind: bytes = b"") -> httpx.Response:
    return httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(body) + behind)


async def test_a_packed_answer_is_read(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeExchange([packed(candles().content)]).rest(bulk_max_retries=1) as rest:
        assert (await rest.klines(BTC, WINDOW)).rows.covered == spans(0, CANDLES)


@pytest.mark.parametrize(
    "answer",
    [
        packed(b" " * 2_000_000 + candles().content),
        packed(candles().content, b"x" * 2_000_000),
        httpx.Response(200, content=b" " * 2_000_000 + candles().content),
    ],
)
async def test_an_answer_is_never_longer_than_it_can_be(
    autojump_clock: trio.testing.MockClock, answer: httpx.Response
) -> None:
    async with FakeExchange([answer]).rest(bulk_max_retries=1) as rest:
        with pytest.raises(RequestFailed, match="longer than"):
            await rest.klines(BTC, WINDOW)


async def test_a_cancelled_request_leaves_the_way_open_for_others(autojump_clock: trio.testing.MockClock) -> None:
    exchange = FakeExchange(latency_s=5)
    async with exchange.rest(bulk_batch_size=1) as rest:
        with trio.move_on_after(1):
            await rest.klines(BTC, WINDOW)
        assert (await rest.klines(BTC, Span(T0, T0 + 180_000))).asked == WINDOW
