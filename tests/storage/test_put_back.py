"""What a start puts back from the journal: the rows that a power loss took, and none into a file that changed."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.core.errors import StorageError
from collector.core.rows import HEADER
from collector.machine.disk import THIS_DISK, Disk
from collector.storage.csv_store import Store
from collector.storage.files import Files
from collector.storage.journal import FILE, Journal
from collector.storage.journal_format import Entry
from collector.storage.put_back import put_back
from collector.storage.series_file import SeriesFile
from collector.storage.sync_many import open_file_systems
from tests.support.candles import BTC, content, row, rows
from tests.support.coverage import ETH
from tests.support.disks import CountingDisk, DeafDisk, RecordingDisk
from tests.support.users import NOBODY, needs_root

NAME = BTC.file_name

SYNCED, ALL = content(rows(0, 3)), content(rows(0, 6))


def start(directory: Path, disk: Disk = THIS_DISK) -> Journal:
    """A start; the journal as it is then."""
    files = Files(disk)
    journal = Journal(files, directory / FILE, "bybit linear")
    with open_file_systems(disk, directory) as systems:
        put_back(files, systems, directory, journal)
    return journal


def journaled(directory: Path, first: int = 3, behind: int = 6) -> SeriesFile:
    """A file whose rows up to a first one are synced; those from there on are in the journal, a block for each."""
    journal = Journal(Files(THIS_DISK), directory / FILE, "bybit linear")
    file, _ = Store(directory, THIS_DISK).open(BTC, None)
    if first:
        file.append(rows(0, first))
        file.sync()
    for place in range(first, behind):
        file.append(row(place))
        text = file.unsynced.text
        journal.append([Entry(BTC.name, file.synced, file.size - len(text), text)])
        file.unsynced.clear()
    return file


def zeros(data: bytes, at: int, size: int) -> bytes:
    return data[:at] + bytes(size) + data[at + size :]


@pytest.mark.parametrize(
    "left",
    [
        SYNCED,
        ALL,
        ALL[:-1],
        ALL[:-100],
        SYNCED + bytes(len(ALL) - len(SYNCED)),
        zeros(ALL, len(SYNCED) + 5, 40),
        zeros(ALL, len(ALL) - 30, 30),
        SYNCED + bytes(40),
    ],
)
def test_whatever_a_power_loss_leaves_the_rows_are_there_again(tmp_path: Path, left: bytes) -> None:
    journaled(tmp_path)
    (tmp_path / NAME).write_bytes(left)
    assert start(tmp_path).read() == []
    assert (tmp_path / NAME).read_bytes() == ALL
    assert (tmp_path / FILE).stat().st_size == 0


def test_a_new_file_that_is_gone_is_made_again(tmp_path: Path) -> None:
    journaled(tmp_path, first=0)
    (tmp_path / NAME).unlink()
    start(tmp_path, disk := RecordingDisk())
    assert (tmp_path / NAME).read_bytes() == ALL
    assert {tmp_path, tmp_path / NAME} <= set(disk.synced)


def test_what_was_appended_behind_the_last_block_stays(tmp_path: Path) -> None:
    journaled(tmp_path)
    (tmp_path / NAME).write_bytes(zeros(content(rows(0, 8)), len(SYNCED), 50))
    start(tmp_path)
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 8))


@pytest.mark.parametrize(
    "changed",
    [
        content(rows(0, 2)),  # shorter than what was synced
        content(rows(0, 3), row(3, "9"), row(4)),  # another row
        content(rows(0, 3), rows(4, 6)),
        content(rows(0, 2), rows(3, 4)),  # as long as before, and the row is there
        content(rows(0, 2), rows(3, 6)),
        SYNCED[:-1] + b"x",
        ALL.replace(b"\n", b"\r\n"),
        b"x" * len(SYNCED),
        b"x" * (len(SYNCED) - 1) + b"\n",
        HEADER,
    ],
)
def test_a_file_that_somebody_changed_is_left_as_it_is(tmp_path: Path, changed: bytes) -> None:
    journaled(tmp_path)
    (tmp_path / NAME).write_bytes(changed)
    start(tmp_path)
    assert (tmp_path / NAME).read_bytes() == changed


@pytest.mark.parametrize(
    "put",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("/nowhere/at/all.csv"),
    ],
)
def test_where_there_is_no_such_file_any_more_nothing_is_made(tmp_path: Path, put: Callable[[Path], None]) -> None:
    journaled(tmp_path)
    (tmp_path / NAME).unlink()
    put(tmp_path / NAME)
    start(tmp_path)
    assert not (tmp_path / NAME).is_file()


def test_a_link_is_followed(tmp_path: Path) -> None:
    journaled(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / NAME).rename(elsewhere / NAME)
    (tmp_path / NAME).symlink_to(elsewhere / NAME)
    os.truncate(elsewhere / NAME, len(SYNCED))
    start(tmp_path)
    assert (elsewhere / NAME).read_bytes() == ALL
    assert (tmp_path / NAME).is_symlink()


def test_rows_that_were_replaced_since_are_not_put_back(tmp_path: Path) -> None:
    file = journaled(tmp_path)
    file.insert([row(4, "9")])
    after = (tmp_path / NAME).read_bytes()
    start(tmp_path)
    assert (tmp_path / NAME).read_bytes() == after != ALL


def test_a_disk_that_cannot_sync_keeps_the_journal(tmp_path: Path) -> None:
    journaled(tmp_path)
    (tmp_path / NAME).write_bytes(SYNCED)
    with pytest.raises(Exception, match="could not be read or written"):
        start(tmp_path, DeafDisk())
    assert (tmp_path / NAME).read_bytes() == ALL
    (tmp_path / NAME).write_bytes(SYNCED)  # the power fails again
    start(tmp_path)
    assert (tmp_path / NAME).read_bytes() == ALL


def test_what_is_still_there_is_written_again_for_a_sync_may_have_failed(tmp_path: Path) -> None:
    journaled(tmp_path)
    disk = _Noting()
    start(tmp_path, disk)
    assert disk.written == [(len(SYNCED), rows(3, 6).text)]


class _Noting(Disk):
    def __init__(self) -> None:
        self.written: list[tuple[int | None, bytes]] = []

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        self.written.append((at, bytes(data)))
        super().write(file, data, at)


@pytest.mark.parametrize("junk", [b"what is this\n", b"\xff" * 64, bytes(4096)])
def test_a_journal_that_is_none_costs_nothing(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / FILE).write_bytes(junk)
    (tmp_path / ETH.file_name).write_bytes(SYNCED)
    start(tmp_path)
    assert (tmp_path / FILE).stat().st_size == 0
    assert (tmp_path / ETH.file_name).read_bytes() == SYNCED


def test_a_name_that_is_no_series_becomes_no_path(tmp_path: Path) -> None:
    journal = Journal(Files(THIS_DISK), tmp_path / FILE, "bybit linear")
    journal.append([Entry("../../x", 0, 0, ALL), Entry("../x_1", 0, 0, ALL), Entry(BTC.name, 0, 0, ALL)])
    start(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {FILE, NAME}


def test_rows_go_behind_a_header_that_was_synced_alone(tmp_path: Path) -> None:
    journal = Journal(Files(THIS_DISK), tmp_path / FILE, "bybit linear")
    journal.append([Entry(BTC.name, len(HEADER), len(HEADER), rows(0, 2).text)])
    (tmp_path / NAME).write_bytes(HEADER)
    start(tmp_path)
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 2))


@pytest.mark.parametrize(
    ("left", "becomes"),
    [
        (content(rows(0, 20)), content(rows(0, 23))),
        (content(rows(0, 21)), content(rows(0, 23))),
        (content(rows(0, 20), row(20, "9")), None),
        (content(rows(0, 18), rows(19, 21)), None),
        (content(rows(0, 19)), None),
    ],
)
def test_of_a_long_file_the_end_decides(tmp_path: Path, left: bytes, becomes: bytes | None) -> None:
    journaled(tmp_path, first=20, behind=23)
    (tmp_path / NAME).write_bytes(left)
    start(tmp_path)
    assert (tmp_path / NAME).read_bytes() == (becomes or left)


class _Refusing(Disk):
    """Opens no candle file."""

    def __init__(self, error: int) -> None:
        self.error = error

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        if Path(path).name == NAME:
            raise OSError(self.error, os.strerror(self.error))
        return super().open(path, flags, mode, within)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_file_that_we_may_not_write_is_left_alone(tmp_path: Path, error: int) -> None:
    journaled(tmp_path)
    (tmp_path / NAME).write_bytes(SYNCED)
    assert start(tmp_path, _Refusing(error)).read() == []
    assert (tmp_path / NAME).read_bytes() == SYNCED


def test_a_disk_that_cannot_read_a_file_keeps_the_journal(tmp_path: Path) -> None:
    journaled(tmp_path)
    (tmp_path / NAME).write_bytes(SYNCED)
    with pytest.raises(StorageError, match="could not be read or written"):
        start(tmp_path, _Refusing(errno.EIO))
    start(tmp_path)
    assert (tmp_path / NAME).read_bytes() == ALL


@pytest.mark.parametrize("left", [None, SYNCED, ALL[:-100] + bytes(100), content(rows(0, 2))])
def test_no_file_is_left_open(tmp_path: Path, left: bytes | None) -> None:
    journaled(tmp_path, first=3 if left else 0)
    (tmp_path / NAME).write_bytes(left) if left else (tmp_path / NAME).unlink()
    start(tmp_path, disk := CountingDisk())
    assert disk.open_files == 0


@pytest.mark.parametrize(
    ("first", "left", "count"),
    [
        (3, SYNCED, 3),
        (3, ALL, None),
        (3, ALL[:-1], 1),
        (3, ALL[:-100], 2),
        (3, zeros(ALL, len(SYNCED) + 5, 40), 3),  # how many of them are whole is not looked at
        (3, content(rows(0, 2)), None),
        (0, None, 6),
        (0, b"", 6),
        (0, HEADER, 6),
        (0, SYNCED, 3),
        (0, ALL, None),
    ],
)
def test_how_many_rows_were_lost_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: int, left: bytes | None, count: int | None
) -> None:
    journaled(tmp_path, first=first)
    (tmp_path / NAME).write_bytes(left) if left is not None else (tmp_path / NAME).unlink()
    with caplog.at_level("INFO"):
        start(tmp_path)
    told = [record.getMessage() for record in caplog.records]
    assert told == ([] if count is None else [f"rows put back from the journal rows={count} files='1 file'"])


@needs_root
def test_what_root_makes_again_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    journaled(tmp_path, first=0)
    (tmp_path / NAME).unlink()
    os.chown(tmp_path, NOBODY, NOBODY)
    start(tmp_path)
    assert (tmp_path / NAME).stat().st_uid == NOBODY


def test_the_owner_of_a_file_that_is_there_stays(tmp_path: Path) -> None:
    journaled(tmp_path)
    owner = (tmp_path / NAME).stat().st_uid
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    start(tmp_path)
    assert (tmp_path / NAME).stat().st_uid == owner


@pytest.mark.parametrize("left", [None, content(rows(0, 2))])
def test_where_nothing_is_put_back_nothing_is_synced(tmp_path: Path, left: bytes | None) -> None:
    journaled(tmp_path)
    (tmp_path / NAME).write_bytes(left) if left else (tmp_path / NAME).unlink()
    start(tmp_path, disk := RecordingDisk())
    assert disk.synced == [tmp_path / FILE]
