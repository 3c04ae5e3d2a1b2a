"""Numbers, times and spans as text."""

import pytest

from collector.core.spans import Span
from collector.core.text import counted, duration_text, span_texts


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


def test_a_span_is_told_by_both_of_its_ends() -> None:
    assert span_texts(Span(0, 86_401_999)) == {"start": "1970-01-01 00:00:00", "end": "1970-01-02 00:00:01"}
