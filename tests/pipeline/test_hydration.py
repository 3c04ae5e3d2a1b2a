"""Hydration: what is asked of the shared table, what comes of it to the writer, and what is left to REST."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import attrs
import pytest
import trio
import trio.testing

from collector.core.candle import MINUTE_MS, Series
from collector.core.coverage import CoverageIndex
from collector.core.errors import CollectorError, NotReadable, SettingsError, Unavailable
from collector.core.events import Event, Hydrated, Lacking
from collector.core.missing import Gap, State
from collector.core.rows import Rows
from collector.core.spans import NOTHING, Span, Spans
from collector.core.verification import WITHOUT_CHECKPOINT_MS
from collector.machine import Machine
from collector.monitoring.disk_gate import DiskGate
from collector.pipeline import hydration
from collector.pipeline.hydration import Hydration
from collector.settings.settings import Settings
from tests.simulation.machine import InlineThreads
from tests.support.candles import BTC, rows, spans

OTHER = Series.named("ETHUSDT_1")
URL = "postgresql://me:s3cret@db.example/market"
CLUSTER = Settings(database_url=URL, cluster_url=URL)
NOW = spans(0, 20_000)[0].end_ms
WANTED = spans(0, 10_000)
TAIL = WITHOUT_CHECKPOINT_MS // MINUTE_MS


@attrs.define
class FakeTable:
    """A table that has rows of minutes, and the troubles that it is given."""

    has: dict[Series, list[tuple[int, int]]] = attrs.field(factory=dict)
    gaps: dict[Series, tuple[Gap, ...]] = attrs.field(factory=dict)
    troubles: list[CollectorError | None] = attrs.field(factory=list)  # one for each call that comes
    opened: int = 0
    closed: int = 0
    asked: list[tuple[Series, Span]] = attrs.field(factory=list)

    @contextmanager
    def open(self, url: str, category: str) -> Iterator["FakeTable"]:
        assert (url, category) == (URL, "linear")
        self._trouble()
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1

    def lacking(self, every_series: Sequence[Series]) -> dict[Series, tuple[Gap, ...]]:
        return self.gaps

    def extents(self, every_series: Sequence[Series]) -> dict[Series, Span]:
        self._trouble()
        return {
            each: spans(self.has[each][0][0], self.has[each][-1][1])[0] for each in every_series if each in self.has
        }

    def pages(self, series: Series, span: Span) -> list[Rows]:
        self.asked.append((series, span))
        self._trouble()
        parts = [spans(*part) & Spans((span,)) for part in self.has[series]]
        return [rows(*places(part)) for part in parts if part]

    def _trouble(self) -> None:
        if self.troubles and (trouble := self.troubles.pop(0)):
            raise trouble


def places(part: Spans) -> tuple[int, int]:
    start_ms = spans(0, 1)[0].start_ms
    return (part.bounds.start_ms - start_ms) // MINUTE_MS, (part.bounds.end_ms - start_ms) // MINUTE_MS


@attrs.define(eq=False)
class Run:
    """A hydration at work on a fake table, of which 10,000 minutes are wanted."""

    settings: Settings = CLUSTER
    wanted: Spans = WANTED
    table: FakeTable = attrs.field(factory=FakeTable)
    coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    threads: InlineThreads = attrs.field(factory=InlineThreads)
    gate: DiskGate = attrs.field(factory=DiskGate)
    woken: int = 0
    events: list[Hydrated] = attrs.field(factory=list)
    told: list[Series] = attrs.field(factory=list)
    hydration: Hydration = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        machine = Machine(threads=self.threads)
        self.hydration = Hydration(
            self.settings, self.coverage, machine, self.gate, self.want, self.wake, self.told.extend, self.table.open
        )

    async def want(self, every_series: Iterable[Series]) -> None:
        for series in every_series:
            self.coverage.want(series, self.wanted)
        await trio.lowlevel.checkpoint()

    def wake(self) -> None:
        self.woken += 1

    @property
    def hydrated(self) -> Spans:
        return Spans.of(*(event.asked for event in self.events))

    @asynccontextmanager
    async def at_work(self, *every_series: Series) -> AsyncIterator[None]:
        await self.hydration.claim(every_series)
        send, receive = trio.open_memory_channel[Event](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.hydration.work, send)
            nursery.start_soon(self._write, receive)
            await trio.sleep(1)
            yield
            nursery.cancel_scope.cancel()

    async def _write(self, receive: trio.MemoryReceiveChannel[Event]) -> None:
        async for event in receive:
            if isinstance(event, Lacking):
                self.coverage.take_gaps(event.series, event.gaps)
                continue
            assert isinstance(event, Hydrated)
            assert event.rows.covered == Spans((event.asked,))
            self.events.append(event)
            self.coverage[event.series].hold(self.coverage[event.series].held | event.rows.covered)
            self.coverage.take_copied(event.series, event.rows.covered, event.unverified)


@pytest.fixture
def run() -> Run:
    return Run()


async def test_what_is_missing_is_in_flight_as_soon_as_it_is_claimed(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.coverage[BTC].hold(spans(0, 10))
    run.coverage.ask(BTC, spans(20, 30))
    await run.hydration.claim([BTC])
    assert run.coverage.due(BTC, 0) == NOTHING
    assert run.coverage[BTC].in_flight == spans(10, 10_000)


async def test_what_the_table_has_goes_to_the_writer_and_the_rest_to_rest(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.table.has = {BTC: [(100, 200), (300, 9000)]}
    async with run.at_work(BTC, OTHER):
        assert run.hydrated == run.coverage[BTC].held == spans(100, 200) | spans(300, 9000)
        assert run.coverage.idle
        missing = spans(0, 100) | spans(200, 300) | spans(9000, 10_000)
        assert run.coverage.due(BTC, 0) - run.coverage[BTC].unverified == missing
        assert run.coverage.due(OTHER, 0) == run.wanted
        assert run.woken
    assert (run.table.opened, run.table.closed) == (1, 1)


async def test_what_is_held_already_is_not_asked_of_the_table(run: Run, autojump_clock: trio.testing.MockClock) -> None:
    run.coverage[BTC].hold(spans(0, 500))
    run.table.has = {BTC: [(0, 600)]}
    async with run.at_work(BTC):
        assert run.table.asked == [(BTC, spans(500, 600)[0])]


async def test_the_last_two_days_of_the_table_are_unverified(run: Run, autojump_clock: trio.testing.MockClock) -> None:
    run.table.has = {BTC: [(0, 9000)]}
    async with run.at_work(BTC):
        assert run.coverage[BTC].unverified == spans(9000 - TAIL, 9000)
        assert run.coverage.due(BTC, NOW) == spans(9000 - TAIL, 10_000)


async def test_a_question_is_for_so_many_candles(
    run: Run, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydration, "_WINDOW", 4000)
    run.table.has = {BTC: [(0, 9000)]}
    async with run.at_work(BTC):
        assert [span for _, span in run.table.asked] == [*spans(0, 4000), *spans(4000, 8000), *spans(8000, 9000)]
        assert run.hydrated == spans(0, 9000)


@pytest.mark.parametrize("trouble", [Unavailable("it is away"), SettingsError(["a wrong password"])])
@pytest.mark.parametrize("calls", [0, 1, 2])
async def test_a_database_in_trouble_leaves_all_to_rest(
    run: Run,
    autojump_clock: trio.testing.MockClock,
    trouble: CollectorError,
    calls: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    run.table.has = {BTC: [(0, 9000)], OTHER: [(0, 9000)]}
    run.table.troubles = [*[None] * calls, trouble]
    async with run.at_work(BTC, OTHER):
        assert run.events == []
        assert run.coverage.idle
        assert [run.coverage.due(each, 0) for each in (BTC, OTHER)] == [run.wanted] * 2
        assert run.woken
    told = [each.message for each in caplog.records if "shared table" in each.message]
    assert (len(told), str(trouble) in told[0]) == (1, True)
    assert run.table.opened == run.table.closed


async def test_a_database_that_hangs_is_left_behind(
    run: Run, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.table.has = {BTC: [(0, 9000)]}
    run.threads.slow_s = 100.0
    async with run.at_work(BTC):
        await trio.sleep(hydration._PATIENCE_S)
        assert run.coverage.due(BTC, 0) == run.wanted


async def test_the_next_series_find_a_database_that_is_back(run: Run, autojump_clock: trio.testing.MockClock) -> None:
    run.table.has = {BTC: [(0, 9000)], OTHER: [(0, 9000)]}
    run.table.troubles = [Unavailable("it is away")]
    async with run.at_work(BTC):
        await run.hydration.claim([OTHER])
        await trio.sleep(1)
        assert (run.coverage[BTC].held, run.coverage[OTHER].held) == (NOTHING, spans(0, 9000))


async def test_rows_that_are_no_candles_leave_their_own_series_to_rest(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.table.has = {BTC: [(0, 9000)], OTHER: [(0, 9000)]}
    run.table.troubles = [None, None, NotReadable("BTCUSDT_1 of the table candles: NaN")]
    async with run.at_work(BTC, OTHER):
        assert run.coverage.due(BTC, 0) == run.wanted
        assert run.coverage[OTHER].held == spans(0, 9000)


async def test_a_series_that_goes_to_another_collector_is_dropped(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.table.has = {BTC: [(0, 9000)], OTHER: [(0, 9000)]}
    run.threads.slow_s = 1.5  # so that the first rows of BTCUSDT are on their way
    async with run.at_work(BTC, OTHER):
        await trio.sleep(3)
        run.hydration.drop(BTC)
        await trio.sleep(10)
        assert {event.series for event in run.events} == {OTHER}
        assert run.coverage.idle


async def test_while_the_disk_is_nearly_full_nothing_is_taken(run: Run, autojump_clock: trio.testing.MockClock) -> None:
    run.table.has = {BTC: [(0, 9000)]}
    run.gate.update(low_disk=True)
    async with run.at_work(BTC):
        assert run.events == []
        assert run.coverage.idle


@pytest.mark.parametrize("settings", [Settings(), Settings(database_url=URL), Settings(cluster_url=URL)])
async def test_without_a_cluster_and_a_table_nothing_is_claimed(
    autojump_clock: trio.testing.MockClock, settings: Settings
) -> None:
    run = Run(settings)
    async with run.at_work(BTC):
        assert (run.table.opened, run.coverage[BTC].wanted) == (0, NOTHING)
        run.hydration.apply(CLUSTER)
        await run.hydration.claim([BTC])
        await trio.sleep(1)
        assert run.table.opened == 1


async def test_a_series_whose_file_is_left_alone_is_not_asked_for(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.coverage.skip(BTC, "it is foreign")
    async with run.at_work(BTC):
        assert run.table.opened == 0


def lacking(state: State, first: int, behind: int) -> Gap:
    return Gap(spans(first, behind)[0], state, 3, NOW, "why", NOW - 9)


async def test_rest_is_not_asked_for_what_the_exchange_is_known_to_lack(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.table.has = {BTC: [(100, 200), (300, 9000)]}
    listing, absent = lacking(State.BEFORE_LISTING, 0, 100), lacking(State.ABSENT, 220, 300)
    run.table.gaps = {BTC: (listing, absent)}
    async with run.at_work(BTC):
        assert run.coverage[BTC].gaps == (listing, absent)
        assert run.coverage.due(BTC, NOW) - run.coverage[BTC].unverified == spans(200, 220) | spans(9000, 10_000)
        assert run.coverage.idle


async def test_a_series_without_rows_lacks_them_all_the_same(run: Run, autojump_clock: trio.testing.MockClock) -> None:
    run.table.gaps = {BTC: (lacking(State.BEFORE_LISTING, 0, 10_000),)}
    async with run.at_work(BTC):
        assert run.coverage.due(BTC, NOW) == NOTHING


async def test_a_row_of_the_table_counts_more_than_what_is_on_record_as_lacking(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.table.has = {BTC: [(100, 200), (300, 9000)]}
    run.table.gaps = {BTC: (lacking(State.BEFORE_LISTING, 0, 250), lacking(State.ABSENT, 290, 400))}
    async with run.at_work(BTC):
        assert run.coverage[BTC].held == spans(100, 200) | spans(300, 9000)
        assert [(gap.state, gap.span) for gap in run.coverage[BTC].gaps] == [
            (State.BEFORE_LISTING, spans(0, 100)[0]),
            (State.ABSENT, spans(290, 300)[0]),
        ]


async def test_what_was_not_looked_at_for_rows_is_left_to_rest_whatever_is_on_record(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.table.has = {BTC: [(100, 9000)]}
    run.table.gaps = {BTC: (lacking(State.ABSENT, 500, 600),)}
    run.table.troubles = [None, None, Unavailable("it is away")]
    async with run.at_work(BTC):
        assert run.coverage.due(BTC, NOW) == run.wanted


async def test_the_gaps_of_a_series_may_be_copied_once_what_the_table_has_of_them_was_taken(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.coverage.skip(OTHER, "it is foreign")
    run.table.has = {BTC: [(0, 9000)]}
    await run.hydration.claim([BTC, OTHER])
    assert run.told == [OTHER]
    async with run.at_work(BTC):
        assert run.told == [OTHER, BTC]


async def test_the_gaps_of_a_series_that_left_wait_until_it_comes_again(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    run.table.has = {BTC: [(0, 9000)]}
    run.threads.slow_s = 1.5
    async with run.at_work(BTC):
        run.hydration.drop(BTC)
        await trio.sleep(20)
        assert run.told == []
