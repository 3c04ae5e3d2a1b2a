"""The store: a file never lies, whatever happened to it."""

import errno
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import TIMEFRAMES, Series
from collector.core.rows import HEADER
from collector.core.spans import NOTHING
from collector.errors import LeftAlone, StorageError
from collector.machine.disk import THIS_DISK, Disk
from collector.storage.csv_store import FileChangedError, SeriesFile, Store
from collector.storage.files import Files
from collector.storage.inspection import Checkpoint
from collector.storage.quarantine import quarantined_lines
from tests.support.candles import BTC, T0, candle_at, content, joined, row, rows, spans
from tests.support.disks import BreakingDisk, DeafDisk, FullDisk, RecordingDisk
from tests.support.users import NOBODY, needs_root, open_place

NAME = "BTCUSDT_1.csv"


def opened(directory: Path, disk: Disk | None = None, checkpoint: Checkpoint | None = None) -> SeriesFile:
    file, _ = Store(directory, disk or Disk()).open(BTC, checkpoint)
    return file


def found(directory: Path, data: bytes, checkpoint: Checkpoint | None = None) -> tuple[SeriesFile, str]:
    (directory / NAME).write_bytes(data)
    file, finding = Store(directory, THIS_DISK).open(BTC, checkpoint)
    return file, finding.what if finding else ""


# Growing


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


# Found at a start


def test_a_file_of_ours_is_found_as_it_was_left(tmp_path: Path) -> None:
    file, what = found(tmp_path, content(rows(0, 50), rows(60, 90)))
    assert what == ""
    assert file.held == spans(0, 50) | spans(60, 90)


@pytest.mark.parametrize("name", list(TIMEFRAMES))
def test_files_of_every_timeframe_are_read_with_their_holes(tmp_path: Path, name: str) -> None:
    series = Series("BTCUSDT", TIMEFRAMES[name])
    start = series.timeframe.ceil(T0)
    pages = [
        candle_at(series.timeframe, series.timeframe.shift(start, place)) for place in range(30) if place not in (7, 8)
    ]
    (tmp_path / f"{series}.csv").write_bytes(content(*pages))
    file, finding = Store(tmp_path, THIS_DISK).open(series, None)
    assert finding is None
    assert file.held == joined(pages).covered
    assert file.rows == 28


@pytest.mark.parametrize("lost", [1, 5, 40, len(row(0).text) - 1])
def test_a_last_line_cut_short_is_cut_off(tmp_path: Path, lost: int) -> None:
    file, what = found(tmp_path, content(rows(0, 20))[:-lost])
    assert "cut back" in what
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 19))
    assert file.held == spans(0, 19)


@pytest.mark.parametrize("zeros", [1, 100, 70_000, 300_000])
def test_zeros_at_the_end_are_cut_off(tmp_path: Path, zeros: int) -> None:
    file, what = found(tmp_path, content(rows(0, 20))[:-7] + bytes(zeros))
    assert "cut back" in what
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 19))
    assert file.held == spans(0, 19)


@pytest.mark.parametrize("data", [b"", HEADER[:10], HEADER[:-1], bytes(500)])
def test_a_file_whose_first_write_was_torn_is_begun_again(tmp_path: Path, data: bytes) -> None:
    file, _ = found(tmp_path, data)
    assert file.held == NOTHING
    file.append(rows(0, 2))
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 2))


@pytest.mark.parametrize("data", [b"open_time,open,high\n1,2,3\n", b"just some text", b"\n", b"\x89PNG\r\n\x1a\n"])
def test_a_file_without_any_row_is_set_aside_whole(tmp_path: Path, data: bytes) -> None:
    (tmp_path / f"{NAME}.set-aside-1").write_bytes(b"an earlier one")
    file, what = found(tmp_path, data)
    assert "is not ours (its first line is not our header): set aside as BTCUSDT_1.csv.set-aside-2" in what
    assert (tmp_path / f"{NAME}.set-aside-2").read_bytes() == data
    assert not (tmp_path / NAME).exists()
    assert (file.held, file.pieces) == (NOTHING, ())


