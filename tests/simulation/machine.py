"""The machine of a run: the run's clock, seeded dice, and threads that do their work at once, one after the other."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from random import Random
from typing import TypeVar

import trio

from collector.machine import Machine
from collector.machine.chance import Chance
from collector.machine.clock import LocalClock
from collector.machine.threads import Threads
from tests.simulation import virtual
from tests.simulation.disk import SimulatedDisk
from tests.simulation.mishaps import Killed
from tests.simulation.network import Network

T = TypeVar("T")
EPOCH_NS = 1_715_776_180_000_000_000  # 2024-05-15 12:29:40, where every run begins


class VirtualClock(LocalClock):
    """Clocks that go with the run's.

    `wrong_ns` is by how much the clock on the wall is wrong, and `slept_s` for how long the machine has been asleep:
    then the world went on, and the clock that only runs forward stood still.
    """

    def __init__(self) -> None:
        self._boots, self._booted_s = 1, 0.0
        self.wrong_ns = 0
        self.slept_s = 0.0
        self.asked = 0  # what the clock on the wall says

    def now_ns(self) -> int:
        self.asked += 1
        return EPOCH_NS + self.world_ns() + self.wrong_ns

    def world_s(self) -> float:
        """Seconds since the run began, for those who never sleep."""
        return virtual.elapsed_s() + self.slept_s

    def world_ns(self) -> int:
        return int(self.world_s() * 1e9)

    def elapsed_ns(self) -> int:
        return int(virtual.elapsed_s() * 1e9)

    def since_boot_s(self) -> float:
        return self.world_s() - self._booted_s

    def boot_id(self) -> str:
        return f"start {self._boots}"

    def boot(self) -> None:
        """The machine is started anew."""
        self._boots, self._booted_s = self._boots + 1, self.world_s()

    def pause(self, seconds: float) -> None:
        virtual.jump(seconds)


class SeededChance(Chance):
    """Dice that fall as the seed has it."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice

    def fraction(self) -> float:
        return self._dice.random()

    def below(self, most: int) -> int:
        return self._dice.randrange(most)

    def name(self) -> str:
        return f"{self._dice.getrandbits(64):016x}"


class InlineThreads(Threads):
    """Work that is done where it was called for, after `slow_s` seconds. Like a thread, it cannot be cancelled."""

    def __init__(self) -> None:
        self.slow_s = 0.0
        self.calls = 0
        self._waiting: dict[trio.CancelScope, None] = {}

    async def run(
        self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None, *, abandon: bool = False
    ) -> T:
        self.calls += 1
        async with limiter or nullcontext():
            with trio.CancelScope(shield=not abandon) as scope:
                self._waiting[scope] = None
                try:
                    await trio.sleep(self.slow_s)
                finally:
                    del self._waiting[scope]
            if scope.cancelled_caught:
                raise Killed
            return work()

    def run_on_each(self, work: Callable[[T], None], items: Sequence[T], at_once: int) -> None:
        for item in items:
            work(item)

    def die(self) -> None:
        """Ends the calls that are under way, without their work: the process is dead."""
        for scope in self._waiting:
            scope.cancel()


class SimulatedMachine(Machine):
    """What a collector of a run is started with, whatever process it is."""

    clock: VirtualClock
    threads: InlineThreads
    network: Network
    disk: SimulatedDisk

    def __init__(
        self,
        dice: Random,
        clock: VirtualClock,
        network: Network,
        disk: SimulatedDisk,
        threads: InlineThreads | None = None,
    ) -> None:
        threads = threads or InlineThreads()
        super().__init__(clock, SeededChance(dice), threads, network, disk)
        disk.mishaps.on_death = threads.die
