"""The simulated disk: what is synced always survives, and every other state that is allowed comes up."""

import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest

from collector.core.errors import StorageError
from collector.core.rows import candles_in
from collector.machine.own_files import replace_own
from collector.storage.csv_store import Store
from tests.simulation import survival
from tests.simulation.disk import SimulatedDisk
from tests.simulation.mishaps import Killed
from tests.support.candles import BTC, content, rows, spans

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_OLD, _NEW, _BAD = b"old " * 1000, b"new " * 3000, b"bad " * 1000  # the bad is as long as the old


def put(disk: SimulatedDisk, path: Path, data: bytes, *, synced: bool = False) -> None:
    file = disk.open(path, _APPEND)
    disk.write(file, data)
    if synced:
        disk.sync(file)
    disk.close(file)


def sync(disk: SimulatedDisk, path: Path) -> None:
    file = disk.open(path, os.O_RDONLY)
    disk.sync(file)
    disk.close(file)


def after_power_cut(disk: SimulatedDisk) -> None:
    disk.mishaps.dead = True
    disk.cut_power()
    disk.revive()


def disks(directory: Path, count: int = 200) -> Iterator[tuple[SimulatedDisk, Path]]:
    """Disks of many seeds, each with a directory of its own and a file that is synced, with its name."""
    for seed in range(count):
        root = directory / str(seed)
        root.mkdir()
        disk = SimulatedDisk(root, Random(seed))
        put(disk, root / "file", _OLD, synced=True)
        sync(disk, root)
        yield disk, root


def test_what_is_synced_survives_whatever_comes_after(tmp_path: Path) -> None:
    for disk, root in disks(tmp_path):
        put(disk, root / "file", _NEW)
        put(disk, root / "other", _NEW)
        after_power_cut(disk)
        content = (root / "file").read_bytes()
        assert content.startswith(_OLD)
        assert len(content) <= len(_OLD + _NEW)


def test_a_replaced_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    seen = Counter[bytes]()
    for disk, root in disks(tmp_path):
        put(disk, root / "file.new", _NEW, synced=True)
        disk.rename(root / "file.new", root / "file")
        after_power_cut(disk)
        seen[(root / "file").read_bytes()] += 1
    assert seen.keys() == {_OLD, _NEW}


def test_a_file_that_has_got_another_name_is_never_lost(tmp_path: Path) -> None:
    for disk, root in disks(tmp_path):
        disk.rename(root / "file", root / "aside")
        put(disk, root / "file", _NEW)
        after_power_cut(disk)
        assert _OLD in [path.read_bytes()[: len(_OLD)] for path in root.iterdir()]


def test_small_files_that_were_replaced_for_good_stay(tmp_path: Path) -> None:
    for disk, root in disks(tmp_path, 50):
        disk.make_directory(root / "own")
        sync(disk, root)
        replace_own(disk, root / "own" / "ban", b"12345")
        after_power_cut(disk)
        assert (root / "own" / "ban").read_bytes() == b"12345"


def test_every_state_that_may_be_left_comes_up(tmp_path: Path) -> None:
    states = Counter[str]()
    for disk, root in disks(tmp_path):
        put(disk, root / "file", _NEW)
        file = disk.open(root / "file", os.O_WRONLY)
        disk.truncate(file, 10)
        put(disk, root / "other", _NEW)
        disk.rename(root / "other", root / "another")
        put(disk, root / "long", _NEW * 2)
        put(disk, root / "goes", _NEW, synced=True)
        sync(disk, root)
        disk.remove(root / "goes")
        put(disk, root / "late", _NEW)
        disk.rename(root / "late", root / "later")
        disk.make_directory(root / "own")
        _commit(disk, root / "ledger.db", 3)
        after_power_cut(disk)
        states += disk.contents.states
    named = {value for name, value in vars(survival).items() if name.isupper() and not name.startswith("_")}
    assert states.keys() == named


def _replaced(path: Path) -> None:
    path.with_name("other").write_bytes(_BAD)
    path.with_name("other").replace(path)


