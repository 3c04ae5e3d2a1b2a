"""Live end to end: an exchange in a box on real sockets, its clock running fast, and the files held against the truth.

A minute there is a second here. Every comparison is to the byte, over all that a file holds and all that is wanted.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from collector.bybit.exchange_state import RestState
from collector.commands.status_client import fetch_status
from collector.core.candle import MINUTE_MS, Series, timeframe
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.missing import State
from collector.core.rows import candles_in
from collector.core.spans import Spans
from collector.core.text import moment_text
from collector.integrity.gaps import find_gaps
from collector.machine import Machine
from collector.machine.clock import LocalClock
from collector.machine.disk import THIS_DISK
from collector.monitoring.report import Report
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import ServeOptions, serve
from collector.sandbox import Clock, Faults, Sandbox
from collector.sandbox.clock import instant_ms
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings
from collector.storage.ledger import open_ledger
from tests.campaign.truth import asked_spans, held_spans, series_of, wanted_start_ms, whole_lines
from tests.support.live_market import fast_box, live_settings, wrongs
from tests.support.market import KLINE, fetch, market, served, settings_for, until
from tests.support.side_by_side import Endings, Scenarios

COUNTED = 25  # the rate where requests are counted: a candle is overdue after five seconds of the exchange's time
BTC_1, ETH_1 = (Series(symbol, timeframe("1")) for symbol in ("BTCUSDT", "ETHUSDT"))

# One kind of fault alone, for some minutes.
KINDS: dict[str, Faults] = {
    "none": Faults(),
    "late": Faults(confirm_late=0.6, confirm_late_s=20),
    "much later": Faults(confirm_late=0.5, confirm_late_s=90),
    "missing": Faults(confirm_missing=0.5),
    "twice": Faults(confirm_twice=1.0, confirm_again_s=10),
    "revised": Faults(confirm_revised=1.0, confirm_again_s=10),
    "wrong": Faults(confirm_wrong=0.5),
    "two in one": Faults(two_in_one=1.0),
    "silent minutes": Faults(silent_minutes=True),
    "cut": Faults(cut=1.0, after_s=1.5),
    "cut again and again": Faults(cut_per_minute=60),
    "mute": Faults(mute=1.0, after_s=1.5),
    "refused topic": Faults(refused_topics=("kline.1.BTCUSDT",)),
    "refused symbol": Faults(refused_topics=("ETHUSDT",)),
    "request lost": Faults(lost=1.0),
    "not acknowledged": Faults(ack_missing=1.0),
    "acknowledged late": Faults(ack_late=1.0),
    "malformed": Faults(push_malformed=0.5),
    "incomplete": Faults(push_incomplete=0.5),
    "mistyped": Faults(push_mistyped=0.5),
    "binary": Faults(push_binary=0.5),
    "unknown": Faults(push_unknown=0.5),
    "exponents": Faults(exponents=True),
    "handshake 403": Faults(handshake_403=1.0, stream_times=1),
    "handshake 503": Faults(handshake_5xx=1.0, stream_times=1),
    "no handshake at all": Faults(handshake_5xx=1.0),
}
FALSE_FOR_A_WHILE = ("revised", "wrong")  # until REST has its word
BROUGHT_BY_THE_STREAM = ("none", "late", "twice", "two in one", "acknowledged late", "unknown")


@attrs.define
class Run:
    """A collector at work in this process."""

    box: Sandbox
    counters: Counters = attrs.field(factory=Counters)
    coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    outcome: Outcome | None = None

    async def half_past(self) -> None:
        """Returns in the middle of the next minute: no candle closes and none is still to be confirmed."""
        now_ms = self.box.clock.now_ms()
        await trio.sleep(self.box.clock.seconds_until(now_ms - now_ms % MINUTE_MS + MINUTE_MS * 3 // 2))

    async def passes(self, minutes: float) -> None:
        """Returns when so many of the exchange's minutes have passed."""
        await trio.sleep(self.box.clock.seconds_until(self.box.clock.now_ms() + int(minutes * MINUTE_MS)))


async def until_healthy(settings: Settings) -> None:
    """Asks the collector again and again, as the command `status` does."""
    while (await reported(settings)).state != "healthy":
        pass


async def reported(settings: Settings) -> Report:
    """What the collector says of itself."""
    report, _ = await trio.to_thread.run_sync(fetch_status, THIS_DISK, settings.data_dir)
    return report