@pytest.mark.parametrize(
    "head", [b"", b"time,when,o,h,l,c,v,t\n", HEADER[:20] + bytes(13) + b"\n", bytes(len(HEADER)) + b"\n"]
)
def test_rows_of_ours_under_another_header_wait_beside_the_file(tmp_path: Path, head: bytes) -> None:
    data = head + rows(0, 50).text
    file, what = found(tmp_path, data)
    assert "holding 50 rows from 2023-11-15 00:00:00 to 2023-11-15 00:50:00" in what
    assert (file.held, [piece.covered for piece in file.pieces]) == (NOTHING, [spans(0, 50)])
    assert (tmp_path / f"{NAME}.set-aside-1.pending").read_bytes() == data
    assert not (tmp_path / NAME).exists()
    assert Store(tmp_path, THIS_DISK).every_series() == [BTC]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (content(rows(0, 50)).replace(b"\n", b"\r\n"), "Windows line ends"),
        (content(rows(0, 25)) + rows(25, 50).text.replace(b"\n", b"\r\n"), "Windows line ends"),
        (b"\xef\xbb\xbf" + content(rows(0, 50)), "a byte order mark"),
        (b"\xef\xbb\xbf" + content(rows(0, 50)).replace(b"\n", b"\r\n"), "a byte order mark and Windows line ends"),
        (content(rows(25, 50), rows(0, 25)), "rows out of order"),
        (content(rows(0, 30), rows(20, 50)), "rows out of order and rows that are there twice"),
        (content(rows(0, 20), rows(19, 50)), "rows that are there twice"),
        (content(rows(0, 25)) + b"\n" + HEADER + rows(25, 50).text + b"\n", "lines that are no rows"),
    ],
)
@pytest.mark.parametrize("marked", [False, True])
def test_what_loses_no_row_is_put_right_in_place(tmp_path: Path, data: bytes, what: str, marked: bool) -> None:
    checkpoint = Checkpoint(len(content(rows(0, 10))), T0, T0 + 9 * 60_000, spans(0, 10)) if marked else None
    file, said = found(tmp_path, data, checkpoint)
    assert said == f"{what} put right, 50 rows stay"
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 50))
    assert file.held == spans(0, 50)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    file.append(rows(50, 51))
    assert opened(tmp_path).held == spans(0, 51)


def _zeros(line: bytes) -> bytes:
    return line[:30] + bytes(5000)


BAD_ROWS: dict[str, Callable[[bytes], bytes]] = {
    "zeros": _zeros,
    "zeros for lines": lambda line: bytes(4096) + line[40:],
    "bytes of a disk": lambda _: bytes(range(1, 256)) * 20 + b"\n",
    "torn": lambda line: line[:13] + b"\n",
    "no number": lambda line: line.replace(b",1.500,", b",oops,"),
    "odd number": lambda line: line.replace(b",1.500,", b",01.500,"),
    "open above high": lambda line: line.replace(b",3", b",9", 1),
    "another time": lambda line: line.replace(b"2023", b"2022"),
    "columns": lambda line: line[:-1] + b",1\n",
    "notes": lambda line: b"my precious notes\n" + line,
    "other numbers": lambda line: line + line.replace(b",1.500,", b",2.500,"),
    "another header": lambda line: b"time,o,h,l,c\n" + line,
}


@pytest.mark.parametrize("what", BAD_ROWS)
@pytest.mark.parametrize("place", [1, 1500, 2990])
def test_a_file_is_cut_at_its_first_bad_byte_and_keeps_the_rest(tmp_path: Path, what: str, place: int) -> None:
    lines = rows(0, 3000).text.splitlines(keepends=True)
    lines[place] = BAD_ROWS[what](lines[place])
    data = HEADER + b"".join(lines)
    file, said = found(tmp_path, data)
    good = place + (what == "other numbers")
    assert "cut off from a bad row on" in said
    assert (tmp_path / NAME).read_bytes() == content(rows(0, good))
    assert (tmp_path / f"{NAME}.cut-1.pending").read_bytes() == data[len(content(rows(0, good))) :]
    assert file.held == spans(0, good)
    (piece,) = file.pieces
    assert piece.covered[-1].end_ms == spans(0, 3000)[0].end_ms
    assert opened(tmp_path).pieces == file.pieces


def test_a_bad_byte_after_a_mark_is_found_and_before_it_is_not_looked_for(tmp_path: Path) -> None:
    checkpoint = Checkpoint(len(content(rows(0, 100))), T0, T0 + 99 * 60_000, spans(0, 100))
    damaged = content(rows(0, 150)).replace(b",37120,", b",oops,")
    file, said = found(tmp_path, damaged, checkpoint)
    assert ("no plain decimal" in said or "not a plain decimal number" in said, file.held) == (True, spans(0, 120))


