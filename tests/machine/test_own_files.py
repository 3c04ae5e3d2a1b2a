"""Small files of our own: nothing that was planted in their place is followed or waited for."""

import fcntl
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from collector.core.errors import SettingsError, StorageError
from collector.machine.disk import THIS_DISK
from collector.machine.own_files import (
    NotAFile,
    create_own,
    expect_own,
    make_directory,
    not_written,
    open_own,
    read_own,
    replace_own,
)
from tests.support.users import NOBODY, as_user, needs_root, open_place


def a_link(path: Path) -> None:
    path.with_name("foreign").write_text("theirs")
    path.symlink_to("foreign")


def a_second_name(path: Path) -> None:
    path.with_name("foreign").write_text("theirs")
    path.hardlink_to(path.with_name("foreign"))


PLANTED: dict[str, Callable[[Path], object]] = {
    "a symbolic link": a_link,
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
    "a file that has another name too": a_second_name,
}


@pytest.mark.parametrize("kind", PLANTED)
def test_nothing_planted_is_written(tmp_path: Path, kind: str) -> None:
    PLANTED[kind](tmp_path / "ban")
    with pytest.raises(NotAFile, match=kind):
        open_own(THIS_DISK, tmp_path / "ban", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@pytest.mark.parametrize("kind", ["a symbolic link", "a pipe", "a directory"])
def test_nothing_planted_is_read(tmp_path: Path, kind: str) -> None:
    PLANTED[kind](tmp_path / "ban")
    for read in (partial(read_own, THIS_DISK), expect_own):
        with pytest.raises(NotAFile, match=kind):
            read(tmp_path / "ban")


def test_looking_at_a_file_leaves_the_locks_of_its_opener(tmp_path: Path) -> None:
    """A process that closes a file loses the locks it has on it, SQLite's too."""
    with (tmp_path / "ledger.db").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        expect_own(tmp_path / "ledger.db")
        ours = os.fstat(file.fileno()).st_ino
        assert f":{ours} " in Path("/proc/locks").read_text()


@pytest.mark.parametrize("kind", ["a symbolic link", "a pipe", "a file that has another name too"])
def test_what_was_planted_is_replaced_and_not_followed(tmp_path: Path, kind: str) -> None:
    PLANTED[kind](tmp_path / "ban")
    replace_own(THIS_DISK, tmp_path / "ban", b"5\n")
    assert read_own(THIS_DISK, tmp_path / "ban") == b"5\n"
    if (tmp_path / "foreign").exists():
        assert (tmp_path / "foreign").read_text() == "theirs"


def test_a_link_to_nothing_is_not_followed_by_making_a_file(tmp_path: Path) -> None:
    (tmp_path / "ban").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        create_own(THIS_DISK, tmp_path / "ban", b"5\n")
    with pytest.raises(NotAFile):
        open_own(THIS_DISK, tmp_path / "ban", os.O_WRONLY | os.O_CREAT)
    assert not (tmp_path / "elsewhere").exists()


def test_an_endless_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "ban").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="too large"):
        read_own(THIS_DISK, tmp_path / "ban")


def test_directories_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    make_directory(THIS_DISK, tmp_path / "link")
    replace_own(THIS_DISK, tmp_path / "link" / "ban", b"5\n")
    assert read_own(THIS_DISK, tmp_path / "real" / "ban") == b"5\n"


def test_a_failed_replacement_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "ban").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_own(THIS_DISK, tmp_path / "ban", b"5\n")
    assert [path.name for path in tmp_path.iterdir()] == ["ban"]


def test_names_are_on_the_disk_before_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def gap(file: int) -> None:
        path = Path(f"/proc/self/fd/{file}").readlink()
        synced.append(f"{path.name} {[*sorted(each.name for each in path.iterdir())]}" if path.is_dir() else "file")

    monkeypatch.setattr(os, "fsync", gap)
    make_directory(THIS_DISK, tmp_path / "data" / ".collector")
    replace_own(THIS_DISK, tmp_path / "data" / ".collector" / "ban", b"5\n")
    assert synced == [f"{tmp_path.name} ['data']", "data ['.collector']", "file", ".collector ['ban']"]


def test_modes_are_what_was_asked_for(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        replace_own(THIS_DISK, tmp_path / "public", b"")
        create_own(THIS_DISK, tmp_path / "private", b"", 0o600)
        make_directory(THIS_DISK, tmp_path / "directory")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"public": 0o644, "private": 0o600, "directory": 0o755}


@needs_root
def test_what_root_makes_belongs_to_the_owner_of_the_directory() -> None:
    with open_place() as place:
        os.chown(place, NOBODY, NOBODY)
        make_directory(THIS_DISK, place / "logs" / "reports")
        replace_own(THIS_DISK, place / "logs" / "ban", b"")
        made = [place / "logs", place / "logs" / "reports", place / "logs" / "ban"]
        assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(NOBODY, NOBODY)}


@needs_root
def test_messages_name_the_file_and_its_owner() -> None:
    with open_place() as place, as_user(NOBODY), pytest.raises(PermissionError) as refused:
        make_directory(THIS_DISK, place / "data" / "deep")
    error = not_written("data_dir", place / "data" / "deep", refused.value)
    assert isinstance(error, StorageError)
    assert (
        str(error) == f"[storage] data_dir: {place}/data/deep cannot be written (Permission denied; it belongs to root)"
    )


def test_a_setting_that_can_be_no_directory_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(OSError, match="Not a directory") as refused:
            make_directory(THIS_DISK, place)
        assert isinstance(not_written("data_dir", place, refused.value), SettingsError)
