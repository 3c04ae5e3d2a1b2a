"""Progress as it is drawn: everything a person wants to know, on the narrowest usual terminal."""

from io import StringIO

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from collector.bybit.exchange_state import RestState
from collector.commands.console import can_draw
from collector.commands.progress import ProgressSample, log_progress, picture
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex


def drawn(*seen: ProgressSample) -> list[str]:
    console = Console(file=StringIO(), width=80, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(picture(seen))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_all_numbers_and_the_date_reached_are_to_be_seen_on_80_columns() -> None:
    where = "1000000BABYDOGEUSDT_240 2024-05-15 12:30:00"
    before = ProgressSample(10, 9_000_000, 900_000, 999_999, where)
    numbers, place = drawn(before, ProgressSample(15, 9_876_543, 900_555, 123_456, where))
    assert numbers == "9,876,543/9,999,999 candles 175,309/s · 900,555 requests 111/s · 0:00:00 left"
    assert place.endswith(f" {where}")
    assert max(map(len, (numbers, place))) <= 80


def test_a_whole_market_is_told_in_millions_and_before_anything_came_nothing_is_promised() -> None:
    before, now = (
        ProgressSample(10, 0, 0, 172_800_000, "starting"),
        ProgressSample(15, 50_000_000, 50_000, 122_800_000, "starting"),
    )
    assert drawn(before, now)[0] == "50.0M/172.8M candles 10,000,000/s · 50,000 requests 10,000/s · 0:00:12 left"
    assert drawn(before)[0] == "0/172.8M candles 0/s · 0 requests 0/s · unknown left"


async def test_progress_is_logged_while_it_gets_on(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="collector")
    counters, coverage = Counters(), CoverageIndex()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log_progress, counters, coverage, RestState())
        coverage.candles_in_flight = 3000
        await trio.sleep(15)
        for _ in range(2):  # two pages
            await trio.sleep(10)
            counters.rows += 1000
            coverage.candles_in_flight -= 1000
        await trio.sleep(600)  # nobody answers
        coverage.candles_in_flight = 0
        for _ in range(10):  # live: a candle a minute, now and then one that is asked for
            await trio.sleep(60)
            counters.rows += 1
            coverage.candles_in_flight = 1
            await trio.sleep(5)
            coverage.candles_in_flight = 0
        nursery.cancel_scope.cancel()
    events = [record.getMessage().split(" candles=")[0] for record in caplog.records]
    assert events == ["progress", "progress"]


@pytest.mark.parametrize(("term", "draws"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_terminal_that_cannot_draw_is_told_in_lines(term: str, draws: bool) -> None:
    assert can_draw(Console(file=StringIO(), force_terminal=True, _environ={"TERM": term})) is draws
