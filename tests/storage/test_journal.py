"""The journal: what it takes is there again, and nothing else is believed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.machine.disk import THIS_DISK, Disk
from collector.storage.files import Files
from collector.storage.journal import FILE, Journal, JournalChangedError
from collector.storage.journal_format import Entry, chains, decode_blocks, encode_block
from tests.support.disks import CountingDisk, RecordingDisk

MARKET = "bybit linear"
ONE, TWO, OTHER = Entry("A_1", 100, 100, b"one\n"), Entry("A_1", 100, 104, b"two\n"), Entry("B_1", 0, 0, b"other\n")


def journal(directory: Path, market: str = MARKET, disk: Disk = THIS_DISK) -> Journal:
    return Journal(Files(disk), directory / FILE, market)


def test_blocks_are_read_in_their_order(tmp_path: Path) -> None:
    written = journal(tmp_path)
    written.append([ONE, OTHER])
    written.append([TWO])
    assert journal(tmp_path).read() == [ONE, OTHER, TWO]
    assert written.size == (tmp_path / FILE).stat().st_size
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_journal_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(bytes.fromhex("0e0000006ca1cf9be26655be7821cc99e53dfb889194a3415f316464c4046f6e650a"))
    assert journal(tmp_path).read() == [ONE]


def test_only_its_name_is_made_durable_beside_it(tmp_path: Path) -> None:
    written = journal(tmp_path, disk=(disk := RecordingDisk()))
    written.append([ONE])
    assert disk.synced == [tmp_path / FILE, tmp_path]
    written.append([TWO])
    assert disk.synced[2:] == [tmp_path / FILE]


def test_the_name_of_an_empty_one_is_made_durable_too(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()  # by a process that was killed
    journal(tmp_path, disk=(disk := RecordingDisk())).append([ONE])
    assert disk.synced == [tmp_path / FILE, tmp_path]


def test_it_is_open_only_while_it_is_used(tmp_path: Path) -> None:
    written = journal(tmp_path, disk=(disk := CountingDisk()))
    written.append([ONE])
    assert written.read() == [ONE]
    os.truncate(tmp_path / FILE, 3)
    with pytest.raises(JournalChangedError):
        written.append([TWO])
    written.empty()
    assert disk.open_files == 0


def test_a_long_journal_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.storage.journal._PIECE", 7)
    written = journal(tmp_path, disk=(disk := CountingDisk()))
    written.append([ONE, OTHER])
    written.append([TWO])
    assert written.read() == [ONE, OTHER, TWO]
    assert max(disk.pieces) == 7


def test_one_longer_than_any_of_ours_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = journal(tmp_path, disk=(disk := CountingDisk()))
    written.append([ONE])
    monkeypatch.setattr("collector.storage.journal._LONGEST", written.size)
    assert written.read() == [ONE]
    monkeypatch.setattr("collector.storage.journal._LONGEST", written.size - 1)
    disk.pieces.clear()
    assert (written.read(), disk.pieces) == ([], [])


def test_a_block_without_rows_ends_nothing() -> None:
    assert [*decode_blocks(MARKET, encode_block(MARKET, []) + encode_block(MARKET, [TWO]))] == [TWO]


def test_an_emptied_journal_takes_blocks_again(tmp_path: Path) -> None:
    written = journal(tmp_path)
    written.empty()  # there is none
    written.append([ONE])
    written.empty()
    assert (written.size, written.read()) == (0, [])
    written.append([TWO])
    assert written.read() == [TWO]


def test_a_journal_of_another_market_is_empty(tmp_path: Path) -> None:
    journal(tmp_path).append([ONE])
    assert journal(tmp_path, "bybit spot").read() == []


@given(st.data())
def test_of_a_damaged_journal_the_blocks_before_the_damage_are_believed(data: st.DataObject) -> None:
    blocks = [encode_block(MARKET, [each]) for each in (ONE, TWO, OTHER)]
    whole = b"".join(blocks)
    at = data.draw(st.integers(0, len(whole) - 1))
    what = data.draw(st.sampled_from(["cut", "zeros", "other"]))
    spoiled = {
        "cut": whole[:at],
        "zeros": whole[:at] + bytes(len(whole) - at),
        "other": whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :],
    }[what]
    ends = [len(blocks[0]), len(blocks[0] + blocks[1]), len(whole)]
    if what == "zeros":  # a block may end in zeros of its own
        at = next(place for place, pair in enumerate(zip(whole, spoiled, strict=True)) if pair[0] != pair[1])
    assert [*decode_blocks(MARKET, spoiled)] == [ONE, TWO, OTHER][: sum(end <= at for end in ends)]


@pytest.mark.parametrize("change", ["gone", "cut", "longer", "link", "link to a directory", "directory", "pipe"])
def test_a_journal_that_somebody_changed_says_so(tmp_path: Path, change: str) -> None:
    written, path = journal(tmp_path), tmp_path / FILE
    written.append([ONE])
    if change == "cut":
        os.truncate(path, 3)
    elif change == "longer":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        path.unlink()
    if change == "link":
        path.symlink_to(tmp_path / "elsewhere")
    if change == "link to a directory":
        (tmp_path / "other").mkdir()
        path.symlink_to(tmp_path / "other")
    if change == "directory":
        path.mkdir()
    if change == "pipe":
        os.mkfifo(path)
    with pytest.raises(JournalChangedError):
        written.append([TWO])
    written.empty()
    written.append([TWO])
    assert written.read() == [TWO]
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "other").exists() == (change == "link to a directory")


def test_a_journal_in_a_directory_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(JournalChangedError):
        journal(tmp_path / "gone").append([ONE])


def test_rows_that_follow_each_other_are_one_chain() -> None:
    assert chains([ONE, OTHER, TWO]) == {"A_1": Entry("A_1", 100, 100, b"one\ntwo\n"), "B_1": OTHER}


def test_what_was_synced_in_the_file_meanwhile_is_left_out() -> None:
    later = Entry("A_1", 104, 104, b"two\n")
    assert chains([ONE, later]) == {"A_1": later}
    assert chains([ONE, later, Entry("A_1", 104, 108, b"3\n")]) == {"A_1": Entry("A_1", 104, 104, b"two\n3\n")}


def test_rows_behind_a_hole_are_left_out() -> None:
    assert chains([ONE, Entry("A_1", 100, 120, b"two\n")]) == {}
