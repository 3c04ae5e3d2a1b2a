"""The reports of integrity checks: one JSON file each, in names that sort by time, and only so many of them."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collector.own_files import create_own, make_directory, not_written

DIRECTORY = "integrity_reports"
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.json")


def write_report(logs_dir: Path, report: Mapping[str, Any], now: datetime, keep: int) -> Path:
    """Writes a report, and deletes the oldest of those written here, so that no more than `keep` are left.

    `now` is in UTC and gives the name; if another check took that microsecond, the next free one does.

    Raises:
        SettingsError: it can be no directory.
        StorageError: it cannot be written.
    """
    directory = logs_dir / DIRECTORY
    text = json.dumps({"checked_at": now.isoformat(timespec="seconds").replace("+00:00", "Z"), **report}, indent=1)
    try:
        make_directory(directory)
        path = _write_new(directory, text + "\n", now)
    except OSError as error:
        raise not_written("logs_dir", directory, error) from error
    for old in sorted(each for each in directory.iterdir() if _NAME.fullmatch(each.name))[:-keep]:
        with suppress(OSError):  # another check was quicker, or it is not ours to delete
            old.unlink()
    return path


def _write_new(directory: Path, text: str, now: datetime) -> Path:
    while True:
        path = directory / f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.json"
        try:
            create_own(path, text.encode())
            return path
        except FileExistsError:
            now += timedelta(microseconds=1)
