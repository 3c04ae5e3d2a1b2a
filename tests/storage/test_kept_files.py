"""Files that stay open: a descriptor is of the file that has the name, and there are never too many."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.core.errors import StorageError
from collector.storage.kept_files import KeptFiles
from tests.support.disks import PatientDisk

ONE, TWO, THREE = "ONEUSDT_1.csv", "TWOUSDT_1.csv", "THREEUSDT_1.csv"


@pytest.fixture
def disk() -> PatientDisk:
    return PatientDisk()


@pytest.fixture
def kept(tmp_path: Path, disk: PatientDisk) -> Iterator[KeptFiles]:
    for name in (ONE, TWO, THREE):
        (tmp_path / name).write_bytes(b"header\n")
    files = KeptFiles(disk, tmp_path)
    files.look()
    yield files
    files.close()


def append(kept: KeptFiles, path: Path, row: bytes) -> None:
    file = kept.get(path)
    assert file is not None
    os.write(file, row)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_stays_open_while_no_name_changes(tmp_path: Path, disk: PatientDisk, kept: KeptFiles) -> None:
    for row in (b"1\n", b"2\n"):
        kept.look()
        append(kept, tmp_path / ONE, row)
    assert (tmp_path / ONE).read_bytes() == b"header\n1\n2\n"
    assert disk.opened == [ONE]


def _renamed_over(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())
    new.rename(path)


def _put_aside(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.write_bytes(b"header\n")


def _removed(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"header\n")


def _exchanged(path: Path) -> None:
    other, middle = path.with_name(TWO), path.with_name("middle")
    path.rename(middle)
    other.rename(path)
    middle.rename(other)


def _replaced_by_a_link(path: Path) -> None:
    _put_aside(path)
    path.unlink()
    path.symlink_to(path.with_name(TWO))


def _in_another_directory(path: Path) -> None:
    away = path.parent.with_name(f"{path.parent.name}-away")
    path.parent.rename(away)
    path.parent.mkdir()
    for name in (ONE, TWO, THREE):
        (path.parent / name).write_bytes(b"header\n")


@pytest.mark.parametrize("change", [_renamed_over, _put_aside, _removed, _exchanged, _in_another_directory])
def test_who_has_the_name_now_is_written(tmp_path: Path, kept: KeptFiles, change: Callable[[Path], None]) -> None:
    path = tmp_path / ONE
    append(kept, path, b"1\n")
    before = path.stat()
    change(path)
    between = path.read_bytes()
    kept.look()
    append(kept, path, b"2\n")
    assert path.read_bytes() == between + b"2\n"
    assert path.stat().st_ino != before.st_ino


def test_a_change_in_the_tick_of_the_look_is_no_secret(tmp_path: Path, disk: PatientDisk, kept: KeptFiles) -> None:
    """The directory's time is the same before and after it."""
    disk.after_ns = 1
    kept.look()
    append(kept, tmp_path / ONE, b"1\n")
    kept.look()
    append(kept, tmp_path / ONE, b"2\n")
    assert disk.opened == [ONE, ONE]


def test_a_link_is_not_kept(tmp_path: Path, kept: KeptFiles) -> None:
    _replaced_by_a_link(tmp_path / ONE)
    kept.look()
    assert kept.get(tmp_path / ONE) is None


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, kept: KeptFiles) -> None:
    assert kept.get(tmp_path / "FOURUSDT_1.csv") is None
    assert not (tmp_path / "FOURUSDT_1.csv").exists()


@pytest.mark.parametrize(("most", "stay"), [(0, 0), (3, 1), (4, 2), (5, 2), (6, 3)])
def test_half_of_what_may_be_open_is_left_to_others(
    tmp_path: Path, disk: PatientDisk, kept: KeptFiles, most: int, stay: int
) -> None:
    disk.most = most
    kept.look()
    before = open_files()
    found = [kept.get(tmp_path / name) for name in (ONE, TWO, THREE)]
    assert [each is not None for each in found] == [place < stay for place in range(3)]
    assert open_files() == before + stay
    assert [kept.get(tmp_path / name) for name in (ONE, TWO, THREE)] == found


def test_without_the_directory_none_is_kept(tmp_path: Path, kept: KeptFiles) -> None:
    before = open_files()
    append(kept, tmp_path / ONE, b"1\n")
    away = tmp_path.with_name(f"{tmp_path.name}-away")
    tmp_path.rename(away)
    try:
        kept.look()
        assert kept.get(tmp_path / ONE) is None
        assert open_files() == before
    finally:
        away.rename(tmp_path)


def test_none_is_kept_before_the_first_look(tmp_path: Path, disk: PatientDisk) -> None:
    (tmp_path / ONE).write_bytes(b"header\n")
    files = KeptFiles(disk, tmp_path)
    assert files.get(tmp_path / ONE) is None
    files.look()
    assert files.get(tmp_path / ONE) is not None
    files.close()


def test_a_file_that_tells_when_it_is_closed_what_it_could_not_take_is_an_error(
    tmp_path: Path, disk: PatientDisk, kept: KeptFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network file systems do."""

    def close(file: int) -> None:
        os.close(file)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    for name in (ONE, TWO):
        kept.get(tmp_path / name)
    (tmp_path / "another").touch()
    monkeypatch.setattr(disk, "close", close)
    for _ in (ONE, TWO):
        with pytest.raises(StorageError, match="the disk is full"):
            kept.look()
    kept.look()


def test_closed_they_are_given_back(tmp_path: Path, kept: KeptFiles) -> None:
    before = open_files()
    for name in (ONE, TWO):
        kept.get(tmp_path / name)
    assert open_files() == before + 2
    kept.close()
    assert open_files() == before
