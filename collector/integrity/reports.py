"""The reports of integrity checks: a limited number of JSON files, named by time."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collector.machine.disk import Disk
from collector.machine.own_files import create_own, make_directory, not_written, open_own

DIRECTORY = "integrity_reports"
_LONGEST = 1 << 28  # bytes; a report of thousands of damaged files has some millions
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.json")


def write_report(disk: Disk, logs_dir: Path, report: Mapping[str, Any], now: datetime, keep: int) -> Path:
    """Writes a report, and deletes the oldest beyond `keep`.

    `now` is in UTC and gives the name; if another check took that microsecond, the next free one does.

    Raises:
        SettingsError: the path cannot be a directory.
        StorageError: it cannot be written.
    """
    directory = logs_dir / DIRECTORY
    text = json.dumps({"checked_at": now.isoformat(timespec="seconds").replace("+00:00", "Z"), **report}, indent=1)
    try:
        make_directory(disk, directory)
        path = _write_new(disk, directory, text + "\n", now)
    except OSError as error:
        raise not_written("logs_dir", directory, error) from error
    for old in [name for name in disk.names(directory) if _NAME.fullmatch(name)][:-keep]:
        with suppress(OSError):  # another check was quicker, or it is not ours to delete
            disk.remove(directory / old)
    return path


def last_report(disk: Disk, logs_dir: Path) -> dict[str, Any] | None:
    """The newest report that can be read, if there is one."""
    directory = logs_dir / DIRECTORY
    names: list[str] = []
    with suppress(OSError):
        names = sorted(filter(_NAME.fullmatch, disk.names(directory)), reverse=True)
    for name in names:
        with suppress(OSError, ValueError):
            file = open_own(disk, directory / name, os.O_RDONLY)
            try:
                found = json.loads(disk.read(file, _LONGEST))
            finally:
                disk.close(file)
            if isinstance(found, dict):
                return found
    return None


def _write_new(disk: Disk, directory: Path, text: str, now: datetime) -> Path:
    while True:
        path = directory / f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.json"
        try:
            create_own(disk, path, text.encode())
            return path
        except FileExistsError:
            now += timedelta(microseconds=1)
