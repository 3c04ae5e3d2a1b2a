"""The open file of a series: it never lies, whatever is put into it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.errors import SkipFile, StorageError
from collector.core.rows import HEADER
from collector.machine.disk import THIS_DISK, Disk
from collector.storage.csv_store import Store
from collector.storage.series_file import FileChangedError, SeriesFile
from tests.support.candles import BTC, T0, content, joined, row, rows, spans
from tests.support.disks import DeafDisk, FullDisk, LateDeafDisk, RecordingDisk, RefusingDisk
from tests.support.series_files import NAME, found, linked, opened
from tests.support.users import NOBODY, as_user, needs_root, open_place


def test_a_new_file_begins_with_the_header(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 3))
    file.append(rows(3, 5))
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 5))
    assert file.held == spans(0, 5)
    assert file.rows == 5


def test_rows_that_do_not_continue_a_file_are_not_appended(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 3))
    with pytest.raises(ValueError, match="do not continue"):
        file.append(rows(2, 4))


def test_a_deeper_history_goes_in_front_and_leaves_the_old_bytes_alone(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(100, 200))
    assert file.insert([rows(50, 100), rows(0, 50)]) == ()
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 200))
    assert file.held == spans(0, 200)
    file.append(rows(200, 201))
    assert opened(tmp_path).held == spans(0, 201)


def test_a_row_that_comes_again_with_other_numbers_replaces_the_old_one(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 10))
    (revision,) = file.insert([rows(4, 5, volume="2")])
    assert (revision.before, revision.after) == (row(4).text, row(4, volume="2").text)
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 4), rows(4, 5, volume="2"), rows(5, 10))


def test_rows_that_come_again_unchanged_do_not_touch_the_file(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 10))
    before = (tmp_path / NAME).stat()
    assert file.insert([rows(2, 6)]) == ()
    assert (tmp_path / NAME).stat() == before


def test_only_the_newest_rows_are_kept_when_so_asked(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 8))
    file.insert([rows(8, 12)])
    file.trim(5)
    assert (tmp_path / NAME).read_bytes() == content(rows(7, 12))
    assert file.held == spans(7, 12)


stretches = st.tuples(st.integers(0, 60), st.integers(1, 15)).map(lambda part: (part[0], part[0] + part[1]))


@given(st.lists(st.lists(stretches, min_size=1, max_size=4), max_size=6), st.randoms(use_true_random=False))
def test_whatever_is_put_in_in_whatever_order_the_file_is_its_rows_in_order(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[int, int]]], random: object
) -> None:
    directory = tmp_path_factory.mktemp("store")
    file, places = opened(directory), set[int]()
    for pages in rounds:
        file.insert([rows(*page) for page in pages])
        places |= {place for page in pages for place in range(*page)}
    expected = [row(place) for place in sorted(places)]
    assert (directory / NAME).read_bytes() == content(*expected) if places else not (directory / NAME).exists()
    assert file.held == opened(directory).held == joined(expected).covered


def test_rows_are_put_back_where_the_file_has_none(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.cut-1.pending").write_bytes(b"oops\n" + rows(5, 40).text)
    (tmp_path / NAME).write_bytes(content(rows(0, 10, volume="9")))
    store = Store(tmp_path, THIS_DISK)
    file, _ = store.open(BTC, None)
    assert file.restore(spans(0, 20)) == 10
    assert file.restore(spans(0, 20)) == 0
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 10, volume="9"), rows(10, 20))
    store.finish(file, file.pieces[0])
    assert (file.pieces, store.open(BTC, None)[0].pieces) == ((), ())
    assert (tmp_path / f"{NAME}.cut-1").exists()


def _insert(file: SeriesFile) -> None:
    file.insert([rows(0, 10)])


def _trim(file: SeriesFile) -> None:
    file.trim(5)


def _append(file: SeriesFile) -> None:
    file.append(rows(20, 25))


def _truncate(file: SeriesFile) -> None:
    file.truncate(T0 + 15 * 60_000)


def _roll(file: SeriesFile) -> None:
    file.keep = 10
    file.append(rows(20, 21))


CHANGES = [_append, _insert, _trim, _truncate, _roll]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (_append, content(rows(10, 25))),
        (_insert, content(rows(0, 20))),
        (_trim, content(rows(15, 20))),
        (_truncate, content(rows(10, 15))),
    ],
)
def test_every_change_of_a_linked_file_is_one_of_its_target(
    tmp_path: Path, change: Callable[[SeriesFile], None], left: bytes
) -> None:
    target = linked(tmp_path, "btc.csv")
    target.write_bytes(content(rows(10, 20)))
    target.chmod(0o640)
    change(opened(tmp_path))
    assert (tmp_path / NAME).is_symlink()
    assert target.read_bytes() == left
    assert target.stat().st_mode & 0o777 == 0o640
    names = {path.name for path in target.parent.iterdir()}
    assert names - {"btc.csv.removed-1"} == {"btc.csv"}


@pytest.mark.parametrize("create", [lambda file: file.append(rows(0, 10)), _insert])
def test_a_link_without_a_target_gets_one(tmp_path: Path, create: Callable[[SeriesFile], None]) -> None:
    target = linked(tmp_path, "btc.csv")
    create(opened(tmp_path))
    assert (tmp_path / NAME).is_symlink()
    assert target.read_bytes() == content(rows(0, 10))


def test_a_rename_is_made_durable_in_the_directory_of_the_target(tmp_path: Path) -> None:
    target = linked(tmp_path, "btc.csv")
    target.write_bytes(content(rows(10, 20)))
    disk = RecordingDisk()
    store = Store(tmp_path, disk)
    file, _ = store.open(BTC, None)
    file.insert([rows(0, 10)])
    assert disk.synced[-1] == target.parent
    file.trim(5)
    store.sync_names([file])
    assert disk.synced[-1] == target.parent


def test_a_new_file_is_made_durable_with_its_name(tmp_path: Path) -> None:
    disk = RecordingDisk()
    store = Store(tmp_path, disk)
    file, _ = store.open(BTC, None)
    file.append(rows(0, 1))
    store.sync_names([file])
    file.append(rows(1, 2))
    store.sync_names([file])
    assert disk.synced == [tmp_path]


def test_a_leftover_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    opened(tmp_path).append(rows(10, 20))
    file = opened(tmp_path)
    (tmp_path / f"{NAME}.new").symlink_to(other)
    _insert(file)
    assert other.read_bytes() == b"precious"
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 20))


@pytest.mark.parametrize("room", [0, 1, 100])
def test_an_append_to_a_full_disk_leaves_no_trace(tmp_path: Path, room: int) -> None:
    opened(tmp_path).append(rows(0, 5))
    file = opened(tmp_path, FullDisk(room))
    with pytest.raises(StorageError, match="the disk is full"):
        file.append(rows(5, 500))
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 5))
    assert file.held == spans(0, 5)


@pytest.mark.parametrize("disk", [FullDisk(50), FullDisk(0, errno.EIO), DeafDisk()])
def test_a_rewrite_that_fails_leaves_the_file_as_it_was(tmp_path: Path, disk: Disk) -> None:
    opened(tmp_path).append(rows(10, 20))
    file = opened(tmp_path, disk)
    with pytest.raises(StorageError):
        file.insert([rows(0, 10)])
    assert (tmp_path / NAME).read_bytes() == content(rows(10, 20))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert file.held == spans(10, 20)


def test_a_trimmed_file_holds_its_newest_rows_and_goes_on(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 5))
    file.append(rows(7, 10))
    file.trim(4)
    file.append(rows(10, 11))
    assert (tmp_path / NAME).read_bytes() == content(rows(4, 5), rows(7, 11))
    assert file.held == spans(4, 5) | spans(7, 11)


@pytest.mark.parametrize("disk", [FullDisk(50), FullDisk(0, errno.EIO), DeafDisk()])
def test_a_trim_that_fails_leaves_the_file_as_it_was(tmp_path: Path, disk: Disk) -> None:
    opened(tmp_path).append(rows(0, 20))
    file = opened(tmp_path, disk)
    with pytest.raises(StorageError):
        file.trim(10)
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 20))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert file.held == spans(0, 20)


def test_a_sync_that_fails_is_a_storage_error(tmp_path: Path) -> None:
    file = opened(tmp_path, DeafDisk())
    file.append(rows(0, 1))
    with pytest.raises(StorageError, match="Input/output error"):
        file.sync()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("error", "remedy"),
    [(each, "let this user read and write it") for each in (errno.EACCES, errno.EPERM)]
    + [(each, "mount its directory") for each in (errno.EROFS, errno.EBUSY)],
)
def test_one_file_that_may_not_be_changed_is_left_alone_as_it_was(
    tmp_path: Path, change: Callable[[SeriesFile], None], error: int, remedy: str
) -> None:
    opened(tmp_path).append(rows(10, 20))
    file = opened(tmp_path, RefusingDisk(NAME, error))
    with pytest.raises(SkipFile, match=f"{NAME} may not be written .*; {remedy}"):
        change(file)
    assert (tmp_path / NAME).read_bytes() == content(rows(10, 20))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert file.held == spans(10, 20)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_disk_that_may_not_be_written_is_no_matter_of_one_file(
    tmp_path: Path, change: Callable[[SeriesFile], None], error: int
) -> None:
    opened(tmp_path).append(rows(10, 20))
    file = opened(tmp_path, RefusingDisk(NAME, error, whole=True))
    with pytest.raises(StorageError, match="could not be read or written") as refused:
        change(file)
    assert not isinstance(refused.value, SkipFile)


@needs_root
@pytest.mark.parametrize("change", [_append, _truncate])
@pytest.mark.parametrize("ours", [True, False])
def test_a_file_of_another_user_is_left_alone_where_new_ones_can_be_made(
    change: Callable[[SeriesFile], None], ours: bool
) -> None:
    with open_place() as place:
        opened(place).append(rows(10, 20))
        (place / NAME).chmod(0o444)
        os.chown(place, NOBODY if ours else 0, -1)
        with as_user(NOBODY), pytest.raises(StorageError, match="belongs to root") as refused:
            change(opened(place))
        assert isinstance(refused.value, SkipFile) == ours
        assert (place / NAME).read_bytes() == content(rows(10, 20))


@pytest.mark.parametrize("edit", [b"x", b""])
def test_a_file_that_somebody_else_changed_is_not_written_blindly(tmp_path: Path, edit: bytes) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 5))
    (tmp_path / NAME).write_bytes(edit)
    with pytest.raises(FileChangedError):
        file.append(rows(5, 6))
    with pytest.raises(FileChangedError):
        file.insert([rows(0, 1, volume="9")])
    assert (tmp_path / NAME).read_bytes() == edit


def test_an_empty_file_leaves_no_mark(tmp_path: Path) -> None:
    assert opened(tmp_path).checkpoint() is None


@needs_root
@pytest.mark.parametrize("begun", ["append", "insert"])
def test_a_file_that_root_begins_belongs_to_the_owner_of_the_directory(begun: str) -> None:
    with open_place() as place:
        os.chown(place, NOBODY, NOBODY)
        file = opened(place)
        file.append(rows(0, 3)) if begun == "append" else file.insert([rows(0, 3)])
        assert ((place / NAME).stat().st_uid, (place / NAME).stat().st_gid) == (NOBODY, NOBODY)


def test_a_torn_append_that_cannot_be_undone_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    opened(tmp_path).append(rows(0, 5))
    file = opened(tmp_path, FullDisk(100))
    monkeypatch.setattr(os, "ftruncate", deaf)
    with pytest.raises(StorageError, match="the disk is full"):
        file.append(rows(5, 50))
    monkeypatch.undo()
    assert opened(tmp_path).held == spans(0, 6)


def test_a_file_tells_its_end_its_last_row_and_what_to_remember(tmp_path: Path) -> None:
    file = opened(tmp_path)
    assert (file.end_ms, file.checkpoint(), file.last) == (0, None, b"")
    file.append(joined([rows(0, 5), rows(7, 9)]))
    file.append(rows(9, 10))
    assert (file.end_ms, file.last) == (spans(0, 10).bounds.end_ms, rows(9, 10).text)
    assert file.checkpoint() is None
    file.sync()
    checkpoint = file.checkpoint()
    assert checkpoint is not None
    assert (checkpoint.size, checkpoint.first_ms, checkpoint.last_ms) == (file.size, T0, spans(9, 10).bounds.start_ms)
    file.insert([rows(5, 6)])
    assert file.last == b""


def test_a_checkpoint_tells_of_what_is_synced(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 5))
    file.sync()
    before = file.checkpoint()
    file.append(rows(5, 7))
    file.append(rows(8, 9))
    assert not file.is_synced
    assert file.checkpoint() == before
    assert file.unsynced.text == rows(5, 7).text + rows(8, 9).text
    file.insert([rows(7, 8)])
    assert file.is_synced
    assert (again := file.checkpoint())
    assert (again.size, again.held) == (file.size, spans(0, 9))


def test_of_many_unsynced_rows_the_file_is_to_be_synced(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 1200))
    assert (file.unsynced.is_known, file.unsynced.text) == (False, b"")
    file.append(rows(1200, 1201))
    assert (file.unsynced.is_known, file.unsynced.text) == (False, b"")
    file.sync()
    assert file.is_synced


def test_rows_of_which_the_first_are_there_are_not_appended(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 10))
    with pytest.raises(ValueError, match="do not continue"):
        file.append(joined([rows(3, 5), rows(20, 22)]))


def test_appending_leaves_no_file_open(tmp_path: Path) -> None:
    file, before = opened(tmp_path), len(list(Path("/proc/self/fd").iterdir()))
    for place in range(5):
        file.append(rows(place, place + 1))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_with_a_limit_is_appended_to_until_it_is_full_and_then_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    file, _ = store.open(BTC, None)
    file.keep = 5
    file.append(rows(0, 4))
    store.sync_names([file])
    assert not file.is_full
    file.append(rows(4, 5))
    assert file.is_full
    assert not file.name_unsynced
    file.append(rows(5, 7))
    assert file.name_unsynced
    assert (file.held, file.last) == (spans(2, 7), rows(5, 7).text)
    assert (tmp_path / NAME).read_bytes() == content(rows(2, 7))


def test_more_rows_than_a_new_file_may_hold_leave_the_newest(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.keep = 2
    file.append(rows(0, 5))
    assert (tmp_path / NAME).read_bytes() == content(rows(3, 5))
    (tmp_path / NAME).unlink()
    with pytest.raises(FileChangedError):
        file.append(rows(5, 6))
    (tmp_path / NAME).write_bytes(content(rows(0, 9)))
    with pytest.raises(FileChangedError):
        file.append(rows(5, 6))


def test_a_full_file_is_made_anew_with_one_write(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 50))
    file.keep, parts = 50, file.files.parts
    file.append(rows(50, 51))
    assert file.files.parts - parts == 1
    assert (tmp_path / NAME).read_bytes() == content(rows(1, 51))


def test_a_file_that_is_made_anew_is_synced_before_it_takes_the_old_place(tmp_path: Path) -> None:
    disk = RecordingDisk()
    file, _ = Store(tmp_path, disk).open(BTC, None)
    file.keep = 2
    file.append(rows(0, 2))
    disk.synced.clear()
    file.append(rows(2, 3))
    (new,) = disk.synced
    assert new.parent == tmp_path
    assert new.name != NAME


def test_rows_that_go_into_a_file_with_a_limit_leave_the_newest(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    file, _ = store.open(BTC, None)
    file.append(rows(5, 8))
    store.sync_names([file])
    file.keep = 5
    file.insert([rows(3, 5)])
    assert (tmp_path / NAME).read_bytes() == content(rows(3, 8))
    assert not file.name_unsynced  # its name has been synced already
    file.insert([rows(2, 4), rows(7, 10)])
    assert (tmp_path / NAME).read_bytes() == content(rows(5, 10))
    assert file.held == spans(5, 10)
    assert file.insert([]) == ()


def test_a_file_that_is_gone_is_neither_trimmed_nor_synced(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.trim(5)
    file.sync()
    assert not (tmp_path / NAME).exists()


def test_a_file_within_the_limit_stays_as_it_is_when_trimmed(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 3))
    file.trim(5)
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 3))
    assert file.held == spans(0, 3)


def test_what_is_cut_is_kept_and_the_file_goes_on_from_there(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 9))
    file.truncate(spans(6, 7).bounds.start_ms)
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 6))
    assert (tmp_path / f"{NAME}.removed-1").read_bytes() == rows(6, 9).text
    assert (file.held, file.last) == (spans(0, 6), b"")
    file.append(rows(6, 7))
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 7))


@pytest.mark.parametrize("change", [lambda file: file.trim(2), lambda file: file.truncate(T0)])
def test_a_file_that_somebody_else_changed_is_neither_trimmed_nor_cut(
    tmp_path: Path, change: Callable[[SeriesFile], None]
) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 5))
    (tmp_path / NAME).write_bytes(content(rows(0, 6)))
    with pytest.raises(FileChangedError):
        change(file)
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 6))


def test_a_file_of_a_header_alone_gets_no_second_one(tmp_path: Path) -> None:
    file, what = found(tmp_path, HEADER)
    assert what == ""
    file.append(rows(0, 2))
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 2))


def test_pages_that_overlap_are_put_in_as_one(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(joined([rows(0, 2), rows(40, 42)]))
    file.insert([rows(10, 20), rows(12, 15, volume="2"), rows(19, 25), rows(30, 31)])
    assert (tmp_path / NAME).read_bytes() == content(
        rows(0, 2), rows(10, 12), rows(12, 15, volume="2"), rows(15, 25), rows(30, 31), rows(40, 42)
    )


def test_pages_that_overlap_take_the_place_of_all_the_rows_they_cover(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 30))
    file.insert([rows(10, 20, volume="2"), rows(5, 12, volume="2")])
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 5), rows(5, 20, volume="2"), rows(20, 30))


def test_what_a_failed_sync_may_have_lost_is_written_again(tmp_path: Path) -> None:
    disk = LateDeafDisk()
    file, _ = Store(tmp_path, disk).open(BTC, None)
    file.append(rows(0, 3))
    file.sync()
    file.append(rows(3, 6))
    disk.fails = True
    with pytest.raises(StorageError, match="Input/output error"):
        file.sync()
    assert disk.again == [(len(content(rows(0, 3))), rows(3, 6).text)]
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 6))


def test_a_file_of_which_nobody_knows_what_was_synced_is_written_again_whole(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content(rows(0, 3)))
    disk = LateDeafDisk()
    file, _ = Store(tmp_path, disk).open(BTC, None)
    disk.fails = True
    with pytest.raises(StorageError):
        file.sync()
    assert disk.again == [(0, content(rows(0, 3)))]


def test_a_file_whose_first_sync_failed_is_written_again(tmp_path: Path) -> None:
    disk = LateDeafDisk()
    file, _ = Store(tmp_path, disk).open(BTC, None)
    file.append(rows(0, 3))
    disk.fails = True
    with pytest.raises(StorageError):
        file.sync()
    assert disk.again == [(0, content(rows(0, 3)))]


class _BrokenDisk(LateDeafDisk):
    """Once it fails, it takes no byte either."""

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        if self.fails:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(file, data, at)


def test_a_sync_that_fails_is_named_also_where_nothing_can_be_written_again(tmp_path: Path) -> None:
    disk = _BrokenDisk()
    file = opened(tmp_path, disk)
    file.append(rows(0, 3))
    disk.fails = True
    with pytest.raises(StorageError, match="Input/output error"):
        file.sync()


def test_writing_again_leaves_no_file_open(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 3))
    before = len(list(Path("/proc/self/fd").iterdir()))
    file.rewrite_unsynced()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
