"""A disk that freezes in the middle of a system call: nothing but the writer stands, and whoever asks is told at what.

The disk stands on an event; the threshold is a tenth of a second instead of half a minute.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from collector.machine import THIS_MACHINE
from collector.machine.disk import THIS_DISK
from collector.monitoring import health, monitor
from collector.monitoring.probes import DiskProbe
from collector.pipeline import draining, startup
from collector.storage.csv_store import Store
from collector.storage.files import Files
from collector.storage.ledger import Ledger
from tests.end_to_end.test_status import Machine, collecting, fast_box, is_up_to_date, settings_for_status
from tests.support.disks import FreezingDisk, store_on
from tests.support.live_market import wrongs
from tests.support.market import until


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[FreezingDisk]:
    """The disk of the next collector; it thaws at the end, or the threads that stand would not end."""
    monkeypatch.setattr(monitor, "_INTERVAL_S", 0.02)
    monkeypatch.setattr(health, "STUCK_S", 0.1)
    disk = FreezingDisk()
    monkeypatch.setattr(startup, "Store", store_on(disk))
    for owner, name in ((Ledger, "save"), (Store, "open")):
        monkeypatch.setattr(owner, name, _standing(disk, name, getattr(owner, name)))
    yield disk
    disk.thaw()


def _standing(disk: FreezingDisk, name: str, call: object) -> object:
    def called(*arguments: object) -> object:
        disk.reach(name)
        return call(*arguments)  # type: ignore[operator]

    return called


@pytest.mark.parametrize(
    ("call", "at"),
    [("write", "appending to BTCUSDT_"), ("sync", "syncing "), ("save", "saving ledger.db")],
)
async def test_a_writer_that_hangs_while_live_is_told_and_heals(
    tmp_path: Path, disk: FreezingDisk, call: str, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.pipeline.flush_queue._SAVE_AFTER_S", 0.1)
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path, symbols=["BTCUSDT"])
        async with collecting(settings) as run:
            await run.is_so(is_up_to_date)
            disk.at = call
            try:
                report = await run.is_so(lambda report: report.state == "degraded")
                answer = await run.get("/healthz")
            finally:
                disk.at = ""
                disk.thaw()
            await run.is_so(lambda report: report.state == "healthy")
    assert report.reasons[0].startswith(f"the writer is stuck: {at}")
    assert " since 20" in report.reasons[0]
    assert (answer.status_code, "the writer is stuck: " in answer.text) == (503, True)
    assert wrongs(box, settings, late=99) == []


@pytest.mark.parametrize(
    ("call", "at"), [("open", "opening BTCUSDT_1.csv"), ("rename", "rewriting "), ("write", "appending to ")]
)
async def test_a_writer_that_hangs_at_the_start_is_told(tmp_path: Path, disk: FreezingDisk, call: str, at: str) -> None:
    async with fast_box() as box:
        # Without the stream: a candle of it that is in a page too makes of the first append a copy.
        settings = attrs.evolve(settings_for_status(box, tmp_path), enable_websocket=False)
        if call == "rename":  # a deeper history goes in with a copy
            async with collecting(settings) as run:
                await run.is_so(is_up_to_date)
            settings = attrs.evolve(settings, days_to_fetch=2)
        disk.at = call
        async with collecting(settings) as run:
            try:
                report = await run.is_so(lambda report: report.state == "degraded")
            finally:
                disk.thaw()
    assert report.reasons[0].startswith(f"the writer is stuck: {at}")


async def test_an_end_that_waits_for_the_disk_says_at_what(
    tmp_path: Path, disk: FreezingDisk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(draining, "_DRAIN_S", 0.1)
    async with (
        fast_box() as box,
        trio.open_nursery() as nursery,
        collecting(settings_for_status(box, tmp_path)) as run,
    ):
        await run.is_so(is_up_to_date)
        disk.at = "sync"
        with trio.fail_after(20):
            await until(disk.frozen.is_set)
        nursery.start_soon(_thaw_when, disk, lambda: "the end waits for the disk" in caplog.text)
    assert "the end waits for the disk at='syncing " in caplog.text


async def _thaw_when(disk: FreezingDisk, condition: Callable[[], bool]) -> None:
    with trio.move_on_after(20):
        await until(condition)
    disk.at = ""
    disk.thaw()


async def test_a_disk_that_does_not_say_its_space_is_told(tmp_path: Path, disk: FreezingDisk) -> None:
    def ask() -> int:
        disk.reach("statvfs")
        return 9_000_000_000

    probe, seen = DiskProbe(ask, THIS_MACHINE.clock.elapsed_s), Machine().probes
    seen = attrs.evolve(seen, disk_free_bytes=probe.free_bytes, disk_unresponsive_s=probe.unresponsive_s)
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path)
        async with collecting(settings, probes=seen) as run:
            before = await run.is_so(is_up_to_date)
            disk.at = "statvfs"
            report = await run.is_so(lambda report: report.state == "degraded")
    assert before.state == "healthy"
    assert report.machine.disk_free_bytes == 9_000_000_000
    assert report.reasons[0].startswith("the disk does not say how much space it has since 20")


def test_every_part_of_a_rewritten_file_counts_as_progress(tmp_path: Path) -> None:
    files = Files(THIS_DISK)
    files.replace(tmp_path / "file", [b"a", b"b", b"c"])
    assert files.parts == 3
