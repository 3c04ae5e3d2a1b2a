"""History and reconcile together: what is missing is asked for once, in order, and nothing else is.

The exchange is the sandbox without its network, time is the test's, and a list of spans stands in for the writer.
"""

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio

from collector.bybit.clock import Clock
from collector.bybit.rate_ban import RateBan
from collector.bybit.rest_client import open_rest
from collector.core.candle import DAY_MS, MINUTE_MS, Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import Unreachable
from collector.core.events import Answered, Event, GaveUp
from collector.core.missing import State
from collector.core.spans import NOTHING, Span, Spans
from collector.machine import THIS_MACHINE
from collector.monitoring.disk_gate import DiskGate
from collector.pipeline.history import History
from collector.pipeline.reconcile import Reconciler
from collector.sandbox import Clock as BoxClock
from collector.sandbox import Dialect, Faults, Hole, build_exchange
from collector.sandbox.exchange import Exchange
from collector.sandbox.messages import Request
from collector.settings.settings import Settings
from tests.support.replies import client_answered_by, with_bad_rows
from tests.support.throttle import throttle_for

NOW = 1_714_566_645_000  # 2024-05-01 12:30:45
LISTED = NOW - 3 * DAY_MS - 777_000


@attrs.define
class World:
    """Everything but files: an exchange in memory, a pool, a reconciler, and a stand-in for the writer."""

    exchange: Exchange
    settings: Settings
    coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    counters: Counters = attrs.field(factory=Counters)
    gate: DiskGate = attrs.field(factory=DiskGate)
    events: list[Answered | GaveUp] = attrs.field(factory=list)
    broken: bool = False
    spoiled: str = ""  # no answer to a question with this in it can be used
    bad: Collection[int] = ()  # the rows of these minutes are no candles
    lies_ms: list[int] = attrs.field(factory=list)  # by how much the next answers are wrong about the time

    async def answer(self, request: httpx.Request) -> httpx.Response:
        await trio.sleep(0.05)
        if self.broken:
            raise httpx.ConnectError("refused")
        reply = self.exchange.respond(Request("client", "GET", request.url.raw_path.decode()))
        lie_ms = self.lies_ms.pop(0) if self.lies_ms else 0
        body = re.sub(rb'"time":(\d+)', lambda found: b'"time":%d' % (int(found[1]) + lie_ms), reply.body)
        if self.spoiled and self.spoiled in f"{request.url}&":
            body = body.replace(b'"list"', b'"lost"', 1)
        return httpx.Response(reply.status, content=with_bad_rows(body, self.bad))

    @property
    def every_series(self) -> list[Series]:
        return [Series(symbol, frame) for symbol in self.settings.symbols for frame in self.settings.timeframes]

    @asynccontextmanager
    async def reconciler(self, retry_forever: bool = False) -> AsyncIterator[Reconciler]:
        rate_ban = RateBan(0, lambda _: None, lambda: round(trio.current_time() * 1000))
        http, clock = client_answered_by(self.answer), Clock()
        async with (
            open_rest(
                self.settings, throttle_for(self.settings, rate_ban), self.counters, clock, THIS_MACHINE, http
            ) as rest,
            trio.open_nursery() as nursery,
        ):
            history = History(rest, self.coverage, self.counters, self.gate, retry_forever)
            send, receive = trio.open_memory_channel[Event](10)
            nursery.start_soon(history.work, 4, send)
            nursery.start_soon(self.take, receive)
            yield Reconciler(self.settings, self.every_series, self.coverage, clock, rest.server_time, history.fetch)
            nursery.cancel_scope.cancel()

    async def take(self, receive: trio.MemoryReceiveChannel[Event]) -> None:
        async for event in receive:
            assert isinstance(event, Answered | GaveUp)
            self.events.append(event)
            if isinstance(event, Answered):
                self.coverage.answer(event.series, event.asked, event.rows.covered, event.at_ms, event.invalid)
            else:
                self.coverage.fail(event.series, event.asked, event.why, event.at_ms)

    async def fetch_once(self) -> None:
        async with self.reconciler() as reconciler:
            await reconciler.reconcile_once()

    def questions(self) -> int:
        return self.exchange.counts.by_path["/v5/market/kline"]

    def held_of(self, name: str) -> Spans:
        return self.coverage[Series.named(name)].held


