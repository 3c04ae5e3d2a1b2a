"""Coarser candles against what finer ones make: exact ones agree, a false one is named, float noise is not."""

from decimal import Decimal, localcontext
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import TIMEFRAMES, Timeframe
from collector.core.rows import Values, rows_of
from collector.integrity.cross_timeframe import Contradiction, Disagreement, Lines, contradictions, finer_timeframes
from tests.support.candles import T0
from tests.support.defects import changed
from tests.support.market import market

MINUTES, HOURS = TIMEFRAMES["1"], TIMEFRAMES["60"]


def candles(frame: Timeframe, *values: tuple[str, str, str, str, str, str]) -> bytes:
    """Candles one after the other: open, high, low, close, volume, turnover."""
    rows: list[Values] = [(str(frame.shift(T0, place)), *each) for place, each in enumerate(values)]
    return rows_of(frame, rows).text


def found_in(frame: Timeframe, coarse: bytes, finer: Timeframe, fine: bytes) -> list[Contradiction]:
    return list(contradictions(Lines(frame, coarse), Lines(finer, fine)))


def compared(frame: Timeframe, coarse: bytes, finer: Timeframe, fine: bytes) -> list[Disagreement]:
    """What is found both candle by candle, as in short texts, and with polars, as in long ones."""
    found = found_in(frame, coarse, finer, fine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.integrity.cross_timeframe._FEW", 0)
        assert found_in(frame, coarse, finer, fine) == found
    return [each for one in found for each in one.disagreements("BTCUSDT_1.csv")]


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
    assert "BTCUSDT_1.csv makes it" in found.sentence()


@given(
    volumes=st.lists(st.decimals("0.001", "99999999", places=3), min_size=5, max_size=5),
    off=st.integers(950, 1050).map(Decimal) | st.decimals("999.99", "1000.01", places=4),
    sign=st.sampled_from([1, -1]),
)
def test_floats_decide_only_what_exact_sums_would(volumes: list[Decimal], off: Decimal, sign: int) -> None:
    """Around the tolerance, a part in 10^12, to a part in 10^19."""
    parts = candles(MINUTES, *(("5", "9", "4", "7", f"{volume:f}", "1") for volume in volumes))
    with localcontext() as context:
        context.prec = 60
        own = sum(volumes) * (1 + sign * off * Decimal("1e-15"))
        exact = abs(own - sum(volumes)) > Decimal("1e-12") * max(own, sum(volumes))
    found = compared(TIMEFRAMES["5"], candles(TIMEFRAMES["5"], ("5", "9", "4", "7", f"{own:f}", "5")), MINUTES, parts)
    assert [each.column for each in found] == ["volume"] * exact


def test_float_noise_is_decided_without_exact_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.integrity.cross_timeframe._FEW", 0)
    monkeypatch.setattr("collector.integrity.cross_timeframe._exact_columns", None)
    fine, noisy = candles(MINUTES, *MIXED), ("5", "9", "4", "7", "1.5040000000005", "10.29")
    assert found_in(TIMEFRAMES["5"], candles(TIMEFRAMES["5"], noisy), MINUTES, fine) == []


def test_candles_that_the_finer_file_does_not_cover_wholly_are_not_compared() -> None:
    false = changed(candles(TIMEFRAMES["5"], FIVE), 3, "99")
    assert compared(TIMEFRAMES["5"], false, MINUTES, candles(MINUTES, *MIXED[:4])) == []
    assert compared(TIMEFRAMES["5"], b"", MINUTES, candles(MINUTES, *MIXED)) == []


@pytest.mark.parametrize(
    ("column", "text", "agrees"),
    [
        (7, "10.29000000001", True),  # a part in 10^12: the noise of floats
        (7, "10.2900000000103", False),
        (7, "10.28999999999", True),
        (7, "10.28", False),
        (6, "1.5040000000015", True),
        (6, "1.504000000002", False),
        (5, "7.00000000000001", False),  # a price is no sum
    ],
)
def test_sums_agree_within_a_part_in_a_million_million(column: int, text: str, agrees: bool) -> None:
    coarse = changed(candles(TIMEFRAMES["5"], FIVE), column, text)
    found = compared(TIMEFRAMES["5"], coarse, MINUTES, candles(MINUTES, *MIXED))
    assert (found == []) is agrees


def test_another_row_on_either_side_has_another_digest() -> None:
    five, minutes = changed(candles(TIMEFRAMES["5"], FIVE), 7, "11"), candles(MINUTES, *MIXED)
    texts = [(five, minutes), (changed(five, 7, "12"), minutes), (five, minutes.replace(b"0.01\n", b"0.010\n", 1))]
    digests = {found_in(TIMEFRAMES["5"], five, MINUTES, minutes)[0].digest for five, minutes in texts}
    assert len(digests) == 3


def test_sums_are_made_of_what_is_already_added_up() -> None:
    exchange, start_ms = market(), TIMEFRAMES["D"].floor(T0)
    end_ms = TIMEFRAMES["D"].shift(start_ms, 3)
    texts = {name: exchange.truth("BTCUSDT", name, start_ms, end_ms) for name in ("1", "5", "15", "60", "D")}
    lines = {name: Lines(TIMEFRAMES[name], text[text.index(b"\n") + 1 :]) for name, text in texts.items()}
    minutes = lines.pop("1")
    for name, coarse in lines.items():
        assert list(contradictions(coarse, minutes)) == []
        wrong = coarse.text[: coarse.text.rindex(b",")] + b",1\n"
        (found,) = contradictions(Lines(TIMEFRAMES[name], wrong), minutes)
        assert found.columns == ("turnover",)
        assert found.parts == minutes.text[minutes.text.index(b"%d," % found.open_ms) :]


def test_sums_are_exact_where_floats_are_not() -> None:
    parts = [("1", "1", "1", "1", "123456789012.1", "0")] + [("1", "1", "1", "1", "0.1", "0")] * 4
    exact = ("1", "1", "1", "1", "123456789012.5", "0")
    assert compared(TIMEFRAMES["5"], candles(TIMEFRAMES["5"], exact), MINUTES, candles(MINUTES, *parts)) == []


def test_only_what_makes_up_whole_candles_is_finer() -> None:
    names = {str(frame): [str(each) for each in finer_timeframes(frame)] for frame in TIMEFRAMES.values()}
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
