"""The lock of a data directory: it excludes a second collector, and somebody who may only read has no say."""

import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from collector.core.errors import DirectoryInUse, SettingsError, StorageError
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.own_files import OWN
from collector.storage import lock
from collector.storage.data_directory import lock_directory, lock_holder, refuse_if_locked
from collector.storage.lock import LockHeld, find_holder, hold_lock
from tests.support.users import NOBODY, as_user, needs_root, open_place

OURS = str(os.getpid())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.storage.lock._PAUSE_S", 0)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A directory in which a collector was at work."""
    with lock_directory(THIS_DISK, tmp_path):
        pass
    return tmp_path


@contextmanager
def reading(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Somebody who may only read, and locks what they can open."""
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, how)
        yield
    finally:
        os.close(file)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_open_the_lock(data_dir: Path) -> None:
    assert mode_of(data_dir / OWN / "lock") == 0o600


@pytest.mark.parametrize("how", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_a_reader_s_lock_on_the_directory_keeps_nobody_out(data_dir: Path, how: int) -> None:
    with reading(data_dir, how):
        assert lock_holder(THIS_DISK, data_dir) is None
        with lock_directory(THIS_DISK, data_dir):
            assert lock_holder(THIS_DISK, data_dir) == OURS


@pytest.mark.parametrize("how", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_a_reader_s_lock_on_a_file_of_an_earlier_version_keeps_nobody_out(data_dir: Path, how: int) -> None:
    (data_dir / OWN / "lock").chmod(0o644)
    with reading(data_dir / OWN / "lock", how), lock_directory(THIS_DISK, data_dir):
        assert mode_of(data_dir / OWN / "lock") == 0o600
        assert lock_holder(THIS_DISK, data_dir) == OURS


def test_a_reader_who_has_opened_an_earlier_file_has_nothing_to_lock(data_dir: Path) -> None:
    (data_dir / OWN / "lock").chmod(0o644)
    with (data_dir / OWN / "lock").open() as opened_before:
        with lock_directory(THIS_DISK, data_dir):
            fcntl.flock(opened_before, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with lock_directory(THIS_DISK, data_dir):
            pass


EARLIER = """
import fcntl, os, sys
lock = os.open(sys.argv[1] + "/.collector/lock", os.O_RDWR | os.O_CREAT, 0o644)
directory = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(lock, fcntl.LOCK_EX)
fcntl.flock(directory, fcntl.LOCK_EX)
os.ftruncate(lock, 0)
os.pwrite(lock, f"{os.getpid()}\\n".encode(), 0)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def working(data_dir: Path) -> Iterator[Popen[bytes]]:
    """A process that has locked a directory as an earlier version of the collector does."""
    with Popen([sys.executable, "-S", "-c", EARLIER, data_dir], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("removed", [False, True])
def test_a_collector_of_an_earlier_version_is_not_driven_out(data_dir: Path, removed: bool) -> None:
    (data_dir / OWN / "lock").unlink()
    with working(data_dir) as earlier:
        if removed:
            (data_dir / OWN / "lock").unlink()
        with (
            pytest.raises(DirectoryInUse, match=rf"another collector \(process {earlier.pid}\)"),
            lock_directory(THIS_DISK, data_dir),
        ):
            pass
        assert lock_holder(THIS_DISK, data_dir) == str(earlier.pid)
    with lock_directory(THIS_DISK, data_dir):
        assert mode_of(data_dir / OWN / "lock") == 0o600


@pytest.mark.parametrize(("taken_away", "name"), [("lock", "lock.old"), (".", "elsewhere")])
def test_taking_the_lock_away_lets_no_second_collector_in(data_dir: Path, taken_away: str, name: str) -> None:
    with lock_directory(THIS_DISK, data_dir):
        (data_dir / OWN / taken_away).resolve().rename(data_dir / name)
        assert lock_holder(THIS_DISK, data_dir) == OURS
        with pytest.raises(DirectoryInUse, match=OURS), lock_directory(THIS_DISK, data_dir):
            pass


def test_a_file_that_is_replaced_before_it_is_locked_is_opened_again(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks, path = lock._locks, data_dir / OWN / "lock"
    removals = [path.unlink]

    def removed_before(disk: Disk, file: int, how: int) -> bool:
        if removals:
            removals.pop()()
        return locks(disk, file, how)

    monkeypatch.setattr("collector.storage.lock._locks", removed_before)
    with hold_lock(THIS_DISK, data_dir, data_dir / OWN):
        monkeypatch.undo()
        with pytest.raises(LockHeld), hold_lock(THIS_DISK, data_dir, data_dir / OWN):
            pass


def test_two_who_replace_an_earlier_file_do_not_both_have_it(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one comes when the first has judged the file, and is done before the first goes on."""
    path = data_dir / OWN / "lock"
    path.chmod(0o644)
    replace = lock._replace
    with ExitStack() as second:

        def overtaken(*judged: object) -> None:
            monkeypatch.setattr("collector.storage.lock._replace", replace)
            fcntl.flock(reader, fcntl.LOCK_UN)
            second.enter_context(hold_lock(THIS_DISK, data_dir, data_dir / OWN))
            replace(*judged)  # type: ignore[arg-type]

        with path.open() as reader:
            fcntl.flock(reader, fcntl.LOCK_EX)
            monkeypatch.setattr("collector.storage.lock._replace", overtaken)
            with pytest.raises(LockHeld), hold_lock(THIS_DISK, data_dir, data_dir / OWN):
                pass


def planted_link(path: Path) -> None:
    (path.parent / "foreign").write_text("theirs")
    path.symlink_to("foreign")


def planted_second_name(path: Path) -> None:
    (path.parent / "foreign").write_text("theirs")
    path.hardlink_to(path.parent / "foreign")


@pytest.mark.parametrize("plant", [planted_link, planted_second_name, os.mkfifo])
def test_what_was_planted_in_its_place_gives_way(data_dir: Path, plant: Callable[[Path], object]) -> None:
    path = data_dir / OWN / "lock"
    path.unlink()
    plant(path)
    assert lock_holder(THIS_DISK, data_dir) is None
    with lock_directory(THIS_DISK, data_dir):
        assert lock_holder(THIS_DISK, data_dir) == OURS
    assert (path.is_symlink(), mode_of(path), path.stat().st_nlink) == (False, 0o600, 1)
    if plant is not os.mkfifo:
        assert (data_dir / OWN / "foreign").read_text() == "theirs"


def test_a_directory_in_its_place_is_named(data_dir: Path) -> None:
    (data_dir / OWN / "lock").unlink()
    (data_dir / OWN / "lock").mkdir()
    with (
        pytest.raises(StorageError, match=r"\.collector/lock cannot be used \(it is a directory"),
        lock_directory(THIS_DISK, data_dir),
    ):
        pass
    assert [each.name for each in (data_dir / OWN).iterdir()] == ["lock"]


def test_a_holder_that_is_no_collector_is_called_by_its_number_and_no_collector(data_dir: Path) -> None:
    (data_dir / OWN / "lock").write_text("1\n")
    with (data_dir / OWN / "lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        said = f"process {OURS} holds the lock of .*, and has not written down that it is a collector"
        with pytest.raises(DirectoryInUse, match=said), lock_directory(THIS_DISK, data_dir):
            pass


def test_a_holder_that_cannot_be_seen_is_not_driven_out(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container sees the locks of its own processes only."""
    with lock_directory(THIS_DISK, data_dir):
        monkeypatch.setattr("collector.storage.lock._holders", lambda *_: iter(()))
        with (
            pytest.raises(DirectoryInUse, match="a process that cannot be seen from here"),
            lock_directory(THIS_DISK, data_dir),
        ):
            pass


@needs_root
@pytest.mark.parametrize("taken_away", [False, True])
def test_somebody_who_cannot_open_the_lock_sees_the_owner_all_the_same(taken_away: bool) -> None:
    with open_place() as place:
        with lock_directory(THIS_DISK, place):
            pass
        with working(place) as collector:
            if taken_away:
                (place / OWN / "lock").unlink()
            with as_user(NOBODY):
                assert lock_holder(THIS_DISK, place) == str(collector.pid)
        with as_user(NOBODY):
            assert lock_holder(THIS_DISK, place) is None


@needs_root
def test_a_lock_of_root_is_named_with_its_owner() -> None:
    with open_place() as place:
        (place / OWN).mkdir()
        (place / OWN / "lock").touch(0o600)
        os.chown(place / OWN, NOBODY, NOBODY)
        os.chown(place, NOBODY, NOBODY)
        said = f"{place}/{OWN}/lock cannot be used .Permission denied; it belongs to root"
        with as_user(NOBODY), pytest.raises(StorageError, match=said), lock_directory(THIS_DISK, place):
            pass


@needs_root
@pytest.mark.parametrize("inside", [False, True])
def test_root_is_refused_in_a_directory_of_somebody_else(inside: bool) -> None:
    with open_place() as place:
        (place / OWN).mkdir()
        os.chown(place / OWN if inside else place, NOBODY, NOBODY)
        with (
            pytest.raises(SettingsError, match=r"belongs to nobody, .*sudo -u nobody"),
            lock_directory(THIS_DISK, place),
        ):
            pass
        assert [*(place / OWN).iterdir()] == []
        refuse_if_locked(THIS_DISK, place)  # looking is free


@needs_root
def test_root_goes_on_where_the_owner_is_unknown_as_in_a_container() -> None:
    unknown = 54321
    with open_place() as place:
        os.chown(place, unknown, unknown)
        for _ in range(2):
            with lock_directory(THIS_DISK, place):
                assert (place / OWN / "lock").stat().st_uid == unknown


def test_a_reader_of_a_lock_that_is_gone_is_not_taken_for_a_collector(data_dir: Path) -> None:
    """It has opened a lock file of an earlier version, which is gone by now, and holds the directory."""
    with ExitStack() as reader:
        reader.enter_context(reading(data_dir / OWN / "lock"))
        reader.enter_context(reading(data_dir))
        (data_dir / OWN / "lock").unlink()
        assert lock_holder(THIS_DISK, data_dir) is None
        with lock_directory(THIS_DISK, data_dir):
            pass


def test_asking_where_nobody_ever_collected_finds_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    assert find_holder(THIS_DISK, tmp_path, tmp_path / OWN) is None
    assert lock_holder(THIS_DISK, tmp_path / "nowhere") is None
    assert [*tmp_path.iterdir()] == []
