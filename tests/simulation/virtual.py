"""Makes what is not ours repeatable: trio, and the random bytes that the WebSocket library draws for itself.

All of our own that may differ between two runs comes from the machine (see `machine`); nothing of the collector or the
sandbox is replaced here. A process that was made virtual stays so; it simulates, and does nothing else.
"""

import os
import random
import time
from collections.abc import Callable
from typing import Any

import trio
import trio._core._run as trio_run
import trio.testing

real_s = time.perf_counter


class _Run:
    """The run that is under way."""

    clock: trio.testing.MockClock | None = None


_now = _Run()


def elapsed_s() -> float:
    """Seconds since the run began."""
    return _now.clock.current_time() if _now.clock else 0.0


def jump(seconds: float) -> None:
    """Time passes while everybody waits for one."""
    if _now.clock:
        _now.clock.jump(seconds)


def run(main: Callable[..., Any], seed: int, *args: Any) -> Any:
    """Runs an async function as `trio.run` does, repeatably."""
    _now.clock = trio.testing.MockClock(autojump_threshold=0)  # time goes on when all wait for it
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.seed(seed)  # which of the tasks that may run goes first
    random.seed(seed)
    os.urandom = random.Random(seed).randbytes  # the masks and keys of WebSockets
    return trio.run(main, *args, clock=_now.clock)