def test_a_cut_that_was_interrupted_keeps_its_rest_once(tmp_path: Path) -> None:
    data = content(rows(0, 10)) + b"what is this\n" + rows(10, 20).text
    found(tmp_path, data)
    found(tmp_path, data)
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, f"{NAME}.cut-1.pending"]


@pytest.mark.parametrize("calls", range(6))
def test_a_start_that_breaks_off_while_it_cuts_loses_no_byte(tmp_path: Path, calls: int) -> None:
    data = content(rows(5, 10), rows(0, 5)) + b"what is this\n" + rows(10, 20).text
    (tmp_path / NAME).write_bytes(data)
    with suppress(StorageError):
        opened(tmp_path, BreakingDisk(calls, lambda: OSError(errno.EIO, "broken")))
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith(".new"))
    assert set(data.splitlines()) <= set(kept.splitlines())
    file = opened(tmp_path)
    assert (file.held, [piece.covered for piece in file.pieces]) == (spans(0, 10), [spans(10, 20)])


def _seconds(data: bytes) -> bytes:
    return b"".join(line[:10] + line[13:] for line in data.splitlines(keepends=True))


@pytest.mark.parametrize(
    "data",
    [
        b"open_time,open,high,low,close,volume\n" + b"1700006400000,37000.1,37000.1,37000.1,37000.1,1.5\n" * 100,
        HEADER + _seconds(rows(0, 100).text),
        HEADER + b"1700006400000,2023-11-15 00:00:00,1,1,1,1,1\n" * 3,
        content(rows(0, 100)).decode().encode("utf-16"),
        b'[["1700006400000","37000.1","37000.1","37000.1","37000.1","1.5","55500"]]',
        content(rows(0, 100)).replace(b",", b";"),
        content(*(candle_at(TIMEFRAMES["60"], T0 + 3_600_000 * hour) for hour in range(100))),
        content(*(candle_at(TIMEFRAMES["60"], T0 + 3_600_000 * hour) for hour in range(100))).replace(b"\n", b"\r\n"),
    ],
)
def test_a_file_that_would_lose_rows_is_left_alone(tmp_path: Path, data: bytes) -> None:
    (tmp_path / NAME).write_bytes(data)
    with pytest.raises(LeftAlone, match=r"cannot be read and would be lost.*--allow-replace"):
        opened(tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(NAME, data)]
    file, finding = Store(tmp_path, THIS_DISK, allow_replace=True).open(BTC, None)
    assert (file.held, finding is not None and "set aside" in finding.what) == (NOTHING, True)
    assert (tmp_path / f"{NAME}.set-aside-1").read_bytes() == data


def test_what_is_set_aside_of_a_linked_file_is_beside_its_target(tmp_path: Path) -> None:
    target = linked(tmp_path, "btc.csv")
    target.write_bytes(b"no header\n" + rows(0, 5).text)
    file = opened(tmp_path)
    assert (tmp_path / NAME).is_symlink()
    assert [path.name for path in target.parent.iterdir()] == ["btc.csv.set-aside-1.pending"]
    assert file.restore(spans(0, 5)) == 5
    assert target.read_bytes() == content(rows(0, 5))


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


@pytest.mark.parametrize("where", ["a directory", "itself", "nowhere"])
def test_a_link_that_leads_to_no_file_is_left_alone(tmp_path: Path, where: str) -> None:
    target = {"a directory": ".", "itself": NAME, "nowhere": "not-mounted/btc.csv"}[where]
    (tmp_path / NAME).symlink_to(target)
    with pytest.raises(LeftAlone):
        opened(tmp_path)
    assert (tmp_path / NAME).is_symlink()


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(StorageError, match="is no file"):
        opened(tmp_path)


def test_nothing_but_a_file_is_ever_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / NAME).symlink_to("pipe")
    with pytest.raises(OSError, match="is not replaced"):
        Files(THIS_DISK).replace(tmp_path / NAME, [HEADER])
    assert (tmp_path / "pipe").is_fifo()
    assert {each.name for each in tmp_path.iterdir()} == {NAME, "pipe"}


def test_a_pipe_in_the_place_of_a_piece_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"{NAME}.cut-1.pending")
    os.mkfifo(tmp_path / f"{NAME}.set-aside-1")
    assert opened(tmp_path).pieces == ()
    assert quarantined_lines(THIS_DISK, tmp_path / NAME) == frozenset()


