"""How the machine is measured: the memory of this process, and the space on a disk.

The one place that looks, so that a test can put other numbers in its place: no disk need be full for it.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import attrs
import psutil

from collector.machine.clock import LocalClock

_PROMPT_S = 0.05  # a disk takes microseconds


@attrs.frozen
class Probes:
    """What can be measured; every one of them answers at once."""

    memory_bytes: Callable[[], int]
    disk_free_bytes: Callable[[], int]
    disk_deaf_s: Callable[[], float] = lambda: 0.0  # how long the disk has not said how much space it has


def probes_of(directory: Path, clock: LocalClock) -> Probes:
    """This process, and the disk a directory is on."""
    process, disk = psutil.Process(), DiskProbe(lambda: _free_bytes(directory), clock.elapsed_s)
    return Probes(lambda: process.memory_info().rss, disk.free_bytes, disk_deaf_s=disk.deaf_s)


@attrs.define(eq=False)
class DiskProbe:
    """The space on a disk, asked for in a thread: a disk that is frozen, or a network drive that is gone, may never
    answer."""

    _ask: Callable[[], int]
    _now_s: Callable[[], float]
    _free: int = 0
    _asked_s: float = 0.0
    _asking: Thread | None = None

    def free_bytes(self) -> int:
        """The newest answer; asks again unless that is under way."""
        if not (self._asking and self._asking.is_alive()):
            self._asked_s = self._now_s()
            thread = Thread(target=self._measure, name="disk space", daemon=True)
            with suppress(RuntimeError):  # no more threads can be had: the answer from before will do
                thread.start()
                self._asking = thread
                thread.join(_PROMPT_S)
        return self._free

    def deaf_s(self) -> float:
        """How long the question under way has had no answer."""
        return self._now_s() - self._asked_s if self._asking and self._asking.is_alive() else 0.0

    def _measure(self) -> None:
        self._free = self._ask()


def _free_bytes(directory: Path) -> int:
    try:
        return psutil.disk_usage(str(directory)).free
    except OSError:  # a disk that cannot be asked has no space for us; writing to it will say what is wrong
        return 0
