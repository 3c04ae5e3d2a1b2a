"""Rows on terminals of any width: names, numbers and times stay whole, whatever the layout."""

import fcntl
import io
import os
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from collector.commands.adaptive_table import AdaptiveTable, Prose
from collector.core.candle import Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.rows import HEADER
from collector.core.spans import Spans
from collector.machine.disk import THIS_DISK
from collector.storage.ledger import open_ledger
from tests.campaign.process import command, variables
from tests.support.candles import T0
from tests.support.market import settings_for

NAME, MOMENT = "1000000BABYDOGEUSDT_240", "2024-05-11 06:00:00"
GAPS = ("series", "state", "from", "to", "candles", "tries", "last asked", "why")
ROW = (NAME, "before-listing", MOMENT, MOMENT, "1,234,567", "4", MOMENT, f"the answer of {MOMENT} leaves it out")


def drawn(what: RenderableType, width: int) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width, force_terminal=True, color_system=None).print(what)
    return [line.rstrip() for line in text.getvalue().splitlines()]


@pytest.mark.parametrize("width", [200, 160, 120, 80, 60, 40])
def test_names_numbers_and_times_are_never_cut(width: int) -> None:
    lines = drawn(AdaptiveTable(GAPS, [ROW, ROW], prose=True), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert (text.count(NAME), text.count("1,234,567"), text.count(MOMENT)) == (2, 2, 8)
    assert "…" not in text


def test_rows_are_a_table_where_it_fits_and_else_stand_by_themselves() -> None:
    assert len(drawn(AdaptiveTable(GAPS, [ROW], prose=True), 200)) == 2
    assert drawn(AdaptiveTable(("file", "out of order"), [("A", "1"), ("B", "2")]), 12) == [
        "      out",
        "      of",
        "file  order",
        "A     1",
        "B     2",
    ]
    by_itself = drawn(AdaptiveTable(("file", "out of order"), [("ABCDEF", "1")]), 12)
    assert by_itself == ["ABCDEF", "  out of", "  order 1"]


def test_what_the_exchange_sends_is_no_markup() -> None:
    assert drawn(AdaptiveTable(("symbol", "kind"), [("[bold]A", "[red]x")]), 80)[1] == "[bold]A  [red]x"


def test_prose_is_broken_between_words_and_never_within_a_moment() -> None:
    assert drawn(Prose(f"open since {MOMENT} UTC"), 24) == ["open since", f"{MOMENT} UTC"]


@pytest.mark.parametrize("columns", [80, 60])
def test_gaps_on_a_terminal_show_whole_names_and_times(tmp_path: Path, columns: int) -> None:
    settings = settings_for("http://127.0.0.1:9", tmp_path, fetch_all_symbols=True)
    series, coverage = Series("1000000BABYDOGEUSDT", timeframe("240")), CoverageIndex()
    coverage.want(series, Spans.between(T0, series.timeframe.shift(T0, 3)))
    with open_ledger(THIS_DISK, settings.data_dir, "sandbox", "linear") as ledger:
        ledger.save(coverage, {series: None})
    (settings.data_dir / series.file_name).write_bytes(HEADER)
    shown = on_a_terminal(command("gaps"), variables(settings), columns)
    assert max(map(len, shown.splitlines())) <= columns
    for whole in (series.name, "2023-11-15 00:00:00", "2023-11-15 12:00:00", "never fetched"):
        assert whole in shown


def on_a_terminal(words: list[str], environment: dict[str, str], columns: int) -> str:
    """What a command shows on a terminal that is so wide."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**environment, "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(words, env=environment, stdout=theirs, stderr=subprocess.DEVNULL, stdin=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the terminal is closed at its other end
        pass
    finally:
        os.close(ours)
        process.wait()
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode().replace("\r\n", "\n"))
