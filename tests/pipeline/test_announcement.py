"""What a collection says that it is about to do."""

import pytest

from collector.core.candle import DAY_MS, Series
from collector.core.date_range import DateRange
from collector.pipeline.announcement import collecting
from collector.settings.settings import Settings
from tests.support.candles import T0

TRACKED = [Series.named(f"{symbol}_{frame}") for symbol in ("BTCUSDT", "ETHUSDT") for frame in ("1", "D")]


@pytest.mark.parametrize(
    ("changes", "dates", "streams", "span"),
    [
        ({"limit_to_50_entries": False, "days_to_fetch": 30}, None, True, "30 days from 2023-10-16 on, then live"),
        ({"limit_to_50_entries": False, "days_to_fetch": 1}, None, False, "1 day from 2023-11-14 on"),
        ({"mode": "recent"}, None, False, "the 50 newest candles of each"),
        ({"mode": "live"}, None, True, "no history, live"),
        ({}, DateRange(T0 - DAY_MS, T0), False, "from 2023-11-14 00:00:00 to 2023-11-15 00:00:00"),
        ({}, DateRange(T0), False, "from 2023-11-15 00:00:00 on"),
    ],
)
def test_series_category_and_span_are_named(
    changes: dict[str, object], dates: DateRange | None, streams: bool, span: str
) -> None:
    settings = Settings(timeframes=["1", "D"], rest_url="http://127.0.0.1:1", **changes)
    sentence, facts = collecting(settings, TRACKED, T0, streams=streams, dates=dates)
    assert sentence == f"collecting 4 series of 2 symbols in 1, D, linear at sandbox: {span}"
    assert (facts["series"], facts["symbols"], facts["category"]) == (4, 2, "linear")
