"""The parts of a machine together, and the real machine."""

import attrs

from collector.machine.chance import Chance
from collector.machine.clock import LocalClock
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.network import Network
from collector.machine.threads import Threads


@attrs.frozen
class Machine:
    """Clock, chance, threads, network and disk.

    The real ones by default.
    """

    clock: LocalClock = attrs.field(factory=LocalClock)
    chance: Chance = attrs.field(factory=Chance)
    threads: Threads = attrs.field(factory=Threads)
    network: Network = attrs.field(factory=Network)
    disk: Disk = THIS_DISK


THIS_MACHINE = Machine()