@pytest.mark.parametrize(
    ("done_by_others", "left"),
    [
        (lambda path: path.write_bytes(_BAD), _BAD),
        (lambda path: path.write_bytes(_BAD[:9]), _BAD[:9]),
        (_replaced, _BAD),
        (Path.unlink, None),
    ],
    ids=["damaged", "cut", "replaced", "removed"],
)
def test_what_others_have_done_no_power_cut_undoes(
    tmp_path: Path, done_by_others: Callable[[Path], object], left: bytes | None
) -> None:
    for disk, root in disks(tmp_path, 30):
        state = tmp_path / f"state of {root.name}"
        state.mkdir()
        disk.on_states = partial(disk.contents.write_state, state, Random(root.name))
        done_by_others(root / "file")
        after_power_cut(disk)
        for each in (root, state):
            assert ((each / "file").read_bytes() if (each / "file").exists() else None) == left


def test_a_file_goes_on_from_what_others_have_made_of_it(tmp_path: Path) -> None:
    for disk, root in disks(tmp_path, 30):
        (root / "file").write_bytes(_BAD)
        put(disk, root / "file", _NEW)
        after_power_cut(disk)
        assert (root / "file").read_bytes().startswith(_BAD)


def test_a_file_that_was_removed_while_it_was_open_has_no_name_again(tmp_path: Path) -> None:
    for disk, root in disks(tmp_path, 30):
        file = disk.open(root / "file", _APPEND)
        (root / "file").unlink()
        disk.write(file, _NEW)
        after_power_cut(disk)
        assert not (root / "file").exists()


@pytest.mark.parametrize("is_opened", [False, True])
def test_a_ledger_that_others_have_damaged_is_never_whole_again(tmp_path: Path, is_opened: bool) -> None:
    for disk, root in disks(tmp_path, 20):
        path = root / "ledger.db"
        _commit(disk, path, 3).close()
        damaged = path.read_bytes().replace(b"numbers", b"members")
        path.write_bytes(damaged)
        if is_opened:
            with disk.database(path) as database:
                database.execute("create table others (number integer)")
        after_power_cut(disk)
        assert b"members" in path.read_bytes()
        assert b"numbers" not in path.read_bytes()


def _commit(disk: SimulatedDisk, path: Path, times: int) -> sqlite3.Connection:
    database = disk.database(path)
    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = normal")
    database.executescript("create table numbers (number integer)")
    for number in range(times):
        with database:
            database.execute("insert into numbers values (?)", (number,))
    return database


def _committed(disk: SimulatedDisk, path: Path) -> int:
    """How many commits a ledger has left; 0 where there is no ledger."""
    if not path.exists():
        return 0
    with closing(disk.database(path)) as database:
        if not database.execute("select * from sqlite_master").fetchall():
            return 0
        return len(database.execute("select * from numbers").fetchall())


def test_a_ledger_is_rolled_back_by_whole_commits(tmp_path: Path) -> None:
    left = Counter[int]()
    for disk, root in disks(tmp_path, 60):
        _commit(disk, root / "ledger.db", 3)
        after_power_cut(disk)
        left[_committed(disk, root / "ledger.db")] += 1
    assert left.keys() == {0, 1, 2, 3}


def test_a_ledger_that_was_closed_is_whole(tmp_path: Path) -> None:
    for disk, root in disks(tmp_path, 20):
        _commit(disk, root / "ledger.db", 3).close()
        after_power_cut(disk)
        assert _committed(disk, root / "ledger.db") == 3


def test_a_kill_loses_nothing_that_was_written(tmp_path: Path) -> None:
    for disk, root in disks(tmp_path, 20):
        put(disk, root / "file", _NEW)
        _commit(disk, root / "ledger.db", 3)
        disk.mishaps.dead = True
        with pytest.raises(Killed):
            disk.open(root / "file", os.O_RDONLY)
        disk.revive()
        assert (root / "file").read_bytes() == _OLD + _NEW
        assert _committed(disk, root / "ledger.db") == 3


