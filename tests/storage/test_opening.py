"""The opening of a file: whatever happened to it, what it holds is found out."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import TIMEFRAMES, Series
from collector.core.errors import SkipFile, StorageError
from collector.core.rows import HEADER
from collector.core.spans import NOTHING
from collector.machine.disk import THIS_DISK
from collector.storage.csv_store import Store
from collector.storage.files import Files
from collector.storage.inspection import Checkpoint
from collector.storage.quarantine import quarantined_lines
from tests.support.candles import BTC, T0, candle_at, content, joined, row, rows, spans
from tests.support.disks import BreakingDisk, LateDeafDisk
from tests.support.series_files import NAME, found, linked, opened


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
    with pytest.raises(SkipFile, match=r"cannot be read and would be lost.*--allow-replace"):
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


@pytest.mark.parametrize("where", ["a directory", "itself", "nowhere"])
def test_a_link_that_leads_to_no_file_is_left_alone(tmp_path: Path, where: str) -> None:
    target = {"a directory": ".", "itself": NAME, "nowhere": "not-mounted/btc.csv"}[where]
    (tmp_path / NAME).symlink_to(target)
    with pytest.raises(SkipFile):
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


def test_with_a_mark_only_what_came_after_it_is_read(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.append(rows(0, 10))
    file.sync()
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
    file.sync()
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
    file.sync()
    checkpoint = file.checkpoint()
    file.append(rows(20, 60))
    data = (directory / NAME).read_bytes()[:-lost]
    whole = data[: data.rfind(b"\n") + 1].count(b"\n") - 1
    assert found(directory, data, checkpoint)[0].held == spans(0, whole)


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


def test_what_came_after_the_mark_is_written_again_at_the_next_start(tmp_path: Path) -> None:
    disk = LateDeafDisk()
    store = Store(tmp_path, disk)
    file, _ = store.open(BTC, None)
    file.append(rows(0, 3))
    file.sync()
    checkpoint = file.checkpoint()
    file.append(rows(3, 6))
    disk.fails = True  # notes what is written
    store.open(BTC, checkpoint)
    assert disk.again == [(len(content(rows(0, 3))), rows(3, 6).text)]


def test_with_a_mark_that_does_not_fit_nothing_is_written_again(tmp_path: Path) -> None:
    disk = LateDeafDisk()
    opened(tmp_path, disk).append(rows(0, 6))
    disk.fails = True
    opened(tmp_path, disk, Checkpoint(len(content(rows(0, 3))), T0, T0 + 7 * 60_000, spans(0, 3)))
    assert disk.again == []
