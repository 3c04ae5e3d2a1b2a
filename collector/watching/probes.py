"""How the machine is measured: the memory of this process, the space on a disk, and the local clock.

The one place that looks, so that a test can put other numbers in its place: no disk need be full for it.
"""

import time
from collections.abc import Callable
from pathlib import Path

import attrs
import psutil


@attrs.frozen
class Probes:
    """What can be measured; every one of them answers at once."""

    memory_bytes: Callable[[], int]
    disk_free_bytes: Callable[[], int]
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000


def probes_of(directory: Path) -> Probes:
    """This process, and the disk a directory is on."""
    process = psutil.Process()
    return Probes(lambda: process.memory_info().rss, lambda: _free_bytes(directory))


def _free_bytes(directory: Path) -> int:
    try:
        return psutil.disk_usage(str(directory)).free
    except OSError:  # a disk that cannot be asked has no space for us; writing to it will say what is wrong
        return 0
