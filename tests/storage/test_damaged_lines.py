"""Lines in which something is wrong: the first bad one, what is wrong in words, and the text without it."""

import polars as pl
import pytest

from collector.core.rows import HEADER
from collector.storage.damaged_lines import in_order, looks_like_a_row, read_lines
from collector.storage.line_blocks import BOM
from tests.support.candles import MINUTE, T0, content, row, rows

BLOCKS = (1, 100, 250, 10**6)
BAD = b"what is this\n"


@pytest.fixture(params=BLOCKS)
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and pieces of several sizes: what is said of a file does not depend on them."""
    monkeypatch.setattr("collector.storage.line_blocks.BLOCK", request.param)
    monkeypatch.setattr("collector.storage.damaged_lines._PIECE", 2)


def text(*parts: bytes) -> bytes:
    return HEADER + b"".join(parts)


ONE, TWO, THREE, FOUR = (row(place).text for place in range(4))
OTHER_TWO = row(1, "9").text
ZEROS_TWO = TWO.replace(b",1.500,", b",1.50,")  # the same numbers


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("data", "first"),
    [
        (text(ONE, TWO, THREE), None),
        (text(THREE, ONE, TWO), None),
        (text(ONE, TWO, TWO, THREE), None),
        (text(ONE, TWO, THREE, ZEROS_TWO, ONE), None),
        (text(BAD, ONE), 0),
        (text(ONE, TWO, BAD, THREE, BAD), 2),
        (text(ONE, TWO, OTHER_TWO, THREE), 2),
        (text(TWO, THREE, FOUR, ONE, OTHER_TWO, BAD), 4),
        (text(ONE, TWO, BAD, OTHER_TWO), 2),
        (text(ONE, TWO, BAD, THREE, OTHER_TWO), 2),
        (text(ONE, TWO, TWO, ONE, OTHER_TWO, row(0, "9").text), 4),
        (text(ONE, b"\n", HEADER, TWO, b"\r\n", OTHER_TWO), 2),
    ],
)
def test_the_first_bad_line_is_no_row_or_contradicts_an_earlier_one(data: bytes, first: int | None) -> None:
    assert read_lines(MINUTE, data, len(data)).first_bad() == first


@pytest.mark.usefixtures("_blocks")
def test_each_line_is_found_by_its_number() -> None:
    data = text(ONE, b"\n", TWO, BAD, THREE)
    lines = read_lines(MINUTE, data, len(data))
    assert lines.opens.to_list() == [T0, T0 + 60_000, None, T0 + 120_000]
    found = [lines.line(number) for number in range(4)]
    assert found == [(data.index(each), each[:-1]) for each in (ONE, TWO, BAD, THREE)]


@pytest.mark.usefixtures("_blocks")
def test_lines_that_look_like_rows_of_another_kind_are_counted() -> None:
    foreign = b"2023-11-15,1,2,3,4,5\n"
    data = text(ONE, foreign, BAD, TWO, foreign, b"\xff\xfe\n", foreign)
    assert read_lines(MINUTE, data, len(data)).foreign == 3
    assert read_lines(MINUTE, data, len(data) - len(foreign)).foreign == 2


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        (b"1,2,3,4,5", True),
        (b"1,2,3,4", False),
        (b"1700006400;37000;37001;36999;37000", True),
        (b"1\t2\t3\t4\t5", True),
        ("1,2,3,4,5".encode("utf-16-le"), True),
        ("1,2,3,4,5".encode("utf-32-le"), True),
        (bytes(4) + b"1,2,3,4,5", False),
        ("1,2,3,4,5 €".encode(), True),
        (b"1,2,3,4,5\x01", False),
        (b"a,b,c,d,e", False),
    ],
)
def test_a_row_of_another_kind_is_text_with_as_many_numbers_as_a_candle_has(line: bytes, is_one: bool) -> None:
    assert looks_like_a_row(line) == is_one


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("data", "stay", "words"),
    [
        (text(ONE, b"\n", TWO), 2, "lines that are no rows"),
        (text(ONE, HEADER, TWO), 2, "lines that are no rows"),
        (text(ONE, TWO), 2, ""),
        (b"\n" + text(ONE, TWO), 2, "lines that are no rows"),
        (text(ONE, TWO).replace(b"\n", b"\r\n"), 2, "Windows line ends"),
        (text(ONE, TWO[:-1] + b"\r\n", THREE), 3, "Windows line ends"),
        (BOM + text(ONE, TWO), 2, "a byte order mark"),
        (text(TWO, ONE), 2, "rows out of order"),
        (text(ONE, ONE), 2, "rows that are there twice"),
        (text(ONE, TWO, THREE, TWO), 4, "rows out of order and rows that are there twice"),
        (
            BOM + text(TWO, ONE).replace(b"\n", b"\r\n"),
            2,
            "a byte order mark and Windows line ends and rows out of order",
        ),
    ],
)
def test_what_is_wrong_is_said_in_words(data: bytes, stay: int, words: str) -> None:
    assert read_lines(MINUTE, data, len(data)).repairs(stay, len(data)) == words


@pytest.mark.usefixtures("_blocks")
def test_only_what_stays_is_described() -> None:
    good = text(ONE, TWO)
    data = good + THREE[:-1] + b"\r\n" + ONE
    assert read_lines(MINUTE, data, len(data)).repairs(2, len(good)) == ""


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("data", "stay", "kept"),
    [
        (text(ONE, b"\n", TWO, HEADER, THREE), 3, [ONE, TWO, THREE]),
        (text(THREE, ONE, TWO), 3, [ONE, TWO, THREE]),
        (text(FOUR, THREE, TWO, ONE), 4, [ONE, TWO, THREE, FOUR]),
        (text(ONE, TWO, ZEROS_TWO, THREE), 4, [ONE, ZEROS_TWO, THREE]),
        (text(ZEROS_TWO, ONE, TWO, ONE), 4, [ONE, TWO]),
        (BOM + text(TWO, ONE).replace(b"\n", b"\r\n"), 2, [ONE, TWO]),
        (BOM + text(ONE, TWO), 2, [ONE, TWO]),
    ],
)
def test_the_text_has_each_row_once_and_in_order_of_several_the_last(data: bytes, stay: int, kept: list[bytes]) -> None:
    lines = read_lines(MINUTE, data, len(data))
    assert b"".join(lines.text(stay, len(data))) == text(*kept)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_text_of_what_stays_has_nothing_of_what_goes(order: tuple[int, ...]) -> None:
    stay = text(*(row(place).text for place in order))
    data = stay + BAD + FOUR
    lines = read_lines(MINUTE, data, len(data))
    assert b"".join(lines.text(3, len(stay))) == content(rows(0, 3))


@pytest.mark.usefixtures("_blocks")
def test_what_is_empty_has_no_line() -> None:
    lines = read_lines(MINUTE, b"", 0)
    assert (lines.first_bad(), lines.foreign, len(lines.opens)) == (None, 0, 0)


@pytest.mark.parametrize(
    ("times", "ordered"), [([], []), ([1], [1]), ([1, 2, 4], [1, 2, 4]), ([4, 1, 4, 2, 1], [1, 2, 4]), ([2, 2], [2])]
)
def test_times_are_put_in_order_each_once(times: list[int], ordered: list[int]) -> None:
    assert in_order(pl.Series(times, dtype=pl.Int64)).to_list() == ordered
