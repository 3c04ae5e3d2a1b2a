"""What a file holds, and what of it stays: from its bytes alone."""

import pytest

from collector.core.candle import MINUTE_MS, timeframe
from collector.core.rows import HEADER
from collector.core.spans import NOTHING
from collector.storage.inspection import Checkpoint
from collector.storage.recovery import Recovery, Rest, recover, valid_rows
from tests.support.candles import MINUTE, T0, content, joined, row, rows, spans

BOM = b"\xef\xbb\xbf"
WHOLE = content(rows(0, 5))
FOREIGN = b"2023-11-15,1,2,3,4,5"


def recovered(data: bytes) -> Recovery:
    return recover(MINUTE, data, None)


def text_of(found: Recovery) -> bytes:
    return b"".join(found.text)


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        (b"", ""),
        (row(5).text[:-1], "the last line is not whole"),
        (row(5).text[:9], "the last line is not whole"),
        (bytes(20), "zeros where rows should be"),
    ],
)
def test_a_file_of_ours_stays_up_to_its_last_whole_row(tail: bytes, why: str) -> None:
    assert recovered(WHOLE + tail) == Recovery(len(WHOLE), spans(0, 5), why)


def test_a_mark_vouches_for_what_it_remembers_and_only_the_rest_is_read() -> None:
    checkpoint = Checkpoint(len(WHOLE), T0, T0 + 4 * MINUTE_MS, spans(0, 5))
    spoiled = WHOLE.replace(row(2).text, row(2).text.replace(b"37002", b"nobod", 1))
    found = recover(MINUTE, spoiled + rows(5, 7).text, checkpoint)
    assert found == Recovery(len(spoiled) + len(rows(5, 7).text), spans(0, 7), checkpointed=spans(0, 5))
    assert recover(MINUTE, WHOLE + b"spoiled\n", checkpoint).checkpointed == NOTHING


@pytest.mark.parametrize("data", [b"", HEADER[:7], HEADER[:-1], bytes(30)])
def test_a_header_that_was_not_written_whole_is_written_again(data: bytes) -> None:
    assert recovered(data) == Recovery(0, NOTHING, "its header was not written whole")


def test_a_file_is_proven_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.storage.line_blocks.BLOCK", 2 * len(row(0).text))
    assert recovered(WHOLE) == Recovery(len(WHOLE), spans(0, 5))
    assert recovered(content(rows(2, 5)) + rows(0, 2).text).repaired == "rows out of order"


def test_a_header_alone_is_a_file_of_ours() -> None:
    assert recovered(HEADER) == Recovery(len(HEADER), NOTHING)


@pytest.mark.parametrize(
    ("data", "repaired"),
    [
        (WHOLE.replace(b"\n", b"\r\n"), "Windows line ends"),
        (BOM + WHOLE, "a byte order mark"),
        (BOM + WHOLE.replace(b"\n", b"\r\n"), "a byte order mark and Windows line ends"),
        (content(rows(2, 5)) + rows(0, 2).text, "rows out of order"),
        (WHOLE + row(4).text, "rows that are there twice"),
        (WHOLE + row(1).text, "rows out of order and rows that are there twice"),
        (content(rows(0, 3)) + b"\n" + rows(3, 5).text, "lines that are no rows"),
        (content(rows(0, 3)) + HEADER + rows(3, 5).text, "lines that are no rows"),
    ],
)
def test_what_loses_no_row_is_put_right(data: bytes, repaired: str) -> None:
    found = recovered(data)
    assert (found.size, found.held, found.repaired, text_of(found)) == (len(data), spans(0, 5), repaired, WHOLE)
    assert (found.rows, found.rest, found.why) == (5, None, "")
    assert found.fate == f"is put right ({repaired})"
    assert recovered(data + b"16999").why == "the last line is not whole"
    assert recovered(data + b"\r").why == ""


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (b"spoiled\n", "1 column instead of 8"),
        (bytes(9) + b"\n", "zero bytes"),
        (row(1, volume="9").text, "another row of 2023-11-15 00:01:00"),
    ],
)
def test_a_file_ends_at_its_first_bad_row_and_what_follows_is_told(bad: bytes, what: str) -> None:
    found = recovered(WHOLE + bad + rows(5, 8).text + b"torn")
    why = f"{what} at byte {len(WHOLE)}"
    here = int(bad.startswith(b"1700"))  # a row by itself, only not beside the other
    covered = spans(5, 8) | (spans(1, 2) if here else NOTHING)
    assert found == Recovery(len(WHOLE), spans(0, 5), why, rows=5, rest=Rest(why, 3 + here, covered, 0))
    assert found.fate == f"is cut ({why})"


