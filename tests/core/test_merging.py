"""Merging: the later row wins as a whole, and only where it says something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.merging import Merged, Revision, merge, same_numbers


def line(minute: int, price: str, volume: str = "1") -> bytes:
    return f"{minute * 60_000},1970-01-01 00:{minute:02}:00,{price},{price},{price},{price},{volume},2\n".encode()


prices = st.sampled_from(["7", "7.0", "7.5", "8"])
stretches = st.dictionaries(st.integers(0, 30), prices, max_size=12).map(
    lambda rows: b"".join(line(minute, rows[minute]) for minute in sorted(rows))
)


def numbers(text: bytes) -> list[tuple[bytes, float]]:
    return [(each.split(b",")[0], float(each.split(b",")[2])) for each in text.splitlines()]


@given(stretches, stretches)
def test_merging_the_same_again_changes_nothing(earlier: bytes, later: bytes) -> None:
    once = merge(earlier, later).text
    assert merge(once, later) == Merged(once)


@given(stretches, stretches)
def test_every_time_is_there_once_and_in_order(earlier: bytes, later: bytes) -> None:
    times = [int(time) for time, _ in numbers(merge(earlier, later).text)]
    assert times == sorted({int(time) for time, _ in numbers(earlier + later)})


@given(stretches, stretches)
def test_the_later_arrival_wins(earlier: bytes, later: bytes) -> None:
    assert dict(numbers(merge(earlier, later).text)) == dict(numbers(earlier)) | dict(numbers(later))


@given(stretches, st.lists(st.integers(0, 5), min_size=12, max_size=12))
def test_parts_of_one_truth_merge_alike_in_any_order(truth: bytes, owners: list[int]) -> None:
    rows = truth.splitlines(keepends=True)
    parts = [b"".join(row for row, owner in zip(rows, owners, strict=False) if owner in (part, 5)) for part in range(5)]
    forward, backward = b"", b""
    for part in parts:
        forward = merge(forward, part).text
    for part in reversed(parts):
        backward = merge(backward, part).text
    assert forward == backward == truth


def test_a_row_with_equal_numbers_keeps_its_text() -> None:
    assert merge(line(1, "37000"), line(1, "37000.0")) == Merged(line(1, "37000"))


def test_a_different_row_replaces_the_whole_row_and_is_reported() -> None:
    before, after = line(1, "7", "1"), line(1, "7", "2")
    assert merge(before + line(2, "9"), after) == Merged(after + line(2, "9"), (Revision(before, after),))


@pytest.mark.parametrize("column", range(2, 8))
def test_a_row_is_another_if_any_of_its_numbers_is(column: int) -> None:
    values = line(1, "7").split(b",")
    values[column] = b"9\n" if column == 7 else b"9"
    assert not same_numbers(line(1, "7"), b",".join(values))


def test_a_spoiled_row_is_like_itself_and_no_other() -> None:
    spoiled = line(1, "\0")
    assert merge(spoiled, spoiled) == Merged(spoiled)
    assert merge(spoiled, line(1, "7")).revisions == (Revision(spoiled, line(1, "7")),)


def test_numbers_that_differ_beyond_a_float_are_different() -> None:
    assert not same_numbers(line(1, "0.1234567890123456789"), line(1, "0.1234567890123456788"))
