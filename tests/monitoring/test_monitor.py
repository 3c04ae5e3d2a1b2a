"""The monitor: every trouble is called in the right words, logged once, and called off when it passes.

Time is the test's, the machine is whatever the test says, and what the stations count is set by hand.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from collector.bybit.clock import Clock
from collector.core.candle import MINUTE_MS, Series
from collector.core.counters import Counters, Work
from collector.core.coverage import CoverageIndex
from collector.machine.clock import THIS_CLOCK, LocalClock
from collector.monitoring.health import Health
from collector.monitoring.monitor import Monitor, MonitorInputs
from collector.monitoring.probes import Probes, probes_of
from collector.settings.settings import Settings
from tests.support.candles import BTC, T0, spans

MB = 1_000_000
NOW = T0 + 100 * MINUTE_MS + 3_000


class _Local(LocalClock):
    def now_ns(self) -> int:
        return 10**12 + round(trio.current_time() * 1e9)


@attrs.define(eq=False)
class Collecting:
    """A collector that is well, seen by a monitor: each second brings answers and messages, and candles in time."""

    settings: Settings
    counters: Counters = attrs.field(factory=Counters)
    coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    clock: Clock = attrs.field(factory=Clock)
    every_series: list[Series] = attrs.field(factory=lambda: [BTC])
    memory_mb: int = 100
    disk_mb: int = 9_000
    answering: bool = True
    landing: bool = True
    delivering: bool = True
    work: Work = attrs.field(factory=lambda: Work(0, 0))
    openings: int = 0
    monitor: Monitor = attrs.field(init=False)
    verdicts: list[Health] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        probes = Probes(lambda: self.memory_mb * MB, lambda: self.disk_mb * MB)
        monitoring = MonitorInputs(
            self.settings,
            self.counters,
            self.coverage,
            self.clock,
            self.every_series,
            probes,
            _Local(),
            lambda: self.work,
        )
        self.monitor = Monitor(monitoring)

    async def count_openings(self) -> None:
        while True:
            await self.monitor.gate.opened()
            self.openings += 1

    async def live(self) -> None:
        """A second at a time, a little before the monitor looks."""
        while True:
            if self.answering:
                self.counters.ended("ok")
                self.counters.landed += self.landing
                self.counters.messages += 10
            if self.delivering:
                record = self.coverage[BTC]
                record.wanted = record.held = spans(0, BTC.timeframe.count(T0, BTC.timeframe.floor(self.clock.now_ms)))
            self.verdicts.append(self.monitor.health)
            await trio.sleep(1)

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.monitor.health.reasons


@asynccontextmanager
async def monitoring(**changes: object) -> AsyncIterator[Collecting]:
    one = Collecting(Settings(**{"stale_after_s": 120, "low_disk_mb": 500, "memory_limit_mb": 1000} | changes))
    one.clock.observe(NOW)
    one.counters.connects = one.counters.connections = one.monitor.inputs.stream.wanted = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.live)
        nursery.start_soon(one.count_openings)
        await trio.sleep(0.5)
        nursery.start_soon(one.monitor.watch)
        await trio.sleep(3)
        assert one.monitor.health.state == "healthy"
        yield one
        nursery.cancel_scope.cancel()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "collector.monitoring.monitor"]


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="collector")


def test_the_real_machine_has_memory_and_space_and_a_disk_that_is_gone_has_none(tmp_path: Path) -> None:
    assert probes_of(tmp_path, THIS_CLOCK).memory_bytes() > 10 * MB
    assert probes_of(tmp_path, THIS_CLOCK).disk_free_bytes() > MB
    assert probes_of(tmp_path / "gone", THIS_CLOCK).disk_free_bytes() == 0


async def test_a_collector_that_is_well_says_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring() as one:
        await trio.sleep(3600)
        assert {health.state for health in one.verdicts} == {"healthy"}
    assert said(caplog) == []


async def test_an_error_storm_is_called_and_passes_a_minute_after_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring(errors_per_minute=10) as one:
        for _ in range(20):
            one.counters.trouble("no answer")
            one.counters.trouble("HTTP 502")
            one.counters.trouble("no answer")
            await trio.sleep(1)
        assert one.reasons == ("60 errors in the last minute, most of them: no answer",)
        await trio.sleep(62)
        assert one.monitor.health.state == "healthy"
    called, off = said(caplog)
    assert called.startswith("degraded why='12 errors in the last minute, most of them: no answer")
    assert off.startswith("healthy again degraded_for_s=")


async def test_a_full_disk_is_called_and_history_goes_on_when_it_passes(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring() as one:
        one.disk_mb = 312
        await trio.sleep(1)
        assert one.reasons == ("the disk has 312 MB left, which is below 500 MB: history stops, live goes on",)
        assert one.monitor.health.low_disk
        assert not one.monitor.gate.is_open
        one.disk_mb = 520  # not enough to be called off
        await trio.sleep(1)
        assert (one.monitor.health.low_disk, one.openings) == (True, 0)
        one.disk_mb = 600
        await trio.sleep(1)
        assert (one.monitor.health.state, one.openings) == ("healthy", 1)
    assert len(said(caplog)) == 2


async def test_memory_beyond_its_limit_is_called_and_passes(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring() as one:
        one.memory_mb = 1100
        await trio.sleep(10)
        assert one.reasons == ("1,100 MB of memory are in use, more than 1,000 MB",)
        one.memory_mb = 700
        await trio.sleep(1)
        assert one.monitor.health.state == "healthy"
    assert said(caplog) == [
        "degraded why='1,100 MB of memory are in use, more than 1,000 MB'",
        "healthy again degraded_for_s=10",
    ]


async def test_a_queue_that_grows_is_called_and_passes(autojump_clock: MockClock) -> None:
    async with monitoring(queue_limit=5000) as one:
        one.counters.confirmed = 9000
        one.counters.taken, one.counters.dropped = 2000, 500
        await trio.sleep(1)
        assert one.reasons == ("6,500 candles wait to be written, the disk is too slow for them",)
        one.counters.taken = 8500
        await trio.sleep(1)
        assert one.monitor.health.state == "healthy"


async def test_a_series_that_stops_is_stale_until_it_goes_on(autojump_clock: MockClock) -> None:
    async with monitoring() as one:
        one.delivering = False
        await trio.sleep(240)
        (reason,) = one.reasons
        assert reason.startswith("a series is stale, BTCUSDT_1 most of all: its newest candle is overdue by 3 min ")
        one.delivering = True
        await trio.sleep(3)
        assert one.monitor.health.state == "healthy"


async def test_a_clock_that_was_far_ahead_at_first_does_not_hide_what_is_stale_later(
    autojump_clock: MockClock,
) -> None:
    one = Collecting(Settings(stale_after_s=120), delivering=False)
    one.clock.observe(NOW + 8 * 3_600_000)
    one.coverage[BTC].wanted, one.coverage[BTC].held = spans(0, 50), spans(0, 50)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.live)
        nursery.start_soon(one.count_openings)
        nursery.start_soon(one.monitor.watch)
        await trio.sleep(10)
        for _ in range(10):
            one.clock.observe(NOW)
        await trio.sleep(140)
        assert one.monitor.health.kinds == ("stale",)
        nursery.cancel_scope.cancel()


async def test_a_series_that_is_being_fetched_is_late_only_when_no_answers_come(autojump_clock: MockClock) -> None:
    async with monitoring() as one:
        one.delivering = False
        one.coverage[BTC].in_flight = spans(100, 1000)
        await trio.sleep(600)
        assert one.monitor.health.state == "healthy"
        one.answering = False
        await trio.sleep(130)
        assert one.monitor.health.kinds == ("silence", "stale")


async def test_what_is_fetched_and_gets_into_no_file_becomes_stale(autojump_clock: MockClock) -> None:
    async with monitoring() as one:
        one.delivering = one.landing = False
        one.coverage[BTC].in_flight = spans(100, 1000)
        await trio.sleep(240)
        assert one.monitor.health.kinds == ("stale",)


async def test_a_writer_that_does_not_get_on_is_told_within_a_minute(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring() as one:
        one.work = Work(1, 7, "syncing BTCUSDT_1.csv")
        await trio.sleep(45)
        assert one.reasons[0].startswith("the writer is stuck: syncing BTCUSDT_1.csv since 1970-01-01 00:16:4")
        one.work = Work(3, 8, "syncing BTCUSDT_1.csv")
        await trio.sleep(1)
        assert one.monitor.health.state == "healthy"
    assert len(said(caplog)) == 2


async def test_during_a_ban_the_ban_is_what_is_wrong_and_what_was_late_has_time_after_it(
    autojump_clock: MockClock,
) -> None:
    async with monitoring() as one:
        one.delivering = one.answering = False
        # The local clock was set forward.
        one.monitor.inputs.rest.banned(1, trio.current_time() + 600, "a rate ban is on")
        await trio.sleep(599)
        assert one.monitor.health.kinds == ("ban",)
        one.answering = True
        await trio.sleep(100)  # nobody has asked again yet, so the mark of the ban is still there
        assert one.monitor.health.state == "healthy"
        await trio.sleep(30)
        assert one.monitor.health.kinds == ("stale",)


async def test_a_ban_is_told_by_its_own_lines_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring() as one:
        one.monitor.inputs.rest.banned(1, trio.current_time() + 60, "a rate ban is on")
        await trio.sleep(30)
        assert one.monitor.health.kinds == ("ban",)
        await trio.sleep(40)
        assert one.monitor.health.state == "healthy"
    assert said(caplog) == ["ban over"]


async def test_a_ban_beside_another_problem_is_among_the_reasons(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring() as one:
        one.monitor.inputs.rest.banned(1, trio.current_time() + 60, "a rate ban is on")
        await trio.sleep(10)
        one.disk_mb = 100
        await trio.sleep(10)
        one.disk_mb = 1000
        await trio.sleep(60)
    first, second, last, over = said(caplog)
    assert "nothing is asked before" in first
    assert "MB left" in first
    assert "MB left" not in second
    assert (last, over) == ("healthy again degraded_for_s=50", "ban over")


async def test_a_start_after_a_long_stop_is_not_stale_at_once(autojump_clock: MockClock) -> None:
    one = Collecting(Settings(stale_after_s=120), delivering=False)
    one.clock.observe(NOW)
    one.coverage[BTC].wanted, one.coverage[BTC].held = spans(0, 50), spans(0, 50)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.live)
        nursery.start_soon(one.count_openings)
        nursery.start_soon(one.monitor.watch)
        await trio.sleep(110)
        assert one.monitor.health.state == "healthy"
        await trio.sleep(20)
        assert one.monitor.health.kinds == ("stale",)
        nursery.cancel_scope.cancel()


async def test_a_stream_that_cannot_be_had_is_called_although_candles_come(autojump_clock: MockClock) -> None:
    async with monitoring() as one:
        one.counters.connections = 0
        await trio.sleep(125)
        assert one.monitor.health.kinds == ("stream",)
        one.counters.connections = 1
        await trio.sleep(1)
        assert one.monitor.health.state == "healthy"


async def test_where_no_stream_is_to_be_open_none_is_missed(autojump_clock: MockClock) -> None:
    async with monitoring() as one:
        one.counters.connections = 0
        await trio.sleep(125)
        assert one.monitor.health.kinds == ("stream",)
        one.monitor.inputs.stream.wanted = 0
        await trio.sleep(1)
        assert one.monitor.health.state == "healthy"


async def test_every_other_set_of_reasons_is_one_line(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring() as one:
        one.memory_mb = 1100
        await trio.sleep(20)
        one.disk_mb = 100
        await trio.sleep(20)
        one.memory_mb = 100
        await trio.sleep(20)
    assert [line.partition(" why=")[0] for line in said(caplog)] == ["degraded"] * 3
    assert "MB of memory" in said(caplog)[1]
    assert "MB of memory" not in said(caplog)[2]


async def test_an_outage_with_all_its_signs_is_one_line(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring() as one:
        one.monitor.inputs.rest.unserved_since_s, one.counters.connections = trio.current_time(), 0
        await trio.sleep(300)
        assert {"unserved", "stream"} <= set(one.monitor.health.kinds)
        one.monitor.inputs.rest.unserved_since_s = None
        await trio.sleep(5)
        assert one.monitor.health.kinds == ("stream",)
        one.counters.connections = 1
        await trio.sleep(5)
    began, _, ended = said(caplog)
    assert "the exchange cannot be asked" in began
    assert ended.startswith("healthy again")


async def test_what_of_an_outage_still_lasts_after_ten_minutes_is_a_line_more(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with monitoring() as one:
        one.monitor.inputs.rest.unserved_since_s, one.counters.connections = trio.current_time(), 0
        await trio.sleep(300)
        one.monitor.inputs.rest.unserved_since_s = None
        await trio.sleep(2000)
    began, _, goes_on = said(caplog)
    assert "no connection to the stream" not in began
    assert "the exchange cannot be asked" not in goes_on
    assert "no connection to the stream" in goes_on
