"""The commands `run` and `fetch` as processes: signals, waiting, a ban across a kill."""

import fcntl
import os
import signal
import socket
import subprocess
import termios
from functools import partial
from pathlib import Path

import pytest
import trio

from collector.commands.signals import until_signal
from collector.core.candle import MINUTE_MS
from collector.pipeline.outcome import Outcome
from collector.sandbox import Faults, Limits, Sandbox, open_sandbox
from collector.settings.settings import Settings
from tests.campaign.counting import hang_bell
from tests.campaign.process import command, heard, open_collector, variables
from tests.campaign.truth import asked_spans, differences, foreign_rows, held_spans, series_of, truth_of, whole_lines
from tests.commands.command_line import PATIENCE_S, Command, complaints
from tests.support.market import fetch, market, served, settings_for, until

_BAN_S = 3  # the exchange's is ten minutes


def has_newest(box: Sandbox, settings: Settings) -> bool:
    (series,) = series_of(settings)
    return whole_lines(settings.data_dir / f"{series}.csv")[-1:] == truth_of(box, settings, series).splitlines()[-1:]


async def test_run_keeps_up_with_the_exchange_until_a_signal_ends_it_with_status_0(tmp_path: Path) -> None:
    async with open_sandbox(market(start_time="2024-05-15T12:30:58")) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1"], days_to_fetch=2)
        async with open_collector(settings, "run") as process:
            with trio.fail_after(PATIENCE_S):
                await until(partial(has_newest, box, settings))
                box.clock.advance(10 * MINUTE_MS)
                await until(partial(has_newest, box, settings))
                process.send_signal(signal.SIGTERM)
                said = await heard(process)
                assert await process.wait() == 0
        assert "Traceback" not in said
        assert "nothing wanted is missing" in complaints(said)
        first_ms = held_spans(settings, series_of(settings)[0]).bounds.start_ms
        true = box.truth("BTCUSDT", "1", first_ms, box.clock.now_ms())
        assert (settings.data_dir / "BTCUSDT_1.csv").read_bytes() == true


async def test_run_waits_for_an_exchange_that_is_not_there_yet(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    settings = settings_for(f"http://127.0.0.1:{port}", tmp_path, bulk_max_retries=1)
    async with open_collector(settings, "run") as process:
        with trio.fail_after(PATIENCE_S):
            await heard(process, "cannot be reached")
            async with open_sandbox(market(), port=port) as box:
                await until(partial(has_newest, box, settings))
                process.send_signal(signal.SIGTERM)
                await heard(process)
                assert await process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_lets_fetch_write_what_it_has_and_the_next_start_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    exchange = market()
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1"], days_to_fetch=12, bulk_batch_size=2)
        async with open_collector(settings, "fetch") as process:
            with trio.fail_after(PATIENCE_S):
                await bell.reached(9)
                box.faults = Faults(latency_ms=60_000)  # nothing more comes before the signal does
                process.send_signal(number)
                said = await heard(process)
                assert await process.wait() == 130
        assert "Traceback" not in said
        assert any(line.startswith("still missing: ") for line in complaints(said))
        assert foreign_rows(box, settings) == []
        held = held_spans(settings, series_of(settings)[0])
        assert held
        box.counts.clear()
        box.faults = Faults()
        assert (await fetch(settings)).complete
        assert not asked_spans(box, series_of(settings)[0]) & held
        assert differences(box, settings) == []


def in_a_window() -> None:
    """In a new process that leads its session: stdin is the terminal it belongs to."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_window_that_is_closed_ends_run_with_status_0(tmp_path: Path) -> None:
    window, terminal = os.openpty()
    with served(market(rate=1)) as box:
        settings = settings_for(box.url, tmp_path)
        process = subprocess.Popen(
            command("run"),
            env=variables(settings),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=in_a_window,
        )
        os.close(terminal)
        while not (settings.data_dir / "BTCUSDT_60.csv").exists():
            os.read(window, 4096)  # the display, which never stands still
        os.close(window)
        try:
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()
    assert "signal" in (settings.logs_dir / "collector.log").read_text()


async def test_a_second_signal_ends_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    async def deaf(*, stop: trio.Event) -> Outcome:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep_forever()
        raise AssertionError

    with trio.fail_after(PATIENCE_S), pytest.raises(KeyboardInterrupt):
        await until_signal(deaf)


def test_a_ban_is_waited_out_across_a_kill_and_a_new_start(say: Command, tmp_path: Path) -> None:
    with served(market(faults=Faults(ban_after=6), limits=Limits(ban_s=_BAN_S))) as box:
        # One request at a time: what is on its way when the ban is spoken cannot be called back.
        settings = settings_for(box.url, tmp_path, timeframes=["1"], ban_wait_s=_BAN_S, bulk_batch_size=1)
        with subprocess.Popen(command("fetch"), env=variables(settings), stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert any("rate ban" in line for line in process.stderr)
            process.kill()
        status, _, err = say(settings, "fetch")  # here, since the ban would be over before a process has started
        assert status == 0
        assert "a rate ban or block from before is still on" in err
        assert box.counts.by_outcome["rate_ban"] == 1
        assert box.counts.during_ban == 0
        assert differences(box, settings) == []
