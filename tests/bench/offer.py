"""What there is to fetch. It imports nothing of the collector, whose modules must not count as a peer's memory."""

from pathlib import Path

import attrs

PAGE = 1000  # candles
MINUTE_MS = 60_000
DAY_MS = 86_400_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
NOW = "2024-06-01T12:00:30"  # where the exchange's clock stands still, so that everybody asks for the same candles
_LAST_MS = 1_717_243_200_000  # the minute in progress then


@attrs.frozen
class Window:
    """One page."""

    symbol: str
    start_ms: int
    candles: int

    @property
    def end_ms(self) -> int:
        """The open time of the last candle, as the exchange counts."""
        return self.start_ms + (self.candles - 1) * MINUTE_MS

    @property
    def target(self) -> str:
        span = f"start={self.start_ms}&end={self.end_ms}&limit={self.candles}"
        return f"/v5/market/kline?category=linear&symbol={self.symbol}&interval=1&{span}"


@attrs.frozen
class Offer:
    """Where the candles are, and which ones everybody fetches: the minutes of the last `days` of every symbol."""

    url: str
    ca_file: Path
    days: int

    @property
    def windows(self) -> list[Window]:
        """The pages, cut as the collector cuts them."""
        start_ms = _LAST_MS - self.days * DAY_MS
        return [
            Window(symbol, at_ms, min(PAGE, (_LAST_MS - at_ms) // MINUTE_MS))
            for symbol in SYMBOLS
            for at_ms in range(start_ms, _LAST_MS, PAGE * MINUTE_MS)
        ]

    @property
    def candles(self) -> int:
        return sum(window.candles for window in self.windows)
