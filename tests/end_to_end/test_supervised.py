"""A process of its own under a service manager: what it tells the socket from its start to its end.

The manager is a datagram socket in a directory; the exchange is one in a box. The watchdog's interval is less than a
second, so that starving it does not take long.
"""

import errno
import os
import signal
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from collector.machine import Machine
from collector.machine.disk import Disk
from collector.monitoring.sd_notify import NotifySocket
from collector.pipeline.service import ServeOptions, serve
from collector.sandbox import open_sandbox
from collector.settings.settings import Settings
from tests.campaign.process import heard, opened, variables
from tests.campaign.truth import whole_lines
from tests.support.market import fetch, market, settings_for, until

_PATIENCE_S = 20  # for something that takes a second; only a defect waits so long
_WATCHDOG_S = 0.6
_FROM_THE_FILE = ("symbols", "fetch_all_symbols", "days_to_fetch", "mode")


@attrs.define
class Manager:
    """The service manager's end of the socket, and everything it was told."""

    socket: trio.socket.SocketType
    told: list[str] = attrs.field(factory=list)

    async def hears(self, *words: str) -> None:
        """Returns when it has been told lines that begin with these words, in this order, since the last time."""
        for word in words:
            while not (line := await self.next_line()).startswith(word):
                pass
            assert line.startswith(word)

    async def next_line(self) -> str:
        if not self.told:
            self.told += (await self.socket.recv(4096)).decode().splitlines()
        return self.told.pop(0)


