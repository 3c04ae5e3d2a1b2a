"""Progress of work of a known size: percent, parts, time left and the place, at any pace."""

from io import StringIO

import pytest
from rich.console import Console

from collector.commands.work_progress import Advance, open_progress
from tests.support.market import ClockByHand

WORK = Advance("checking", 1_000, 4, "file")


def test_bytes_decide_percent_and_time_left() -> None:
    begun, half = WORK.lines(0.0), WORK.by(500, "BTCUSDT_1.csv up to 2024-05-15 12:30").lines(30.0)
    assert [line.text for line in begun] == ["0 % · 0 of 4 files · time left unknown"]
    assert [line.text for line in half] == [
        "50 % · 1 of 4 files · 30 s left",
        "BTCUSDT_1.csv up to 2024-05-15 12:30",
    ]
    assert [line.share for line in half] == [0.5, None]


def test_files_that_grew_meanwhile_are_no_more_than_all() -> None:
    assert WORK.by(1_500, "").lines(10.0)[0].text == "100 % · 1 of 4 files · 0 s left"
    assert Advance("checking", 0, 0, "file").lines(0.0)[0].text == "100 % · 0 of 0 files · 0 s left"


@pytest.mark.parametrize("quiet", [True, False])
def test_without_a_terminal_it_is_said_ever_more_rarely(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    clock = ClockByHand()
    work = Advance("comparing", 3_600, 3_600, "stretch")
    with open_progress(work, quiet=quiet, console=Console(file=StringIO()), clock=clock) as progress:
        for _ in range(3_600):
            clock.at_s += 1
            progress.advance(1, "BTCUSDT_1 up to 2024-05-15 12:30")
    said = capsys.readouterr().err.splitlines()
    first = "comparing 0 % · 10 of 3,600 stretches · 59 min 50 s left · BTCUSDT_1 up to 2024-05-15 12:30"
    assert said[:1] == ([] if quiet else [first])
    assert len(said) in ([0] if quiet else range(5, 20))


def test_on_a_terminal_it_is_drawn() -> None:
    console = Console(file=StringIO(), width=80, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    with open_progress(WORK, quiet=False, console=console, clock=ClockByHand()) as progress:
        progress.advance(500, "BTCUSDT_1.csv")
    assert isinstance(console.file, StringIO)
    assert "50 % · 1 of 4 files" in console.file.getvalue()