@asynccontextmanager
async def running(box: Sandbox, settings: Settings) -> AsyncIterator[Run]:
    """What the command `run` does, stopped on leaving; entered when the history is there and the stream is on."""
    run, stop = Run(box), trio.Event()

    async def watch(counters: Counters, coverage: CoverageIndex, _: RestState) -> None:
        run.counters, run.coverage = counters, coverage
        await trio.sleep_forever()

    async def work() -> None:
        run.outcome = await serve(settings, once=False, options=ServeOptions(stop=stop, watch=watch))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        with trio.fail_after(20):
            await until(lambda: bool(run.coverage.records) and (run.counters.rows > 0 or settings.mode == "live"))
            # The stream may bring a candle before anybody has looked at what is missing.
            await until(lambda: settings.mode == "live" or any(record.wanted for _, record in run.coverage))
            await until(lambda: run.coverage.idle)
        yield run
        stop.set()


def false_rows(box: Sandbox, settings: Settings) -> list[str]:
    """Rows that the exchange does not have."""
    false: list[str] = []
    for series in series_of(settings):
        held = whole_lines(settings.data_dir / f"{series}.csv")
        start_ms = wanted_start_ms(box, settings, series) - 60 * MINUTE_MS  # when it began, more was wanted
        true = set(box.truth(series.symbol, series.timeframe.name, start_ms, box.clock.now_ms()).splitlines())
        false += [f"{series}: {line!r}" for line in held if line not in true]
    return false


def states(settings: Settings, series: Series) -> set[State]:
    """What the ledger says of all that is missing of a series."""
    coverage = CoverageIndex()
    with open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category) as ledger:
        checkpoints = ledger.load(coverage)
    coverage[series].hold(checkpoints[series].held)
    return {gap.state for gap in coverage.missing(series)}


def kline_requests(box: Sandbox) -> int:
    return box.counts.by_path[KLINE]


scenario = Scenarios()


@pytest.fixture(scope="module")
def endings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Endings:
    return scenario.play(request, tmp_path_factory.mktemp("live"))


# What goes wrong.


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
async def test_no_fault_of_the_stream_leaves_a_gap_or_a_false_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quarter: int
) -> None:
    """Several kinds at the same time, each with an exchange and a collector of its own."""
    monkeypatch.setattr("collector.bybit.stream_subscriptions._ACKNOWLEDGED_WITHIN_S", 1.0)
    wrong: dict[str, list[str]] = {}
    async with trio.open_nursery() as nursery:
        for kind, faults in list(KINDS.items())[quarter::4]:
            nursery.start_soon(_live_through, kind, faults, tmp_path / kind.replace(" ", "-"), wrong)
    assert wrong == {}


async def _live_through(kind: str, faults: Faults, directory: Path, wrong: dict[str, list[str]]) -> None:
    async with fast_box() as box:
        settings = live_settings(box, directory)
        box.faults = faults
        async with running(box, settings) as run:
            await run.passes(4.5)
            if kind not in FALSE_FOR_A_WHILE and (found := false_rows(box, settings)):
                wrong[f"{kind}, false rows"] = found
            if kind in BROUGHT_BY_THE_STREAM and (found := await _behind(box, settings)):
                wrong[f"{kind}, running"] = found
        box.clock.rate = 0
        box.faults = Faults()
        if not (await fetch(settings)).complete:
            wrong[f"{kind}, last fetch"] = ["incomplete"]
        if found := wrongs(box, settings):
            wrong[f"{kind}, in the end"] = found


async def _behind(box: Sandbox, settings: Settings) -> list[str]:
    """How the files of a collector at work differ from the truth, once it had the time that a busy machine needs.

    The exchange's clock stands from here on, so that nothing more comes to be late with.
    """
    box.clock.rate = 0
    found: list[str] = []
    for _ in range(20):
        if not (found := wrongs(box, settings, late=2)):
            break
        await trio.sleep(0.25)
    return found


# What is asked for.


@scenario
async def what_the_stream_brings_is_not_asked_for(directory: Path) -> None:
    async with fast_box(rate=COUNTED) as box:
        settings = live_settings(box, directory)
        async with running(box, settings) as run:
            await run.half_past()
            box.counts.clear()
            await run.passes(3)
            assert kline_requests(box) == 0
            assert run.counters.confirmed > 6


