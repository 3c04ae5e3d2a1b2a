"""The mirror's decisions: what is copied when, what is compared, and what becomes of troubles, on a fake table."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import pytest
import trio

from collector.core.candle import DAY_MS, Series
from collector.core.changes import Changes
from collector.core.coverage import CoverageIndex
from collector.core.errors import CollectorError, NotReadable, SettingsError, StorageError, Unavailable
from collector.core.missing import Gap, State
from collector.core.spans import NOTHING, Spans
from collector.export.mirror_table import Copied, Fence
from collector.machine import Machine
from collector.machine.disk import Disk
from collector.pipeline.mirror import Mirror, open_mirror
from collector.settings.settings import Settings
from tests.simulation.machine import InlineThreads
from tests.support.candles import BTC, spans

URL = "postgresql://me:s3cret@db.example/market"
OTHER = Series.named("ETHUSDT_60")


@attrs.define
class FakeTable:
    """A database that remembers what it is told, and has the troubles that it is given."""

    started: str = "first"
    troubles: list[CollectorError] = attrs.field(factory=list)  # one for each call that comes
    refusals: list[CollectorError] = attrs.field(factory=list)  # one for each attempt to open it
    lost_answers: int = 0  # so many gaps are committed, and nobody hears of it
    opened: list[str] = attrs.field(factory=list)
    fence: Fence | None = None
    later: set[Series] = attrs.field(factory=set)  # of a later epoch than this collector's
    copied: list[dict[Series, Spans]] = attrs.field(factory=list)
    compared: list[Series] = attrs.field(factory=list)
    gaps: dict[Series, Sequence[Gap]] = attrs.field(factory=dict)
    gap_calls: int = 0
    differs: dict[Series, Spans] = attrs.field(factory=dict)
    locked: set[Series] = attrs.field(factory=set)
    damaged: dict[Series, NotReadable] = attrs.field(factory=dict)  # files that cannot be read

    @contextmanager
    def open(self, url: str, category: str, disk: Disk, directory: Path, fence: Fence | None) -> Iterator["FakeTable"]:
        self.opened.append(url)
        self.fence = fence
        if self.refusals:
            raise self.refusals.pop(0)
        yield self

    def copy(self, wanted: Mapping[Series, Spans]) -> Copied:
        self._trouble()
        free = {each: wanted[each] for each in wanted if each not in self.locked and each not in self.damaged}
        self.copied.append(free)
        unreadable = [self.damaged[each] for each in wanted if each in self.damaged]
        return Copied(len(free), {each: wanted[each] for each in wanted if each in self.locked}, unreadable)

    def differing(self, series: Series) -> Spans:
        self._trouble()
        self.compared.append(series)
        if series in self.damaged:
            raise self.damaged[series]
        return self.differs.get(series, NOTHING)

    def replace_gaps(self, gaps: Mapping[Series, Sequence[Gap]]) -> set[Series]:
        self._trouble()
        self.gap_calls += 1
        self.gaps |= {series: found for series, found in gaps.items() if series not in self.later}
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unavailable("broken after the commit")
        return self.later & gaps.keys()

    def _trouble(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)


@attrs.define(eq=False)
class Run:
    """A mirror at work on a fake table."""

    table: FakeTable = attrs.field(factory=FakeTable)
    url: str = URL
    changes: Changes = attrs.field(factory=Changes)
    coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    tracked: list[Series] = attrs.field(factory=lambda: [BTC, OTHER])
    fence: Fence | None = None
    stop: trio.Event = attrs.field(factory=trio.Event)
    threads: InlineThreads = attrs.field(factory=InlineThreads)
    mirror: Mirror = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        machine, settings = Machine(threads=self.threads), Settings(database_url=self.url)
        self.mirror = Mirror(settings, self.changes, self.coverage, self.tracked, machine, self.table.open, self.fence)

    def write(self, series: Series, span: Spans) -> None:
        """What the writer does when it has flushed."""
        self.changes.wrote(series, span)
        self.changes.flushed([series], trio.current_time())

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with open_mirror(self.mirror, self.stop):
            yield


@pytest.fixture
def run() -> Run:
    return Run()


async def test_changes_of_one_moment_are_copied_together(run: Run, autojump_clock: trio.abc.Clock) -> None:
    async with run.at_work():
        await trio.sleep(5)
        run.write(BTC, spans(0, 1))
        await trio.sleep(0.3)
        run.write(BTC, spans(1, 2))
        run.write(OTHER, spans(0, 1))
        assert run.mirror.state().lag_s == pytest.approx(0.3)
        await trio.sleep(2)
        state = run.mirror.state()
    assert run.table.copied == [{BTC: spans(0, 2), OTHER: spans(0, 1)}]
    assert (state.connected, state.rows, state.commits, state.waiting, state.lag_s) == (True, 2, 1, 0, 0.0)
    assert state.place == "postgresql://db.example/market"


async def test_what_was_opened_is_compared_and_only_what_differs_is_copied(
    run: Run, autojump_clock: trio.abc.Clock
) -> None:
    run.table.differs = {OTHER: spans(0, 9)}
    run.changes.doubt([BTC, OTHER], trio.current_time())
    assert run.mirror.state().comparing == 2
    async with run.at_work():
        await trio.sleep(5)
    assert run.table.compared == [BTC, OTHER]
    assert run.table.copied == [{OTHER: spans(0, 9)}]


async def test_a_database_that_is_away_costs_nothing_and_gets_all_later(
    run: Run, autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    run.table.refusals = [Unavailable("gone") for _ in range(6)]
    async with run.at_work():
        for place in range(60):
            run.write(BTC, spans(place, place + 1))
            await trio.sleep(1)
        away = run.mirror.state()
        await trio.sleep(120)
        back = run.mirror.state()
    assert (away.connected, away.trouble, away.refused) == (False, "gone", False)
    assert away.away_s == pytest.approx(away.lag_s, abs=2)
    assert run.table.copied == [{BTC: spans(0, 60)}]
    assert (back.connected, back.trouble, back.away_s, back.failures) == (True, "", 0.0, 6)
    assert [each.message for each in caplog.records if "interrupted" in each.message] == ["mirror interrupted why=gone"]


async def test_a_connection_that_breaks_while_copying_is_opened_again_and_copies_again(
    run: Run, autojump_clock: trio.abc.Clock
) -> None:
    async with run.at_work():
        await trio.sleep(5)
        run.table.troubles = [Unavailable("broken")]
        run.write(BTC, spans(0, 1))
        await trio.sleep(2)
        run.write(BTC, spans(1, 2))
        await trio.sleep(20)
    assert run.table.copied == [{BTC: spans(0, 2)}]
    assert run.table.opened == [URL, URL]
    assert run.table.compared == []


async def test_after_another_start_of_the_server_everything_is_compared(
    run: Run, autojump_clock: trio.abc.Clock
) -> None:
    async with run.at_work():
        await trio.sleep(5)
        run.table.troubles = [Unavailable("broken")]
        run.table.started = "second"
        run.write(BTC, spans(0, 1))
        await trio.sleep(20)
    assert run.table.compared == [BTC, OTHER]


@pytest.mark.parametrize("trouble", [SettingsError(["wrong password"]), StorageError("its disk is full")])
async def test_a_refusal_is_known_as_one_and_tried_again(
    run: Run, autojump_clock: trio.abc.Clock, trouble: CollectorError
) -> None:
    run.table.refusals = [trouble] * 3
    async with run.at_work():
        await trio.sleep(5)
        refused = run.mirror.state()
        await trio.sleep(60)
        healed = run.mirror.state()
    assert (refused.refused, refused.trouble) == (True, str(trouble))
    assert (healed.refused, healed.connected) == (False, True)


async def test_many_separate_spans_are_compared_instead(run: Run, autojump_clock: trio.abc.Clock) -> None:
    run.table.refusals = [Unavailable("gone")]
    run.table.differs = {BTC: spans(0, 1000)}
    async with run.at_work():
        for place in range(0, 1000, 2):
            run.write(BTC, spans(place, place + 1))
        state = run.mirror.state()
        await trio.sleep(20)
    assert (state.waiting + state.comparing) in (1, 2)
    assert run.table.compared == [BTC]
    assert spans(0, 1000) in [each.get(BTC) for each in run.table.copied]


async def test_a_locked_series_waits_and_others_go_on(run: Run, autojump_clock: trio.abc.Clock) -> None:
    run.table.locked = {BTC}
    async with run.at_work():
        run.write(BTC, spans(0, 1))
        run.write(OTHER, spans(0, 1))
        await trio.sleep(60)
        assert [each for each in run.table.copied if each] == [{OTHER: spans(0, 1)}]
        assert len(run.table.copied) < 70
        run.table.locked = set()
        await trio.sleep(3)
    assert run.table.copied[-1] == {BTC: spans(0, 1)}


async def test_gaps_follow_the_ledger_and_are_written_where_they_changed(
    run: Run, autojump_clock: trio.abc.Clock
) -> None:
    run.coverage.want(BTC, spans(0, 10))
    run.changes.doubt([BTC, OTHER], trio.current_time())
    async with run.at_work():
        await trio.sleep(15)
        (never,) = run.table.gaps[BTC]
        assert (never.state, run.table.gaps[OTHER], run.table.gap_calls) == (State.PENDING, (), 1)
        run.changes.saved([BTC, OTHER])
        await trio.sleep(15)
        assert run.table.gap_calls == 1
        run.coverage[BTC].hold(spans(0, 10))
        run.changes.saved([BTC])
        await trio.sleep(15)
    assert run.table.gaps[BTC] == ()


async def test_gaps_are_copied_again_after_a_commit_whose_answer_was_lost(
    run: Run, autojump_clock: trio.abc.Clock
) -> None:
    run.coverage.want(BTC, spans(0, 10))
    run.changes.doubt([BTC], trio.current_time())
    async with run.at_work():
        await trio.sleep(15)
        before = run.table.gaps[BTC]
        run.table.lost_answers, run.table.refusals = 1, [Unavailable("gone")] * 2
        run.coverage.want(BTC, spans(0, 12))
        run.changes.saved([BTC])
        await trio.sleep(10.5)
        assert (run.table.lost_answers, run.table.gaps[BTC] == before) == (0, False)
        run.coverage.want(BTC, spans(0, 10))
        await trio.sleep(60)
    assert run.table.gaps[BTC] == before


async def test_a_file_that_cannot_be_read_is_told_and_stops_no_other(
    run: Run, autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    run.table.damaged = {BTC: NotReadable("BTCUSDT_1.csv cannot be used: x")}
    run.table.differs = {OTHER: spans(5, 9)}
    run.changes.doubt([BTC, OTHER], trio.current_time())
    async with run.at_work():
        run.write(BTC, spans(0, 1))
        run.write(OTHER, spans(0, 1))
        await trio.sleep(20)
        state = run.mirror.state()
        run.table.damaged = {}
        run.write(BTC, spans(1, 2))
        await trio.sleep(3)
    assert (state.connected, state.trouble, state.waiting, state.comparing, state.failures) == (True, "", 0, 0, 0)
    assert run.table.compared == [BTC, OTHER]
    assert run.table.copied == [{OTHER: spans(0, 1)}, {OTHER: spans(5, 9)}, {BTC: spans(1, 2)}]
    told = [each.message for each in caplog.records if "not mirrored" in each.message]
    assert told == ["file not mirrored why='BTCUSDT_1.csv cannot be used: x'"] * 2  # copied, compared


async def test_a_reload_follows_another_database_and_none(run: Run, autojump_clock: trio.abc.Clock) -> None:
    other = "postgresql://else.example/market"
    async with run.at_work():
        await trio.sleep(5)
        run.mirror.apply(Settings(database_url=other))
        await trio.sleep(5)
        assert (run.table.opened, run.table.compared) == ([URL, other], [BTC, OTHER])
        run.mirror.apply(Settings())
        run.write(BTC, spans(0, 1))
        await trio.sleep(5)
        assert run.mirror.state().place == ""
        assert run.table.copied == []
        run.mirror.apply(Settings(database_url=URL))
        await trio.sleep(5)
    assert run.table.opened == [URL, other, URL]


async def test_without_a_database_nothing_is_kept(autojump_clock: trio.abc.Clock) -> None:
    run = Run(url="")
    async with run.at_work():
        run.write(BTC, spans(0, 1))
        run.changes.doubt([BTC], 0.0)
        run.changes.saved([BTC])
        await trio.sleep(20)
        assert (run.changes.due, run.changes.unsure, run.changes.has_gaps) == (0, 0, False)
    assert run.table.opened == []


async def test_what_is_due_at_a_stop_is_copied_before_the_end(run: Run, autojump_clock: trio.abc.Clock) -> None:
    async with run.at_work():
        await trio.sleep(5)
        run.stop.set()
        run.write(BTC, spans(0, 1))
    assert run.table.copied == [{BTC: spans(0, 1)}]


@pytest.mark.parametrize("slow_s", [3600.0])
async def test_a_database_that_hangs_delays_no_stop(
    run: Run, autojump_clock: trio.abc.Clock, slow_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with run.at_work():
        await trio.sleep(5)
        run.threads.slow_s = slow_s
        run.write(BTC, spans(0, 1))
        await trio.sleep(5)
        run.stop.set()
        began_s = trio.current_time()
    assert trio.current_time() - began_s <= 5
    assert "mirror not up to date" in caplog.text


async def test_the_password_is_in_no_text_of_it(run: Run) -> None:
    await trio.lowlevel.checkpoint()
    assert "s3cret" not in f"{run.mirror!r} {run.mirror.state()!r}"


async def test_a_series_that_goes_and_comes_back_is_compared_and_its_gaps_are_written_again(
    run: Run, autojump_clock: trio.abc.Clock
) -> None:
    run.coverage.want(BTC, spans(0, 10))
    run.changes.doubt([BTC], trio.current_time())
    async with run.at_work():
        await trio.sleep(15)
        run.mirror.leave([BTC])
        run.table.gaps = {}  # another collector's now
        run.write(BTC, spans(0, 1))
        run.changes.saved([BTC])
        await trio.sleep(15)
        assert (run.table.copied, run.table.compared, run.table.gaps) == ([], [BTC], {})
        run.mirror.enter([BTC])
        await trio.sleep(15)
    assert (run.table.compared, len(run.table.gaps[BTC])) == ([BTC, BTC], 1)


def first_epoch(symbol: str) -> tuple[int, int]:
    return 1, 1


@pytest.mark.parametrize("fence", [None, first_epoch])
async def test_the_table_of_a_cluster_is_shared(autojump_clock: trio.abc.Clock, fence: Fence | None) -> None:
    run = Run(fence=fence)
    async with run.at_work():
        await trio.sleep(5)
    assert (run.table.fence, run.changes.shared) == (fence, fence is not None)


async def test_gaps_of_a_later_epoch_wait_and_are_copied_in_a_later_one_still(autojump_clock: trio.abc.Clock) -> None:
    run = Run(fence=first_epoch)
    run.table.later = {BTC}
    for series in (BTC, OTHER):
        run.coverage.want(series, spans(0, 9))
    run.changes.gaps_read([BTC, OTHER])
    async with run.at_work():
        await trio.sleep(60)
        assert [*run.table.gaps] == [OTHER]
        assert run.table.gap_calls < 8
        run.table.later = set()
        await trio.sleep(15)
        assert {*run.table.gaps} == {BTC, OTHER}


async def test_each_claim_of_a_cluster_keeps_its_own_dates(autojump_clock: trio.abc.Clock) -> None:
    run = Run(fence=first_epoch)
    run.coverage.want(BTC, spans(0, 9))
    now = spans(0, 3000)[0].end_ms
    for first, behind, at in ((0, 2, now), (2, 4, now + 5 * DAY_MS)):
        for later in (0, 1000):
            run.coverage.answer(BTC, spans(first, behind)[0], NOTHING, at + later)
    run.coverage.fail(BTC, spans(2, 4)[0], "HTTP 502", now + 9 * DAY_MS)
    run.changes.gaps_read([BTC])
    async with run.at_work():
        await trio.sleep(15)
    absent = [(gap.span, gap.asked_ms) for gap in run.table.gaps[BTC] if gap.state is State.ABSENT]
    assert absent == [(spans(0, 2)[0], now + 1000), (spans(2, 4)[0], now + 5 * DAY_MS + 1000)]