def test_a_leftover_of_an_interrupted_rewrite_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.new").write_bytes(b"half of")
    found(tmp_path, content(rows(0, 3)))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


# The mark


def test_with_a_mark_only_what_came_after_it_is_read(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 10))
    checkpoint = file.checkpoint()
    assert checkpoint
    file.append(rows(12, 20))
    damaged = bytearray((tmp_path / NAME).read_bytes())
    damaged[200:203] = b"???"  # nobody looks there
    again, what = found(tmp_path, bytes(damaged), checkpoint)
    assert (again.held, what) == (spans(0, 10) | spans(12, 20), "")


@pytest.mark.parametrize("change", ["deeper", "shorter", "filled", "foreign"])
def test_a_mark_that_does_not_fit_is_not_believed(tmp_path: Path, change: str) -> None:
    file = opened(tmp_path)
    file.append(joined([rows(10, 20), rows(30, 40)]))
    checkpoint = file.checkpoint()
    data = {
        "deeper": content(rows(0, 20), rows(30, 40)),
        "shorter": content(rows(10, 15)),
        "filled": content(rows(10, 40)),
        "foreign": content(rows(11, 21), rows(30, 40)),
    }[change]
    assert found(tmp_path, data, checkpoint)[0].held == found(tmp_path, data)[0].held


@given(st.integers(1, 2000))
def test_a_file_cut_anywhere_after_the_mark_keeps_exactly_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, lost: int
) -> None:
    directory = tmp_path_factory.mktemp("store")
    file = opened(directory)
    file.append(rows(0, 20))
    checkpoint = file.checkpoint()
    file.append(rows(20, 60))
    data = (directory / NAME).read_bytes()[:-lost]
    whole = data[: data.rfind(b"\n") + 1].count(b"\n") - 1
    assert found(directory, data, checkpoint)[0].held == spans(0, whole)


# Symbolic links


def linked(directory: Path, target: str) -> Path:
    """A link in the place of the file, over another link in another directory; where its target is."""
    (directory / "disk").mkdir()
    (directory / "links").mkdir()
    (directory / "links" / "middle").symlink_to(f"../disk/{target}")
    (directory / NAME).symlink_to("links/middle")
    return directory / "disk" / target


def _insert(file: SeriesFile) -> None:
    file.insert([rows(0, 10)])


def _trim(file: SeriesFile) -> None:
    file.trim(5)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda file: file.append(rows(20, 25)), content(rows(10, 25))),
        (_insert, content(rows(0, 20))),
        (_trim, content(rows(15, 20))),
        (lambda file: file.truncate(T0 + 15 * 60_000), content(rows(10, 15))),
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


def test_what_is_removed_from_a_linked_file_is_kept_beside_its_target(tmp_path: Path) -> None:
    target = linked(tmp_path, "btc.csv")
    target.write_bytes(content(rows(0, 5)) + b"torn")
    beside = Store(tmp_path, THIS_DISK).remove_rows(BTC, rows(0, 5).text.splitlines(keepends=True), [b"torn"])
    assert beside == target.with_name("btc.csv.removed-1")
    assert (tmp_path / NAME).is_symlink()
    assert target.read_bytes() == content(rows(0, 5))


def test_a_leftover_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    opened(tmp_path).append(rows(10, 20))
    file = opened(tmp_path)
    (tmp_path / f"{NAME}.new").symlink_to(other)
    _insert(file)
    assert other.read_bytes() == b"precious"
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 20))


# When the disk refuses


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


def test_what_is_removed_from_a_file_is_kept_beside_it_under_a_name_of_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    for bad in (b"bad,line\n", b"torn"):
        store.path(BTC).write_bytes(content(rows(0, 5)) + bad)
        store.remove_rows(BTC, rows(0, 5).text.splitlines(keepends=True), [bad])
        assert store.path(BTC).read_bytes() == content(rows(0, 5))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["BTCUSDT_1.csv", "BTCUSDT_1.csv.removed-1", "BTCUSDT_1.csv.removed-2"]
    assert (tmp_path / "BTCUSDT_1.csv.removed-2").read_bytes() == b"torn"


