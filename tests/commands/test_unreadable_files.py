"""One candle file that cannot be read, or not be written: the commands name it, and go on with the others."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from collector.core.candle import Series
from collector.machine.disk import Disk
from collector.sandbox import Sandbox
from collector.settings.settings import Settings
from tests.campaign.truth import truth_of
from tests.commands.command_line import Command
from tests.support.market import settings_for

NAME = "BTCUSDT_60.csv"
Spoil = Callable[[Path, pytest.MonkeyPatch], object]


def refusing(error: int) -> Spoil:
    """The system refuses to open the file."""
    opens = Disk.open

    def open_file(disk: Disk, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        if Path(path).name == NAME:
            raise OSError(error, os.strerror(error))
        return opens(disk, path, flags, mode, within)

    return lambda _, patch: patch.setattr(Disk, "open", open_file)


def replaced(path: Path, _: object) -> None:
    """A directory is in the place of the file."""
    path.unlink()
    path.mkdir()


def hidden(path: Path, patch: pytest.MonkeyPatch) -> None:
    """It is a link to where nobody may look."""
    status = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.name == NAME and follow_symlinks:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return status(self, follow_symlinks=follow_symlinks)

    patch.setattr(Path, "stat", stat)


def read_only(patch: pytest.MonkeyPatch) -> None:
    """It is read, and neither written nor replaced."""
    opens, renames = Disk.open, Disk.rename

    def open_file(disk: Disk, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        _expect_other(path, flags & (os.O_WRONLY | os.O_RDWR))
        return opens(disk, path, flags, mode, within)

    def rename(disk: Disk, source: Path, target: Path) -> None:
        _expect_other(target, 1)
        renames(disk, source, target)

    patch.setattr(Disk, "open", open_file)
    patch.setattr(Disk, "rename", rename)


def _expect_other(path: Path | str, changes: int) -> None:
    if changes and Path(path).name == NAME:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))


FOREVER = [refusing(errno.EACCES), refusing(errno.EPERM), replaced, hidden]
SPOILED = [*FOREVER, refusing(errno.EIO)]


@pytest.fixture
def settings(say: Command, box: Sandbox, tmp_path: Path) -> Settings:
    """Ten days are stored of two series, and twelve are wanted."""
    stored = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"])
    assert say(stored, "fetch")[0] == 0
    return attrs.evolve(stored, days_to_fetch=12)


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize(
    ("command", "status", "of_others"),
    [
        ("list", 0, "ETHUSDT_60  2024"),
        ("gaps", 0, "ETHUSDT_60  pending  "),
        ("repair --dry-run", 0, "ETHUSDT_60.csv: 48 candles are fetched"),
        ("fetch --dry-run", 1, "48 to fetch"),
        ("check", 1, "ETHUSDT_60.csv"),
    ],
)
def test_those_who_only_read_name_the_file_and_go_on(
    say: Command,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Spoil,
    command: str,
    status: int,
    of_others: str,
) -> None:
    spoil(settings.data_dir / NAME, monkeypatch)
    ended, out, err = say(settings, *command.split())
    assert (ended, of_others in out) == (status, True)
    assert NAME in out + err


@pytest.mark.parametrize("spoil", FOREVER)
@pytest.mark.parametrize("command", ["repair", "fetch", "fetch --days 2"])
@pytest.mark.parametrize("limited", [False, True])
def test_those_who_write_complete_the_others_and_end_with_1(
    say: Command,
    box: Sandbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Spoil,
    command: str,
    limited: bool,
) -> None:
    settings = attrs.evolve(settings, limit_to_50_entries=limited)
    with monkeypatch.context() as patch:
        spoil(settings.data_dir / NAME, patch)
        status, _, err = say(settings, *command.split(), *(["--allow-trim"] if limited and command != "repair" else []))
    assert (status, NAME in err) == (1, True)
    if command != "fetch --days 2" and not limited:
        other = Series.named("ETHUSDT_60")
        assert (settings.data_dir / other.file_name).read_bytes() == truth_of(box, settings, other)


@pytest.mark.parametrize("edit", ["", "twice"])
@pytest.mark.parametrize("command", ["repair", "fetch", "fetch --limit"])
def test_a_file_that_may_not_be_written_costs_no_other_one(
    say: Command, box: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch, command: str, edit: str
) -> None:
    path, other = settings.data_dir / NAME, Series.named("ETHUSDT_60")
    if edit:  # rows out of order, to be put right before anything is fetched
        path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-2])
    before, limited = path.read_bytes(), command == "fetch --limit"
    asked = ["fetch", "--allow-trim"] if limited else [command]
    with monkeypatch.context() as patch:
        read_only(patch)
        status, _, err = say(attrs.evolve(settings, limit_to_50_entries=limited), *asked)
    assert (status, path.read_bytes()) == (1, before)
    assert f"{NAME} may not be written" in err
    assert not list(settings.data_dir.glob(f"{NAME}.*"))
    assert err.count("file left alone, its series is not collected") == 1
    truth = truth_of(box, settings, other)
    stored = (settings.data_dir / other.file_name).read_bytes()
    assert stored.splitlines()[1:] == truth.splitlines()[-50:] if limited else stored == truth