def world(faults: Faults | None = None, rate: float = 0, dialect: Dialect | None = None, **changes: object) -> World:
    exchange = build_exchange(
        symbols=["BTCUSDT", "ETHUSDT"],
        listed={"BTCUSDT": "2020-03-25", "ETHUSDT": LISTED},
        clock=BoxClock(NOW, rate, lambda: round(trio.current_time() * 1e9)),
        faults=faults,
        dialect=dialect or Dialect(),
        real_s=trio.current_time,
    )
    usual = {
        "rest_url": "http://localhost:1",
        "symbols": ["BTCUSDT"],
        "timeframes": ["1"],
        "days_to_fetch": 5,
        "limit_to_50_entries": False,
        "bulk_batch_size": 4,
    }
    return World(exchange, Settings(**usual | changes))


def wanted(days: int, name: str = "BTCUSDT_1") -> Spans:
    frame = Series.named(name).timeframe
    return Spans.between(frame.floor(NOW - days * DAY_MS), frame.floor(NOW))


async def test_everything_wanted_is_fetched_with_no_request_more_than_it_takes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here = world(timeframes=["1", "60"])
    await here.fetch_once()
    assert here.held_of("BTCUSDT_1") == wanted(5)
    assert here.held_of("BTCUSDT_60") == wanted(5, "BTCUSDT_60")
    assert here.questions() == 8 + 1  # 7,200 minutes and 120 hours, in pages of 1000


async def test_nothing_is_asked_for_twice(autojump_clock: trio.testing.MockClock) -> None:
    here = world()
    await here.fetch_once()
    before = here.questions()
    await here.fetch_once()
    assert here.questions() == before


async def test_a_deeper_history_asks_only_for_what_is_deeper(autojump_clock: trio.testing.MockClock) -> None:
    here = world()
    await here.fetch_once()
    here.events.clear()
    here.settings = attrs.evolve(here.settings, days_to_fetch=7)
    await here.fetch_once()
    assert Spans.of(*(event.asked for event in here.events)) == wanted(7) - wanted(5)


async def test_a_young_symbol_costs_one_request_more_a_series(autojump_clock: trio.testing.MockClock) -> None:
    here = world(symbols=["ETHUSDT"], timeframes=["1", "5", "60", "D"], days_to_fetch=2000)
    await here.fetch_once()
    first_ms = LISTED // MINUTE_MS * MINUTE_MS
    assert here.held_of("ETHUSDT_1").bounds.start_ms == first_ms
    assert here.held_of("ETHUSDT_D").bounds.start_ms == first_ms // DAY_MS * DAY_MS
    # each series asked for its very first candle; 5 pages of minutes and one of each other timeframe
    assert here.questions() == 4 + 5 + 1 + 1 + 1
    gaps = here.coverage.missing(Series.named("ETHUSDT_1"))
    assert {gap.state for gap in gaps} == {State.BEFORE_LISTING}
    before = here.questions()
    await here.fetch_once()
    assert here.questions() == before
    here.exchange.clock.advance(DAY_MS)
    await here.fetch_once()
    assert here.questions() <= before + 4 * 2  # whether each still begins there, and the new candles
    assert here.held_of("ETHUSDT_1").bounds.start_ms == first_ms


def limited(days: int, *names: str) -> Faults:
    """The exchange serves only so many days of these series."""
    end_ms = (NOW - days * DAY_MS) // DAY_MS * DAY_MS
    each = map(Series.named, names)
    return Faults(holes=[Hole(series.symbol, series.timeframe.name, 0, end_ms) for series in each])


async def test_each_timeframe_begins_where_its_own_answers_begin(autojump_clock: trio.testing.MockClock) -> None:
    here = world(limited(2, "BTCUSDT_1"), timeframes=["1", "D"], days_to_fetch=300)
    await here.fetch_once()
    assert here.held_of("BTCUSDT_D") == wanted(300, "BTCUSDT_D")
    assert here.held_of("BTCUSDT_1").bounds.start_ms == (NOW - 2 * DAY_MS) // DAY_MS * DAY_MS
    assert here.questions() <= 1 + 1 + 1 + 4


