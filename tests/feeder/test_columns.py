"""Columns in memory: they hold the numbers of the text, are searched like a list, and refuse what is damaged."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from itertools import accumulate, pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import MINUTE_MS
from collector.feeder.arrow_ipc import NotArrow
from collector.feeder.columns import NAMES, Columns, as_one, parse_rows, parse_stream, to_dataframe, to_streams
from tests.support.candles import T0, joined, row, rows


def stream(places: Sequence[int], gap: bytes = b"") -> bytes:
    return b"".join(as_one(to_streams(parse_rows([joined(map(row, places)).text])))) + gap


def columns(places: Sequence[int]) -> Columns:
    (block,), _ = parse_stream(stream(places))
    return block


some_places = st.sets(st.integers(0, 60), min_size=1).map(sorted)


@given(some_places)
def test_the_numbers_of_a_file_lie_where_they_are_looked_for(places: list[int]) -> None:
    found = columns(places)
    prices = [37000.0 + place for place in places]
    assert list(found.times) == [T0 + place * MINUTE_MS for place in places]
    assert list(map(list, found.values)) == [prices] * 4 + [[1.5] * len(places), [0.00000123] * len(places)]
    assert found.bytes == 56 * len(places)
    assert to_dataframe([found]).rows() == list(zip(found.times, *found.values, strict=True))


@given(some_places, st.integers(-2, 62), st.integers(-1, 1))
def test_the_row_at_or_before_a_moment_is_found_with_holes_and_without(
    places: list[int], place: int, beside_ms: int
) -> None:
    moment = T0 + place * MINUTE_MS + beside_ms
    expected = sum(T0 + each * MINUTE_MS <= moment for each in places) - 1
    assert columns(places).before(moment, MINUTE_MS) == expected


def test_the_row_is_found_even_where_rows_are_closer_together_than_their_timeframe_says() -> None:
    assert columns(range(10)).before(T0 + 7 * MINUTE_MS, 60 * MINUTE_MS) == 7


@given(some_places, st.integers(-2, 62), st.integers(-2, 62))
def test_a_part_is_the_rows_that_open_in_the_span(places: list[int], first: int, behind: int) -> None:
    part = columns(places).between(T0 + first * MINUTE_MS, T0 + behind * MINUTE_MS)
    assert list(part.times) == [T0 + place * MINUTE_MS for place in places if first <= place < behind]
    assert to_dataframe([part])["timestamp"].to_list() == list(part.times)


@given(st.lists(st.integers(0, 5), min_size=1).map(lambda sizes: [1, *sizes]), st.integers(1, 8))
def test_a_stream_in_pieces_has_all_rows_in_as_few_batches_as_are_worth_it(sizes: list[int], many: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.feeder.columns._MANY", many)
        ends = [0, *accumulate(sizes)]
        texts = [rows(first, behind).text for first, behind in pairwise(ends) if behind > first]
        whole = b"".join(as_one(to_streams(parse_rows(texts)))) + b"what comes after"
    blocks, rest = parse_stream(whole)
    assert rest == b"what comes after"
    assert [time for block in blocks for time in block.times] == [T0 + at * MINUTE_MS for at in range(ends[-1])]
    assert all(len(block) >= many for block in blocks[:-1])
    parts = [block.between(T0 + MINUTE_MS, T0 + (ends[-1] - 1) * MINUTE_MS) for block in blocks]
    assert to_dataframe(parts)["timestamp"].to_list() == [time for part in parts for time in part.times]
    assert to_dataframe([*blocks, *parse_stream(whole)[0]]).height == 2 * ends[-1]


@given(st.lists(some_places, max_size=3), st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
def test_a_table_has_the_columns_asked_for_of_blocks_one_after_the_other(
    parts: list[list[int]], names: list[str]
) -> None:
    found = to_dataframe([columns(part) for part in parts], names)
    texts = [row(place).text for part in parts for place in part]
    expected = pl.concat([to_dataframe([]), *(frame for text in texts for frame in parse_rows([text]))])
    assert found.equals(expected.select(names))
    assert found.n_chunks() == 1


def test_a_stream_of_nothing_is_nothing() -> None:
    assert list(as_one(to_streams([]))) == []


def test_a_stream_that_was_cut_short_or_zeroed_is_refused() -> None:
    whole = stream(range(3))
    broken = [whole[:size] for size in range(len(whole))]
    broken += [b"\0" * len(whole), whole[:-200] + b"\0" * 200, whole[:8] + b"\xff" * 600 + whole[608:]]
    for each in broken:
        with pytest.raises(NotArrow):
            parse_stream(each)


def test_a_stream_with_damage_in_its_description_ends_in_a_refusal_or_in_rows() -> None:
    whole = stream(range(3))
    for place in range(len(whole)):
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        with suppress(NotArrow):
            assert sum(map(len, parse_stream(damaged)[0])) <= 3


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (pl.DataFrame({"timestamp": [1, 2]}), "other columns"),
        (pl.DataFrame({name: [1.0, None] for name in NAMES}), "a column with gaps"),
        (pl.DataFrame({name: ["text", "more"] for name in NAMES}), "not of plain numbers"),
    ],
)
def test_a_stream_of_another_kind_is_refused(frame: pl.DataFrame, why: str) -> None:
    with pytest.raises(NotArrow, match=why):
        parse_stream(b"".join(to_streams([frame])))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"1700006400000,2023-11-15 00:00:00,1,1,1,1,0\n", "a row is not"),
        (b"1700006400000,2023-11-15 00:00:00,1,1,1,1,0,0,7\n", "a row is not one of numbers"),
        (b"1700006400000,2023-11-15 00:00:00,1,1,1,1,,0\n", "a row is not whole"),
        (b"1700006400000,2023-11-15 00:00:00,1,one,1,1,0,0\n", "a row is not one of numbers"),
        (row(0).text + b"\n" + row(1).text, "a row is not whole"),
        (row(0).text + row(0).text, "its timestamps do not increase"),
        (row(1).text + row(0).text, "its timestamps do not increase"),
    ],
)
def test_text_that_is_not_candles_in_order_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        list(parse_rows([row(-1).text, text]))


@given(some_places, st.lists(st.tuples(st.integers(0, 60), st.sampled_from([b"\n", b"\r\n"])), max_size=2))
def test_an_empty_line_anywhere_is_refused(places: list[int], empty: list[tuple[int, bytes]]) -> None:
    lines = [row(place).text for place in places]
    for at, line in empty:
        lines.insert(at, line)
    with pytest.raises(ValueError, match="a row is not") if empty else nullcontext():
        assert sum(map(len, parse_rows([b"".join(lines)]))) == len(places)