def test_a_file_is_not_mended_when_what_goes_cannot_be_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, FullDisk(10))
    store.path(BTC).write_bytes(content(rows(0, 5)) + b"bad,line,that,is,long\n")
    before = store.path(BTC).read_bytes()
    with pytest.raises(StorageError):
        store.remove_rows(BTC, rows(0, 5).text.splitlines(keepends=True), [b"bad,line,that,is,long\n"])
    assert [path.name for path in tmp_path.iterdir()] == ["BTCUSDT_1.csv"]
    assert store.path(BTC).read_bytes() == before


def test_rows_are_counted_without_reading_them(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    assert store.count_rows(BTC) == 0
    (tmp_path / NAME).write_bytes(content(rows(0, 77)))
    assert store.count_rows(BTC) == 77


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


REFUSED: list[tuple[str, Callable[[Store, SeriesFile], object]]] = [
    ("open", lambda store, _: store.open(BTC, None)),
    ("open", lambda _, file: file.append(rows(5, 6))),
    ("stat", lambda _, file: file.checkpoint()),
    ("stat", lambda store, file: store.sync_names([file])),
    ("stat", lambda _, file: file.insert([rows(0, 5, volume="9")])),
    ("listdir", lambda store, _: store.every_series()),
    ("ftruncate", lambda _, file: file.truncate(T0)),
    ("unlink", lambda store, _: store.open(BTC, None)),
]


@pytest.mark.parametrize(("call", "work"), REFUSED)
def test_a_system_call_that_fails_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, work: Callable[[Store, SeriesFile], object]
) -> None:
    def deaf(path: object, *_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    opened(tmp_path).append(rows(0, 5))
    store = Store(tmp_path, THIS_DISK)
    file, _ = store.open(BTC, None)
    file.name_unsynced = True
    (tmp_path / f"{NAME}.cut-1.pending").write_bytes(rows(5, 6).text)
    store = Store(tmp_path, THIS_DISK)
    for module in (os, io):
        if hasattr(module, call):
            monkeypatch.setattr(module, call, deaf)
    with pytest.raises(StorageError, match="Input/output error"):
        work(store, file)
    monkeypatch.undo()


# What an open file says of itself


def test_a_file_tells_its_end_its_last_row_and_what_to_remember(tmp_path: Path) -> None:
    file = opened(tmp_path)
    assert (file.end_ms, file.checkpoint(), file.last) == (0, None, b"")
    file.append(joined([rows(0, 5), rows(7, 9)]))
    file.append(rows(9, 10))
    assert (file.end_ms, file.last) == (spans(0, 10).bounds.end_ms, rows(9, 10).text)
    checkpoint = file.checkpoint()
    assert checkpoint is not None
    assert (checkpoint.size, checkpoint.first_ms, checkpoint.last_ms) == (file.size, T0, spans(9, 10).bounds.start_ms)
    file.insert([rows(5, 6)])
    assert file.last == b""


def test_rows_of_which_the_first_are_there_are_not_appended(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 10))
    with pytest.raises(ValueError, match="do not continue"):
        file.append(joined([rows(3, 5), rows(20, 22)]))


def test_only_a_file_that_is_new_has_a_name_to_be_synced(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    file, _ = store.open(BTC, None)
    assert not file.name_unsynced
    file.append(rows(0, 1))
    assert file.name_unsynced
    store.sync_names([file])
    file.append(rows(1, 2))
    assert not file.name_unsynced
    assert store.open(BTC, None)[0].name_unsynced  # whoever wrote it may not have synced it
    assert not store.open(BTC, file.checkpoint())[0].name_unsynced


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


def test_every_series_is_one_that_a_file_is_named_after_in_order(tmp_path: Path) -> None:
    assert Store(tmp_path / "none", THIS_DISK).every_series() == []
    for name in ("ETHUSDT_5.csv", NAME, "notes.csv", "BTCUSDT_1.csv.new"):
        (tmp_path / name).touch()
    assert Store(tmp_path, THIS_DISK).every_series() == [BTC, Series("ETHUSDT", TIMEFRAMES["5"])]


def test_a_file_of_a_header_alone_gets_no_second_one(tmp_path: Path) -> None:
    file, what = found(tmp_path, HEADER)
    assert what == ""
    file.append(rows(0, 2))
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 2))


@pytest.mark.parametrize("head", [b"no header\n", HEADER + b"spoiled\n"])
@pytest.mark.parametrize(("sound", "name"), [(0, f"{NAME}.set-aside-1"), (1, f"{NAME}.set-aside-1.pending")])
def test_what_is_set_aside_waits_if_any_row_of_it_is_sound(tmp_path: Path, sound: int, name: str, head: bytes) -> None:
    (tmp_path / NAME).write_bytes(head + rows(0, sound).text)
    file, finding = Store(tmp_path, THIS_DISK).open(BTC, None)
    assert finding
    assert finding.again == (spans(0, 1) if sound else NOTHING)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    file.append(rows(0, 2))
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 2))


