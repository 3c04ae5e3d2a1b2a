"""The Unix socket in a data directory at which its collector serves its status.

It lies in `.collector/`, so that whoever knows the directory finds its own collector, and clients of the TCP port
leave its connections free. The owner of the directory binds it.
"""

from pathlib import Path

from collector.machine.local_socket import LocalSocket
from collector.machine.network import Network
from collector.machine.own_files import OWN

_NAME = "status.sock"


def status_socket(network: Network, data_dir: Path) -> LocalSocket:
    """The status socket of a data directory."""
    return network.local_socket(data_dir / OWN, _NAME)
