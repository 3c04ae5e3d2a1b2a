"""`python -m tests.cluster.at_address 127.0.0.2 DIRECTORY run`: the collector, as on a machine with that address.

Its connections come from the address, whose limit is kept in the directory: no other machine sees that one.
"""

import sys

import trio

from collector.__main__ import main as run
from collector.machine import THIS_MACHINE
from collector.machine.network import Network, Stream


class OneAddress(Network):
    """A network whose connections come from one address of this machine."""

    def __init__(self, address: str, directory: str) -> None:
        self._address, self._directory = address, directory

    async def connect(self, host: str, port: int) -> Stream:
        return await trio.open_tcp_stream(host, port, local_address=self._address)

    def shared_directories(self) -> tuple[str]:
        return (self._directory,)


def main() -> None:
    address, directory = sys.argv[1:3]
    del sys.argv[1:3]
    object.__setattr__(THIS_MACHINE, "network", OneAddress(address, directory))  # it is frozen
    run()


if __name__ == "__main__":
    main()
