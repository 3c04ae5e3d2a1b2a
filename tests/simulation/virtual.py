"""Makes what is not ours repeatable: trio, and the random bytes that the WebSocket library draws for itself.

All of our own that may differ between two runs comes from the machine (see `machine`); nothing of the collector or the
sandbox is replaced here. A process that was made virtual stays so; it simulates, and does nothing else.
"""

import math
import os
import random
import time
from collections.abc import Callable
from typing import Any

import trio
import trio._core._run as trio_run
from trio._core._io_epoll import EpollIOManager

real_s = time.perf_counter


class _Clock(trio.abc.Clock):
    """Time goes on when all wait for it: at once to the moment at which the first of them wants to go on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def start_clock(self) -> None:
        """It runs since it was made."""

    def current_time(self) -> float:
        return self.now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Asked only when nobody can go on: nothing but time can change that, for there is nothing outside."""
        if deadline == math.inf:
            return 1.0  # nobody waits for a moment: whoever looks on from outside will see that it hangs
        self.now_s = max(self.now_s, deadline)
        return 0.0


class _NothingOutside(EpollIOManager):
    """Asks the kernel for news only when a run hangs: all that happens in one comes from within."""

    def get_events(self, timeout: float) -> Any:
        return super().get_events(timeout) if timeout else []


class _Run:
    """The run that is under way."""

    clock: _Clock | None = None


_now = _Run()


def elapsed_s() -> float:
    """Seconds since the run began."""
    return _now.clock.now_s if _now.clock else 0.0


def jump(seconds: float) -> None:
    """Time passes while everybody waits for one."""
    if _now.clock:
        _now.clock.now_s += seconds


def run(main: Callable[..., Any], seed: int, *args: Any) -> Any:
    """Runs an async function as `trio.run` does, repeatably."""
    _now.clock = _Clock()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run.TheIOManager = _NothingOutside  # type: ignore[attr-defined]
    trio_run._r.seed(seed)  # which of the tasks that may run goes first
    random.seed(seed)
    os.urandom = random.Random(seed).randbytes  # the masks and keys of WebSockets
    return trio.run(main, *args, clock=_now.clock)
