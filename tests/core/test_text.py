"""Numbers, times and spans as text."""

import pytest

from collector.core.spans import Span
from collector.core.text import counted, did_you_mean_symbols, duration_text, exact_text, size_text, span_texts


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "candle", "0 candles"),
        (1, "candle", "1 candle"),
        (2000, "candle", "2,000 candles"),
        (1, "retry", "1 retry"),
        (3, "retry", "3 retries"),
        (1, "day", "1 day"),
        (2, "day", "2 days"),
        (4, "series", "4 series"),
    ],
)
def test_a_number_agrees_with_its_noun(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (200 * 3_600, "8 d 8 h"),
    ],
)
def test_how_long_something_takes_is_told_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert duration_text(seconds) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "1970-01-01 00:00:00"),
        (1_700_000_040_000, "2023-11-14 22:14:00"),
        (1_700_000_040_020, "2023-11-14 22:14:00.020"),
        (253_402_300_799_999, "9999-12-31 23:59:59.999"),
        (253_402_300_800_000, "253402300800000"),
        (-1, "-1"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_a_time_is_exact_and_one_that_no_calendar_has_stays_a_number(ms: int, said: str) -> None:
    assert exact_text(ms) == said


def test_a_span_is_told_by_both_of_its_ends() -> None:
    assert span_texts(Span(0, 86_401_999)) == {"start": "1970-01-01 00:00:00", "end": "1970-01-02 00:00:01"}


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (47_304_123, "47.3 MB"), (999_600_000, "1 GB"), (2.5e12, "2.5 TB")],
)
def test_a_size_has_three_figures(size: float, said: str) -> None:
    assert size_text(size) == said


@pytest.mark.parametrize(
    ("unknown", "asked"),
    [
        ("BTCUSTD", "; did you mean BTCUSDT?"),
        ("BTC-USDT", "; did you mean BTCUSDT?"),
        ("BTC", "; did you mean BTCUSDT?"),
        ("BTCPER", "; did you mean BTCPERP?"),
        ("NOSUCHUSDT", ""),
        ("-", ""),
    ],
)
def test_a_misspelt_symbol_asks_for_the_nearest(unknown: str, asked: str) -> None:
    assert did_you_mean_symbols([unknown], ["BTCPERP", "BTCUSDT", "BTCUSDC", "ETHUSDT"]) == asked
