"""All parts of the machine together, and the real one."""

import attrs

from collector.machine.chance import Chance
from collector.machine.clock import LocalClock
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.network import Network
from collector.machine.threads import Threads


@attrs.frozen
class Machine:
    """The real one; a simulated one has other parts."""

    clock: LocalClock = attrs.field(factory=LocalClock)
    chance: Chance = attrs.field(factory=Chance)
    threads: Threads = attrs.field(factory=Threads)
    network: Network = attrs.field(factory=Network)
    disk: Disk = THIS_DISK


THIS_MACHINE = Machine()