@scenario
async def only_what_did_not_come_is_asked_for(directory: Path) -> None:
    async with fast_box(rate=COUNTED) as box:
        async with running(box, live_settings(box, directory)) as run:
            await run.half_past()
            box.counts.clear()
            first_ms = BTC_1.timeframe.floor(box.clock.now_ms())
            box.faults = Faults(confirm_missing=1.0, topics=("kline.1.BTC",), stream_times=2)
            await run.passes(4)
        asked, lost = asked_spans(box, BTC_1), Spans.between(first_ms, first_ms + 2 * MINUTE_MS)
        assert asked & lost == lost
        assert candles_in(BTC_1.timeframe, asked) <= 3  # on a busy machine one that comes may seem overdue
        assert kline_requests(box) <= 3


@scenario
async def of_a_refused_topic_every_candle_is_asked_for_and_of_the_others_none(directory: Path) -> None:
    async with fast_box(rate=COUNTED, faults=Faults(refused_topics=("kline.1.BTCUSDT",))) as box:
        settings = live_settings(box, directory)
        async with running(box, settings) as run:
            assert set((await reported(settings)).stream.refused_topics) == {"kline.1.BTCUSDT"}
            await run.half_past()
            box.counts.clear()
            await run.passes(3)
        assert candles_in(BTC_1.timeframe, asked_spans(box, BTC_1)) >= 2
        assert kline_requests(box) == len(box.counts.asked("BTCUSDT_1"))


@scenario
async def spot_is_subscribed_ten_topics_at_a_time(directory: Path) -> None:
    async with fast_box(symbols=["spot:BTCUSDC", "spot:ETHUSDC", "spot:SOLUSDC"]) as box:
        symbols = list(box.source.listings("spot"))
        settings = live_settings(
            box,
            directory,
            category="spot",
            ws_url=box.ws_url("spot"),
            symbols=symbols,
            timeframes=["1", "3", "5", "15", "30", "60"],
            mode="live",
        )
        async with running(box, settings) as run:
            with trio.fail_after(20):
                await until(lambda: box.counts.stream.topics == len(symbols) * 6)
            assert (box.counts.stream.subscribes, box.counts.stream.refusals) == (2, 0)
            await run.passes(2)
            assert await _behind(box, settings) == []
        assert run.counters.confirmed >= len(symbols)


# How much is wanted.


@scenario
async def live_alone_keeps_what_the_stream_brings_and_asks_for_nothing(directory: Path) -> None:
    async with fast_box() as box:
        settings = live_settings(box, directory, mode="live")
        async with running(box, settings):
            with trio.fail_after(20):
                await until(lambda: len(whole_lines(settings.data_dir / BTC_1.file_name)) > 3)
            assert await _behind(box, settings) == []
        assert kline_requests(box) == 0


