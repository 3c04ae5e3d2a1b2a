"""The lines of any bytes, block by block: they are what a look at each line by itself says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.rows import HEADER
from collector.machine.disk import THIS_DISK
from collector.storage.defects import valid_open_ms
from collector.storage.inspection import mmap_file
from collector.storage.line_blocks import BOM, clean_text, line_blocks, located_lines, released_blocks, sound_blocks
from tests.support.candles import MINUTE, T0, content, row, rows

ROW = row(0).text
PIECES = [
    ROW,
    row(1).text,
    HEADER,
    b"\n",
    b"\r\n",
    b"\r\r\n",
    BOM + HEADER,
    BOM + ROW,
    ROW[:-1] + b"\r\n",
    b"x\r\n",
    b"a\rb\n",
]

some_lines = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map(b"".join)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (HEADER + ROW, [(len(HEADER), ROW[:-1])]),
        (BOM + HEADER + ROW, [(len(BOM + HEADER), ROW[:-1])]),
        (BOM + ROW, [(0, ROW[:-1])]),
        (ROW + BOM + ROW, [(0, ROW[:-1]), (len(ROW), BOM + ROW[:-1])]),
        (b"one\r\n\r\n\ntwo\n", [(0, b"one"), (8, b"two")]),
        (ROW + HEADER + ROW, [(0, ROW[:-1]), (len(ROW + HEADER), ROW[:-1])]),
    ],
)
def test_each_line_is_told_with_its_place_but_for_headers_and_blanks(
    data: bytes, lines: list[tuple[int, bytes]]
) -> None:
    assert list(located_lines(data, 0, len(data))) == lines


@given(before=some_lines, data=some_lines)
def test_the_text_of_a_block_is_that_of_its_lines(before: bytes, data: bytes) -> None:
    for whole, start in ((data, 0), (before + data, len(before)), (ROW + data, len(ROW))):
        lines = [line + b"\n" for _, line in located_lines(whole, start, len(whole))]
        assert clean_text(whole, start, len(whole)) == b"".join(lines)


@given(data=some_lines, block=st.integers(1, 300))
def test_every_line_is_in_one_block_with_its_time(data: bytes, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.storage.line_blocks.BLOCK", block)
        found = list(line_blocks(MINUTE, data, len(data)))
    lines = [line for each in found for line in each.lines]
    assert lines == [line for _, line in located_lines(data, 0, len(data))]
    assert [at for each in found for at in each.opens] == [valid_open_ms(MINUTE, line) for line in lines]
    assert [each.start for each in found] == [0, *(each.end for each in found[:-1])]
    assert found[-1].end == len(data)


def test_lines_behind_the_end_are_left_out() -> None:
    data = content(rows(0, 3))
    (block,) = line_blocks(MINUTE, data, len(data) - len(ROW))
    assert len(block.lines) == 2


def test_sound_rows_are_told_by_block_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.storage.line_blocks.BLOCK", 2 * len(ROW))
    data = content(rows(0, 2)) + b"x" * len(ROW + ROW[1:]) + b"\n" + rows(4, 6).text + b"torn"
    first, second, third = sound_blocks(MINUTE, data, len(data) - len("torn"))
    assert first is not None
    assert first.to_list() == [T0, T0 + 60_000]
    assert second is None
    assert third is not None
    assert len(third) == 2


def test_a_mapped_file_stays_readable_behind_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.storage.line_blocks.BLOCK", 5000)
    data = content(rows(0, 300))
    (tmp_path / "file").write_bytes(data)
    with mmap_file(THIS_DISK, tmp_path / "file") as mapped:
        for _ in range(2):
            assert b"".join(bytes(mapped[at:end]) for at, end in released_blocks(mapped, 0, len(data))) == data
