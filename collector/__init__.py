"""A trustworthy local store of Bybit candles. What a script needs is here; everything else is the collector's own."""

from collector.errors import CollectorError
from collector.service import Outcome, collect
from collector.settings import Settings

__all__ = ["CollectorError", "Outcome", "Settings", "collect"]
