"""The question `collector status` asks: how is the collector that owns this data directory?

The lock says whether there is one, and it answers at the socket in the directory. Who may not use that asks at the TCP
port whose address it wrote down, where the answer has to say that it is the same one. Nothing here disturbs it, and
nothing is taken from it but its report.
"""

import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from collector.errors import NoStatus, NotRunning, StorageError
from collector.machine import THIS_MACHINE
from collector.machine.disk import Disk
from collector.monitoring.endpoint import announced
from collector.monitoring.local_socket import status_socket
from collector.monitoring.report import Report, decode
from collector.storage.data_directory import lock_holder

_TIMEOUT_S = 5.0
_LONGEST = 1 << 20
_TROUBLES = (OSError, HTTPException, ValueError)


def fetch_status(disk: Disk, data_dir: Path) -> tuple[Report, bytes]:
    """What the collector on a data directory reports, and the very text of it.

    Raises:
        NotRunning: there is none.
        NoStatus: there is one, and it does not say.
        StorageError: we may not look.
    """
    unseen: StorageError | None = None
    try:
        process = lock_holder(disk, data_dir)
    except StorageError as error:  # somebody else's directory; its collector may answer all the same
        process, unseen = "unknown", error
    if process is None:
        raise NotRunning(f"no collector is running on {data_dir}")
    who = f"a collector (process {process}) is running on {data_dir}"
    try:
        return _reported(_Local(data_dir))
    except TimeoutError as error:
        raise NoStatus(f"{who} and does not answer within {_TIMEOUT_S:.0f} s{_state_of(process)}") from error
    except _TROUBLES as error:
        return _ask_port(disk, data_dir, who, error, unseen)


def _ask_port(
    disk: Disk, data_dir: Path, who: str, why: Exception, unseen: StorageError | None
) -> tuple[Report, bytes]:
    """The same at the TCP port; `why` is why not at the socket."""
    where = announced(disk, data_dir)
    if where is None and unseen:
        raise unseen
    if where is None:
        raise NoStatus(f"{who} and serves no status{_to_us(why)}")
    run, url = where
    parts = urlsplit(url)
    try:
        report, text = _reported(HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S))
    except _TROUBLES as error:
        if unseen:
            raise unseen from error
        raise NoStatus(f"{who}, and there is no status at {url}: {error}") from error
    if report.run != run:
        raise NoStatus(f"{who}, and at {url} another one answers, of process {report.pid}")
    return report, text


class _Local(HTTPConnection):
    """A connection to the socket in a data directory."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__("localhost")
        self._data_dir = data_dir

    def connect(self) -> None:
        self.sock: socket.socket = status_socket(THIS_MACHINE.network, self._data_dir).connect(_TIMEOUT_S)


def _reported(connection: HTTPConnection) -> tuple[Report, bytes]:
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        text = answer.read(_LONGEST)
        if answer.status != 200:
            raise ValueError(f"it answers with HTTP {answer.status}")
        return decode(text), text
    finally:
        connection.close()


def _to_us(why: Exception) -> str:
    """Why there is none at the socket."""
    if isinstance(why, PermissionError):
        return " at a port, and the socket is for its user and root; its log says why it has no port"
    return f": it is just starting, or its log says why ({why})"


def _state_of(process: str) -> str:
    """What the system says of a process that does not answer: perhaps it stands in a system call."""
    with suppress(psutil.Error, ValueError):
        return f"; the system calls it {psutil.Process(int(process)).status()}"
    return ""
