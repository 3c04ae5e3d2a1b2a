"""Progress as it is drawn and logged: at any width, of what the reports say."""

from io import StringIO

import attrs
import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from collector.commands.console import can_draw
from collector.commands.display import Line
from collector.commands.progress import Display, log_progress, picture
from collector.monitoring.report import Fetching, Report
from tests.support.candles import T0
from tests.support.reports import REPORT

LINES = [
    Line("history", "62 % · 7 of 12 series · 175,309/s · 1 h 7 min left", 0.62),
    Line("", "9,876,543 of 9,999,999 candles · 1000000BABYDOGEUSDT_240 at 2024-05-15 12:30"),
    Line("waiting", "the exchange cannot be asked since 2024-05-15 12:30:00 UTC (14 s): refused; asked again in 3 s"),
]


def drawn(width: int) -> list[str]:
    console = Console(file=StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(picture(LINES))
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize(("width", "lines"), [(80, 5), (160, 3)])
def test_all_of_it_is_to_be_seen_at_any_width(width: int, lines: int) -> None:
    table = drawn(width)
    assert len(table) == lines
    assert all(len(line) <= width for line in table)
    assert table[0].endswith(" 62 % · 7 of 12 series · 175,309/s · 1 h 7 min left")
    words = " ".join(" ".join(table).split())
    assert all(line.text in words for line in LINES)


def fetching(candles: int, to_fetch: int) -> Report:
    return attrs.evolve(REPORT, fetching=Fetching(candles, to_fetch, 1, 100.0, to_fetch / 100, "BTCUSDT_1", T0))


async def test_progress_is_logged_while_it_gets_on_and_ever_more_rarely(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="collector")
    began_s = trio.current_time()

    def reports() -> Report:  # an hour of history, an hour of an exchange that is away, then nothing to do
        second = int(trio.current_time() - began_s)
        return fetching(min(second, 3600), 3601 - min(second, 3600)) if second < 7200 else REPORT

    with trio.move_on_after(10_000):
        await log_progress(reports)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) < 20
    assert lines[1] == (
        "progress percent=0 candles=30 remaining=3571 series_done=11 series=12 candles_per_s=100 left='35 s' "
        "reached='BTCUSDT_1 2023-11-15 00:00:00'"
    )


async def test_files_that_are_read_are_logged_ever_more_rarely(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="collector")
    began_s = trio.current_time()

    def reports() -> Report:  # a file a second, of a hundred; the last ones hang
        return attrs.evolve(REPORT, files=100, files_read=min(int(trio.current_time() - began_s), 90))

    with trio.move_on_after(1000):
        await log_progress(reports)
    assert [record.getMessage() for record in caplog.records] == [
        f"reading files read={read} files=100" for read in (10, 30, 70, 90)
    ]


async def test_the_display_follows_the_reports(autojump_clock: MockClock) -> None:
    console = Console(file=StringIO(), width=80, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    with trio.move_on_after(5):
        await Display(console).draw(lambda: fetching(int(trio.current_time()) % 5 + 1, 5))
    assert isinstance(console.file, StringIO)
    assert "11 of 12 series" in console.file.getvalue()


@pytest.mark.parametrize(("term", "draws"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_terminal_that_cannot_draw_is_told_in_lines(term: str, draws: bool) -> None:
    assert can_draw(Console(file=StringIO(), force_terminal=True, _environ={"TERM": term})) is draws