@pytest.mark.parametrize("how", ["the next day", "deeper", "anew"])
async def test_history_that_comes_back_is_fetched(autojump_clock: trio.testing.MockClock, how: str) -> None:
    here = world(limited(2, "BTCUSDT_60"), timeframes=["60"], days_to_fetch=100)
    await here.fetch_once()
    assert here.held_of("BTCUSDT_60").bounds.start_ms == (NOW - 2 * DAY_MS) // DAY_MS * DAY_MS
    here.exchange.fault_injector.faults = Faults()
    await here.fetch_once()
    assert len(here.coverage.missing(Series.named("BTCUSDT_60"))) == 1  # it was just asked for
    if how == "the next day":
        here.exchange.clock.advance(DAY_MS)
    elif how == "deeper":
        here.settings = attrs.evolve(here.settings, days_to_fetch=101)
    else:
        here.coverage.expire_claims(here.every_series)
    await here.fetch_once()
    assert here.coverage.missing(Series.named("BTCUSDT_60")) == ()
    assert here.held_of("BTCUSDT_60").bounds.start_ms <= wanted(99, "BTCUSDT_60")[0].start_ms


@pytest.mark.parametrize(("first", "later"), [(2, 10), (10, 2)])
async def test_the_deepest_history_ever_served_is_where_a_series_begins(
    autojump_clock: trio.testing.MockClock, first: int, later: int
) -> None:
    here = world(limited(first, "BTCUSDT_60"), timeframes=["60"], days_to_fetch=100)
    await here.fetch_once()
    here.exchange.fault_injector.faults = limited(later, "BTCUSDT_60")
    here.coverage.expire_claims(here.every_series)
    await here.fetch_once()
    assert here.held_of("BTCUSDT_60").bounds.start_ms == (NOW - 10 * DAY_MS) // DAY_MS * DAY_MS
    assert [gap.state for gap in here.coverage.missing(Series.named("BTCUSDT_60"))] == [State.BEFORE_LISTING]


async def test_a_request_that_fails_for_good_stops_nobody_else(autojump_clock: trio.testing.MockClock) -> None:
    here = world(Faults(http_5xx=1.0, paths=["kline"], times=2, skip=2), bulk_max_retries=1)
    await here.fetch_once()
    assert here.held_of("BTCUSDT_1") == wanted(5)  # asked for once more at the end
    assert here.counters.failed == 2


async def test_a_span_that_fails_again_and_again_goes_back_to_the_ledger_with_its_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here = world(Faults(http_5xx=1.0, paths=["kline"]), bulk_max_retries=2)
    await here.fetch_once()
    gaps = here.coverage.missing(Series.named("BTCUSDT_1"))
    assert Spans.of(*(gap.span for gap in gaps)) == wanted(5)
    assert {gap.why for gap in gaps} == {"HTTP 502 (tried 2 times)"}


async def test_answers_of_one_series_that_cannot_be_used_do_not_keep_the_symbol_s_others_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here = world(timeframes=["1", "60"], bulk_max_retries=2)
    here.spoiled = "interval=1&"
    await here.fetch_once()
    assert here.held_of("BTCUSDT_60").bounds.end_ms == NOW // 3_600_000 * 3_600_000
    assert {gap.state for gap in here.coverage.missing(Series.named("BTCUSDT_60"))} == set()
    (gap,) = here.coverage.missing(Series.named("BTCUSDT_1"))
    assert (Spans((gap.span,)), gap.state) == (wanted(5), State.PENDING)


async def test_a_row_that_is_no_candle_keeps_only_itself_away(autojump_clock: trio.testing.MockClock) -> None:
    start_ms = wanted(5)[0].start_ms
    for place in (0, 999, 3456, 7199):  # of 7,200
        here = world(bulk_max_retries=2)
        here.bad = [start_ms + place * MINUTE_MS]
        await here.fetch_once()
        bad = Spans.between(here.bad[0], here.bad[0] + MINUTE_MS)
        assert here.held_of("BTCUSDT_1") == wanted(5) - bad
        (gap,) = here.coverage.missing(Series.named("BTCUSDT_1"))
        assert (Spans((gap.span,)), gap.state) == (bad, State.INVALID)
        assert "high 0 is below low" in gap.why
        # 8 pages, one of them three times and in halves; its first candle, should it be the first page
        assert here.questions() <= 8 + 4 + 1
        before = here.questions()
        here.coverage.reset_attempts()
        await here.fetch_once()
        assert here.questions() == before


