"""What an examination of a file's bytes has to find: every defect, in every timeframe, at every place, and nothing
else."""

from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, product
from random import Random

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.core.candle import DAY_MS, MINUTE_MS, TIMEFRAMES, Series, Timeframe
from collector.core.rows import HEADER, Values, candles_in, check_lines, rows_of
from collector.core.spans import NOTHING, Spans
from collector.integrity.examination import MOST, Examination, examine, split_rows
from collector.storage.defects import Kind, defects_of, valid_open_ms
from collector.storage.fast_check import Text, validate_each
from collector.storage.ordering import displaced, stands_alone
from tests.support.candles import T0
from tests.support.defects import FOREIGN, PLANTS, changed, retimed, time_of

ROWS = 12
MINUTES = TIMEFRAMES["1"]
LATER = 10**13  # when everything is closed


def first_open(frame: Timeframe) -> int:
    return frame.floor(T0)


def clean(frame: Timeframe = MINUTES, rows: int = ROWS, quote: float = 37000.5) -> bytes:
    """A file of candles that differ, one after the other."""
    values: list[Values] = [
        (
            str(frame.shift(first_open(frame), place)),
            f"{quote}",
            f"{quote + 2}",
            f"{quote - 1}",
            f"{quote}",
            f"{place}",
            "3.25",
        )
        for place in range(rows)
    ]
    return HEADER + rows_of(frame, values).text


def rows_in(data: bytes) -> list[bytes]:
    return data[len(HEADER) :].splitlines(keepends=True)


def file_of(*rows: bytes) -> bytes:
    return HEADER + b"".join(rows)


def missing_candles(found: Examination, frame: Timeframe = MINUTES) -> int:
    return candles_in(frame, found.gap_spans)


def examined(data: bytes, frame: Timeframe = MINUTES, now_ms: int = LATER) -> Examination:
    return examine(Series("BTCUSDT", frame), data, now_ms)