@scenario
async def live_alone_fetches_and_waits_for_nothing_that_was_wanted_before(directory: Path) -> None:
    async with fast_box() as box:
        settings = live_settings(box, directory, timeframes=["1"])
        await fetch(settings)
        before = {series: held_spans(settings, series) for series in series_of(settings)}
        box.clock.advance(60 * MINUTE_MS)
        box.counts.clear()
        live, stop = attrs.evolve(settings, mode="live"), trio.Event()
        reload_request = ReloadRequest(lambda: live)
        reload_request.request()  # what is begun with later is no exception
        begun = attrs.evolve(live, symbols=["BTCUSDT"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(serve, begun, once=False, options=ServeOptions(stop=stop, reload_request=reload_request))
            )
            with trio.fail_after(20):
                await until(lambda: all(held_spans(settings, series) != held for series, held in before.items()))
            stop.set()
        assert all(len(held_spans(settings, series)) == 2 for series in before)
        assert kline_requests(box) == 0


@scenario
async def the_newest_go_on(directory: Path) -> None:
    await the_newest(directory, grows=True, mode="recent")


@scenario
async def under_the_limit_the_newest_fifty_go_on(directory: Path) -> None:
    await the_newest(directory, grows=False, limit_to_50_entries=True)


async def the_newest(directory: Path, *, grows: bool, **change: object) -> None:
    async with fast_box() as box:
        settings = live_settings(box, directory, **change)
        async with running(box, settings) as run:
            await run.passes(3.5)
        for series in series_of(settings):
            held = whole_lines(settings.data_dir / f"{series}.csv")[1:]
            first_ms = int(held[0].split(b",")[0])
            true = box.truth(series.symbol, series.timeframe.name, first_ms, box.clock.now_ms(), header=False)
            assert held == true.splitlines()[: len(held)]
            assert len(held) > 50 if grows and series.timeframe.name == "1" else len(held) >= 50
            assert grows or len(held) == 50


@scenario
async def the_exchanges_clock_decides_also_when_it_is_another_year_there(directory: Path) -> None:
    async with fast_box(clock=Clock(instant_ms("2023-03-01T23:58:50"), rate=20)) as box:
        settings = live_settings(box, directory, timeframes=["1", "240", "D"])
        async with running(box, settings) as run:
            await run.passes(1.5)
            assert wrongs(box, settings, late=1) == []
        assert len(whole_lines(settings.data_dir / "BTCUSDT_D.csv")) > 1


# The end.


async def test_a_stop_in_the_middle_of_a_burst_loses_nothing_that_was_received(tmp_path: Path) -> None:
    async with fast_box(symbols=None, count=100) as box:
        settings = live_settings(
            box, tmp_path, fetch_all_symbols=True, timeframes=["1", "5", "15", "30"], mode="live", flush_interval_s=5
        )
        async with running(box, settings) as run:
            await until(lambda: run.counters.confirmed > 50)
        files = list(settings.data_dir.glob("*.csv"))
        assert sum(len(whole_lines(path)) - 1 for path in files) == run.counters.confirmed
        assert run.outcome is not None
        assert run.outcome.stopped


class SleepingClock(LocalClock):
    """The clock of a machine that was asleep for a while."""

    asleep_s = 0.0

    def since_boot_s(self) -> float:
        return super().since_boot_s() + self.asleep_s


async def test_what_closed_while_the_exchange_was_away_is_missing_at_the_end(tmp_path: Path) -> None:
    stop, coverages, clock = trio.Event(), list[CoverageIndex](), SleepingClock()

    async def watch(_: Counters, coverage: CoverageIndex, __: RestState) -> None:
        coverages.append(coverage)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        with served(market()) as box:
            settings = settings_for(box.url, tmp_path, timeframes=["1"], days_to_fetch=1, enable_websocket=False)
            options = ServeOptions(stop=stop, watch=watch, machine=Machine(clock=clock))
            outcomes: list[Outcome] = []

            async def run() -> None:
                outcomes.append(await serve(settings, once=False, options=options))

            nursery.start_soon(run)
            with trio.fail_after(20):
                await until(lambda: bool(coverages and coverages[0][BTC_1].held and coverages[0].idle))
        clock.asleep_s = 60.0
        stop.set()
    (outcome,) = outcomes
    ((_, gap),) = outcome.missing
    assert (moment_text(gap.span.start_ms), gap.state, outcome.complete) == ("2024-05-15 12:30:00", "pending", False)
    assert [each.missing for each in find_gaps(settings.data_dir, "linear")] == [gap]


# The exchange's list.


@scenario
async def what_is_listed_while_it_runs_is_collected_and_what_is_delisted_is_kept_as_it_ends(directory: Path) -> None:
    """And a symbol that is refused everything stops neither."""
    new, gone = "2024-05-15T12:33", "2024-05-15T12:36"
    async with fast_box(
        symbols=["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"],
        listed={"linear:SOLUSDT": instant_ms(new)},
        delisted={"linear:ETHUSDT": instant_ms(gone)},
        rate=1,
        faults=Faults(refused_topics=("XRPUSDT",)),
    ) as box:
        settings = live_settings(box, directory, fetch_all_symbols=True)
        async with running(box, settings) as run:
            box.clock.rate = 600
            with trio.fail_after(10):
                await until(lambda: run.coverage.delisted == {"ETHUSDT"})
            await run.passes(5)
            box.clock.rate = 60
            with trio.fail_after(10):  # it was stale until it was known to be delisted
                await until_healthy(settings)
            assert "kline.1.SOLUSDT" not in (await reported(settings)).stream.refused_topics
        box.clock.rate = 0
        assert (await fetch(settings)).complete
        assert wrongs(box, attrs.evolve(settings, symbols=("BTCUSDT", "SOLUSDT", "XRPUSDT"))) == []
        last = whole_lines(settings.data_dir / "ETHUSDT_1.csv")[-1]
        assert int(last.split(b",")[0]) == instant_ms(gone) - MINUTE_MS
        assert states(settings, ETH_1) == {State.DELISTED}


@pytest.mark.parametrize("name", list(scenario.by_name))
def test_live(name: str, endings: Endings) -> None:
    if error := endings[name]:
        raise error
