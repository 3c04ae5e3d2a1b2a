"""The command `report`."""

import base64
import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from collector.settings.settings import Settings
from tests.commands.command_line import Command, complaints
from tests.page.test_api import HOLE_MS, stored

__all__ = ["stored"]


def packed(path: Path) -> dict[str, Any]:
    """What the file draws."""
    (text,) = re.findall(r'id="data">([^<]*)<', path.read_text())
    data: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(text)))
    return data


def test_a_report_has_map_table_gaps_and_the_last_check(say: Command, stored: Settings, tmp_path: Path) -> None:
    assert say(stored, "check", "--quiet")[0] == 0
    status, out, err = say(stored, "report")
    assert (status, out) == (0, "")
    assert complaints(err)[0].startswith("report.html has 6 series, ")
    found = packed(tmp_path / "report.html")
    assert [(each["timeframe"], len(each["series"])) for each in found["coverage"]] == [("15", 2), ("60", 2), ("D", 2)]
    (hours,) = [each["series"] for each in found["coverage"] if each["timeframe"] == "60"]
    absent = found["states"].index("absent")
    assert [*HOLE_MS, absent] in [hours[0]["runs"][at : at + 3] for at in range(0, len(hours[0]["runs"]), 3)]
    assert found["gaps"][0]["state"] == "absent"
    assert [each["rows"] for each in found["series"] if each["timeframe"] == "60"] == [237, 240]
    assert found["check"]["said"].startswith("6 files with ")
    assert found["check"]["files"] == []


def test_a_report_is_about_what_is_chosen(say: Command, stored: Settings, tmp_path: Path) -> None:
    chosen = "--symbols", "ETHUSDT", "--timeframes", "60", "--start", "2024-05-10", "--end", "2024-05-10"
    assert say(stored, "report", *chosen, "--out", "day.html", "--quiet") == (0, "", "")
    found = packed(tmp_path / "day.html")
    assert [(each["symbol"], each["rows"], each["missing"]) for each in found["series"]] == [("ETHUSDT", 24, 0)]
    assert found["coverage"][0]["series"][0]["runs"] == [1715299200000, 1715385600000, 0]


def test_without_a_check_the_report_says_so(say: Command, stored: Settings, tmp_path: Path) -> None:
    assert say(stored, "report", "--logs-dir", str(tmp_path / "none"), "--quiet")[0] == 0
    assert packed(tmp_path / "report.html")["check"] is None


def test_a_damaged_report_of_a_check_is_passed_over(say: Command, stored: Settings, tmp_path: Path) -> None:
    reports = tmp_path / "logs" / "integrity_reports"
    reports.mkdir(parents=True)
    (reports / "20240101T000000.000000Z.json").write_text('{"files_checked": "<b>"}')
    (reports / "20240102T000000.000000Z.json").write_text("{")
    assert say(stored, "report", "--logs-dir", str(tmp_path / "logs"), "--quiet")[0] == 0
    assert packed(tmp_path / "report.html")["check"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (("--symbols", "XRPUSDT"), 2, "XRPUSDT"),
        (("--out", "."), 2, "is a directory"),
        (("--out", "none/report.html"), 2, "there is no directory none"),
        (("--data-dir", "nothing"), 2, "nothing"),
    ],
)
def test_what_cannot_be_reported_is_refused(
    say: Command, stored: Settings, arguments: tuple[str, ...], status: int, why: str
) -> None:
    found, out, err = say(stored, "report", *arguments)
    assert (found, out) == (status, "")
    assert why in err


@pytest.mark.parametrize(("kind", "why"), [("pipe", "it is a pipe"), ("link", "it is a symbolic link")])
def test_what_is_no_file_is_left_alone(say: Command, stored: Settings, tmp_path: Path, kind: str, why: str) -> None:
    out = tmp_path / "out.html"
    if kind == "pipe":
        os.mkfifo(out)
    else:
        out.symlink_to(tmp_path / "elsewhere")
    before = out.lstat()
    status, said, err = say(stored, "report", "--out", "out.html")
    assert (status, said) == (2, "")
    assert complaints(err) == [f"--out: out.html cannot be written ({why}, and not a file)"]
    after = out.lstat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)


def test_a_file_that_is_there_is_replaced(say: Command, stored: Settings, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    assert say(stored, "report", "--quiet")[0] == 0
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