def test_a_bad_row_among_many_is_found_where_it_stands() -> None:
    good = content(rows(0, 150))
    found = recovered(good + b"spoiled\n" + rows(150, 400).text)
    assert (found.size, found.held, found.rows) == (len(good), spans(0, 150), 150)
    assert found.rest
    assert (found.rest.rows, found.rest.covered) == (250, spans(150, 400))


def test_what_stays_before_a_bad_row_is_put_right_too() -> None:
    before = WHOLE.replace(b"\n", b"\r\n")
    found = recovered(before + b"spoiled\n")
    assert (found.size, found.repaired, text_of(found)) == (len(before), "Windows line ends", WHOLE)
    assert recovered(WHOLE + b"spoiled\r\n").repaired == ""
    assert recovered(content(rows(2, 5)) + rows(0, 2).text + b"spoiled\r\n").repaired == "rows out of order"


def test_a_file_whose_first_page_a_power_loss_took_is_not_somebody_elses() -> None:
    left = bytes(4096) + row(44).text[3:]
    assert recovered(left).fate == "is set aside (its first line is not our header)"
    assert recovered(left[4000:] + rows(45, 60).text + bytes(4096)).fate == recovered(left).fate


def test_without_our_header_all_of_a_file_goes() -> None:
    found = recovered(b"time,price\n" + rows(0, 5).text)
    why = "its first line is not our header"
    assert found == Recovery(0, NOTHING, why, rest=Rest(why, 5, spans(0, 5), 0))
    assert found.fate == f"is set aside ({why})"
    assert str(found.rest) == (
        "holding 5 rows from 2023-11-15 00:00:00 to 2023-11-15 00:05:00, which the exchange is asked for again"
    )
    assert str(recovered(b"just a text\n").rest) == "holding no row that can be read"
    assert recovered(b"just a text") == Recovery(0, NOTHING, why, rest=Rest(why, 0, NOTHING, 0))
    assert recovered(FOREIGN).rest == Rest(why, 0, NOTHING, 1)
    for blank in (b"", b"\n"):
        assert recovered(blank + rows(0, 5).text) == Recovery(0, NOTHING, why, rest=Rest(why, 5, spans(0, 5), 0))
    assert recovered(b"\n\n") == Recovery(0, NOTHING, why, rest=Rest(why, 0, NOTHING, 0))


@pytest.mark.parametrize(
    ("line", "foreign"),
    [
        (b"1700000000,1,2,3,4", 1),
        (b"1700000000,1,2,3", 0),
        (b"1700000000\t1\t2\t3\t4", 1),
        ("1700000000,1,2,3,4".encode("utf-16-le"), 1),
        ("1700000000,1,2,3".encode("utf-16-le"), 0),
        (b"1700000000,1,2,3,4,\x01", 0),
        (b"1700000000,1,2,3,4,\xff", 1),
        (bytes(40), 0),
    ],
)
def test_a_line_of_five_numbers_or_more_is_somebody_elses_row(line: bytes, foreign: int) -> None:
    assert recovered(WHOLE + line + b"\n").foreign == foreign
    assert recovered(WHOLE + b"spoiled\n" + line).foreign == foreign


def test_a_file_that_would_lose_more_than_it_holds_is_left_alone() -> None:
    good, alien = content(rows(0, 2)) + b"spoiled\n" + row(2).text, FOREIGN + b"\n"
    assert not recovered(good + 3 * alien).loses_rows
    found = recovered(good + 4 * alien)
    assert found.loses_rows
    assert found.fate.startswith("is left alone unless --allow-replace is given (1 column instead of 8")
    assert not recovered(good).loses_rows
    assert recovered(WHOLE).foreign == 0


@pytest.mark.parametrize("spoil", [b"", b"spoiled\n"])
def test_rows_of_another_timeframe_are_somebody_elses(spoil: bytes) -> None:
    data = content(rows(0, 48, frame=timeframe("60"))) + spoil
    found = recovered(data)
    why = "its rows look like those of timeframe 60"
    assert (found.size, found.held, found.why) == (0, NOTHING, why)
    assert found.rest == Rest(why, 0, NOTHING, 48 + bool(spoil))
    assert found.loses_rows
    assert valid_rows(MINUTE, rows(0, 48, frame=timeframe("60")).text) == {}


def test_the_sound_rows_of_any_bytes_are_those_whose_lines_are_whole() -> None:
    data = b"spoiled\n" + row(3).text + row(1).text.replace(b"\n", b"\r\n") + row(2).text[:-1]
    assert valid_rows(MINUTE, data) == {T0 + place * MINUTE_MS: row(place).text for place in (3, 1)}
    assert valid_rows(MINUTE, joined([row(4)]).text + b"x") == {T0 + 4 * MINUTE_MS: row(4).text}