@asynccontextmanager
async def supervised(
    settings: Settings, address: Path, file: Path | None = None
) -> AsyncIterator[tuple[trio.Process, Manager]]:
    """A collector that runs, and the manager it talks to. With a file, some of the settings are read from there."""
    environment = variables(settings)
    environment |= {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": str(int(_WATCHDOG_S * 1e6))}
    options = ["--settings", str(file)] if file else []
    for key in _FROM_THE_FILE if file else ():
        del environment[f"COLLECTOR_{key.upper()}"]
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(str(address))
        alone = {"start_new_session": True}  # as under a service manager, there is no terminal
        async with opened(["run", *options], environment, stderr=subprocess.PIPE, **alone) as process:
            yield process, Manager(socket)


async def rows_are(settings: Settings, name: str, at_least: int) -> None:
    path = settings.data_dir / f"{name}.csv"
    await until(lambda: path.exists() and len(whole_lines(path)) > at_least)


async def test_start_readiness_watchdog_reload_and_stop_are_told(tmp_path: Path) -> None:
    with trio.fail_after(_PATIENCE_S):
        file = tmp_path / "settings.ini"
        file.write_text("[collection]\nsymbols = BTCUSDT\nfetch_all_symbols = false\ndays_to_fetch = 2\n")
        async with open_sandbox(market()) as box:
            settings = settings_for(box.url, tmp_path)
            async with supervised(settings, tmp_path / "notify", file) as (process, manager):
                await manager.hears("EXTEND_TIMEOUT_USEC=", "READY=1", "WATCHDOG=1", "STATUS=", "WATCHDOG=1")
                await rows_are(settings, "BTCUSDT_60", 48)
                assert not (settings.data_dir / "ETHUSDT_60.csv").exists()

                file.write_text("[collection]\nsymbols = ETHUSDT BTCUSDT\ndays_to_fetch = 3\nmode = live\n")
                process.send_signal(signal.SIGHUP)
                await manager.hears("RELOADING=1", "MONOTONIC_USEC=", "READY=1", "WATCHDOG=1")

                process.send_signal(signal.SIGTERM)
                await manager.hears("STOPPING=1")
                said = await heard(process)
                assert await process.wait() == 0
        assert "Traceback" not in said
        assert "settings that need a restart keys=mode" in said
        assert "days_to_fetch=3" in said


async def test_symbols_and_days_that_are_added_are_collected_and_wrong_settings_change_nothing(tmp_path: Path) -> None:
    with trio.fail_after(_PATIENCE_S):
        file = tmp_path / "settings.ini"
        listed = "[collection]\nfetch_all_symbols = false\n"
        file.write_text(f"{listed}symbols = BTCUSDT\ndays_to_fetch = 2\n")
        async with open_sandbox(market()) as box:
            settings = settings_for(box.url, tmp_path)
            async with supervised(settings, tmp_path / "notify", file) as (process, manager):
                await manager.hears("READY=1")
                await rows_are(settings, "BTCUSDT_60", 48)

                file.write_text(f"{listed}symbols = BTCUSDT\ndays_to_fetch = many\nmode = half\n")
                process.send_signal(signal.SIGHUP)
                await manager.hears("RELOADING=1", "READY=1")
                said = await heard(process, "'half'")

                file.write_text(f"{listed}symbols = BTCUSDT, ETHUSDT, NOSUCHUSDT\ndays_to_fetch = 3\n")
                process.send_signal(signal.SIGHUP)
                await rows_are(settings, "BTCUSDT_60", 72)
                await rows_are(settings, "ETHUSDT_60", 72)
                await until(lambda: box.counts.stream.topics == 2)
                process.send_signal(signal.SIGTERM)
                said += await heard(process)
                assert await process.wait() == 0
        assert "Traceback" not in said
        assert said.count("settings are wrong, going on with the old ones") == 2
        assert "does not trade here symbol=NOSUCHUSDT" in said


async def test_an_exchange_that_is_down_keeps_us_starting_and_not_failing(tmp_path: Path) -> None:
    with trio.fail_after(_PATIENCE_S):
        settings = settings_for("http://127.0.0.1:9", tmp_path, bulk_max_retries=1)
        async with supervised(settings, tmp_path / "notify") as (_, manager):
            lines = [await manager.next_line() for _ in range(4)]
        assert {line.partition("=")[0] for line in lines} == {"EXTEND_TIMEOUT_USEC", "STATUS"}
        assert any("starting" in line for line in lines)


class _RefusingDisk(Disk):
    """A disk on which nothing can be made."""

    def make_directory(self, path: Path, mode: int = 0o755) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


async def test_a_stop_before_the_disk_is_ready_is_told(tmp_path: Path) -> None:
    address, stop = tmp_path / "notify", trio.Event()
    notify = NotifySocket(str(address))
    with trio.fail_after(_PATIENCE_S), trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(str(address))
        manager, settings = Manager(socket), settings_for("http://127.0.0.1:9", tmp_path)
        options = ServeOptions(stop=stop, notify=notify, machine=Machine(disk=_RefusingDisk()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve, settings, once=False, options=options))
            await manager.hears("EXTEND_TIMEOUT_USEC=", "STATUS=starting: degraded: ")
            stop.set()
            await manager.hears("STOPPING=1")


class _FailingDisk(Disk):
    """A disk that cannot read candle files."""

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        if Path(path).suffix == ".csv":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().open(path, flags, mode, within)


@pytest.mark.parametrize("limited", [False, True])
async def test_a_disk_that_fails_when_files_are_opened_is_waited_for(tmp_path: Path, limited: bool) -> None:
    address, stop = tmp_path / "notify", trio.Event()
    notify = NotifySocket(str(address))
    with trio.fail_after(_PATIENCE_S), trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(str(address))
        async with open_sandbox(market()) as box:
            manager, settings = Manager(socket), settings_for(box.url, tmp_path, limit_to_50_entries=limited)
            await fetch(settings)
            options = ServeOptions(stop=stop, notify=notify, machine=Machine(disk=_FailingDisk()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(serve, settings, once=False, options=options))
                await manager.hears("STATUS=starting: degraded: ")
                stop.set()
                await manager.hears("STOPPING=1")


async def test_a_writer_that_is_stuck_starves_the_watchdog(tmp_path: Path) -> None:
    with trio.fail_after(_PATIENCE_S):
        async with open_sandbox(market()) as box:
            settings = settings_for(box.url, tmp_path, flush_interval_s=1)  # one page, one append
            async with supervised(settings, tmp_path / "notify") as (process, manager):
                await manager.hears("READY=1", "WATCHDOG=1")
                path = settings.data_dir / "BTCUSDT_60.csv"
                await until(lambda: path.exists() and path.stat().st_size > 0)
                os.mkfifo(tmp_path / "fifo")
                (tmp_path / "fifo").rename(path)  # whoever opens it to sync it waits for ever
                await manager.hears("STATUS=the writer is stuck")
                lines: list[str] = []
                with trio.move_on_after(2 * _WATCHDOG_S):
                    while True:
                        lines.append(await manager.next_line())
                assert "WATCHDOG=1" not in lines
                process.send_signal(signal.SIGABRT)  # what the manager does then
                said = await heard(process)
                assert await process.wait() == -signal.SIGABRT
        assert "the writer is stuck" in said
        assert "File" in said  # where it was
        assert stat.S_ISFIFO(path.stat().st_mode)
