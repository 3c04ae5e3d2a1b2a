"""The disk thread: one call at a time, and what it is doing can be read at any moment."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from collector.machine.threads import Threads
from collector.pipeline.disk_thread import DiskThread

T = TypeVar("T")
ONE, TWO = Path("/data/BTCUSDT_1.csv"), Path("/data/ETHUSDT_1.csv")


class _Slow(Threads):
    """Threads in which every work takes a second; it is done at its end."""

    async def run(
        self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None, *, abandon: bool = False
    ) -> T:
        assert limiter
        async with limiter:
            await trio.sleep(1)
            return work()


async def test_calls_take_turns_and_each_is_described_in_its_own(autojump_clock: MockClock) -> None:
    thread, seen = DiskThread(_Slow()), list[tuple[str, float]]()

    def look() -> None:
        seen.append((thread.at, trio.current_time()))

    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(thread.run, "sync", ONE, look))
        await trio.lowlevel.checkpoint()
        nursery.start_soon(partial(thread.run, "append", TWO, look))
    assert seen == [("sync BTCUSDT_1.csv", began_s + 1), ("append ETHUSDT_1.csv", began_s + 2)]
    assert thread.at == ""


async def test_what_work_returns_is_passed_on_and_its_steps_are_counted() -> None:
    thread, seen = DiskThread(Threads()), list[str]()

    def work() -> int:
        thread.step("write", TWO)
        seen.append(thread.at)
        return 5

    assert thread.begun == 0
    assert await thread.run("open", ONE, work) == 5
    assert (seen, thread.at, thread.begun) == (["write ETHUSDT_1.csv"], "", 2)


async def test_after_an_error_it_is_idle() -> None:
    thread = DiskThread(Threads())

    def work() -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await thread.run("sync", ONE, work)
    assert thread.at == ""
