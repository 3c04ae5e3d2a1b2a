"""How the numbers of a file are brought into memory: what is read, what is not, and that it is right either way."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from random import Random
from time import time_ns

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collector.feeder.reader
from collector.core.candle import MINUTE_MS
from collector.core.errors import NotReadable
from collector.core.rows import HEADER
from collector.feeder.arrow_cache import CachedPrefix, CachedRows, read_cache, write_cache
from collector.feeder.columns import parse_rows, to_dataframe, to_streams
from collector.feeder.csv_tail import open_csv
from collector.feeder.reader import FileSnapshot, read_snapshot, read_span
from collector.machine.disk import THIS_DISK, Disk
from tests.support.candles import T0, content, row, rows

MANY = 250  # rows: enough to be worth a copy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "BTCUSDT_1.csv"


def loaded(path: Path, known: FileSnapshot | None = None) -> FileSnapshot:
    return read_snapshot(THIS_DISK, path, known)


def opens(mirrored: FileSnapshot) -> list[int]:
    return [(time - T0) // MINUTE_MS for block in mirrored.blocks for time in block.times]


def volumes(mirrored: FileSnapshot) -> set[float]:
    return set(chain.from_iterable(block.values[4] for block in mirrored.blocks))


def copy_of(path: Path) -> Path:
    return path.parent / ".collector" / "arrow" / f"{path.stem}.arrow"


def copied(path: Path) -> CachedRows | None:
    with open_csv(THIS_DISK, path) as lines:
        return read_cache(lines)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour has passed since the files of the test were written."""
    monkeypatch.setattr(Disk, "now_ns", lambda _: time_ns() + 3_600_000_000_000)


def forge(path: Path, volume: str) -> None:
    """Replaces the copy by one that has another volume, to be recognised by it."""
    copy = copied(path)
    assert copy is not None
    numbers = parse_rows([rows(0, sum(map(len, copy.blocks)), volume).text])
    write_cache(THIS_DISK, path, to_streams(numbers), lambda: copy.extent)


@pytest.mark.usefixtures("later")
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


@pytest.mark.parametrize("text", [b"", b"ARROW1", b"\0" * 1000, b"\0" * 1_000_000])
def test_a_copy_that_is_damaged_is_made_anew(path: Path, text: bytes) -> None:
    path.write_bytes(content(rows(0, MANY)))
    loaded(path)
    copy_of(path).write_bytes(text)
    assert opens(loaded(path)) == list(range(MANY))
    assert copied(path) is not None


def damaged(whole: bytes, random: Random) -> bytes:
    """The same bytes with one of the things done to them that disks and people do."""
    place, other, length = random.randrange(len(whole)), random.randrange(len(whole)), random.randrange(1, 600)
    return random.choice(
        [
            whole[:place] + bytes([whole[place] ^ 1 << random.randrange(8)]) + whole[place + 1 :],
            whole[:place] + random.randbytes(length) + whole[place + length :],
            whole[:place] + b"\0" * length + whole[place + length :],
            whole[:place] + whole[other : other + length] + whole[place + length :],
            whole[:place],
            whole[:place] + whole[place + length :],
            whole + random.randbytes(length),
        ]
    )


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    ("seed", "times"), [(7, 150), pytest.param(8, 10_000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_damaged_copy_never_changes_an_answer(path: Path, seed: int, times: int) -> None:
    path.write_bytes(content(rows(0, MANY)))
    true = to_dataframe(loaded(path).blocks)
    whole, random = copy_of(path).read_bytes(), Random(seed)
    for _ in range(times):
        copy_of(path).write_bytes(damaged(whole, random))
        copy = copied(path)
        assert copy is None or to_dataframe(copy.blocks).equals(true)
        if random.random() < 0.05:
            assert to_dataframe(loaded(path).blocks).equals(true)
            assert to_dataframe(read_span(THIS_DISK, path, 0, T0 + MANY * MINUTE_MS).blocks).equals(true)


@pytest.mark.usefixtures("later")
def test_copies_that_were_exchanged_count_for_nothing(path: Path) -> None:
    other = path.with_name("ETHUSDT_1.csv")
    for each, volume in ((path, "1"), (other, "2")):
        each.write_bytes(content(rows(0, MANY, volume)))
        loaded(each)
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    bytes_of = {each: copy_of(each).read_bytes() for each in (path, other)}
    copy_of(path).write_bytes(bytes_of[other])
    copy_of(other).write_bytes(bytes_of[path])
    assert volumes(loaded(path)) == volumes(read_span(THIS_DISK, path, T0, T0 + MANY * MINUTE_MS)) == {1.0}
    assert volumes(read_span(THIS_DISK, other, T0, T0 + MANY * MINUTE_MS)) == volumes(loaded(other)) == {2.0}


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "directory"])
def test_what_is_no_regular_file_is_no_copy(path: Path, tmp_path: Path, kind: str) -> None:
    path.write_bytes(content(rows(0, MANY)))
    forged, place = tmp_path / "elsewhere", copy_of(path)
    loaded(path)
    forge(path, "9")
    place.rename(forged)
    if kind == "pipe":
        os.mkfifo(place)
        os.mkfifo(place.with_name(f"{place.name}.1.new"))
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to(forged if kind == "link" else tmp_path / "nowhere")
    before = forged.read_bytes()
    assert volumes(loaded(path)) == volumes(loaded(path)) == {1.5}
    assert place.is_dir() == (kind == "directory")
    assert place.is_symlink() is False
    assert forged.read_bytes() == before
    assert not (tmp_path / "nowhere").exists()


