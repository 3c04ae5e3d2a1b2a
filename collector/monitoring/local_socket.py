"""The Unix socket in a data directory at which its collector says how it is.

It lies in `.collector/`, so that whoever knows the directory finds its own collector, and no peer of the TCP port takes
a place at it. The owner of the directory binds it.
"""

from pathlib import Path

from collector.machine.local_socket import LocalSocket
from collector.machine.network import Network
from collector.storage.data_directory import OWN

_NAME = "status.sock"


def status_socket(network: Network, data_dir: Path) -> LocalSocket:
    """Where the collector of a data directory answers."""
    return network.local_socket(data_dir / OWN, _NAME)
