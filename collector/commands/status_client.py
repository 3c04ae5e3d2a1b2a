"""The client of a running collector's status.

The lock names the process that owns a data directory. It answers at the Unix socket in the directory; other users, who
may not open the socket, use the TCP port it announced. The run id in that answer must be the announced one, because
the port may belong to another collector by now.
"""

import os
import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from collector.core.errors import NoStatus, NotRunning, StorageError
from collector.machine import THIS_MACHINE
from collector.machine.disk import Disk
from collector.monitoring.announcement import announced
from collector.monitoring.local_socket import status_socket
from collector.monitoring.report import Report, decode
from collector.page.access import token_in
from collector.storage.data_directory import lock_holder

_TIMEOUT_S = 5.0
_MAX_BYTES = 1 << 20
_ERRORS = (OSError, HTTPException, ValueError)


def fetch_status(disk: Disk, data_dir: Path) -> tuple[Report, bytes]:
    """Return the report of the collector that owns a data directory, decoded and as JSON text.

    Raises:
        NotRunning: the directory has no owner.
        NoStatus: the owner gives no report.
        StorageError: the directory may not be read.
    """
    lock_error: StorageError | None = None
    try:
        process = lock_holder(disk, data_dir)
    except StorageError as error:  # another user's directory; its collector may answer at the port
        process, lock_error = "unknown", error
    if process is None:
        raise NotRunning(f"no collector is running on {data_dir}")
    who = f"a collector (process {process}) is running on {data_dir}"
    try:
        return _request(_SocketConnection(data_dir))
    except TimeoutError as error:
        raise NoStatus(f"{who} and does not answer within {_TIMEOUT_S:.0f} s{_process_state(process)}") from error
    except _ERRORS as error:
        return _fetch_at_port(disk, data_dir, who, error, lock_error)


def _fetch_at_port(
    disk: Disk, data_dir: Path, who: str, why: Exception, lock_error: StorageError | None
) -> tuple[Report, bytes]:
    """Fetch the report at the TCP port; `why` is the error at the socket."""
    where = announced(disk, data_dir)
    if where is None and lock_error:
        raise lock_error
    if where is None:
        raise NoStatus(f"{who} and serves no status{_socket_problem(why)}")
    run, url = where
    parts = urlsplit(url)
    try:
        report, text = _request(HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S))
    except _ERRORS as error:
        if lock_error:
            raise lock_error from error
        raise NoStatus(f"{who}, and there is no status at {url}: {error}") from error
    if report.run != run:
        raise NoStatus(f"{who}, and at {url} another one answers, of process {report.pid}")
    return report, text


class _SocketConnection(HTTPConnection):
    """An HTTP connection to the socket in a data directory."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__("localhost")
        self._data_dir = data_dir

    def connect(self) -> None:
        self.sock: socket.socket = status_socket(THIS_MACHINE.network, self._data_dir).connect(_TIMEOUT_S)


def _request(connection: HTTPConnection) -> tuple[Report, bytes]:
    try:
        token = token_in(os.environ)
        connection.request("GET", "/status", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        text = answer.read(_MAX_BYTES)
        if answer.status != 200:
            raise ValueError(f"it answers with HTTP {answer.status}")
        return decode(text), text
    finally:
        connection.close()


def _socket_problem(why: Exception) -> str:
    """Explain the error at the socket."""
    if isinstance(why, PermissionError):
        return " at a port, and the socket is for its user and root; its log says why it has no port"
    return f": it is just starting, or its log says why ({why})"


def _process_state(process: str) -> str:
    """Return the state of a silent process, which may hang in a system call."""
    with suppress(psutil.Error, ValueError):
        return f"; the system calls it {psutil.Process(int(process)).status()}"
    return ""
