"""The reconciler asks for the time when it has a reason to, however the clock that it waits by came to run."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from collector.bybit.clock import Clock
from collector.core.candle import DAY_MS, MINUTE_MS, Series
from collector.core.coverage import CoverageIndex
from collector.core.date_range import DateRange
from collector.core.errors import RequestError, Unreachable
from collector.core.missing import State
from collector.core.spans import NOTHING, Spans
from collector.core.tracked_series import TrackedSeries
from collector.pipeline.reconcile import OVERDUE_MS, Announce, Reconciler, wanted_history
from collector.settings.settings import Settings
from tests.support.candles import BTC, T0, span, spans

ETH = Series("ETHUSDT", BTC.timeframe)
NOW = 1_715_776_230_000
HOUR_S = 3600


@pytest.mark.parametrize(("wrong_by_ms", "slow"), [(20_000, 0.0), (20 * 60_000, 0.0), (0, 0.005)])
async def test_a_clock_that_leads_the_exchanges_does_not_make_it_ask_again_and_again(
    wrong_by_ms: int, slow: float, autojump_clock: MockClock
) -> None:
    clock, began_s, asked = Clock(), trio.current_time(), []

    def exchange_ms() -> int:
        return NOW + int((trio.current_time() - began_s) * 1000 * (1 - slow))

    async def server_time() -> int:
        await trio.sleep(0.1)
        asked.append(trio.current_time())
        clock.observe(exchange_ms())
        return clock.newest_ms

    async def pushes() -> None:
        clock.observe_push(NOW + wrong_by_ms)
        while True:
            await trio.sleep(1)
            clock.observe_push(exchange_ms())

    reconciler = Reconciler(Settings(mode="live"), [], CoverageIndex(), clock, server_time, lambda *_: None, OVERDUE_MS)
    with trio.move_on_after(HOUR_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pushes)
            nursery.start_soon(reconciler.reconcile)
    assert 58 <= len(asked) <= 66  # once a minute
    assert abs(clock.now_ms - exchange_ms()) < 3_000


@attrs.define
class Exchange:
    """Answers a second after it was asked, with all candles but those it lacks."""

    coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    clock: Clock = attrs.field(factory=Clock)
    start_ms: int = T0 + 30 * MINUTE_MS + 500
    lacking: Spans = NOTHING
    rate: float = 1.0
    answers_at_once: bool = False
    troubles: list[Exception | None] = attrs.field(factory=list)
    pauses: list[int] = attrs.field(factory=list)
    looks_s: list[float] = attrs.field(factory=list)
    asked: list[tuple[float, Spans]] = attrs.field(factory=list)
    _nursery: trio.Nursery | None = None
    _began_s: float = attrs.field(factory=trio.current_time)

    @property
    def elapsed_s(self) -> float:
        return round(trio.current_time() - self._began_s, 3)

    @property
    def now_ms(self) -> int:
        return self.start_ms + round(self.elapsed_s * 1000 * self.rate)

    async def server_time(self) -> int:
        self.looks_s.append(self.elapsed_s)
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble:
            raise trouble
        self.clock.observe(self.now_ms)
        return self.clock.newest_ms

    def fetch(self, series: Series, spans: Spans) -> None:
        self.asked.append((self.elapsed_s, spans))
        self.coverage.ask(series, spans)
        assert self._nursery
        if self.answers_at_once:
            self._answer(series, spans)
        else:
            self._nursery.start_soon(self._answer_later, series, spans)

    async def _answer_later(self, series: Series, spans: Spans) -> None:
        await trio.sleep(1)
        self._answer(series, spans)

    def _answer(self, series: Series, spans: Spans) -> None:
        self.clock.observe(self.now_ms)
        for each in spans:
            self.coverage.answer(series, each, Spans((each,)) - self.lacking, self.now_ms)

    async def pause(self, times: int) -> None:
        self.pauses.append(times)
        await trio.sleep(7)

    def reconciler(self, settings: Settings, *every_series: Series, **others: Any) -> Reconciler:
        every = every_series or (BTC,)
        others = {"pause": self.pause, **others}
        return Reconciler(settings, every, self.coverage, self.clock, self.server_time, self.fetch, **others)

    async def once(self, reconciler: Reconciler, announce: Announce | None = None) -> float:
        """Reconciles once; how long that took."""
        began_s = self.elapsed_s
        async with trio.open_nursery() as self._nursery:
            await reconciler.reconcile_once(announce)
            ended_s = self.elapsed_s
        return ended_s - began_s

    async def go_on(self, reconciler: Reconciler, seconds: float, announce: Announce | None = None) -> None:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as self._nursery:
                await reconciler.reconcile(announce)


DAY = Settings(limit_to_50_entries=False, days_to_fetch=1)


async def test_what_has_closed_is_fetched_once_it_has_settled_and_waited_for(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    exchange.coverage[BTC].confirm(spans(25, 26), held=spans(25, 26))
    exchange.coverage.answer(BTC, span(-9000, -8990), NOTHING, T0)
    reconciler = exchange.reconciler(DAY, BTC, ETH)
    assert not reconciler.reconciled
    assert await exchange.once(reconciler) == 2.5
    assert exchange.looks_s == [0]
    assert exchange.asked == [(1.5, spans(30 - 1440, 30))] * 2
    assert exchange.coverage.missing(BTC) == exchange.coverage.missing(ETH) == ()
    assert not exchange.coverage[BTC].unverified
    assert reconciler.reconciled


async def test_what_only_the_stream_confirmed_is_asked_for_at_once(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    exchange.coverage[BTC].confirm(spans(25, 26), held=spans(25, 26))
    await exchange.once(exchange.reconciler(Settings(mode="live")))
    assert exchange.asked == [(1.5, spans(25, 26))]


async def test_a_young_hole_is_waited_for_three_minutes_and_what_closes_meanwhile_is_not(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(lacking=spans(25, 27))
    took_s = await exchange.once(exchange.reconciler(DAY))
    assert [at_s for at_s, _ in exchange.asked] == [1.5, 17.5, 63.5, 184.5]  # after 15, 45 and 120 s
    assert [what for _, what in exchange.asked[1:]] == [spans(25, 27)] * 3
    assert took_s == 185.5
    assert exchange.looks_s == [0]
    (gap,) = exchange.coverage.missing(BTC)
    assert gap.state is State.ABSENT


async def test_a_series_that_is_whole_does_not_end_the_wait_for_another(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    exchange.coverage.answer(ETH, span(-20, 30), spans(-20, 30), T0)
    assert await exchange.once(exchange.reconciler(Settings(mode="recent"), BTC, ETH)) == 2.5
    assert exchange.asked == [(1.5, spans(-20, 30))]


async def test_what_comes_at_once_is_not_waited_for(autojump_clock: MockClock) -> None:
    exchange = Exchange(answers_at_once=True)
    assert await exchange.once(exchange.reconciler(DAY)) == 1.5
    assert exchange.coverage.missing(BTC) == ()


async def test_a_hole_is_settled_by_the_clock_of_an_exchange_that_runs_fast(autojump_clock: MockClock) -> None:
    exchange = Exchange(lacking=spans(25, 27), rate=20)
    assert await exchange.once(exchange.reconciler(DAY)) < 30
    (gap,) = exchange.coverage.missing(BTC)
    assert gap.state is State.ABSENT
    assert len(exchange.asked) == 4


async def test_the_first_of_several_holes_that_is_due_is_asked_for_first(autojump_clock: MockClock) -> None:
    exchange = Exchange(lacking=spans(25, 26))
    exchange.coverage.want(ETH, spans(20, 22))
    exchange.coverage.answer(ETH, span(20, 22), NOTHING, exchange.start_ms - 10_000)
    await exchange.once(exchange.reconciler(Settings(mode="recent"), BTC, ETH))
    assert [at_s for at_s, _ in exchange.asked][2:4] == [5.0, 17.5]


async def test_a_clock_that_was_wrong_has_everything_counted_anew(autojump_clock: MockClock) -> None:
    exchange = Exchange(start_ms=T0 + 50 * MINUTE_MS)

    async def ten_say_otherwise() -> None:
        await trio.sleep(2.5)
        exchange.start_ms = T0 + 30 * MINUTE_MS
        for _ in range(10):
            exchange.clock.observe(exchange.now_ms)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ten_say_otherwise)
        await exchange.once(exchange.reconciler(DAY))
    assert exchange.coverage[BTC].wanted == spans(30 - 1440, 30)


async def test_each_minute_is_fetched_when_it_has_closed_and_settled(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    await exchange.go_on(exchange.reconciler(DAY), 200)
    assert exchange.asked[1:] == [(61.5, spans(30, 31)), (121.5, spans(31, 32)), (181.5, spans(32, 33))]
    assert exchange.looks_s == [0, 61.5, 121.5, 181.5]


async def test_what_falls_due_before_the_next_minute_is_fetched_then(autojump_clock: MockClock) -> None:
    exchange = Exchange(lacking=spans(25, 26))
    exchange.coverage.want(BTC, spans(25, 26))
    exchange.coverage.answer(BTC, span(25, 26), NOTHING, exchange.start_ms)
    await exchange.go_on(exchange.reconciler(DAY), 40)
    assert exchange.asked[1:] == [(15, spans(25, 26))]
    assert exchange.looks_s == [0, 15]


async def test_with_the_stream_alone_nothing_is_fetched(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    exchange.coverage.want(BTC, NOTHING)
    reconciler = exchange.reconciler(Settings(mode="live"))
    await exchange.go_on(reconciler, 200)
    assert exchange.asked == []
    assert reconciler.reconciled


async def test_only_the_newest_are_fetched_where_no_more_are_wanted(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    await exchange.once(exchange.reconciler(Settings(mode="recent")))
    assert exchange.asked == [(1.5, spans(-20, 30))]


async def test_an_exchange_that_does_not_answer_is_asked_ever_more_patiently(autojump_clock: MockClock) -> None:
    exchange = Exchange(troubles=[Unreachable("x"), RequestError("y"), None, Unreachable("z")])
    await exchange.go_on(exchange.reconciler(DAY), 100)
    assert exchange.pauses == [1, 2, 1]
    assert exchange.looks_s[:3] == [0, 7, 14]


async def test_what_closed_while_the_exchange_was_away_is_wanted_at_the_end(autojump_clock: MockClock) -> None:
    exchange = Exchange(troubles=[None, *[Unreachable("x")] * 100])
    reconciler = exchange.reconciler(DAY, BTC, ETH)
    assert reconciler.want_closed() == []
    await exchange.go_on(reconciler, 61)  # 1.5 s after the close
    assert reconciler.want_closed() == []
    await exchange.go_on(reconciler, 1)
    exchange.coverage[ETH].confirm(spans(30, 31), exchange.coverage[ETH].held | spans(30, 31))
    assert reconciler.want_closed() == [BTC]
    (gap,) = exchange.coverage.missing(BTC)
    assert (gap.span, gap.state) == (span(30, 31), State.PENDING)
    assert (exchange.coverage.missing(ETH), reconciler.want_closed()) == ((), [])


@pytest.mark.parametrize(("settings", "by_settings"), [(Settings(mode="live"), True), (DAY, False)])
async def test_at_an_end_nothing_more_is_wanted_of_a_stream_alone_or_a_repair(
    settings: Settings, by_settings: bool, autojump_clock: MockClock
) -> None:
    exchange = Exchange()
    exchange.coverage[BTC].hold(spans(0, 28))
    reconciler = exchange.reconciler(settings, wants_by_settings=by_settings)
    await exchange.go_on(reconciler, 63)
    assert (reconciler.reconciled, reconciler.want_closed(), exchange.coverage.missing(BTC)) == (True, [], ())


async def test_what_is_older_than_the_days_wanted_is_wanted_no_longer(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    exchange.coverage.want(BTC, spans(-3000, 30))
    await exchange.go_on(exchange.reconciler(DAY), 3)
    assert exchange.coverage[BTC].wanted == spans(30 - 24 * 60, 30)


async def test_nothing_that_the_limit_let_go_of_is_wanted_again_at_the_end(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    reconciler = exchange.reconciler(Settings(mode="recent"), BTC)
    await exchange.once(reconciler)
    newest = spans(-19, 31)  # the stream is ahead of the time at which all has settled
    exchange.coverage.want(BTC, newest)
    exchange.coverage[BTC].hold(newest)
    assert (reconciler.want_closed(), exchange.coverage.missing(BTC)) == ([], ())


async def test_between_failures_it_waits_three_seconds_then_six(autojump_clock: MockClock) -> None:
    exchange = Exchange(troubles=[Unreachable("x"), Unreachable("y")])
    reconciler = Reconciler(DAY, [BTC], exchange.coverage, exchange.clock, exchange.server_time, exchange.fetch)
    await exchange.go_on(reconciler, 20)
    assert exchange.looks_s == [0, 3, 9]


async def test_whoever_may_have_missed_something_has_it_looked_for_at_once(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    reconciler = exchange.reconciler(DAY)

    async def wake() -> None:
        await trio.sleep(3)
        reconciler.wake()
        await trio.sleep(27)
        reconciler.apply(attrs.evolve(DAY, days_to_fetch=2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wake)
        await exchange.go_on(reconciler, 40)
    assert exchange.looks_s == [0, 3, 30]
    assert exchange.asked[1:] == [(30, spans(30 - 2880, 30 - 1440))]


async def test_a_look_at_a_market_lets_others_run(autojump_clock: MockClock) -> None:
    exchange, market = Exchange(start_ms=T0 + 2500), [Series(f"C{number}USDT", BTC.timeframe) for number in range(300)]
    asked_at_turn = [0]

    async def others() -> None:
        while asked_at_turn[-1] < len(market):
            await trio.lowlevel.checkpoint()
            asked_at_turn.append(len(exchange.asked))

    reconciler = exchange.reconciler(DAY, *market)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await exchange.once(reconciler)
    # in each round of the scheduler either may come first
    assert max(after - before for before, after in pairwise(asked_at_turn)) <= 2 * 64


async def test_a_series_that_is_tracked_during_a_look_is_fetched_by_the_next(autojump_clock: MockClock) -> None:
    exchange, tracked = Exchange(start_ms=T0 + 2500), TrackedSeries()
    tracked.add(Series(f"C{number}USDT", BTC.timeframe) for number in range(100))

    def fetch(series: Series, spans: Spans) -> None:
        if BTC not in tracked:
            tracked.add([BTC])
            reconciler.wake()
        exchange.fetch(series, spans)

    reconciler = Reconciler(DAY, tracked, exchange.coverage, exchange.clock, exchange.server_time, fetch)
    await exchange.go_on(reconciler, 30)
    assert exchange.coverage[BTC].held == spans(-1440, 0)


async def test_an_exchange_whose_clock_stands_is_asked_every_three_seconds_at_most(autojump_clock: MockClock) -> None:
    exchange = Exchange(rate=0)
    await exchange.go_on(exchange.reconciler(DAY), 120)
    gaps_s = [after - before for before, after in pairwise(exchange.looks_s)]
    assert len(gaps_s) >= 5
    assert gaps_s[0] == 61.5
    assert min(gaps_s[1:]) == 3


async def test_a_claim_of_a_clock_that_was_wrong_is_asked_for_at_once(autojump_clock: MockClock) -> None:
    exchange = Exchange(lacking=spans(25, 26))
    exchange.coverage.want(BTC, spans(20, 30))
    for _ in range(2):
        exchange.coverage.answer(BTC, span(25, 26), NOTHING, T0 + 10 * DAY_MS)
    await exchange.once(exchange.reconciler(DAY))
    (gap,) = exchange.coverage.missing(BTC)
    assert (gap.state, gap.asked_ms) == (State.ABSENT, exchange.now_ms)


async def test_a_hole_in_a_file_that_is_left_alone_is_not_waited_for(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    exchange.coverage.want(BTC, spans(20, 30))
    exchange.coverage.answer(BTC, span(25, 26), NOTHING, exchange.start_ms - MINUTE_MS)
    exchange.coverage.skip(BTC, "somebody else's")
    assert await exchange.once(exchange.reconciler(DAY)) == 1.5


async def test_it_is_settled_once_all_that_is_missing_was_answered(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    reconciler = exchange.reconciler(DAY)
    settled: list[bool] = [reconciler.settled]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.go_on, reconciler, 30)
        await trio.sleep(2)  # asked after 1.5 s, answered a second later
        settled.append(reconciler.settled)
        await trio.sleep(2)
        settled.append(reconciler.settled)
        reconciler.wake()
        settled.append(reconciler.settled)
        await trio.sleep(20)
        settled.append(reconciler.settled)
    assert settled == [False, False, True, False, True]


async def test_an_outage_is_told_once(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    exchange = Exchange(troubles=[Unreachable("refused")] * 5)
    await exchange.go_on(exchange.reconciler(DAY), 120)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["the exchange does not answer, trying on why=refused"]


RECENT = Settings(mode="recent")


def dates(first: int, behind: int | None = None) -> DateRange:
    return DateRange(T0 + first * MINUTE_MS, None if behind is None else T0 + behind * MINUTE_MS)


@pytest.mark.parametrize(
    ("settings", "range_", "history"),
    [
        (DAY, None, spans(30 - 1440, 30)),
        (DAY, dates(-5000, -4000), spans(-5000, -4000)),
        (DAY, dates(10), spans(10, 30)),
        (RECENT, None, spans(-20, 30)),
        (RECENT, dates(-5000), spans(-20, 30)),
        (RECENT, dates(-5000, 10), spans(-20, 10)),
    ],
)
def test_dates_stand_for_the_days_of_the_settings_and_the_newest_are_the_newest(
    settings: Settings, range_: DateRange | None, history: Spans
) -> None:
    assert wanted_history(settings, range_, BTC.timeframe, T0 + 30 * MINUTE_MS + 500) == history


async def test_dates_are_fetched_alone_and_wanted_beside_the_rest(autojump_clock: MockClock) -> None:
    exchange = Exchange(lacking=spans(27, 28))
    exchange.coverage.want(BTC, spans(-100, -90) | spans(20, 30))
    exchange.coverage.answer(BTC, span(20, 30), spans(20, 27) | spans(28, 30), exchange.start_ms)
    assert await exchange.once(exchange.reconciler(DAY, dates=dates(0, 10))) == 2.5
    assert exchange.asked == [(1.5, spans(0, 10))]
    assert exchange.coverage[BTC].wanted == spans(-100, -90) | spans(0, 10) | spans(20, 30)


async def test_a_repair_wants_what_is_on_record(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    exchange.coverage.want(BTC, spans(0, 10))
    await exchange.once(exchange.reconciler(DAY, wants_by_settings=False))
    assert exchange.asked == [(1.5, spans(0, 10))]
    assert exchange.coverage[BTC].wanted == spans(0, 10)


async def test_a_repair_is_about_all_of_it_whatever_the_dates(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    exchange.coverage.want(BTC, spans(0, 10))
    await exchange.once(exchange.reconciler(DAY, wants_by_settings=False, dates=dates(0, 5)))
    assert exchange.asked == [(1.5, spans(0, 10))]


async def test_an_import_fetches_only_what_it_is_about(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    for series in (BTC, ETH):
        exchange.coverage.want(series, spans(0, 10))
    await exchange.once(exchange.reconciler(DAY, BTC, ETH, wants_by_settings=False, only={ETH: spans(2, 4)}))
    assert exchange.asked == [(1.5, spans(2, 4))]
    assert exchange.coverage[ETH].held == spans(2, 4)


async def test_what_is_due_is_announced_before_it_is_fetched(autojump_clock: MockClock) -> None:
    exchange, told = Exchange(), list[tuple[Mapping[Series, Spans], int, int]]()

    async def announce(due: Mapping[Series, Spans], now_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        told.append((due, now_ms, len(exchange.asked)))

    reconciler = exchange.reconciler(DAY, BTC, ETH, dates=dates(0, 10))
    await exchange.once(reconciler, announce)
    assert told == [({BTC: spans(0, 10), ETH: spans(0, 10)}, exchange.start_ms, 0)]


async def test_a_collector_announces_its_first_look_alone(autojump_clock: MockClock) -> None:
    exchange, told = Exchange(), list[tuple[Mapping[Series, Spans], int]]()

    async def announce(due: Mapping[Series, Spans], _: int) -> None:
        await trio.lowlevel.checkpoint()
        told.append((due, len(exchange.asked)))

    await exchange.go_on(exchange.reconciler(DAY), 200, announce)
    assert told == [({BTC: spans(30 - 1440, 30)}, 0)]
    assert len(exchange.asked) > 1


async def test_an_announcement_that_fails_ends_it_before_anything_is_fetched(autojump_clock: MockClock) -> None:
    async def announce(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("the disk is too small")

    exchange = Exchange()
    with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match="the disk is too small")):
        await exchange.once(exchange.reconciler(DAY), announce)
    assert exchange.asked == []


async def test_one_look_is_settled_at_its_end(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    await exchange.once(reconciler := exchange.reconciler(DAY))
    assert reconciler.settled


async def test_a_look_that_waits_for_the_time_is_not_settled(autojump_clock: MockClock) -> None:
    exchange = Exchange(start_ms=T0 + 2500)

    async def server_time() -> int:
        await trio.sleep(2)
        return await exchange.server_time()

    reconciler = Reconciler(DAY, [BTC], exchange.coverage, exchange.clock, server_time, exchange.fetch)
    settled = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.go_on, reconciler, 30)
        await trio.sleep(10)
        settled.append(reconciler.settled)
        reconciler.wake()
        await trio.sleep(1)
        settled.append(reconciler.settled)
        await trio.sleep(2)
        settled.append(reconciler.settled)
    assert settled == [True, False, True]


async def test_the_future_is_dropped_of_series_that_are_tracked_no_more(autojump_clock: MockClock) -> None:
    exchange = Exchange()
    exchange.coverage.want(ETH, spans(20, 40))
    await exchange.once(exchange.reconciler(DAY, BTC))
    assert exchange.coverage[ETH].wanted == spans(20, 30)
