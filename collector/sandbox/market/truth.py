"""The candles that a faithful collector must have on disk.

Pure. The format is that of our CSV files: open time in ms, the same instant as text, and the exchange's six texts.
"""

from collector.core.candle import Timeframe
from collector.sandbox.market.listing import Listing, Source
from collector.sandbox.market.prices import csv_of


def truth(source: Source, listing: Listing, timeframe: Timeframe, start_ms: int, end_ms: int, now_ms: int) -> bytes:
    """CSV lines of the closed candles that open in [start, end), oldest first."""
    start_ms = max(start_ms, timeframe.floor(listing.listed_ms))
    end_ms = min(end_ms, timeframe.floor(now_ms))  # what opens before this one is closed
    rows = source.rows(listing, timeframe, start_ms, end_ms, now_ms) if start_ms < end_ms else []
    return csv_of(rows)
