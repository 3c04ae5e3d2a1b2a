"""How the numbers of a file are brought into memory: what is read, what is not, and that it is right either way."""

import fcntl
import os
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collector.research.mirror
from collector.candle import MINUTE_MS
from collector.errors import NotReadable
from collector.research import copies
from collector.research.columns import frame_of, numbers_in, stream_of
from collector.research.copies import Extent, read_copy, write_copy
from collector.research.mirror import Mirror, mirror, part
from tests.candles import T0, content, row, rows

MANY = 250  # rows: enough to be worth a copy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "BTCUSDT_1.csv"


def loaded(path: Path, known: Mirror | None = None) -> Mirror:
    return mirror(path, known, may_map=True)


def opens(mirrored: Mirror) -> list[int]:
    return [(time - T0) // MINUTE_MS for block in mirrored.blocks for time in block.times]


def volumes(mirrored: Mirror) -> set[float]:
    return set(chain.from_iterable(block.values[4] for block in mirrored.blocks))


def copy_of(path: Path) -> Path:
    return path.parent / ".collector" / "arrow" / f"{path.stem}.arrow"


def forge(path: Path, volume: str) -> None:
    """Replaces the copy by one that has another volume, to be recognised by it."""
    copy = read_copy(path, may_map=False)
    assert copy is not None
    numbers = numbers_in([rows(0, sum(map(len, copy.blocks)), volume).text])
    write_copy(path, stream_of(numbers), lambda: copy.extent)


def test_an_unchanged_file_is_not_read_again(path: Path) -> None:
    path.write_bytes(content(rows(0, MANY)))
    first = loaded(path)
    assert loaded(path, first) is first
    forge(path, "9")
    assert volumes(loaded(path)) == {9.0}


def test_only_what_was_added_to_a_file_is_read(path: Path) -> None:
    path.write_bytes(content(rows(0, MANY)))
    first = loaded(path)
    forge(path, "9")
    path.write_bytes(content(rows(0, MANY + 3)))
    assert [set(block.values[4]) for block in loaded(path).blocks] == [{9.0}, {1.5}]
    assert loaded(path, first).blocks[0] is first.blocks[0]


def test_what_was_added_in_several_steps_is_put_together(path: Path) -> None:
    known = None
    for end in (MANY, MANY + 1, MANY + 2, MANY + 5):
        path.write_bytes(content(rows(0, end)))
        known = loaded(path, known)
        assert opens(known) == list(range(end))
    assert known is not None
    assert [len(block) for block in known.blocks] == [MANY, 5]


def test_what_was_added_becomes_part_of_the_copy_when_it_is_much(path: Path) -> None:
    path.write_bytes(content(rows(0, MANY)))
    first = loaded(path)
    path.write_bytes(content(rows(0, 5 * MANY)))
    for known in (first, None):
        again = loaded(path, known)
        assert opens(again) == list(range(5 * MANY))
        assert again.base
        assert again.base.extent.size == path.stat().st_size


def test_a_file_that_was_rewritten_is_read_whole_even_where_its_beginning_end_and_length_are_the_same(
    path: Path,
) -> None:
    path.write_bytes(content(rows(0, MANY)))
    first, stat = loaded(path), path.stat()
    path.write_bytes(content(rows(0, 100), row(100, "2.500"), rows(101, MANY)))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert volumes(loaded(path)) == volumes(loaded(path, first)) == {1.5, 2.5}


def test_a_file_that_was_touched_or_copied_elsewhere_still_has_its_copy(path: Path) -> None:
    path.write_bytes(content(rows(0, MANY)))
    loaded(path)
    forge(path, "9")
    os.utime(path)
    assert volumes(loaded(path)) == {9.0}


@pytest.mark.parametrize("text", [b"", b"ARROW1", b"\0" * 1000])
def test_a_copy_that_is_damaged_is_made_anew(path: Path, text: bytes) -> None:
    path.write_bytes(content(rows(0, MANY)))
    loaded(path)
    copy_of(path).write_bytes(text)
    assert opens(loaded(path)) == list(range(MANY))
    assert read_copy(path, may_map=False) is not None


def test_a_copy_that_somebody_changed_is_made_anew(path: Path) -> None:
    path.write_bytes(content(rows(0, MANY)))
    loaded(path)
    arrow = bytearray(copy_of(path).read_bytes())
    arrow[len(arrow) // 2] ^= 1
    copy_of(path).write_bytes(arrow)
    assert volumes(loaded(path)) == {1.5}


def test_a_copy_may_be_deleted(path: Path) -> None:
    path.write_bytes(content(rows(0, MANY)))
    first = loaded(path)
    copy_of(path).unlink()
    path.write_bytes(content(rows(0, MANY + 1)))
    assert opens(loaded(path, first)) == opens(loaded(path)) == list(range(MANY + 1))


def test_where_no_copy_can_be_written_everything_works_without(path: Path) -> None:
    (path.parent / ".collector").write_text("in the way of a directory")
    path.write_bytes(content(rows(0, MANY)))
    first = loaded(path)
    path.write_bytes(content(rows(0, 3 * MANY)))
    assert opens(loaded(path, first)) == list(range(3 * MANY))


def test_a_disk_that_fills_up_while_a_copy_is_written_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path.write_bytes(content(rows(0, MANY)))
    assert opens(loaded(path)) == list(range(MANY))
    assert not list(copy_of(path).parent.iterdir())


def test_what_a_killed_writer_left_is_removed_by_the_next_copy_and_what_a_live_one_writes_is_not(path: Path) -> None:
    place = copy_of(path)
    place.parent.mkdir(parents=True)
    left, other, alive = (
        place.with_name(f"{name}.new") for name in (f"{place.name}.1", "ETHUSDT_1.arrow.1", f"{place.name}.2")
    )
    left.write_bytes(b"half")
    other.write_bytes(b"half")
    path.write_bytes(content(rows(0, MANY)))
    with alive.open("xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert opens(loaded(path)) == list(range(MANY))
    assert {*place.parent.iterdir()} == {place, other, alive}


def test_a_small_file_is_not_worth_a_copy(path: Path) -> None:
    path.write_bytes(content(rows(0, 50)))
    assert len(loaded(path)) == 50
    assert not (path.parent / ".collector").exists()


def test_a_large_copy_is_mapped_and_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_WORTH_MAPPING", 1)
    path.write_bytes(content(rows(0, MANY)))
    assert loaded(path).private_bytes == 0
    path.write_bytes(content(rows(0, MANY + 2)))
    mapped = loaded(path)
    assert mapped.private_bytes == 2 * 56
    copy_of(path).unlink()
    assert opens(mapped) == list(range(MANY + 2))
    assert frame_of(mapped.blocks[:1])["open"][-1] == 37000 + MANY - 1
    assert mirror(path, None, may_map=False).private_bytes == mapped.bytes


def test_a_copy_that_another_process_wrote_meanwhile_is_not_taken_for_ours(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_be_overtaken(path: Path, pieces: Iterable[bytes | memoryview], extent: Callable[[], Extent]) -> None:
        write_copy(path, pieces, extent)
        other = attrs.evolve(extent(), checksum=1)
        write_copy(path, stream_of(numbers_in([rows(0, 3).text])), lambda: other)

    monkeypatch.setattr(collector.research.mirror, "write_copy", write_and_be_overtaken)
    path.write_bytes(content(rows(0, MANY)))
    assert opens(loaded(path)) == list(range(MANY))


def test_rows_that_were_added_out_of_order_make_a_file_unusable(path: Path) -> None:
    path.write_bytes(content(rows(0, MANY)))
    first = loaded(path)
    path.write_bytes(content(rows(0, MANY), row(3)))
    for known in (first, None):
        with pytest.raises(NotReadable, match=r"BTCUSDT_1\.csv cannot be used: its timestamps do not increase"):
            loaded(path, known)


@pytest.mark.parametrize("text", [b"", content()[:10], content(), content() + b"17000"])
def test_a_file_without_rows_has_none(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    assert loaded(path).blocks == part(path, 0, T0, may_map=True).blocks == ()


def test_a_file_that_is_not_there_is_not_found(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        loaded(path)


@settings(max_examples=30)
@given(first=st.integers(-5, MANY + 5), count=st.integers(0, MANY))
def test_a_part_is_the_same_from_the_file_and_from_its_copy(
    tmp_path_factory: pytest.TempPathFactory, first: int, count: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "parts" / "BTCUSDT_1.csv"
    path.parent.mkdir(exist_ok=True)
    places = [place for place in range(MANY) if place % 7]
    span = T0 + first * MINUTE_MS, T0 + (first + count) * MINUTE_MS
    path.write_bytes(content(*map(row, places)))
    from_file = part(path, *span, may_map=True)
    loaded(path)
    from_copy = part(path, *span, may_map=True)
    expected = [place for place in places if first <= place < first + count]
    assert opens(from_file) == opens(from_copy) == expected


def test_a_part_of_a_file_is_all_that_is_read_of_it(path: Path) -> None:
    path.write_bytes(content(rows(0, MANY)))
    spoilt = path.read_bytes().replace(b",37000,", b",oh no,").replace(b",37249,", b",oh no,")
    path.write_bytes(spoilt)
    assert opens(part(path, T0 + 9 * MINUTE_MS, T0 + 99 * MINUTE_MS, may_map=True)) == list(range(9, 99))
    with pytest.raises(NotReadable, match="a row is not one of numbers"):
        loaded(path)


@settings(max_examples=12)
@given(
    steps=st.lists(st.sampled_from(["grow", "rewrite", "tear", "forget", "delete the copy"]), min_size=4, max_size=6)
)
def test_whatever_happens_to_a_file_the_mirror_is_what_its_whole_rows_say(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    path = tmp_path_factory.mktemp("mirror") / "BTCUSDT_1.csv"
    end, volume = MANY, 1
    path.write_bytes(content(rows(0, end, "1")))
    known: Mirror | None = loaded(path)
    for step in steps:
        if step in ("grow", "rewrite"):
            end, volume = end + 10, volume + (step == "rewrite")
        if step == "forget":
            known = None
        if step == "delete the copy":
            copy_of(path).unlink(missing_ok=True)
        whole = content(rows(0, end, str(volume)))
        path.write_bytes(whole + b"17000" * (step == "tear"))
        known = loaded(path, known)
        assert opens(known) == list(range(end))
        assert volumes(known) == {float(volume)}
