"""Many files are made durable by one call where the system can, and file by file where it cannot."""

import errno
import os
from pathlib import Path

import pytest

from collector.machine import file_systems
from collector.machine.disk import THIS_DISK, Disk
from collector.storage.files import Files
from collector.storage.sync_many import open_file_systems
from tests.support.disks import CountingDisk, RecordingDisk


class WholeDisk(RecordingDisk):
    """A disk whose file system can be synced as a whole, or says why not."""

    def __init__(self, *, whole: bool = True) -> None:
        super().__init__()
        self.whole = whole
        self.calls = 0

    def sync_whole(self, file: int) -> bool:
        assert os.fstat(file)  # it is open
        self.calls += 1
        return self.whole


def made(directory: Path, count: int) -> list[Path]:
    paths = [directory / f"{number}.csv" for number in range(count)]
    for path in paths:
        path.write_bytes(b"x")
    return paths


@pytest.mark.parametrize(("count", "calls"), [(4, 0), (5, 1)])
def test_many_files_take_one_call_and_few_their_own(tmp_path: Path, count: int, calls: int) -> None:
    disk, paths = WholeDisk(), made(tmp_path, count)
    with open_file_systems(disk, tmp_path) as systems:
        assert systems.sync(Files(disk), paths) == paths
    assert (disk.calls, disk.synced) == (calls, [] if calls else paths)


def test_a_file_system_that_cannot_is_asked_once(tmp_path: Path) -> None:
    disk, paths = WholeDisk(whole=False), made(tmp_path, 20)
    with open_file_systems(disk, tmp_path) as systems:
        for _ in range(2):
            assert systems.sync(Files(disk), paths) == paths
    assert (disk.calls, disk.synced) == (1, [*paths, *paths])


def test_files_of_their_own_are_synced_as_long_as_it_goes_on(tmp_path: Path) -> None:
    disk, paths = WholeDisk(), made(tmp_path, 4)
    with open_file_systems(disk, tmp_path) as systems:
        assert systems.sync(Files(disk), paths, lambda path: path != paths[3]) == paths[:3]
        assert systems.sync(Files(disk), paths, lambda _: False) == paths[:1]


def test_a_file_that_is_gone_is_done(tmp_path: Path) -> None:
    disk, paths = WholeDisk(), made(tmp_path, 2)
    paths[0].unlink()
    with open_file_systems(disk, tmp_path) as systems:
        assert systems.sync(Files(disk), paths) == paths
    assert disk.synced == paths[1:]


def test_files_elsewhere_are_synced_one_by_one(tmp_path: Path) -> None:
    shared = Path("/dev/shm")  # another file system, where there is one
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        shared = Path("/proc")
    disk, paths = WholeDisk(), made(tmp_path, 20)
    with open_file_systems(disk, shared) as systems:
        assert systems.sync(Files(disk), paths) == paths
    assert (disk.calls, disk.synced) == (0, paths)  # it was not kept open when they were written


class PaperDisk(WholeDisk):
    """It says that it has synced."""

    def sync(self, file: int) -> None:
        self.synced.append(Path(f"/proc/self/fd/{file}").readlink())


ELSEWHERE = Path("/proc/version")  # a file of another file system


def test_one_file_system_after_the_other_is_synced(tmp_path: Path) -> None:
    disk, paths = PaperDisk(), [*made(tmp_path, 5), ELSEWHERE]
    with open_file_systems(disk, tmp_path) as systems:
        assert systems.sync(Files(disk), paths) == paths
    assert (disk.calls, disk.synced) == (1, [ELSEWHERE])


def test_links_to_another_file_system_are_synced_one_by_one(tmp_path: Path) -> None:
    disk, paths = PaperDisk(), [tmp_path / f"{number}.csv" for number in range(5)]
    for path in paths:
        path.symlink_to(ELSEWHERE)
    with open_file_systems(disk, tmp_path) as systems:
        assert systems.sync(Files(disk), paths) == paths
    assert (disk.calls, disk.synced) == (0, [ELSEWHERE] * 5)


def test_a_file_that_goes_just_before_its_turn_is_done(tmp_path: Path) -> None:
    disk, paths = WholeDisk(), made(tmp_path, 3)

    def goes_on(path: Path) -> bool:
        paths[1].unlink(missing_ok=True)
        return True

    with open_file_systems(disk, tmp_path) as systems:
        assert systems.sync(Files(disk), paths, goes_on) == paths
    assert disk.synced == [paths[0], paths[2]]


def test_a_file_system_is_open_from_before_the_first_write_on_to_the_end(tmp_path: Path) -> None:
    disk = CountingDisk()
    with open_file_systems(disk, tmp_path) as systems:
        assert disk.open_files == 1
        (tmp_path / "deeper").mkdir()
        systems.watch(tmp_path / "deeper")
        assert disk.open_files == 1
    assert disk.open_files == 0


def test_this_system_syncs_what_it_can(tmp_path: Path) -> None:
    with open_file_systems(THIS_DISK, tmp_path) as systems:
        paths = made(tmp_path, 20)
        assert systems.sync(Files(Disk()), paths) == paths


def test_an_old_system_or_an_unknown_file_system_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = os.open(tmp_path, os.O_RDONLY)
    try:
        for name, value in (("_release", (5, 7)), ("_kind", 0x6969)):
            with monkeypatch.context() as patch:
                patch.setattr(file_systems, name, lambda *_, value=value: value)
                assert not file_systems.sync_whole(file)
    finally:
        os.close(file)


def test_an_error_of_the_system_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    if not file_systems._release() >= (5, 8):
        pytest.skip("this system has no syncfs that tells of errors")
    monkeypatch.setattr(file_systems, "_kind", lambda _: 0xEF53)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        file_systems.sync_whole(-1)
