"""Whole lines of a file that somebody may be writing: what is not whole does not exist, what is no row is named."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import MINUTE_MS
from collector.core.errors import NotReadable
from collector.core.rows import HEADER
from collector.feeder.csv_tail import CsvReader, open_csv
from collector.machine.disk import THIS_DISK
from tests.support.candles import T0, content, row, rows


def everything(lines: CsvReader) -> bytes:
    return HEADER + b"".join(lines.rows(len(HEADER), lines.size))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "BTCUSDT_1.csv"


@pytest.mark.parametrize("end", [b"", b"1", b"1700006700000,2023-11-15 00:05:00,37", b"\0" * 9000])
def test_a_last_line_that_is_not_whole_does_not_exist(path: Path, end: bytes) -> None:
    path.write_bytes(content(rows(0, 5)) + end)
    with open_csv(THIS_DISK, path) as lines:
        assert everything(lines) == content(rows(0, 5))


def test_a_file_is_what_it_was_when_it_was_opened(path: Path) -> None:
    path.write_bytes(content(rows(0, 5))[:-20])
    with open_csv(THIS_DISK, path) as lines:
        path.write_bytes(content(rows(0, 9)))
        assert everything(lines) == content(rows(0, 4))
        path.with_suffix(".new").write_bytes(content(rows(50, 60)))
        path.with_suffix(".new").replace(path)
        assert everything(lines) == content(rows(0, 4))


def test_a_file_that_is_cut_shorter_meanwhile_ends_with_its_last_whole_row(path: Path) -> None:
    path.write_bytes(content(rows(0, 5)))
    with open_csv(THIS_DISK, path) as lines:
        path.write_bytes(content(rows(0, 3))[:-20])
        assert everything(lines) == content(rows(0, 2))


@given(st.sets(st.integers(0, 400), min_size=1), st.integers(-2, 402), st.integers(-1, 1))
def test_a_moment_is_found_by_looking_at_few_rows(
    tmp_path_factory: pytest.TempPathFactory, places: set[int], place: int, beside_ms: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "BTCUSDT_1.csv"
    path.write_bytes(content(*(row(each) for each in sorted(places))))
    moment = T0 + place * MINUTE_MS + beside_ms
    before = [row(each) for each in sorted(places) if T0 + each * MINUTE_MS < moment]
    with open_csv(THIS_DISK, path) as lines:
        assert lines.offset(moment) == len(content(*before))


@pytest.mark.parametrize("text", [b"", HEADER[:20], HEADER, b"\0" * 100, HEADER[:20] + b"\0" * 100])
def test_a_file_that_was_only_begun_has_no_rows(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    with open_csv(THIS_DISK, path) as lines:
        assert everything(lines) == HEADER
        assert lines.offset(T0) == len(HEADER)


def test_a_file_that_is_none_of_ours_is_named(path: Path) -> None:
    path.write_bytes(b"time,price\n1,2\n")
    with pytest.raises(NotReadable, match=r"BTCUSDT_1\.csv cannot be used: its first line is not the header"):
        open_csv(THIS_DISK, path).__enter__()


def test_what_is_no_file_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(NotReadable, match="cannot be used: Is a directory"):
        open_csv(THIS_DISK, path).__enter__()


def test_nobody_is_waited_for_at_the_other_end_of_a_pipe(path: Path) -> None:
    os.mkfifo(path)
    with (
        pytest.raises(NotReadable, match=r"BTCUSDT_1\.csv cannot be used: it is not a regular file"),
        open_csv(THIS_DISK, path),
    ):
        pass


def test_a_line_too_long_for_a_row_does_not_hide_what_comes_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.feeder.csv_tail._CHUNK", 2000)
    path.write_bytes(HEADER + b"x" * 5000 + b"\n" + row(0).text)
    with (
        open_csv(THIS_DISK, path) as lines,
        pytest.raises(NotReadable, match="there is no row at byte 55"),
    ):
        everything(lines)


@given(st.integers(0, 90), st.integers(0, 90), st.integers(1100, 9000))
def test_pieces_are_whole_rows_while_a_file_grows_or_is_cut(
    tmp_path_factory: pytest.TempPathFactory, count: int, left: int, chunk: int
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "BTCUSDT_1.csv"
    path.write_bytes(content(rows(0, count)))
    with pytest.MonkeyPatch.context() as patch, open_csv(THIS_DISK, path) as lines:
        patch.setattr("collector.feeder.csv_tail._CHUNK", chunk)
        pieces = []
        for piece in lines.rows(len(HEADER), lines.size):
            pieces.append(piece)
            path.write_bytes(content(rows(0, left)) + row(left).text[:40])
    assert all(piece.endswith(b"\n") for piece in pieces)
    text = HEADER + b"".join(pieces)
    assert content(rows(0, count)).startswith(text)
    assert len(text) >= len(content(rows(0, min(count, left))))


def test_a_place_where_no_row_is_is_named(path: Path) -> None:
    path.write_bytes(HEADER + b"x" * 5000 + b"\n")
    with open_csv(THIS_DISK, path) as lines, pytest.raises(NotReadable, match="there is no row at byte"):
        lines.offset(T0)


@given(st.sets(st.integers(0, 90)), st.integers(-2, 92), st.integers(0, 30), st.booleans())
def test_the_last_rows_of_a_span_are_found_from_the_end(
    tmp_path_factory: pytest.TempPathFactory, places: set[int], first: int, count: int, is_torn: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "BTCUSDT_1.csv"
    path.write_bytes(content(*(row(each) for each in sorted(places))) + (b"17000" if is_torn else b""))
    wanted = b"".join(row(each).text for each in sorted(places) if first <= each < first + count)
    with open_csv(THIS_DISK, path) as lines:
        found = lines.last_rows(T0 + first * MINUTE_MS, T0 + (first + count) * MINUTE_MS)
    after = [each for each in places if each >= first]
    assert found == wanted or (found is None and len(after) > 20)


def test_last_lines_that_are_no_rows_are_named(path: Path) -> None:
    path.write_bytes(content(rows(0, 5)) + b"no row\n")
    with open_csv(THIS_DISK, path) as lines, pytest.raises(NotReadable, match="its last lines are not rows"):
        lines.last_rows(T0, T0 + MINUTE_MS)