@pytest.mark.parametrize("healed", [True, False])
async def test_an_invalid_candle_is_asked_for_again_after_a_day(
    autojump_clock: trio.testing.MockClock, healed: bool
) -> None:
    here = world(bulk_max_retries=2, timeframes=["60"], days_to_fetch=2)
    bad_ms = wanted(1, "BTCUSDT_60")[0].start_ms + 5 * 60 * MINUTE_MS
    here.bad = [bad_ms]
    await here.fetch_once()
    before = here.questions()
    here.bad = [] if healed else [bad_ms]
    here.exchange.clock.advance(DAY_MS)
    await here.fetch_once()
    assert [gap.state for gap in here.coverage.missing(Series.named("BTCUSDT_60"))] == [State.INVALID] * (not healed)
    assert here.questions() <= before + 5  # the day with the candle, at most three times and in halves


@pytest.mark.parametrize("step", [3, 100])
async def test_many_rows_that_are_no_candles_keep_only_themselves_away(
    autojump_clock: trio.testing.MockClock, step: int
) -> None:
    here = world(bulk_max_retries=2, days_to_fetch=2)
    here.bad = range(wanted(2)[0].start_ms, wanted(2)[0].end_ms, step * MINUTE_MS)
    bad = Spans.of(*(Span(ms, ms + MINUTE_MS) for ms in here.bad))
    await here.fetch_once()
    gaps = here.coverage.missing(Series.named("BTCUSDT_1"))
    assert here.held_of("BTCUSDT_1") == wanted(2) - bad
    assert (Spans.of(*(gap.span for gap in gaps)), {gap.state for gap in gaps}) == (bad, {State.INVALID})
    assert here.questions() <= 1 + 3 * 5  # three pages, twice, whole and in halves
    here.exchange.clock.advance(DAY_MS)
    here.bad = ()
    await here.fetch_once()
    assert here.questions() <= 1 + 3 * 5 + 3
    record = here.coverage[Series.named("BTCUSDT_1")]
    assert record.wanted - record.held == NOTHING
    assert {gap.state for gap in record.gaps} <= {State.INVALID}  # of the day that is wanted no more


@pytest.mark.parametrize("more", [0, 1])
async def test_holes_among_rows_that_are_known_to_be_no_candles_cost_a_request_a_page(
    autojump_clock: trio.testing.MockClock, more: int
) -> None:
    here = world(bulk_max_retries=2, days_to_fetch=2)
    here.bad = [*range(wanted(2)[0].start_ms, wanted(2)[0].end_ms, 10 * MINUTE_MS)]
    known, record = len(here.bad), here.coverage[Series.named("BTCUSDT_1")]
    await here.fetch_once()
    before, held = here.questions(), record.held
    holes = Spans.of(*(Span(ms + 5 * MINUTE_MS, ms + 6 * MINUTE_MS) for ms in here.bad))
    record.hold(held - holes)
    here.bad += [holes[place].start_ms for place in range(more)]
    await here.fetch_once()
    assert here.questions() - before == 3 + 3 * more  # one page whole and in halves, if it has a bad row more
    assert record.held == held - Spans(tuple(holes)[:more])
    assert sum(gap.state is State.INVALID for gap in record.gaps) == len(record.gaps) == known + more


