"""A run as people hear it: from its start over a cut connection to its summary, each event once."""

import os
import re
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from collector.core.candle import MINUTE_MS
from collector.sandbox import Sandbox, open_sandbox
from collector.settings.settings import Settings
from tests.campaign.process import command, heard, open_collector, variables
from tests.commands.command_line import PATIENCE_S, Command, complaints
from tests.support.market import market, served, settings_for, until


def lines(settings: Settings) -> int:
    path = settings.data_dir / "BTCUSDT_1.csv"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


async def cut_and_miss_candles(box: Sandbox, settings: Settings) -> None:
    """Cuts the connection, lets three candles close, and waits until they are stored."""
    before = lines(settings)
    box.cut_connections()
    box.clock.advance(3 * MINUTE_MS)
    await until(lambda: lines(settings) >= before + 3)


async def test_a_run_says_what_it_does_from_start_to_summary(tmp_path: Path) -> None:
    async with open_sandbox(market(start_time="2024-05-15T12:30:58")) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1"], days_to_fetch=2)
        async with open_collector(settings, "run") as process:
            with trio.fail_after(PATIENCE_S):
                said = await heard(process, "history complete")
                await cut_and_miss_candles(box, settings)
                said += await heard(process, "reconnected")
                process.send_signal(signal.SIGTERM)
                said += await heard(process)
    for once in (
        rf"collector \S+ started settings=\S+ data_dir={settings.data_dir} logs_dir={settings.logs_dir}",
        r"collecting 1 series of 1 symbol in 1, linear at sandbox: 2 days from 2024-05-13 on, then live",
        r"history complete: 2,880 candles, \d+ requests?, [\d.]+ s",
        r"streaming 1 series over 1 connection",
        r"connection lost topics=1 ",
        r"reconnected, \d+ candles? caught up after [\d.]+ s",
    ):
        assert len(re.findall(once, said)) == 1, once
    assert "first candle found" not in said
    summary = complaints(said)
    assert re.fullmatch(r"2,88\d candles of 1 series in [\d.]+ s", summary[0])
    assert summary[1].startswith("  history:  2,88")
    assert re.fullmatch(r"  live:     \d candles? over 1 connection, 1 reconnect", summary[2])
    assert not any(line.startswith("collector:") for line in said.splitlines())


def test_quiet_says_nothing_of_a_run_that_goes_well(say: Command, tmp_path: Path) -> None:
    with served(market()) as box:
        status, _, err = say(settings_for(box.url, tmp_path), "fetch", "--quiet")
    assert (status, err) == (0, "")


@pytest.mark.parametrize("width", [80, pytest.param(160, marks=pytest.mark.slow)])
def test_a_terminal_shows_the_stream_in_lines_that_fit(tmp_path: Path, width: int) -> None:
    with served(market(rate=1)) as box:
        settings = settings_for(box.url, tmp_path)
        window, terminal = os.openpty()
        environment = variables(settings) | {"COLUMNS": str(width), "LINES": "24", "TERM": "xterm-256color"}
        process = subprocess.Popen(command("run"), env=environment, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        read = partial(os.read, window, 4096)
        shown = b""
        while "over 1 connection · next close".encode() not in shown:
            shown += read()
        process.send_signal(signal.SIGINT)
        while b"nothing wanted is missing" not in shown:
            shown += read()
        assert process.wait(PATIENCE_S) == 0
        os.close(window)
    text = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", shown.decode())
    assert "1 series over 1 connection · next close " in text
    words = [line.strip() for line in re.split(r"[\r\n]+", text) if len(line) > width]
    assert not any(" " in word for word in words)  # a path alone may be longer
