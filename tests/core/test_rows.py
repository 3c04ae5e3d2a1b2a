"""Rows: what may become a line of a file, and what may not."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from functools import partial
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import TIMEFRAMES, Timeframe, timeframe
from collector.core.rows import (
    DECIMAL,
    NotACandle,
    Rows,
    Values,
    check_lines,
    columns_of,
    covered_spans,
    plain_line,
    row_of,
    row_of_each,
    rows_of,
    rows_of_lines,
)
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import moment_text

T0 = 1_700_000_040_000 // 60_000 * 60_000
MINUTE = timeframe("1")
frames = st.sampled_from(list(TIMEFRAMES.values()))
moments = st.integers(1_100_000_000_000, 2_000_000_000_000)


def candle(open_ms: int = T0, **changes: str) -> Values:
    fields = {"open": "17071", "high": "17073", "low": "17027", "close": "17055.5", "volume": "268611", "turnover": "0"}
    o, h, lo, c, v, t = (fields | changes).values()
    return (str(open_ms), o, h, lo, c, v, t)


def test_the_text_of_the_exchange_is_kept_to_the_letter() -> None:
    rows = rows_of(MINUTE, [candle(volume="1.5000", turnover="0.00000123")])
    assert rows.text == b"1700000040000,2023-11-14 22:14:00,17071,17073,17027,17055.5,1.5000,0.00000123\n"


@given(frames, moments, st.sets(st.integers(0, 40), min_size=1))
def test_coverage_is_exactly_the_candles(frame: Timeframe, ms: int, places: set[int]) -> None:
    opens = [frame.shift(frame.floor(ms), place) for place in sorted(places)]
    assert covered_spans(frame, opens) == Spans.of(*(Span(each, frame.close(each)) for each in opens))


@given(frames, moments, st.integers(1, 30))
def test_every_line_written_is_a_line_that_passes_the_check(frame: Timeframe, ms: int, count: int) -> None:
    opens = [frame.shift(frame.floor(ms), place) for place in range(count)]
    rows = rows_of(frame, [candle(each) for each in opens])
    assert check_lines(frame, rows.text) == (opens, len(rows.text), None)
    assert len(rows) == count


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"high": "1e5"}, "high '1e5' is not a plain decimal number"),
        ({"high": "nan"}, "high 'nan' is not a plain decimal number"),
        ({"low": "-1"}, "low '-1' is not a plain decimal number"),
        ({"volume": "1_0"}, "volume '1_0' is not a plain decimal number"),
        ({"close": "١٧٠٥٥"}, "close '١٧٠٥٥' is not a plain decimal number"),
        ({"close": "\ud800"}, "is not a plain decimal number"),
        ({"open": ""}, "open '' is not a plain decimal number"),
        ({"turnover": "1.2.3"}, "turnover '1.2.3' is not a plain decimal number"),
        ({"turnover": "007"}, "turnover '007' is not a plain decimal number"),
        ({"turnover": "7,8"}, "turnover '7,8' is not a plain decimal number"),
        ({"turnover": "7\n8"}, "is not a plain decimal number"),
        ({"turnover": "17."}, "turnover '17.' is not a plain decimal number"),
        ({"turnover": "9" * 400}, "too large to be true"),
        ({"low": "0"}, "low 0 is not positive"),
        ({"high": "17000"}, "high 17000 is below low 17027"),
        ({"open": "17074"}, "open 17074 is not between"),
        ({"close": "17026"}, "close 17026 is not between"),
    ],
)
def test_values_that_are_no_candle_name_themselves(changes: dict[str, str], why: str) -> None:
    bad = candle(T0 + 60_000, **changes)
    for read in (partial(rows_of, MINUTE, [candle(T0), bad]), partial(row_of, MINUTE, bad)):
        with pytest.raises(NotACandle) as refused:
            read()
        assert why in str(refused.value)
        assert f"candle {moment_text(T0 + 60_000)}: " in str(refused.value)


@pytest.mark.parametrize(
    ("times", "why"),
    [
        ([T0, T0], "there twice"),
        ([T0 + 60_000, T0], "open time 2023-11-14 22:14:00 is out of order"),
        ([T0, T0 + 60_001], "open time 2023-11-14 22:15:00.001 is off the grid"),
        ([f"{T0}.0"], "is not a number"),
        ([f"+{T0}"], "is not a number"),
        ([f"0{T0}"], "is not a number"),
        (["0170000004000"], "is not a number"),
        ([T0, T0 * 1000], "is not a number"),
        (["9" * 5000], "is not a number"),
        ([-60_000], "is not a number"),
        ([60_000], "is too long ago to be true"),
        ([999_999_960_000], "is too long ago to be true"),
        (["²"], "is not a number"),
        ([T0, 120_000], "is too long ago to be true"),
    ],
)
def test_times_that_are_no_grid_name_themselves(times: list[object], why: str) -> None:
    candles = [(str(time), *candle()[1:]) for time in times]
    with pytest.raises(NotACandle, match=why):
        rows_of(MINUTE, candles)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"1700000040000,2023-11-14 22:14:00,1,1,1,1,1", "7 columns instead of 8"),
        (b"1700000040000,2023-11-14 22:15:00,1,1,1,1,1,1", "is not that of timestamp"),
        (b"1700000040000,2023-11-14 22:14:00,1,1,1,x,1,1", "close 'x' is not a plain decimal number"),
        (b"1700000040000,2023-11-14 22:14:00,1,1,1,1,1,1\r", "not a"),
        (b"\0" * 60, "1 column instead of 8"),
        (b"", "1 column instead of 8"),
        (b"1700000040000,2023-11-14 22:14:00,1,1,1,1,1,1,1", "9 columns instead of 8"),
    ],
)
def test_a_line_we_would_not_have_written_names_itself(line: bytes, why: str) -> None:
    good = rows_of(MINUTE, [candle(T0 - 60_000)]).text
    opens, size, found = check_lines(MINUTE, good + line + b"\n" + good)
    assert (opens, size) == ([T0 - 60_000], len(good))
    assert why in (found or "")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"1700000100000,1,1,1,1,1", "candle 2023-11-14 22:15:00: 6 values instead of 7"),
        (b"1700000100000,1,1,1,1,1,1,1", "candle 2023-11-14 22:15:00: 8 values instead of 7"),
        (b"1700000100000,1,1,1,1,1,1,\n1700000160000,1,1,1,1,1,1", "values instead of 7"),
        (b"1700000100000.0,1,1,1,1,1,1", "open time '1700000100000.0' is not a number"),
        (b"1700000100000,1,1,1,1,1,\xff", "is not a plain decimal number"),
        (b"", "open time '' is not a number"),
    ],
)
def test_a_line_that_holds_no_candle_names_itself(line: bytes, why: str) -> None:
    good = b"1700000040000,1,1,1,1,1,1"
    assert rows_of_lines(MINUTE, [good]).text == b"1700000040000,2023-11-14 22:14:00,1,1,1,1,1,1\n"
    with pytest.raises(NotACandle) as refused:
        rows_of_lines(MINUTE, [good, line])
    assert why in str(refused.value)


def test_the_good_part_ends_before_the_first_bad_line() -> None:
    rows = rows_of(MINUTE, [candle(T0 + place * 60_000) for place in range(3)])
    assert check_lines(MINUTE, rows.text[:-3])[2] == "the last line is not whole"
    opens, good, why = check_lines(MINUTE, rows.text + rows.text)
    assert (len(opens), good) == (3, len(rows.text))
    assert why == f"timestamp {moment_text(T0)} does not come after {moment_text(T0 + 120_000)}"
    with_hole = rows_of(MINUTE, [candle(T0), candle(T0 + 300_000)]).text
    assert check_lines(MINUTE, with_hole, T0 + 120_000)[:2] == ([], 0)


odd_texts = st.text(st.sampled_from("0123456789.-+eE _,\nnaif٣"), max_size=6) | st.sampled_from(
    ["7", "7.50", "0", "0.00"]
)


@given(st.lists(odd_texts, min_size=4, max_size=4), st.lists(odd_texts, min_size=2, max_size=2))
def test_columns_at_once_and_candles_one_by_one_agree_on_what_is_good(prices: list[str], amounts: list[str]) -> None:
    decimal = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?")
    plain = all(decimal.fullmatch(text) for text in prices + amounts)
    o, h, lo, c = map(float, prices) if plain else (0.0,) * 4
    good = plain and 0 < lo <= min(o, c) <= max(o, c) <= h
    odd = cast(Values, (str(T0 + 60_000), *prices, *amounts))
    if good:
        assert rows_of(MINUTE, [candle(), odd]).text.splitlines()[1].split(b",")[2:] == [
            text.encode() for text in prices + amounts
        ]
    else:
        with pytest.raises(NotACandle, match=moment_text(T0 + 60_000)):
            rows_of(MINUTE, [candle(), odd])


odd_times = (
    st.integers(0, 10**14).map(str)
    | st.sampled_from([f"{T0} ", f"0{T0 // 10}", f"+{T0 // 10}", f"{T0}.0", "١٧٠٠٠٠٠٠٤٠٠٠٠", "", "0"])
    | st.integers(0, 10**7).map(lambda minutes: str(minutes * 60_000 + 1_200_000_000_000))
)


@given(frames, odd_times | st.just(str(T0)), st.lists(odd_texts, min_size=6, max_size=6))
def test_one_candle_alone_is_read_as_it_is_among_others(frame: Timeframe, time: str, numbers: list[str]) -> None:
    for odd in (numbers, ["7.50", "8", "7", *numbers[3:]], ["7", "7.50", "0.1", "1", "0.00", "9" * 400]):
        one = cast(Values, (time, *odd))
        assert outcome(partial(row_of, frame, one)) == outcome(partial(rows_of, frame, [one]))


@given(
    st.lists(st.tuples(frames, odd_times | st.just(str(T0)), st.lists(odd_texts, min_size=5, max_size=7)), max_size=4)
)
def test_a_candle_of_each_of_many_series_is_read_as_it_is_alone(odd: list[tuple[Timeframe, str, list[str]]]) -> None:
    def line(time: str, numbers: Sequence[str]) -> bytes:
        return ",".join((time, *numbers)).encode()

    good = [
        (frame, line(str(frame.floor(T0)), ("7.50", "8", "7", "7.5", "0", "0.10"))) for frame in TIMEFRAMES.values()
    ]
    assert row_of_each(good) == [rows_of_lines(frame, [text]) for frame, text in good]
    for frame, time, numbers in odd:
        each = [*good, (frame, line(time, numbers)), (frame, line(time, ("7.50", "8", "7", *numbers[3:])))]
        alone = [outcome(partial(rows_of_lines, frame, [text])) for frame, text in each]
        assert row_of_each(each) == (None if any(isinstance(one, str) for one in alone) else alone)


def outcome(read: Callable[[], Rows]) -> Rows | str:
    try:
        return read()
    except NotACandle as defect:
        return str(defect)


@given(frames, moments, st.sets(st.integers(0, 3000), min_size=1, max_size=9))
def test_datetime_is_the_timestamp_for_every_timeframe_with_holes_and_without(
    frame: Timeframe, ms: int, places: set[int]
) -> None:
    runs = [list(range(max(places))), sorted(places)]
    for run in filter(None, runs):
        opens = [frame.shift(frame.floor(ms), place) for place in run]
        for line in rows_of(frame, [candle(each) for each in opens]).text.splitlines():
            time, stamp = line.decode().split(",")[:2]
            assert stamp == datetime.fromtimestamp(int(time) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("number", "plain"),
    [
        ("1e+06", "1000000"),
        ("1.3117285e+06", "1311728.5"),
        ("1.2e-05", "0.000012"),
        ("1e-02", "0.01"),
        ("1E6", "1000000"),
        ("1e6", "1000000"),
        ("0e+00", "0"),
        ("0.00e-3", "0.00000"),
        ("1.50e+00", "1.50"),
        ("1.50e+01", "15.0"),
        ("12.5e-01", "1.25"),
        ("9007199254740993.25e+00", "9007199254740993.25"),
        ("1.2345678901234567890123e+10", "12345678901.234567890123"),
    ],
)
def test_an_exponent_is_written_out_digit_by_digit(number: str, plain: str) -> None:
    assert plain_line(f"1,{number},x".encode()) == f"1,{plain},x".encode()
    assert DECIMAL.fullmatch(plain)


@pytest.mark.parametrize(
    "value",
    [
        "1e+999999999",
        "1e+100",
        "-1e+06",
        "+1e6",
        "1.e5",
        ".1e5",
        "01e5",
        "1e",
        "e5",
        "1e5e5",
        "1e5.0",
        "nan",
        "",
        " 1e5",
    ],
)
def test_what_is_no_number_of_an_exchange_is_left_for_the_check(value: str) -> None:
    assert plain_line(value.encode()) == value.encode()


@given(st.integers(0, 10**20), st.integers(0, 25), st.integers(-99, 99))
def test_a_number_without_its_exponent_is_the_same_number(digits: int, decimals: int, exponent: int) -> None:
    mantissa = f"{Decimal(digits).scaleb(-decimals):f}"
    text = f"{mantissa}e{exponent:+03}"
    plain = plain_line(text.encode()).decode()
    assert DECIMAL.fullmatch(plain)
    with localcontext() as context:
        context.prec = 300
        assert Decimal(plain) == Decimal(text)


def test_an_exponent_in_a_file_is_nothing_we_wrote() -> None:
    text = rows_of_lines(MINUTE, [b"1700000040000,1,1,1,1,1000000,5"]).text.replace(b"1000000", b"1e+06")
    assert check_lines(MINUTE, text)[2] == "candle 2023-11-14 22:14:00: volume '1e+06' is not a plain decimal number"


@pytest.mark.parametrize("volume", [b"1e6", b"1E6", b"-1"])
def test_columns_with_a_sign_or_an_exponent_are_not_plain(volume: bytes) -> None:
    assert columns_of(b"1700000040000,1,1,1,1,%b,5" % volume) is None
    assert columns_of(b"1700000040000,1,1,1,1,1,5")


def test_no_rows_are_nothing() -> None:
    assert not Rows()
    assert len(Rows()) == 0
    assert rows_of(MINUTE, []) == Rows()
    assert covered_spans(MINUTE, []) == NOTHING


@pytest.mark.parametrize(
    "time", ["0700006380000", "١٧٠٠٠٠٦٤٠٠٠٠٠", "17000064000000", "170000640000", "1700006400001", "170000640000x"]
)
def test_a_time_of_another_form_is_refused_for_one_candle_as_for_many(time: str) -> None:
    candle = (time, "1", "1", "1", "1", "0", "0")
    with pytest.raises(NotACandle):
        row_of(MINUTE, candle)
    with pytest.raises(NotACandle):
        rows_of(MINUTE, [candle])


@pytest.mark.parametrize("column", range(1, 7))
def test_one_number_too_large_among_many_is_refused(column: int) -> None:
    good = ["1700006400000", *["1"] * 6]
    bad = ["1700006460000", *["1"] * 6]
    bad[column] = "1" + "0" * 400
    for candles in ([good, bad], [[good[0], *bad[1:]], [bad[0], *good[1:]]]):
        with pytest.raises(NotACandle, match="too large"):
            rows_of(MINUTE, [tuple(each) for each in candles])  # type: ignore[misc]


@pytest.mark.parametrize("inner_ms", [1700006430000, 1700006400000, 1700006520000])
def test_a_time_between_the_ends_of_a_run_is_looked_at_too(inner_ms: int) -> None:
    times = [1700006400000, inner_ms, 1700006520000]
    with pytest.raises(NotACandle):
        rows_of(MINUTE, [(str(time), "1", "1", "1", "1", "0", "0") for time in times])