async def test_a_symbol_whose_first_row_is_no_candle_is_collected_from_the_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here = world(symbols=["ETHUSDT"], bulk_max_retries=2)
    here.bad = [LISTED // MINUTE_MS * MINUTE_MS]
    await here.fetch_once()
    after_ms = here.bad[0] + MINUTE_MS
    assert here.held_of("ETHUSDT_1") == wanted(5).within(after_ms, NOW)
    gaps = here.coverage.missing(Series.named("ETHUSDT_1"))
    assert [gap.state for gap in gaps] == [State.BEFORE_LISTING, State.INVALID]
    assert gaps[1].span == Span(here.bad[0], after_ms)


async def test_an_exchange_that_cannot_be_reached_ends_a_fetch(autojump_clock: trio.testing.MockClock) -> None:
    here = world(bulk_max_retries=2)
    here.broken = True
    with pytest.RaisesGroup(pytest.RaisesExc(Unreachable, match="cannot be reached")):
        await here.fetch_once()


async def test_a_hole_is_on_record_and_holds_nothing_up(autojump_clock: trio.testing.MockClock) -> None:
    hole = Span((NOW - DAY_MS) // MINUTE_MS * MINUTE_MS, (NOW - DAY_MS) // MINUTE_MS * MINUTE_MS + 3 * MINUTE_MS)
    here = world(Faults(holes=[Hole("BTCUSDT", "1", hole.start_ms, hole.end_ms)]))
    await here.fetch_once()
    assert here.held_of("BTCUSDT_1") == wanted(5) - Spans((hole,))
    (gap,) = here.coverage.missing(Series.named("BTCUSDT_1"))
    assert (gap.span, gap.state) == (hole, State.ABSENT)


async def test_many_small_holes_cost_a_second_round_of_pages(autojump_clock: trio.testing.MockClock) -> None:
    here = world(Faults(hole_share=0.02))
    await here.fetch_once()
    gaps = here.coverage.missing(Series.named("BTCUSDT_1"))
    assert here.held_of("BTCUSDT_1") | Spans.of(*(gap.span for gap in gaps)) == wanted(5)
    assert {gap.state for gap in gaps} == {State.ABSENT}
    assert len(gaps) > 100
    assert here.questions() <= 2 * 8 + 5  # some are of the last hour


async def test_a_fetch_waits_three_minutes_for_a_young_hole(autojump_clock: trio.testing.MockClock) -> None:
    start_ms = (NOW - 10 * MINUTE_MS) // MINUTE_MS * MINUTE_MS
    here = world(Faults(holes=[Hole("BTCUSDT", "1", start_ms, start_ms + MINUTE_MS)]), rate=1)
    began_s = trio.current_time()
    await here.fetch_once()
    assert [gap.state for gap in here.coverage.missing(Series.named("BTCUSDT_1"))] == [State.ABSENT]
    assert 178 <= trio.current_time() - began_s <= 190
    assert here.questions() == 8 + 3


@pytest.mark.parametrize("rate", [0, 1, 20])
async def test_a_fetch_waits_for_a_rest_side_that_lags(autojump_clock: trio.testing.MockClock, rate: float) -> None:
    here = world(Faults(rest_lag_ms=80_000), rate=rate)
    await here.fetch_once()
    assert here.coverage.missing(Series.named("BTCUSDT_1")) == () or rate == 0
    assert State.RETRYING not in {gap.state for gap in here.coverage.missing(Series.named("BTCUSDT_1"))}


async def test_a_running_collector_keeps_up_with_the_market(autojump_clock: trio.testing.MockClock) -> None:
    here = world(rate=1, days_to_fetch=1)
    async with here.reconciler(retry_forever=True) as reconciler:
        with trio.move_on_after(600):
            await reconciler.reconcile()
    reached = here.held_of("BTCUSDT_1").bounds.end_ms
    assert NOW + 590_000 - MINUTE_MS <= reached <= NOW + 600_000
    assert here.coverage[Series.named("BTCUSDT_1")].in_flight == NOTHING
    assert here.questions() == 2 + 10  # the day, and one page a minute
    assert here.exchange.counts.by_path["/v5/market/time"] == 1 + 10


async def test_a_clock_that_runs_fast_is_asked_again_before_many_of_its_minutes_are_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here = world(rate=20, days_to_fetch=1)
    late_ms: list[int] = []
    async with here.reconciler(retry_forever=True) as reconciler, trio.open_nursery() as nursery:
        nursery.start_soon(reconciler.reconcile)
        await trio.sleep(10)
        for _ in range(300):
            await trio.sleep(1)
            late_ms.append(here.exchange.clock.now_ms() - here.held_of("BTCUSDT_1").bounds.end_ms)
        nursery.cancel_scope.cancel()
    assert max(late_ms) <= 4 * MINUTE_MS
    assert here.exchange.counts.by_path["/v5/market/time"] <= 310 / 4


async def test_a_fast_clock_that_pushes_tell_of_is_not_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    began_s, clock, woken = trio.current_time(), Clock(), trio.Event()
    clock.observe(NOW)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(push_the_time, clock)
        await clock.reach_or_ask(woken, NOW + 50 * 3_000)
        assert 49 <= trio.current_time() - began_s <= 51
        nursery.cancel_scope.cancel()
    await clock.reach_or_ask(woken, NOW + 500 * 3_000)
    assert 53 <= trio.current_time() - began_s <= 56


async def push_the_time(clock: Clock) -> None:
    """Three times as fast as ours."""
    for second in range(51):
        clock.observe_push(NOW + second * 3_000)
        await trio.sleep(1)


async def test_a_network_that_is_down_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    here = world(rate=1, days_to_fetch=1, bulk_max_retries=2)

    async def repair_later() -> None:
        await trio.sleep(300)
        here.broken = False

    async with here.reconciler(retry_forever=True) as reconciler, trio.open_nursery() as nursery:
        here.broken = True
        nursery.start_soon(repair_later)
        with trio.move_on_after(420):
            await reconciler.reconcile()
    assert here.held_of("BTCUSDT_1").bounds.end_ms >= NOW + 300_000


async def test_no_candle_is_asked_for_before_it_has_settled(autojump_clock: trio.testing.MockClock) -> None:
    here = world(rate=1, days_to_fetch=1)
    here.exchange.clock.advance(15_500)  # half a second after a close
    async with here.reconciler() as reconciler:
        began = trio.current_time()
        await reconciler.reconcile_once()
    assert trio.current_time() - began >= 1.5
    assert here.held_of("BTCUSDT_1").bounds.end_ms == NOW // MINUTE_MS * MINUTE_MS + MINUTE_MS


async def test_an_exchange_clock_that_stands_still_does_not_make_us_ask_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here = world(rate=0, days_to_fetch=1)
    async with here.reconciler(retry_forever=True) as reconciler:
        with trio.move_on_after(3600):
            await reconciler.reconcile()
    assert here.held_of("BTCUSDT_1") == wanted(1)
    assert here.questions() == 2


YEAR_MS = 365 * DAY_MS


@pytest.mark.parametrize("lie_ms", [-YEAR_MS, 8 * 3_600_000, YEAR_MS, 200 * YEAR_MS])
async def test_a_first_answer_that_lies_about_the_time_does_not_keep_a_fetch_from_ending(
    autojump_clock: trio.testing.MockClock, lie_ms: int
) -> None:
    here = world(bulk_max_retries=2, timeframes=["1", "M"])
    here.lies_ms = [lie_ms]
    with trio.fail_after(24 * 3600):
        await here.fetch_once()
        await here.fetch_once()
    assert not wanted(5) - here.held_of("BTCUSDT_1")
    assert not here.coverage.missing(Series.named("BTCUSDT_1"))


@pytest.mark.parametrize("lie_ms", [8 * 3_600_000, YEAR_MS, 200 * YEAR_MS])
async def test_a_clock_that_was_wrong_for_a_while_does_not_make_a_running_collector_wait_for_it(
    autojump_clock: trio.testing.MockClock, lie_ms: int
) -> None:
    """Long enough for candles that are not there yet to be taken for absent."""
    here = world(rate=1, days_to_fetch=1)
    here.lies_ms = [lie_ms] * 40
    async with here.reconciler(retry_forever=True) as reconciler:
        with trio.move_on_after(3600):
            await reconciler.reconcile()
    assert here.held_of("BTCUSDT_1").bounds.end_ms >= NOW + 3_500_000
    assert not [gap for gap in here.coverage.missing(Series.named("BTCUSDT_1")) if gap.span.start_ms > NOW]


@pytest.mark.parametrize("from_start", [False, True])
@pytest.mark.parametrize(("candles", "missing"), [(1, 0), (2, 0), (2, 1), (9, 4), (1000, 0), (1000, 500), (1000, 999)])
async def test_what_is_missing_behind_a_long_hole_is_settled_by_padded_answers(
    candles: int, missing: int, from_start: bool, autojump_clock: trio.testing.MockClock
) -> None:
    start_ms = wanted(1).bounds.start_ms
    asked = Span(start_ms, start_ms + candles * MINUTE_MS)
    alone = Span(start_ms + missing * MINUTE_MS, start_ms + (missing + 1) * MINUTE_MS)
    before = Span(start_ms - 2000 * MINUTE_MS, start_ms)
    holes = [Hole("BTCUSDT", "1", each.start_ms, each.end_ms) for each in (before, alone)]
    here = world(Faults(holes=holes), dialect=Dialect(missing_candles="padded"), days_to_fetch=1)
    record = here.coverage[Series.named("BTCUSDT_1")]
    older = NOTHING if from_start else Spans.between(before.start_ms - DAY_MS, before.start_ms)
    record.hold(older | (wanted(1) - Spans((asked,))))
    await here.fetch_once()
    assert [(gap.span, gap.state) for gap in record.missing()] == [(alone, State.ABSENT)]
    assert here.counters.retries == 0
    assert here.questions() <= 2 * 4 + from_start