def test_a_copy_that_is_shortened_or_overwritten_later_changes_nothing_that_is_loaded(path: Path) -> None:
    many = 80 * MANY
    times = (T0 + place * MINUTE_MS for place in range(many))
    path.write_bytes(HEADER + "".join(f"{each},2023-11-15 00:00:00,7,7,7,7,0,0\n" for each in times).encode())
    loaded(path)
    again = loaded(path)
    with copy_of(path).open("r+b") as file:
        file.write(b"\xff" * 1000)
        file.truncate(1000)
    assert opens(again) == list(range(many))
    assert to_dataframe(again.blocks)["open"][-1] == 7


def test_a_part_takes_no_more_memory_than_its_rows(path: Path) -> None:
    path.write_bytes(content(rows(0, 4 * MANY)))
    loaded(path)
    some = read_span(THIS_DISK, path, T0, T0 + 2 * MANY * MINUTE_MS)
    assert opens(some) == list(range(2 * MANY))
    assert sum(memoryview(block.times.obj).nbytes for block in some.blocks) < some.bytes + 5_000


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
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    copy_of(path).parent.mkdir(parents=True)
    path.write_bytes(content(rows(0, MANY)))
    monkeypatch.setattr(os, "write", full)
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


class BrokenDisk(Disk):
    """Refuses a call of one kind, the next after some that succeed."""

    def __init__(self, call: str, left: int) -> None:
        self._call, self._left = call, left

    def read(self, file: int, size: int, at: int = 0) -> bytes:
        self._meet("read")
        return super().read(file, size, at)

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        self._meet("write")
        super().write(file, data, at)

    def _meet(self, call: str) -> None:
        if call == self._call:
            self._left -= 1
            if self._left < 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read in twelve pieces or more, and as many streams are copied."""
    path.write_bytes(content(rows(0, MANY)))
    monkeypatch.setattr("collector.feeder.csv_tail._CHUNK", path.stat().st_size // 12)
    monkeypatch.setattr("collector.feeder.columns._MANY", 1)


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("left", range(15))
def test_a_copy_that_breaks_off_costs_no_row(path: Path, left: int) -> None:
    assert opens(read_snapshot(BrokenDisk("write", left), path, None)) == list(range(MANY))
    if copied(path) is None:
        assert [*copy_of(path).parent.iterdir()] == []
    else:
        assert left > 12


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("left", range(15))
def test_a_file_that_cannot_be_read_to_its_end_has_no_rows_and_no_copy(path: Path, left: int) -> None:
    with pytest.raises(NotReadable, match="Input/output error"):
        read_snapshot(BrokenDisk("read", left), path, None)
    assert copied(path) is None


def test_a_small_file_is_not_worth_a_copy(path: Path) -> None:
    path.write_bytes(content(rows(0, 50)))
    assert len(loaded(path)) == 50
    assert not (path.parent / ".collector").exists()


def test_a_copy_that_another_process_wrote_meanwhile_is_not_taken_for_ours(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_be_overtaken(
        disk: Disk, path: Path, streams: Iterable[bytes], extent: Callable[[], CachedPrefix]
    ) -> None:
        write_cache(disk, path, streams, extent)
        others = to_streams(parse_rows([rows(0, 3).text]))
        write_cache(disk, path, others, lambda: attrs.evolve(extent(), checksum=1))

    monkeypatch.setattr(collector.feeder.reader, "write_cache", write_and_be_overtaken)
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
    assert loaded(path).blocks == read_span(THIS_DISK, path, 0, T0).blocks == ()


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
    from_file = read_span(THIS_DISK, path, *span)
    loaded(path)
    from_copy = read_span(THIS_DISK, path, *span)
    expected = [place for place in places if first <= place < first + count]
    assert opens(from_file) == opens(from_copy) == expected


def test_a_part_of_a_file_is_all_that_is_read_of_it(path: Path) -> None:
    path.write_bytes(content(rows(0, MANY)))
    spoilt = path.read_bytes().replace(b",37000,", b",oh no,").replace(b",37249,", b",oh no,")
    path.write_bytes(spoilt)
    assert opens(read_span(THIS_DISK, path, T0 + 9 * MINUTE_MS, T0 + 99 * MINUTE_MS)) == list(range(9, 99))
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
    known: FileSnapshot | None = loaded(path)
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
