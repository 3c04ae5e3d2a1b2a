"""A trustworthy local store of Bybit candles. What a script needs is here; everything else is the collector's own."""

from collector.errors import CollectorError
from collector.feeder import DataFeeder
from collector.integrity import DataIntegrityChecker
from collector.service import collect
from collector.settings import Settings
from collector.summary import Outcome

__all__ = ["CollectorError", "DataFeeder", "DataIntegrityChecker", "Outcome", "Settings", "collect"]
