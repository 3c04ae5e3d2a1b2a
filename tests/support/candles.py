"""Made-up candles for tests: minute after minute, each a little different, as the exchange would write them."""

from collections.abc import Iterable
from functools import lru_cache

from collector.core.candle import MINUTE_MS, Series, Timeframe, timeframe
from collector.core.rows import HEADER, Rows, Values, rows_of
from collector.core.spans import Span, Spans

T0 = 1_700_006_400_000  # 2023-11-15 00:00:00
MINUTE = timeframe("1")
BTC = Series("BTCUSDT", MINUTE)


def candle_at(frame: Timeframe, open_ms: int) -> Rows:
    """One candle that opens then."""
    return rows_of(frame, [(str(open_ms), "1", "1", "1", "1", "0", "0")])


@lru_cache(10_000)
def row(place: int, volume: str = "1.500", frame: Timeframe = MINUTE) -> Rows:
    """One candle, so many places after T0."""
    return rows_of(frame, [_values(place, volume, frame)])


def _values(place: int, volume: str, frame: Timeframe) -> Values:
    price = str(37000 + place)
    return (str(frame.shift(T0, place)), price, price, price, price, volume, "0.00000123")


def joined(rows: Iterable[Rows]) -> Rows:
    every = list(rows)
    return Rows(b"".join(each.text for each in every), Spans.of(*(span for each in every for span in each.covered)))


@lru_cache(256)
def rows(first: int, behind: int, volume: str = "1.500", frame: Timeframe = MINUTE) -> Rows:
    return rows_of(frame, [_values(place, volume, frame) for place in range(first, behind)])


def spans(first: int, behind: int, frame: Timeframe = MINUTE) -> Spans:
    return Spans.between(frame.shift(T0, first), frame.shift(T0, behind))


def span(first: int, behind: int) -> Span:
    return Span(T0 + first * MINUTE_MS, T0 + behind * MINUTE_MS)


def content(*parts: Rows) -> bytes:
    """A whole file."""
    return HEADER + joined(parts).text