def check_found_alone(name: str, frames: Iterable[Timeframe]) -> None:
    plant = PLANTS[name]
    for frame, place in zip(frames, cycle([0, ROWS // 2, ROWS - 1]), strict=False):
        closed_ms = frame.shift(first_open(frame), ROWS)
        found = examined(plant(frame, clean(frame), Random(7), place), frame, closed_ms)
        assert (str(frame), place, found.foreign, set(found.counts)) == (str(frame), place, None, set(plant.kinds))
        assert found.gap_count == (plant.gap and place == ROWS // 2)
        lost = Spans.between(first_open(frame), closed_ms) - found.held
        assert bool(lost) == plant.lost


@pytest.mark.parametrize(("number", "name"), list(enumerate(PLANTS)), ids=PLANTS)
def test_every_defect_is_found_alone_at_every_place_and_nothing_else(number: int, name: str) -> None:
    """In a third of the timeframes, which is another one for the next defect."""
    check_found_alone(name, list(TIMEFRAMES.values())[number % 3 :: 3])


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_every_defect_is_found_alone_in_every_timeframe_and_nothing_else(name: str) -> None:
    check_found_alone(name, TIMEFRAMES.values())


@given(
    seed=st.integers(0, 10**6),
    names=st.lists(st.sampled_from(sorted(PLANTS)), min_size=2, max_size=6),
    frame=st.sampled_from(list(TIMEFRAMES.values())),
)
def test_defects_are_found_together(seed: int, names: list[str], frame: Timeframe) -> None:
    """Each of them is planted in its own stretch of the file, far from the others."""
    stretch, random = 14, Random(seed)
    rows = rows_in(clean(frame, stretch * len(names)))
    last = ("torn", "far future", "zeros at the end", "moved", "repeated elsewhere")  # they reach across the file
    names = [name for name in names if name not in last]
    damaged = b"".join(
        PLANTS[name](frame, file_of(*rows[at * stretch : (at + 1) * stretch]), random)[len(HEADER) :]
        for at, name in enumerate(names)
    )
    found = examined(HEADER + damaged, frame)
    assert set(found.counts) == {kind for name in names for kind in PLANTS[name].kinds}
    assert found.gap_count == sum(PLANTS[name].gap for name in names)


@pytest.mark.parametrize("damage", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_not_ours_is_foreign(damage: Callable[[bytes], bytes]) -> None:
    found = examined(damage(clean()))
    assert found.foreign
    assert found.held == NOTHING


@pytest.mark.parametrize("size", [0, 1, len(HEADER) - 1])
def test_a_header_cut_short_is_torn_and_not_foreign(size: int) -> None:
    for data in (HEADER[:size], HEADER[:size] + bytes(500)):
        found = examined(data)
        assert (found.foreign, found.counts) == (None, {Kind.TORN: 1})


def test_a_file_of_nothing_but_a_header_is_clean() -> None:
    assert examined(HEADER) == Examination()


prices = st.decimals("0.0000001", "9999999", places=7).map(lambda price: f"{price:f}")
volumes = st.decimals("0", "99999999", places=3).map(lambda volume: f"{volume.normalize():f}")


@st.composite
def candles(draw: st.DrawFn, frame: Timeframe) -> Values:
    low, *middle, high = sorted((draw(prices) for _ in range(4)), key=float)
    return ("", middle[0], high, low, middle[1], draw(volumes), draw(volumes))


@given(data=st.data(), frame=st.sampled_from(list(TIMEFRAMES.values())), first=st.integers(-300, 1000))
def test_in_clean_files_nothing_is_found(data: st.DataObject, frame: Timeframe, first: int) -> None:
    drawn = data.draw(st.lists(candles(frame), max_size=8))
    places = data.draw(st.sets(st.integers(0, 40), min_size=len(drawn), max_size=len(drawn)))
    opens = [frame.shift(first_open(frame), first + place) for place in sorted(places)]
    rows = rows_of(frame, [(str(open_ms), *values[1:]) for open_ms, values in zip(opens, drawn, strict=True)])
    found = examined(HEADER + rows.text, frame)
    assert (found.rows, found.held, found.counts, found.foreign) == (len(drawn), rows.covered, {}, None)
    assert found.in_order
    assert found.gap_count == max(0, len(rows.covered) - 1)
    assert missing_candles(found, frame) == (frame.count(opens[0], opens[-1] + 1) - len(opens) if opens else 0)


@given(data=st.data(), frame=st.sampled_from([TIMEFRAMES[name] for name in ("1", "240", "W", "M")]))
def test_a_row_is_valid_exactly_if_the_writer_would_have_written_it(data: st.DataObject, frame: Timeframe) -> None:
    row = bytearray(rows_in(clean(frame))[3][:-1])
    at = data.draw(st.integers(0, len(row) - 1))
    row[at : at + data.draw(st.integers(0, 2))] = data.draw(
        st.sampled_from(rb"0159.,-+ e:" + b"\0\r\xffT").map(lambda x: bytes([x]))
    )
    line = bytes(row)
    opens, _, _ = check_lines(frame, line + b"\n")
    assert valid_open_ms(frame, line) == (opens[0] if opens else None)
    assert bool(list(defects_of(frame, line))) is not bool(opens)
    opened = proven(frame, line + b"\n")
    assert (opened is not None) == bool(opens)


@pytest.mark.parametrize("frame", TIMEFRAMES.values(), ids=str)
def test_a_last_candle_that_closes_later_than_now_is_unclosed(frame: Timeframe) -> None:
    closed_ms = frame.shift(first_open(frame), ROWS)
    assert examined(clean(frame), frame, closed_ms).flawless
    found = examined(clean(frame), frame, closed_ms - 1)
    assert found.counts == {Kind.UNCLOSED: 1}
    assert [defect.row for defect in found.defects] == [ROWS - 1]
    assert closed_ms - 1 not in found.held


def test_one_row_moved_far_away_is_one_row_out_of_order() -> None:
    first, *others = rows_in(clean(rows=500))
    found = examined(file_of(*others, first))
    assert found.counts == {Kind.OUT_OF_ORDER: 1}
    assert (found.in_order, len(found.invalid_rows), found.gap_count) == (False, 0, 0)
    (defect,) = found.defects
    assert (defect.row, defect.timestamp_ms) == (499, T0)


def test_of_equal_rows_one_stays_and_of_contradictory_ones_none() -> None:
    rows = rows_in(clean())
    found = examined(file_of(*rows[:5], rows[4], *rows[5:], changed(rows[8], 6, "17")))
    assert found.counts == {Kind.DUPLICATE: 2}
    assert (list(found.duplicate_rows), list(found.invalid_rows)) == ([5], [9, 13])
    assert found.gap_count == 0
    assert found.held == Spans.between(T0, T0 + ROWS * MINUTE_MS) - Spans.between(
        T0 + 8 * MINUTE_MS, T0 + 9 * MINUTE_MS
    )


def test_of_a_valid_row_and_a_damaged_copy_the_valid_one_stays() -> None:
    rows = rows_in(clean())
    found = examined(file_of(*rows[:5], changed(rows[5], 4, "-1"), *rows[5:]))
    assert set(found.counts) == {Kind.DUPLICATE, Kind.NOT_POSITIVE}
    assert (list(found.invalid_rows), list(found.duplicate_rows)) == ([5], [])
    assert found.held == Spans.between(T0, T0 + ROWS * MINUTE_MS)


@given(seed=st.integers(0, 10**6), names=st.lists(st.sampled_from(sorted(PLANTS)), min_size=1, max_size=4))
def test_the_lines_that_stay_are_a_good_file_once_they_are_sorted(seed: int, names: list[str]) -> None:
    data, random = clean(rows=60), Random(seed)
    for name in names:
        data = PLANTS[name](MINUTES, data, random)
    found = examined(data)
    lines = split_rows(data, found)[0]
    ordered = sorted(lines, key=lambda line: time_of(line))
    mended = b"".join(ordered)
    assert check_lines(MINUTES, mended)[1:] == (len(mended), None)
    assert (lines == ordered) == found.in_order
    again = examined(HEADER + mended)
    assert (again.held, again.counts) == (found.held, {})


@pytest.mark.parametrize("frame", TIMEFRAMES.values(), ids=str)
@pytest.mark.parametrize("ms", [0, 10**12 - 1])
def test_a_time_before_there_was_an_exchange_is_a_defect_also_where_it_is_on_the_grid(
    frame: Timeframe, ms: int
) -> None:
    rows = rows_in(clean(frame))
    old = retimed(rows[0], frame.floor(ms) if ms else frame.ceil(ms))
    found = examined(file_of(old, *rows), frame)
    assert found.counts == {Kind.OFF_GRID: 1}
    assert (list(found.invalid_rows), found.gap_count) == ([0], 0)


@pytest.mark.parametrize("rest", [b"", bytes(5000), bytes(50) + b"\n" + b"".join(rows_in(clean()))])
@pytest.mark.parametrize("written", [0, 30])
def test_nothing_stays_behind_a_header_that_was_not_written_whole(written: int, rest: bytes) -> None:
    data = HEADER[:written].ljust(len(HEADER), b"\0") + rest
    found = examined(data)
    stay, go = split_rows(data, found)
    assert found.counts == {Kind.TORN: 1}
    assert (stay, b"".join(go)) == ([], rest)


def test_gaps_say_where_they_are_and_how_many_candles_are_missing() -> None:
    rows = rows_in(clean(rows=40))
    found = examined(file_of(*rows[:10], *rows[12:30], *rows[31:]))
    assert (found.gap_count, missing_candles(found)) == (2, 3)
    assert [(gap.row, gap.before_ms, gap.candles) for gap in found.gaps] == [
        (10, T0 + 9 * MINUTE_MS, 2),
        (28, T0 + 29 * MINUTE_MS, 1),
    ]
    assert found.gaps[0].span.end_ms == T0 + 12 * MINUTE_MS


def test_rows_of_another_timeframe_are_recognised() -> None:
    hours, minutes = TIMEFRAMES["60"], MINUTES
    assert examined(clean(hours), minutes).looks_like == hours
    assert examined(clean(minutes), hours).looks_like == minutes
    assert examined(clean(TIMEFRAMES["M"]), TIMEFRAMES["D"]).looks_like == TIMEFRAMES["M"]
    assert examined(clean(TIMEFRAMES["D"]), TIMEFRAMES["M"]).looks_like == TIMEFRAMES["D"]
    assert examined(clean(TIMEFRAMES["M"]), TIMEFRAMES["M"]).looks_like is None


def test_of_a_multitude_of_defects_all_are_counted_and_the_first_are_described() -> None:
    rows = [changed(row, 6, "-1") for row in rows_in(clean(rows=3 * MOST))]
    found = examined(file_of(*rows))
    assert found.counts == {Kind.NEGATIVE_VOLUME: 3 * MOST}
    assert (len(found.defects), len(found.invalid_rows)) == (MOST, 3 * MOST)


def test_a_defect_never_quotes_more_than_a_sentence() -> None:
    row = rows_in(clean())[0]
    for line in (
        b"x" * 10**6 + b"\n",
        changed(row, 3, "9" * 10**5),
        changed(row, 1, "\u2028" * 10**5),
        b"," * 10**5 + b"\n",
    ):
        found = examined(file_of(line))
        assert found.defects
        assert all(len(defect.what) < 250 and defect.what.isprintable() for defect in found.defects)


def test_rows_are_told_apart_across_the_blocks_in_which_a_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.integrity.examination._BLOCK", 500)
    rows = rows_in(clean(rows=60))
    damaged = file_of(*rows[:20], changed(rows[20], 2, "x"), *rows[21:40], rows[3], *rows[41:])
    found = examined(damaged)
    assert [(defect.kind, defect.row) for defect in found.defects] == [(Kind.NOT_A_NUMBER, 20), (Kind.DUPLICATE, 40)]
    assert [gap.row for gap in found.gaps] == [41]
    assert (found.rows, list(found.duplicate_rows), list(found.invalid_rows)) == (60, [40], [20])


def test_a_row_far_in_the_future_makes_no_gap() -> None:
    rows = rows_in(clean())
    found = examined(file_of(*rows, retimed(rows[0], T0 + 900 * DAY_MS)), now_ms=T0 + DAY_MS)
    assert (found.counts, found.gap_count) == ({Kind.UNCLOSED: 1}, 0)


def test_an_invalid_row_beyond_all_valid_ones_makes_no_gap() -> None:
    rows = rows_in(clean())
    found = examined(file_of(*rows, changed(rows[0], 0, str(T0 + 900 * DAY_MS))))
    assert (set(found.counts), found.gap_count) == ({Kind.DATETIME}, 0)


def proven(frame: Timeframe, text: bytes) -> pl.Series | None:
    ((_, opens),) = validate_each(frame, [Text(text)], LATER)
    return opens


def test_a_time_a_day_before_all_others_is_not_taken_for_one_of_their_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.storage.fast_check._FEW", 0)
    first, line, last = rows_in(clean(rows=3))
    early = changed(line, 0, str(time_of(line) - DAY_MS))  # its datetime is still that of the day all others are of
    assert proven(MINUTES, b"".join([first, line, last])) is not None
    assert proven(MINUTES, b"".join([first, early, last])) is None


SUSPECTS = [byte.to_bytes(1, "big") for byte in b"\0\t\n\v\r +-.,0eEnx_\xa0"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([*SUSPECTS, b"00", b"inf", b"nan", b""], id="suspects"),
        pytest.param(
            [*(bytes([byte]) for byte in range(256)), b"00", b"NaN", b"Infinity", b"0x1", b"1e5"],
            id="every byte",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_nothing_that_polars_forgives_is_proven(words: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put into every column, at both ends and in the middle, and compared with what the look at each line says."""
    monkeypatch.setattr("collector.storage.fast_check._FEW", 0)
    before, line, after = rows_in(clean(rows=3))
    edges = [place for place, byte in enumerate(line) if byte in b",- :.\n"]
    places = sorted({0, *edges, *(place - 1 for place in edges), *(place + 1 for place in edges[:-1])})
    changes = list(product(places, (0, 1), words))
    texts = [
        Text(b"".join([before, line[:place], word, line[place + width :], after])) for place, width, word in changes
    ]
    for change, (text, opens) in zip(changes, validate_each(MINUTES, texts, LATER), strict=True):
        good = check_lines(MINUTES, text.lines)[1] == len(text.lines)
        assert (opens is not None) <= good, change


@given(data=st.data())
def test_long_and_short_texts_are_proven_alike(data: st.DataObject) -> None:
    """A long text is proven by its columns, a short one line by line."""
    rows = rows_in(clean(rows=4))
    line = bytearray(rows[2])
    at = data.draw(st.integers(0, len(line) - 2))
    line[at : at + data.draw(st.integers(0, 2))] = data.draw(
        st.sampled_from([b"0", b".", b"9", b"-", b",", b"e", b"+", b" ", b"\r", b"\n", b"\0", b"\xff", b""])
    )
    text = b"".join([*rows[:2], bytes(line), rows[3]])
    short = proven(MINUTES, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.storage.fast_check._FEW", 0)
        long = proven(MINUTES, text)
    assert (long is not None and bool((long.diff() <= 0).any())) or (long is None) == (short is None)


@given(
    seed=st.integers(0, 10**6),
    names=st.lists(st.sampled_from(sorted(PLANTS)), max_size=5),
    block=st.integers(300, 3000),
    few=st.sampled_from([0, 10**6]),
    place=st.sampled_from([30, 10**6]),
)
@example(seed=1, names=["swapped", "open: word"], block=40, few=0, place=30)  # in blocks shorter than a row
@example(seed=2, names=["off grid"], block=90, few=10**6, place=10**6)
def test_a_file_is_examined_in_blocks_as_line_by_line(
    seed: int, names: list[str], block: int, few: int, place: int
) -> None:
    """Whatever its length: many blocks of which polars reads the rows, and one whose lines are looked at."""
    data, random, now_ms = clean(rows=60), Random(seed), T0 + place * MINUTE_MS
    for name in names:
        data = PLANTS[name](MINUTES, data, random)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.integrity.examination.times_of_each", one_by_one)
        alone = examined(data, now_ms=now_ms)
        patch.undo()
        patch.setattr("collector.integrity.examination._BLOCK", block)
        patch.setattr("collector.integrity.examination._ROWS", 1 + block // 100)
        patch.setattr("collector.storage.fast_check._FEW", few)
        assert examined(data, now_ms=now_ms) == alone


@given(
    gone=st.sets(st.integers(0, 39), max_size=12),
    windows=st.sets(st.integers(0, 39), max_size=12),
    block=st.integers(80, 3000),
    frame=st.sampled_from([MINUTES, TIMEFRAMES["M"]]),
)
def test_gaps_and_line_ends_are_told_wherever_a_block_ends(
    gone: set[int], windows: set[int], block: int, frame: Timeframe
) -> None:
    rows = [
        row[:-1] + b"\r\n" if place in windows else row
        for place, row in enumerate(rows_in(clean(frame, rows=40)))
        if place not in gone
    ]
    data = file_of(*rows)
    alone = examined(data, frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.integrity.examination._BLOCK", block)
        assert examined(data, frame) == alone
    inside = range(min({*range(40)} - gone), max({*range(40)} - gone))
    assert missing_candles(alone, frame) == len(gone & {*inside})
    assert sum(gap.candles for gap in alone.gaps) == len(gone & {*inside})
    assert alone.counts.get(Kind.LINE_END, 0) == len(windows - gone)


def one_by_one(frame: Timeframe, texts: Iterable[Text], before_ms: int) -> Iterator[tuple[Text, pl.Series]]:
    for text in texts:
        times = [valid_open_ms(frame, line) for line in text.rows.split(b"\n")[:-1]]
        known = [time if time is not None and time < before_ms else None for time in times]
        yield text, pl.Series(known, dtype=pl.Int64)


@given(opens=st.lists(st.integers(0, 30), max_size=30))
def test_rows_that_stand_alone_say_nothing_of_the_order_of_others(opens: list[int]) -> None:
    alone = stands_alone(pl.Series(opens, dtype=pl.Int64))
    others = [place for place, stands in enumerate(alone) if not stands]
    assert displaced(others, [opens[place] for place in others]) == displaced(range(len(opens)), opens)
