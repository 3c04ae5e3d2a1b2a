"""How a client is measured: in a new process of its own, by what the system says that process has used."""

import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import attrs

from tests.bench.offer import Offer
from tests.bench.table import Median


@attrs.frozen
class Measured:
    """What fetching all pages took. `peak_mb` is that of the whole process, imports included."""

    pages: int
    candles: int
    seconds: float
    cpu_s: float
    peak_mb: float
    steady_rate: float = 0.0  # pages a second without the beginning and the end, where it was looked at

    @property
    def pages_s(self) -> float:
        return self.pages / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU per page, user and system."""
        return self.cpu_s / self.pages * 1000


Work = Callable[[], object]
Case = Callable[[], Work]  # gets everything ready, and returns what is timed
Client = Callable[[Offer], Measured]
There = TypeVar("There")
Result = TypeVar("Result")


def apart(client: Callable[[There], Result], offer: There, limit_s: int = 0) -> Result:
    """Runs a client in a new process.

    Raises:
        BrokenProcessPool: the process has died, or took longer than the limit, if there is one.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_limited, client, offer, limit_s).result()


def _limited(client: Callable[[There], Result], offer: There, limit_s: int) -> Result:
    signal.alarm(limit_s)
    return client(offer)


def in_turn(cases: Mapping[str, Case], times: int) -> dict[str, Median]:
    """The median time of each case in seconds; they take turns, so that what disturbs one disturbs all."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(times):
        for name, prepare in cases.items():
            work = prepare()
            began_s = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - began_s)
    return {name: Median.of(each) for name, each in taken.items()}


class Measure:
    """Measures from its making to its end."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._cpu_s = _cpu_s()
        self._began_s = time.perf_counter()

    def end(self, candles: int, steady_rate: float = 0.0) -> Measured:
        """What it took.

        Raises:
            RuntimeError: it is not the number of candles there are; a client that is wrong has no speed.
        """
        seconds, cpu_s = time.perf_counter() - self._began_s, _cpu_s() - self._cpu_s
        if candles != self._offer.candles:
            raise RuntimeError(f"{candles} candles came where {self._offer.candles} were asked for")
        return Measured(len(self._offer.windows), candles, seconds, cpu_s, peak_mb(), steady_rate)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """The kernel's own count for this program; where there is none, one that may count the parent process too."""
    status = Path("/proc/self/status")
    if status.exists():
        (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
