"""Coarser candles against what finer ones make: exact ones agree, a false one is named, rounding is no falsehood."""

from itertools import pairwise

import pytest

from collector.candle import TIMEFRAMES, Timeframe
from collector.checking.agreement import Disagreement, disagreements, finer_frames
from collector.rows import Values, rows_of
from tests.candles import T0
from tests.defects import changed
from tests.support import market

MINUTES, HOURS = TIMEFRAMES["1"], TIMEFRAMES["60"]


def candles(frame: Timeframe, *values: tuple[str, str, str, str, str, str]) -> bytes:
    """Candles one after the other: open, high, low, close, volume, turnover."""
    rows: list[Values] = [(str(frame.shift(T0, place)), *each) for place, each in enumerate(values)]
    return rows_of(frame, rows).text


def compared(frame: Timeframe, coarse: bytes, finer: Timeframe, fine: bytes) -> list[Disagreement]:
    """What is found both candle by candle, as in short texts, and with polars, as in long ones."""
    found = list(disagreements(frame, coarse, finer, fine))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.checking.agreement._FEW", 0)
        assert list(disagreements(frame, coarse, finer, fine)) == found
    return found


@pytest.mark.parametrize(("finer", "coarser"), list(pairwise(["1", "5", "60", "240", "D", "W"])))
def test_what_the_exchange_makes_of_its_own_minutes_agrees(finer: str, coarser: str) -> None:
    exchange, (fine, coarse) = market(), (TIMEFRAMES[finer], TIMEFRAMES[coarser])
    start_ms, end_ms = coarse.shift(T0, -3), coarse.shift(T0, 3)
    texts = [exchange.truth("BTCUSDT", each.name, start_ms, end_ms) for each in (coarse, fine)]
    rows = [text[text.index(b"\n") + 1 :] for text in texts]
    assert all(rows)
    assert compared(coarse, rows[0], fine, rows[1]) == []


MIXED = [("5", "9", "4", "6", "1.5", "10.25")] + [("6", "7", "6", "7", "0.001", "0.01")] * 4
FIVE = ("5", "9", "4", "7", "1.504", "10.29")


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("open", "5.1"),
        ("high", "10"),
        ("low", "3"),
        ("close", "6"),
        ("volume", "1.505"),
        ("volume", "1.504001"),  # finer than any lot of its parts
        ("turnover", "11"),
    ],
)
def test_a_false_value_is_named_with_what_it_should_be(column: str, text: str) -> None:
    names = ("timestamp", "datetime", "open", "high", "low", "close", "volume", "turnover")
    coarse = candles(TIMEFRAMES["5"], FIVE)
    assert compared(TIMEFRAMES["5"], coarse, MINUTES, candles(MINUTES, *MIXED)) == []
    false = changed(coarse, names.index(column), text)
    (found,) = compared(TIMEFRAMES["5"], false, MINUTES, candles(MINUTES, *MIXED))
    assert (found.timestamp_ms, found.column, found.coarse) == (T0, column, text)
    assert found.fine == FIVE[names.index(column) - 2]
    assert "BTCUSDT_1.csv makes it" in found.sentence("BTCUSDT_1.csv")


def test_candles_that_the_finer_file_does_not_cover_wholly_are_not_compared() -> None:
    false = changed(candles(TIMEFRAMES["5"], FIVE), 3, "99")
    assert compared(TIMEFRAMES["5"], false, MINUTES, candles(MINUTES, *MIXED[:4])) == []
    assert compared(TIMEFRAMES["5"], b"", MINUTES, candles(MINUTES, *MIXED)) == []


def test_turnover_may_be_off_by_what_rounding_each_part_can_make_and_volume_may_not() -> None:
    off = changed(candles(TIMEFRAMES["5"], FIVE), 7, "10.32")  # six numbers, each rounded by up to 0.005
    assert compared(TIMEFRAMES["5"], off, MINUTES, candles(MINUTES, *MIXED)) == []
    assert compared(TIMEFRAMES["5"], changed(off, 7, "10.33"), MINUTES, candles(MINUTES, *MIXED))


def test_sums_are_exact_where_floats_are_not() -> None:
    parts = [("1", "1", "1", "1", "123456789012.1", "0")] + [("1", "1", "1", "1", "0.1", "0")] * 4
    exact = ("1", "1", "1", "1", "123456789012.5", "0")
    assert compared(TIMEFRAMES["5"], candles(TIMEFRAMES["5"], exact), MINUTES, candles(MINUTES, *parts)) == []


def test_only_what_makes_up_whole_candles_is_finer() -> None:
    names = {str(frame): [str(each) for each in finer_frames(frame)] for frame in TIMEFRAMES.values()}
    assert names["1"] == []
    assert names["15"] == ["5", "3", "1"]
    assert names["240"][0] == "120"
    assert names["W"][:2] == ["D", "720"]
    assert names["M"][:2] == ["D", "720"]


def test_months_are_made_of_days() -> None:
    months, days = TIMEFRAMES["M"], TIMEFRAMES["D"]
    exchange, start_ms, end_ms = market(), months.shift(months.floor(T0), -3), months.floor(T0)
    coarse, fine = (exchange.truth("BTCUSDT", name, start_ms, end_ms).partition(b"\n")[2] for name in ("M", "D"))
    assert coarse.count(b"\n") == 3
    assert compared(months, coarse, days, fine) == []
    first, _, rest = coarse.partition(b"\n")
    (found,) = compared(months, changed(first, 3, "9999999") + rest, days, fine)
    assert found.column == "high"