def test_a_process_dies_before_a_call_halfway_or_after_it(tmp_path: Path) -> None:
    left = set[int]()
    for disk, root in disks(tmp_path):
        disk.mishaps.calls_left = 1
        with pytest.raises(Killed):
            put(disk, root / "file", b"1234")
        disk.revive()
        left.add(len((root / "file").read_bytes()) - len(_OLD))
    assert left == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("error", "reads", "opens", "appends"),
    [
        (errno.ENOSPC, True, True, False),
        (errno.EROFS, True, True, False),
        (errno.EMFILE, False, False, False),
        (errno.EIO, False, False, False),
    ],
)
def test_an_error_meets_the_calls_that_a_disk_fails(
    tmp_path: Path, error: int, reads: bool, opens: bool, appends: bool
) -> None:
    disk, root = next(disks(tmp_path, 1))
    disk.mishaps.error = error
    works = dict.fromkeys(("read", "open", "append"), False)
    with suppress(OSError):
        works["read"] = bool(disk.read_all(root / "file"))
    with suppress(OSError):
        disk.close(disk.open(root / "file", os.O_RDONLY))
        works["open"] = True
    with suppress(OSError):
        put(disk, root / "file", _NEW)
        works["append"] = True
    assert works == {"read": reads, "open": opens, "append": appends}
    assert disk.mishaps.errors


def test_a_late_error_is_met_by_syncs_alone(tmp_path: Path) -> None:
    disk, root = next(disks(tmp_path, 1))
    disk.mishaps.error, disk.mishaps.late_errors = errno.ENOSPC, True
    put(disk, root / "file", _NEW)
    with pytest.raises(OSError, match="No space left"):
        sync(disk, root / "file")
    assert not disk.mishaps.refuses


def test_what_a_failed_sync_has_lost_no_later_one_brings_back(tmp_path: Path) -> None:
    lost = 0
    for disk, root in disks(tmp_path, 50):
        put(disk, root / "file", _NEW)
        file = disk.open(root / "file", os.O_RDONLY)
        disk.mishaps.error, disk.mishaps.errors_left = errno.EIO, 1
        with pytest.raises(OSError, match="Input/output error"):
            disk.sync(file)
        disk.sync(file)
        after_power_cut(disk)
        content = (root / "file").read_bytes()
        assert content.startswith(_OLD)
        lost += content != _OLD + _NEW
    assert lost


def test_how_long_one_file_is_changes_nothing_for_another(tmp_path: Path) -> None:
    """One that names the process is longer in one run than in the next, which are the same run all the same."""

    def left(seed: int, number: bytes) -> bytes:
        root = tmp_path / f"{seed} {number.decode()}"
        root.mkdir()
        disk = SimulatedDisk(root, Random(seed))
        put(disk, root / "a process", number)
        put(disk, root / "file", _NEW)
        after_power_cut(disk)
        return (root / "file").read_bytes() if (root / "file").exists() else b""

    for seed in range(60):
        assert left(seed, b"99") == left(seed, b"1234567")


def test_what_a_failed_sync_has_lost_is_in_no_file_of_ours(tmp_path: Path) -> None:
    """The process starts again, goes on writing, and is sure of all that it has synced by then."""
    for disk, root in disks(tmp_path, 60):
        store = Store(root, disk)
        file, _ = store.open(BTC, None)
        file.append(rows(0, 200))
        disk.mishaps.error, disk.mishaps.errors_left, disk.mishaps.error_share = errno.EIO, 1, 0.5
        with suppress(StorageError):
            file.sync()
        disk.mishaps.error = None
        file, _ = store.open(BTC, None)
        file.append(rows(candles_in(BTC.timeframe, file.held), 300))
        file.sync()
        store.sync_names([file])
        checkpoint = file.checkpoint()
        after_power_cut(disk)
        file, _ = store.open(BTC, checkpoint)
        assert (root / BTC.file_name).read_bytes() == content(rows(0, 300))
        assert file.held == spans(0, 300)
