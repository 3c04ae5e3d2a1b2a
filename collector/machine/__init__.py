"""The machine a collector runs on: time, chance, threads, network and disk. Whoever starts one hands it a machine.

Nothing else in the package asks the operating system for any of these, so a simulation that passes a machine of its own
decides all that can differ between two runs. Each part goes to those who need it, from the top down, and stays the same
for as long as they live.
"""

import attrs

from collector.machine.chance import Chance
from collector.machine.clock import LocalClock
from collector.machine.disk import Disk
from collector.machine.network import Network
from collector.machine.threads import Threads


@attrs.frozen
class Machine:
    """The real one; a simulated one has other parts."""

    clock: LocalClock = attrs.field(factory=LocalClock)
    chance: Chance = attrs.field(factory=Chance)
    threads: Threads = attrs.field(factory=Threads)
    network: Network = attrs.field(factory=Network)
    disk: Disk = attrs.field(factory=Disk)


THIS_MACHINE = Machine()
