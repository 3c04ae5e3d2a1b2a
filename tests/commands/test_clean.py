"""The command `clean`."""

import errno
import io
import os
from pathlib import Path

import pytest

from collector.core.rows import HEADER
from collector.machine.disk import THIS_DISK, Disk
from collector.settings.settings import Settings
from collector.storage.ledger import open_ledger
from tests.commands.command_line import Command, complaints
from tests.support.market import settings_for

USED_UP = ["BTCUSDT_60.csv.cut-2", "BTCUSDT_60.csv.removed-1", "ETHUSDT_D.csv.set-aside-10"]
WAITING = ["BTCUSDT_60.csv.cut-3.pending", "ETHUSDT_D.csv.set-aside-11.pending"]
UNKNOWN = [
    "BTCUSDT_60.csv",
    "BTCUSDT_60.csv.new",
    "BTCUSDT_60.csv.removed-1.bak",
    "BTCUSDT_60.csv.removed",
    "BTCUSDT_7.csv.removed-1",
    "notes.csv.removed-1",
    "x.set-aside-1",
]


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A directory with pieces of every kind, and with files that only look like some."""
    settings = settings_for("http://127.0.0.1:1", tmp_path)
    settings.data_dir.mkdir()
    for name in (*USED_UP, *WAITING, *UNKNOWN):
        (settings.data_dir / name).write_bytes(HEADER)
    return settings


def names(settings: Settings) -> set[str]:
    return {each.name for each in settings.data_dir.iterdir()} - {".collector"}


def test_clean_removes_what_is_used_up_and_nothing_else(say: Command, settings: Settings) -> None:
    status, out, err = say(settings, "clean", "--yes")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == USED_UP
    assert names(settings) == {*WAITING, *UNKNOWN}
    size = f"{3 * len(HEADER)} bytes"
    assert complaints(err) == [
        f"3 files with {size}",
        "2 pieces with rows that are still to be stored (.pending): not touched",
        f"3 files with {size} removed",
    ]
    assert complaints(say(settings, "clean", "--yes")[2])[0] == f"nothing is set aside in {settings.data_dir}"


def test_a_dry_run_lists_and_removes_nothing(say: Command, settings: Settings) -> None:
    status, out, _ = say(settings, "clean", "--dry-run", "--yes", "--symbols", "ETHUSDT")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == USED_UP[2:]
    assert "was not the collector's" in out
    assert names(settings) == {*USED_UP, *WAITING, *UNKNOWN}


@pytest.mark.parametrize(
    ("answer", "left"), [("y\n", []), ("YES\n", []), ("n\n", USED_UP), ("\n", USED_UP), ("", USED_UP)]
)
def test_a_question_is_asked_before_anything_goes(
    say: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    status, _, err = say(settings, "clean")
    assert status == 0
    assert "remove 3 files for good? [y/N]" in complaints(err)
    assert names(settings) == {*left, *WAITING, *UNKNOWN}


def test_where_nobody_can_be_asked_nothing_goes_without_yes(
    say: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    status, _, err = say(settings, "clean")
    assert status == 2
    assert complaints(err)[-1].endswith("give --yes")
    assert names(settings) >= {*USED_UP}


def test_beside_a_running_collector_nothing_goes(say: Command, settings: Settings) -> None:
    with open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category):
        assert say(settings, "clean", "--dry-run")[0] == 0
        status, out, _ = say(settings, "clean", "--yes")
    assert status == 4
    assert len(out.splitlines()) == 4
    assert names(settings) >= {*USED_UP}


def test_what_changes_while_the_question_stands_is_left_alone(
    say: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Terminal):
        def isatty(self) -> bool:
            (settings.data_dir / USED_UP[0]).write_bytes(b"another piece of the same name")
            return True

    monkeypatch.setattr("sys.stdin", Slow("y\n"))
    _, _, err = say(settings, "clean")
    assert complaints(err)[-1] == "1 file changed meanwhile and left alone"
    assert names(settings) == {USED_UP[0], *WAITING, *UNKNOWN}


@pytest.mark.parametrize("error", [errno.EPERM, errno.EACCES, errno.EBUSY])
def test_a_file_that_the_system_does_not_let_go_keeps_no_other(
    say: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """As `chattr +i` has it, or a mount of one file."""
    kept = settings.data_dir / USED_UP[1]
    remove = Disk.remove

    def refuse_one(disk: Disk, path: Path | str, within: int | None = None) -> None:
        if path == kept:
            raise OSError(error, os.strerror(error), str(path))
        remove(disk, path, within)

    monkeypatch.setattr(Disk, "remove", refuse_one)
    status, _, err = say(settings, "clean", "--yes")
    assert status == 1
    assert names(settings) == {USED_UP[1], *WAITING, *UNKNOWN}
    assert f"2 files with {2 * len(HEADER)} bytes removed" in complaints(err)
    assert f"{kept} could not be removed ({os.strerror(error)}" in complaints(err)[-1]


def test_a_disk_that_refuses_everything_ends_it_with_a_sentence(
    say: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Disk, "remove", refuse)
    status, _, err = say(settings, "clean", "--yes")
    assert status == 1
    assert names(settings) == {*USED_UP, *WAITING, *UNKNOWN}
    assert "Input/output error" in complaints(err)[-1]


def test_pieces_beside_the_target_of_a_link_go_and_links_stay(say: Command, settings: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("hours.csv", "hours.csv.cut-1", "hours.csv.cut-2.pending", "others.csv.cut-1", "SOLUSDT_60.csv.cut-1"):
        (elsewhere / name).write_bytes(HEADER)
    (settings.data_dir / "SOLUSDT_60.csv").symlink_to(elsewhere / "hours.csv")
    (settings.data_dir / "SOLUSDT_60.csv.cut-7").symlink_to(elsewhere / "hours.csv")
    assert say(settings, "clean", "--yes")[0] == 0
    assert {each.name for each in elsewhere.iterdir()} == {
        "hours.csv",
        "hours.csv.cut-2.pending",
        "others.csv.cut-1",
        "SOLUSDT_60.csv.cut-1",
    }
    assert (settings.data_dir / "SOLUSDT_60.csv.cut-7").is_symlink()


def test_a_directory_that_is_not_there_is_refused_and_not_made(say: Command, tmp_path: Path) -> None:
    status, _, err = say(settings_for("http://127.0.0.1:1", tmp_path), "clean", "--yes")
    assert status == 2
    assert "does not exist" in complaints(err)[0]
    assert not (tmp_path / "candles").exists()
