"""The look into a file: whether it is one, whether a mark still fits it, and what came after the mark."""

import mmap
import os
from pathlib import Path

import attrs
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.core.candle import MINUTE_MS, TIMEFRAMES, Timeframe
from collector.core.errors import SkipFile
from collector.core.rows import HEADER, covered_spans
from collector.core.spans import Spans
from collector.machine.disk import THIS_DISK, Disk
from collector.storage.inspection import (
    Checkpoint,
    changed_ns,
    covered_by_times,
    file_exists,
    mmap_file,
    read_from_checkpoint,
    valid_checkpoint,
)
from tests.support.candles import MINUTE, T0, content, joined, row, rows, spans

MARKED = content(rows(0, 5))
MARK = Checkpoint(len(MARKED), T0, T0 + 4 * MINUTE_MS, spans(0, 5))


def test_a_file_is_there_and_none_is_where_one_can_be_made(tmp_path: Path) -> None:
    assert file_exists(tmp_path / "new.csv") is False
    (tmp_path / "there.csv").touch()
    assert file_exists(tmp_path / "there.csv") is True
    (tmp_path / "link.csv").symlink_to("there.csv")
    assert file_exists(tmp_path / "link.csv") is True
    (tmp_path / "dangling.csv").symlink_to("made-later.csv")
    assert file_exists(tmp_path / "dangling.csv") is False


@pytest.mark.parametrize(
    ("target", "why"), [(".", "is no file"), ("none/x.csv", "no such directory"), ("x.csv", "points to itself")]
)
def test_what_is_no_file_and_cannot_become_one_is_left_alone(tmp_path: Path, target: str, why: str) -> None:
    (tmp_path / "x.csv").symlink_to(target)
    with pytest.raises(SkipFile, match=why):
        file_exists(tmp_path / "x.csv")


@pytest.mark.parametrize("data", [None, b"", b"some bytes"])
def test_the_bytes_of_a_file_are_seen_and_it_is_closed_again(tmp_path: Path, data: bytes | None) -> None:
    path, before = tmp_path / "x.csv", len(list(Path("/proc/self/fd").iterdir()))
    if data is not None:
        path.write_bytes(data)
    with mmap_file(THIS_DISK, path) as seen:
        assert bytes(seen) == (data or b"")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class EmptyingDisk(Disk):
    """Somebody empties a file just before it is mapped."""

    def map(self, file: int) -> mmap.mmap:
        os.truncate(f"/proc/self/fd/{file}", 0)
        return super().map(file)


def test_a_file_that_is_emptied_meanwhile_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(MARKED)
    with mmap_file(EmptyingDisk(), tmp_path / "x.csv") as seen:
        assert bytes(seen) == b""


def test_a_file_that_is_not_there_never_changed(tmp_path: Path) -> None:
    assert changed_ns(tmp_path / "x.csv") == 0
    (tmp_path / "x.csv").touch()
    os.utime(tmp_path / "x.csv", ns=(5, 7))
    assert changed_ns(tmp_path / "x.csv") == 7


def test_a_mark_is_trusted_until_a_file_of_the_same_size_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    assert valid_checkpoint(path, None) is None
    assert valid_checkpoint(path, MARK) is None
    path.write_bytes(MARKED)
    os.utime(path, ns=(7, 7))
    for known_ns, is_trusted in [(0, True), (7, True), (6, False)]:
        checkpoint = attrs.evolve(MARK, changed_ns=known_ns)
        assert (valid_checkpoint(path, checkpoint) is checkpoint) is is_trusted
    assert valid_checkpoint(path, MARK) is MARK  # when it was made is not known
    path.write_bytes(MARKED + rows(5, 6).text)
    assert valid_checkpoint(path, attrs.evolve(MARK, changed_ns=6)) is not None


@pytest.mark.parametrize(
    ("after", "good", "behind", "why"),
    [
        (b"", 0, 5, ""),
        (rows(5, 7).text, 2, 7, ""),
        (rows(5, 7).text + row(7).text[:-1], 2, 7, "the last line is not whole"),
        (rows(5, 6).text + bytes(9), 1, 6, "zeros where rows should be"),
        (bytes(9), 0, 5, "zeros where rows should be"),
        (b"spoiled", 0, 5, "the last line is not whole"),
    ],
)
def test_what_came_after_a_mark_is_rows_or_what_a_crash_leaves(after: bytes, good: int, behind: int, why: str) -> None:
    size = len(MARKED) + len(rows(5, 5 + good).text)
    assert read_from_checkpoint(MINUTE, MARKED + after, MARK) == (size, spans(0, behind), why)


@pytest.mark.parametrize("after", [b"spoiled\n", rows(4, 6).text, rows(5, 6).text + b"x\n", b"\n"])
def test_anything_else_behind_a_mark_has_the_file_read_whole(after: bytes) -> None:
    assert read_from_checkpoint(MINUTE, MARKED + after, MARK) is None


@pytest.mark.parametrize(
    ("data", "checkpoint"),
    [
        (MARKED.replace(b"open", b"Open", 1), MARK),
        (MARKED[:-1], MARK),
        (MARKED[:-1] + b" " + rows(5, 6).text, MARK),
        (content(rows(1, 6)), MARK),
        (content(joined([rows(0, 4), rows(5, 6)])), MARK),
        (MARKED, attrs.evolve(MARK, size=len(MARKED) - 1)),
        (MARKED, attrs.evolve(MARK, size=len(HEADER))),
        (MARKED, attrs.evolve(MARK, size=0)),
        (MARKED, attrs.evolve(MARK, first_ms=T0 // 10)),
    ],
)
def test_a_mark_of_another_file_does_not_fit(data: bytes, checkpoint: Checkpoint) -> None:
    assert read_from_checkpoint(MINUTE, data, checkpoint) is None


def test_a_mark_of_one_row_fits() -> None:
    data = content(rows(0, 1))
    checkpoint = Checkpoint(len(data), T0, T0, spans(0, 1))
    assert read_from_checkpoint(MINUTE, data + rows(1, 3).text, checkpoint) == (
        len(content(rows(0, 3))),
        spans(0, 3),
        "",
    )


@example(MINUTE, {0, 1, 3})
@given(st.sampled_from([TIMEFRAMES[name] for name in ("1", "60", "W", "M")]), st.sets(st.integers(0, 30)))
def test_a_column_of_times_covers_what_its_candles_do(frame: Timeframe, places: set[int]) -> None:
    opens = [frame.shift(frame.ceil(T0), place) for place in sorted(places)]
    found = covered_by_times(frame, pl.Series(opens, dtype=pl.Int64))
    assert found == covered_spans(frame, opens)
    assert found == Spans.of(*found)
