"""Measures the machine: the memory of this process and the space on a disk.

Tests substitute numbers here, so that a full disk needs no full disk.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import attrs
import psutil

from collector.machine.clock import LocalClock

_PROMPT_S = 0.05  # how long to wait for a result: a healthy disk takes microseconds


@attrs.frozen
class Probes:
    """The measurements; each returns at once."""

    memory_bytes: Callable[[], int]
    disk_free_bytes: Callable[[], int]
    disk_unresponsive_s: Callable[[], float] = lambda: 0.0  # the age of the pending query


def probes_of(directory: Path, clock: LocalClock) -> Probes:
    """Probes of this process and of the disk that holds a directory."""
    process, disk = psutil.Process(), DiskProbe(lambda: free_bytes(directory) or 0, clock.elapsed_s)
    return Probes(lambda: process.memory_info().rss, disk.free_bytes, disk_unresponsive_s=disk.unresponsive_s)


@attrs.define(eq=False)
class DiskProbe:
    """Free disk space, queried in a thread.

    The query may hang forever on a frozen disk or a lost network drive.
    """

    _ask: Callable[[], int]
    _now_s: Callable[[], float]
    _free: int = 0
    _asked_s: float = 0.0
    _thread: Thread | None = None

    def free_bytes(self) -> int:
        """The newest result; starts another query unless one is pending."""
        if not (self._thread and self._thread.is_alive()):
            self._asked_s = self._now_s()
            thread = Thread(target=self._measure, name="disk space", daemon=True)
            with suppress(RuntimeError):  # out of threads: keep the previous result
                thread.start()
                self._thread = thread
                thread.join(_PROMPT_S)
        return self._free

    def unresponsive_s(self) -> float:
        """The age of the pending query, or 0."""
        return self._now_s() - self._asked_s if self._thread and self._thread.is_alive() else 0.0

    def _measure(self) -> None:
        self._free = self._ask()


def free_bytes(directory: Path) -> int | None:
    """The free space on the disk of a directory.

    None where the disk does not tell.
    """
    try:
        return psutil.disk_usage(str(directory)).free
    except OSError:
        return None


def nearest_directory(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    places = (path.absolute(), *path.absolute().parents)
    return next((each for each in places if each.is_dir()), places[-1]).resolve()


def file_system_of(directory: Path) -> str:
    """The name of the file system that holds an existing directory, such as `/srv (/dev/sda1)`."""
    mounted = next((each for each in (directory, *directory.parents) if each.is_mount()), directory)
    devices: dict[str, str] = {}
    with suppress(OSError, RuntimeError):  # no /proc
        devices = {each.mountpoint: each.device for each in psutil.disk_partitions(all=True)}
    device = devices.get(str(mounted), "")
    return f"{mounted} ({device})" if device else str(mounted)
