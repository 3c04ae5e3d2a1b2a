"""The question `collector status` asks: how is the collector that owns this data directory?

The lock says whether there is one, what it wrote down says where it answers, and its answer has to say that it is the
same one. Nothing here disturbs it, and nothing is taken from it but its report.
"""

from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from collector.errors import NoStatus, NotRunning
from collector.ownership import owner
from collector.watching.endpoint import announced
from collector.watching.report import Report, decode

_WITHIN_S = 5.0
_LONGEST = 1 << 20


def ask(data_dir: Path) -> tuple[Report, bytes]:
    """What the collector on a data directory reports, and the very text of it.

    Raises:
        NotRunning: there is none.
        NoStatus: there is one, and it does not say.
        StorageError: we may not look.
    """
    process = owner(data_dir)
    if process is None:
        raise NotRunning(f"no collector is running on {data_dir}")
    where = announced(data_dir)
    if where is None:
        raise NoStatus(
            f"a collector (process {process}) is running on {data_dir} and serves no status: it is just starting, is "
            "not `run`, has an empty [status] listen, or could not have that address (its log says so)"
        )
    run, url = where
    try:
        text = _get(url)
        report = decode(text)
    except (OSError, HTTPException, ValueError) as error:
        raise NoStatus(
            f"a collector (process {process}) is running on {data_dir}, and there is no status at {url}: {error}"
        ) from error
    if report.run != run:
        raise NoStatus(
            f"a collector (process {process}) is running on {data_dir}, and at {url} another one answers, of process "
            f"{report.pid}"
        )
    return report, text


def _get(url: str) -> bytes:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_WITHIN_S)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        text = answer.read(_LONGEST)
        if answer.status != 200:
            raise ValueError(f"it answers with HTTP {answer.status}")
        return text
    finally:
        connection.close()
