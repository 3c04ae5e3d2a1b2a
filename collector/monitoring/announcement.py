"""The file beside the ledger that says at which address a collector serves its status."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from collector.logs import get_logger
from collector.machine.disk import Disk
from collector.machine.own_files import OWN, read_own, replace_own

log = get_logger(__name__)

_FILE = "status"


def announced(disk: Disk, data_dir: Path) -> tuple[str, str] | None:
    """The run and URL last written to the data directory, or None.

    The collector that wrote them may have ended since.
    """
    try:
        written = json.loads(read_own(disk, data_dir / OWN / _FILE))
        return str(written["run"]), str(written["url"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def announcing(disk: Disk, data_dir: Path, run: str, url: str) -> Iterator[None]:
    """Has the address written down while entered."""
    path = data_dir / OWN / _FILE
    try:
        replace_own(disk, path, json.dumps({"run": run, "pid": os.getpid(), "url": url}).encode() + b"\n")
    except OSError as error:
        log.warning("where the status is served could not be written down", url=url, why=error.strerror)
    try:
        yield
    finally:
        with suppress(OSError):
            disk.remove(path)
