"""A file that is read in pieces: what it holds, and what becomes of it, is what a look at all of its lines says."""

from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.core.candle import MINUTE_MS, TIMEFRAMES, Timeframe
from collector.core.rows import HEADER
from collector.core.spans import Spans
from collector.machine.disk import THIS_DISK
from collector.storage.defects import valid_open_ms
from collector.storage.fast_check import Text, open_times
from collector.storage.inspection import mmap_file
from collector.storage.ordering import Steps
from collector.storage.recovery import recover, valid_opens, valid_rows
from tests.support.candles import T0, content, rows
from tests.support.defects import PLANTS
from tests.support.whole_file import likely_whole, recover_whole, whole

ROW = len(rows(0, 1).text)
MINUTES = TIMEFRAMES["1"]
Damage = Callable[[bytes, Random], bytes]


def lines_shuffled(data: bytes, random: Random) -> bytes:
    lines = data[len(HEADER) :].splitlines(keepends=True)
    random.shuffle(lines)
    return HEADER + b"".join(lines)


def bytes_changed(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    word = random.choice([b"", b"\r\n", b"\n", b"\n\n", b"\0" * 9, b"\xff", b"-", b",", HEADER, b'"', b"0", b"\r"])
    return data[:at] + word + data[at + random.randrange(3) :]


def planted(data: bytes, random: Random, name: str) -> bytes:
    rows_left = [line for line in data.splitlines() if line.count(b",") == 7 and line[:13].isdigit()]
    return PLANTS[name](MINUTES, data, random) if data[:9] == HEADER[:9] and len(rows_left) > 12 else data


DAMAGES: dict[str, Damage] = {
    "bytes": bytes_changed,
    "Windows line ends": lambda data, _: data.replace(b"\n", b"\r\n"),
    "byte order mark": lambda data, _: b"\xef\xbb\xbf" + data,
    "cut": lambda data, random: data[: random.randrange(len(data))],
    "shuffled": lines_shuffled,
    "twice": lambda data, _: data + data[len(HEADER) :],
    "zeros": lambda data, random: data + bytes(random.randrange(200)),
    "header again": lambda data, _: data + HEADER,
    "no header": lambda data, _: data.partition(b"\n")[2],
    "somebody else's": lambda data, _: data + b"2023-11-15,1,2,3,4,5\n" * 3,
    **{f"plant: {name}": partial(planted, name=name) for name in PLANTS},
}


def damaged(names: list[str], seed: int, frame: Timeframe = MINUTES) -> bytes:
    data, random = content(rows(0, 40, frame=frame)), Random(seed)
    for name in names:
        data = DAMAGES[name](data, random) if data else data
    return data


@given(
    names=st.lists(st.sampled_from(sorted(DAMAGES)), max_size=4),
    seed=st.integers(0, 10**6),
    block=st.integers(3 * ROW, 45 * ROW),
    few=st.sampled_from([0, 10**6]),
    frame=st.sampled_from([TIMEFRAMES[name] for name in ("1", "60", "M")]),
)
@example(names=["twice", "bytes"], seed=1, block=ROW // 2, few=0, frame=MINUTES)  # in blocks shorter than a row
@example(names=["shuffled"], seed=2, block=ROW + 1, few=10**6, frame=MINUTES)
def test_a_file_in_pieces_is_recovered_as_a_whole_one(
    names: list[str], seed: int, block: int, few: int, frame: Timeframe
) -> None:
    data = damaged(names, seed, frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.storage.line_blocks.BLOCK", block)
        patch.setattr("collector.storage.damaged_lines._PIECE", 7)
        patch.setattr("collector.storage.fast_check._FEW", few)
        for each in (MINUTES, frame):
            assert whole(recover(each, data, None)) == whole(recover_whole(each, data))


@pytest.mark.parametrize("few", [0, 10**6])
@pytest.mark.parametrize("count", range(2, 12))
def test_rows_in_order_within_each_block_alone_are_put_in_order(
    count: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.storage.line_blocks.BLOCK", count * ROW)
    monkeypatch.setattr("collector.storage.fast_check._FEW", few)
    found = recover(MINUTES, content(rows(10, 20), rows(0, 10)), None)
    assert (found.repaired, b"".join(found.text)) == ("rows out of order", content(rows(0, 20)))


def lines_of(data: bytes) -> list[bytes]:
    return data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]


@given(
    names=st.lists(st.sampled_from(sorted(DAMAGES)), max_size=3),
    seed=st.integers(0, 10**6),
    few=st.sampled_from([0, 10**6]),
    place=st.sampled_from([5, 10**9]),
)
def test_the_time_of_each_line_is_that_of_a_look_at_it_alone(names: list[str], seed: int, few: int, place: int) -> None:
    data, before_ms = damaged(names, seed), T0 + place * MINUTE_MS
    alone = [valid_open_ms(MINUTES, line) for line in lines_of(data)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.storage.fast_check._FEW", few)
        found = open_times(MINUTES, Text(b"".join(line + b"\n" for line in lines_of(data))), before_ms)
    assert found.to_list() == [each if each is not None and each < before_ms else None for each in alone]


@given(
    names=st.lists(st.sampled_from(sorted(DAMAGES)), max_size=3),
    seed=st.integers(0, 10**6),
    block=st.integers(ROW // 2, 45 * ROW),
)
def test_the_sound_rows_of_a_kept_piece_are_found_in_pieces(names: list[str], seed: int, block: int) -> None:
    data = damaged(names, seed)
    lines = [line.rstrip(b"\r") for line in lines_of(data)]
    alone = {valid_open_ms(MINUTES, line): line + b"\n" for line in lines}
    alone.pop(None, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.storage.line_blocks.BLOCK", block)
        assert valid_rows(MINUTES, data) == alone
        assert valid_opens(MINUTES, data).to_list() == sorted(filter(None, alone))
        first_ten = Spans.between(T0, T0 + 10 * MINUTE_MS)
        assert valid_rows(MINUTES, data, first_ten) == {at: row for at, row in alone.items() if at and at in first_ten}


def test_a_mapped_file_is_read_as_its_bytes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is given back while it is read."""
    monkeypatch.setattr("collector.storage.line_blocks.BLOCK", 5000)
    path = tmp_path / "BTCUSDT_1.csv"
    for data in (content(rows(0, 600)), lines_shuffled(content(rows(0, 600)), Random(1))):
        path.write_bytes(data)
        with mmap_file(THIS_DISK, path) as mapped:
            assert whole(recover(MINUTES, mapped, None)) == whole(recover_whole(MINUTES, data))


class Watched(bytes):
    """Bytes of which is known how many were taken at once at most."""

    most = 0

    def __getitem__(self, part):  # type: ignore[no-untyped-def]
        taken = super().__getitem__(part)
        type(self).most = max(self.most, len(taken))
        return taken


@pytest.mark.parametrize("name", ["Windows line ends", "shuffled", "twice", "bytes", "header again"])
def test_no_more_than_a_block_of_a_long_file_is_in_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.storage.line_blocks.BLOCK", 5000)
    monkeypatch.setattr("collector.storage.damaged_lines._PIECE", 50)
    data = content(rows(0, 300))
    for each in (data, DAMAGES[name](data, Random(3))):
        watched = type("Watching", (Watched,), {})(each)
        found = recover(MINUTES, watched, None)
        assert max(watched.most, *map(len, [b"", *found.text])) <= 5000


@given(
    steps=st.lists(st.sampled_from([0, -60, 1, 60, 300, 3600, 86400]), max_size=30),
    name=st.sampled_from(["1", "5", "60", "D", "M"]),
    months=st.booleans(),
    size=st.integers(1, 40),
)
def test_distances_in_parts_tell_the_timeframe_of_all(steps: list[int], name: str, months: bool, size: int) -> None:
    frame = TIMEFRAMES["M"]
    opens = [T0 + seconds * 1000 for seconds in accumulate(steps)]
    opens = [frame.shift(frame.floor(T0), at) for at in range(len(steps))] if months else opens
    parts = Steps()
    for at in range(0, len(opens), size):
        parts.add(pl.Series(opens[at : at + size], dtype=pl.Int64))
    assert parts.likely(TIMEFRAMES[name]) == likely_whole(TIMEFRAMES[name], opens)
    assert parts.increasing == (opens == sorted(set(opens)))
