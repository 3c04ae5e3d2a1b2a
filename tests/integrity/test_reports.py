"""Reports of integrity checks: they sort by time, none overwrites another, and only so many are kept."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.core.errors import SettingsError
from collector.integrity.reports import DIRECTORY, write_report
from collector.machine.disk import THIS_DISK

NOW = datetime(2024, 5, 15, 12, 30, 30, tzinfo=UTC)


def test_two_reports_of_one_moment_are_two_files_in_the_order_they_were_written(tmp_path: Path) -> None:
    paths = [write_report(THIS_DISK, tmp_path, {"number": number}, NOW, 30) for number in range(3)]
    assert paths == sorted(paths)
    assert [json.loads(path.read_text())["number"] for path in paths] == [0, 1, 2]
    assert json.loads(paths[0].read_text())["checked_at"] == "2024-05-15T12:30:30Z"


def test_names_sort_by_time_and_the_oldest_are_deleted(tmp_path: Path) -> None:
    for days in (3, 1, 4, 2, 0):
        write_report(THIS_DISK, tmp_path, {"days": days}, NOW + timedelta(days=days), 100)
    newest = write_report(THIS_DISK, tmp_path, {"days": 5}, NOW + timedelta(days=5), 3)
    left = sorted((tmp_path / DIRECTORY).iterdir())
    assert [json.loads(path.read_text())["days"] for path in left] == [3, 4, 5]
    assert left[-1] == newest


def test_what_is_not_a_report_stays(tmp_path: Path) -> None:
    gap = tmp_path / DIRECTORY / "0.json"
    gap.parent.mkdir()
    gap.write_text("mine")
    for second in range(3):
        write_report(THIS_DISK, tmp_path, {}, NOW + timedelta(seconds=second), 1)
    assert gap.read_text() == "mine"
    assert len(list(gap.parent.iterdir())) == 2


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(SettingsError, match="logs_dir"):
        write_report(THIS_DISK, tmp_path / "logs", {}, NOW, 1)


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_was_planted_in_the_place_of_the_reports_is_named(tmp_path: Path, plant: Callable[[Path], object]) -> None:
    plant(tmp_path / DIRECTORY)
    with pytest.raises(SettingsError, match=rf"{DIRECTORY} cannot be written \(Not a directory\)"):
        write_report(THIS_DISK, tmp_path, {}, NOW, 1)


def test_the_reports_may_be_in_a_directory_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / DIRECTORY).symlink_to("elsewhere")
    assert write_report(THIS_DISK, tmp_path, {}, NOW, 1).resolve().parent == tmp_path / "elsewhere"
