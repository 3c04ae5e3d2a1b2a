"""Files are replaced as a whole, cut, and made durable, and a disk that refuses is a sentence."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from collector.core.errors import StorageError
from collector.machine.disk import THIS_DISK, Disk
from collector.storage.files import Files, map_os_errors, storage_error, target_of, temp_path
from tests.support.disks import DeafDisk, FullDisk, RecordingDisk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.csv"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_replaced_file_is_durable_and_so_is_its_name(path: Path) -> None:
    disk = RecordingDisk()
    files = Files(disk)
    assert files.parts == 0
    assert files.replace(path, [b"one", b"two"]) == 6
    assert path.read_bytes() == b"onetwo"
    assert disk.synced == [temp_path(path), path.parent]
    assert files.parts == 2


def test_a_name_is_durable_only_with_its_directory(path: Path) -> None:
    disk = RecordingDisk()
    assert Files(disk).atomic_replace(path, [b"one"]) == 3
    assert disk.synced == [temp_path(path)]


def test_a_new_file_can_be_read_by_all_and_a_replaced_one_by_whom_it_could(path: Path) -> None:
    before = os.umask(0o022)
    try:
        Files(THIS_DISK).replace(path, [b"one"])
        assert mode(path) == 0o644
    finally:
        os.umask(before)
    path.chmod(0o640)
    Files(THIS_DISK).replace(path, [b"two"])
    assert mode(path) == 0o640


@pytest.mark.parametrize("call", ["fchown", "fchmod"])
def test_a_file_is_replaced_where_owner_and_mode_cannot_be_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def not_permitted(*_: object) -> NoReturn:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path.write_bytes(b"one")
    monkeypatch.setattr(os, call, not_permitted)
    assert Files(THIS_DISK).replace(path, [b"two"]) == 3
    assert path.read_bytes() == b"two"


@pytest.mark.parametrize("disk", [FullDisk(2), DeafDisk()])
def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing_beside_it(path: Path, disk: Disk) -> None:
    path.write_bytes(b"one")
    before = open_files()
    with pytest.raises(OSError, match=r"No space|Input/output"):
        Files(disk).replace(path, [b"two and more"])
    assert path.read_bytes() == b"one"
    assert [each.name for each in path.parent.iterdir()] == ["x.csv"]
    assert open_files() == before


def test_what_is_told_is_the_first_error(path: Path) -> None:
    class GoneDisk(FullDisk):
        def unlink(self, path: Path) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with pytest.raises(OSError, match="No space"):
        Files(GoneDisk(0)).atomic_replace(path, [b"one"])


def test_what_was_left_beside_a_file_is_not_in_the_way(path: Path) -> None:
    temp_path(path).write_bytes(b"left by a crash, and longer")
    assert Files(THIS_DISK).replace(path, [b"one"]) == 3
    assert path.read_bytes() == b"one"


def replaced(files: Files, path: Path) -> None:
    files.replace(path, [b"one"])


@pytest.mark.parametrize(
    "work", [replaced, lambda files, path: files.truncate(path, 2), lambda files, path: files.sync(path)]
)
def test_no_file_stays_open(path: Path, work: Callable[[Files, Path], None]) -> None:
    path.write_bytes(b"one")
    before = open_files()
    work(Files(THIS_DISK), path)
    with pytest.raises(OSError, match="Input/output"):
        work(Files(DeafDisk()), path)
    assert open_files() == before


def test_a_file_is_cut_for_good(path: Path) -> None:
    disk = RecordingDisk()
    path.write_bytes(b"one and more")
    Files(disk).truncate(path, 3)
    assert path.read_bytes() == b"one"
    assert disk.synced == [path]


def test_a_link_stands_for_the_end_of_its_chain(path: Path) -> None:
    for name, target in [("a", "b"), ("b", "c")]:
        (path.parent / name).symlink_to(target)
    assert target_of(path.parent / "a") == path.parent / "c"
    assert temp_path(path.parent / "a") == path.parent / "c.new"
    assert (target_of(path), temp_path(path)) == (path, path.parent / "x.csv.new")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errno.ENOSPC, "the disk is full: x could not be written"),
        (errno.EDQUOT, "the disk is full: x could not be written"),
        (errno.EIO, r"x could not be read or written \(Input/output error"),
    ],
)
def test_a_disk_that_refuses_is_a_sentence_with_its_cause(error: int, said: str) -> None:
    cause = OSError(error, os.strerror(error))
    with pytest.raises(StorageError, match=f"{said}.*what it holds is intact") as caught, map_os_errors(Path("x")):
        raise cause
    assert caught.value.__cause__ is cause
    assert str(storage_error(Path("x"), cause)) == str(caught.value)
