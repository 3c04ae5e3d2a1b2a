"""The command `demo`."""

import io
import subprocess
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
from rich.console import Console

from collector.bybit.exchange_state import RestState
from collector.commands.demo import _Director
from collector.commands.story import Story
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.sandbox import Sandbox
from tests.campaign.process import command


async def test_rows_of_the_stream_are_no_history(autojump_clock: trio.testing.MockClock) -> None:
    """A minute may close before the first page is asked for."""
    told, no_box = io.StringIO(), cast("Sandbox", None)
    counters, director = Counters(rows=1, streamed=1), _Director(no_box, Story(Console(file=told)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(director.direct, counters, CoverageIndex(), RestState())
        await trio.sleep(1)
        assert told.getvalue() == ""
        counters.rows = 2
        await trio.sleep(1)
        assert "history complete: 1 candle" in told.getvalue()
        nursery.cancel_scope.cancel()


async def test_a_story_that_does_not_get_on_is_left(autojump_clock: trio.testing.MockClock) -> None:
    """It need not have begun: a start waits for a disk that is full."""
    told = io.StringIO()
    director = _Director(cast("Sandbox", None), Story(Console(file=told)))
    await director.limit()
    assert director.stop.is_set()
    assert "not done within 40 s" in told.getvalue()


@pytest.mark.slow
def test_the_demo_finds_every_file_equal(tmp_path: Path) -> None:
    ended = subprocess.run(
        command("demo", "--data-dir", str(tmp_path)), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0
    assert ended.stderr.count("equal to the exchange, byte for byte") == 12
    assert "✗" not in ended.stderr
    for promise in ("errors healed", "a rate ban waited out", "the connection was cut and is back", "every one kept"):
        assert promise in ended.stderr
    assert "7 candles on record as missing: this exchange hides them on purpose" in ended.stderr
