"""Makes a process repeatable: one virtual clock, seeded dice, tasks in a fixed order, and worker threads run inline.

Import this before anything of the collector: modules bind `time.monotonic` when they are imported. A process that was
made virtual stays so; it simulates, and does nothing else.
"""

import os
import random
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import trio
import trio._core._mock_clock as trio_clock
import trio._core._run as trio_run
import trio.testing

real_s = time.perf_counter
EPOCH_NS = 1_715_776_180_000_000_000  # 2024-05-15 12:29:40, where every run begins


class _Run:
    """The run that is under way: its clock, and how long each call in a thread takes."""

    clock: trio.testing.MockClock | None = None
    thread_s: float = 0.0
    calls: int = 0  # of threads


now = _Run()


def virtual_s() -> float:
    """Seconds since the run began."""
    return now.clock.current_time() if now.clock else 0.0


def install() -> None:
    """Puts virtual time and inline threads in the place of the real ones, for the rest of the process."""
    time.monotonic = virtual_s
    time.monotonic_ns = lambda: int(virtual_s() * 1e9)
    time.time_ns = lambda: EPOCH_NS + int(virtual_s() * 1e9)
    time.time = lambda: time.time_ns() / 1e9
    trio_clock.time = SimpleNamespace(perf_counter=real_s)  # type: ignore[assignment, attr-defined]  # it needs the real one
    time.perf_counter = virtual_s
    time.clock_gettime = lambda _: virtual_s()
    trio.to_thread.run_sync = _inline  # type: ignore[assignment]
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]


def run(main: Callable[..., Any], seed: int, *args: Any) -> Any:
    """Runs an async function as `trio.run` does, repeatably."""
    now.clock, now.thread_s, now.calls = trio.testing.MockClock(autojump_threshold=0), 0.0, 0
    dice = random.Random(seed)
    trio_run._r.seed(seed)
    random.seed(seed)
    os.urandom = dice.randbytes
    return trio.run(main, *args, clock=now.clock)


async def _inline(work: Callable[..., Any], *args: Any, **_: Any) -> Any:
    now.calls += 1
    await trio.sleep(now.thread_s)
    return work(*args)