@pytest.mark.parametrize(("sound", "name"), [(0, f"{NAME}.cut-1"), (1, f"{NAME}.cut-1.pending")])
def test_what_is_cut_off_waits_if_any_row_of_it_is_sound(tmp_path: Path, sound: int, name: str) -> None:
    (tmp_path / NAME).write_bytes(content(rows(0, 9)) + b"spoiled\n" + rows(9, 9 + sound).text)
    file, finding = Store(tmp_path, THIS_DISK).open(BTC, None)
    assert finding
    assert finding.again == (spans(9, 10) if sound else NOTHING)
    assert {path.name for path in tmp_path.iterdir()} == {NAME, name}
    assert file.held == spans(0, 9)


def test_a_piece_that_is_used_up_leaves_the_others_waiting(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    for first in (20, 40):
        (tmp_path / f"{NAME}.cut-{first}.pending").write_bytes(rows(first, first + 5).text)
    file, _ = store.open(BTC, None)
    store.finish(file, file.pieces[0])
    assert [piece.covered for piece in file.pieces] == [spans(40, 45)]
    assert {path.name for path in tmp_path.iterdir()} == {f"{NAME}.cut-20", f"{NAME}.cut-40.pending"}


def test_lines_that_are_mended_away_are_kept_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    beside = store.remove_rows(BTC, [rows(0, 1).text], [b"one\n", b"two\n"])
    assert beside
    assert beside.read_bytes() == b"one\ntwo\n"
    assert store.remove_rows(BTC, [rows(0, 1).text], []) is None


def test_only_a_file_that_would_lose_rows_is_foreign(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    for data, is_foreign in [(content(rows(0, 5)), False), (b"somebody,else\n1,2,3,4,5\n", True)]:
        (tmp_path / NAME).write_bytes(data)
        assert store.is_foreign(BTC) is is_foreign


@pytest.mark.parametrize(("data", "count"), [(None, 0), (b"", 0), (HEADER, 0), (content(rows(0, 3)), 3)])
def test_a_file_has_as_many_rows_as_lines_behind_its_header(tmp_path: Path, data: bytes | None, count: int) -> None:
    if data is not None:
        (tmp_path / NAME).write_bytes(data)
    assert Store(tmp_path, THIS_DISK).count_rows(BTC) == count


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


class _OnceDeaf(Disk):
    """A sync fails, and the next one says nothing of what that has lost."""

    def __init__(self) -> None:
        self.fails = False
        self.again: list[tuple[int | None, bytes]] = []

    def sync(self, file: int) -> None:
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(file)

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        super().write(file, data, at)
        if self.fails:
            self.again.append((at, bytes(data)))


def test_what_a_failed_sync_may_have_lost_is_written_again(tmp_path: Path) -> None:
    disk = _OnceDeaf()
    file, _ = Store(tmp_path, disk).open(BTC, None)
    file.append(rows(0, 3))
    file.sync()
    file.append(rows(3, 6))
    disk.fails = True
    with pytest.raises(StorageError, match="Input/output error"):
        file.sync()
    assert disk.again == [(len(content(rows(0, 3))), rows(3, 6).text)]
    assert (tmp_path / NAME).read_bytes() == content(rows(0, 6))


def test_a_file_whose_first_sync_failed_is_written_again(tmp_path: Path) -> None:
    disk = _OnceDeaf()
    file, _ = Store(tmp_path, disk).open(BTC, None)
    file.append(rows(0, 3))
    disk.fails = True
    with pytest.raises(StorageError):
        file.sync()
    assert disk.again == [(0, content(rows(0, 3)))]


def test_what_came_after_the_mark_is_written_again_at_the_next_start(tmp_path: Path) -> None:
    disk = _OnceDeaf()
    store = Store(tmp_path, disk)
    file, _ = store.open(BTC, None)
    file.append(rows(0, 3))
    checkpoint = file.checkpoint()
    file.append(rows(3, 6))
    disk.fails = True  # notes what is written
    store.open(BTC, checkpoint)
    assert disk.again == [(len(content(rows(0, 3))), rows(3, 6).text)]
