"""The exchange in a box: a stand-in for Bybit's public market data on this machine, for trying things and for tests.

async with open_sandbox(symbols=["BTCUSDT"], rate=20) as box:
    print(box.url)
"""

from collector.sandbox.clock import Clock
from collector.sandbox.faults import Faults, Hole
from collector.sandbox.limits import Limits
from collector.sandbox.query import Dialect
from collector.sandbox.server import Options, Sandbox, build_exchange, open_sandbox

__all__ = ["Clock", "Dialect", "Faults", "Hole", "Limits", "Options", "Sandbox", "build_exchange", "open_sandbox"]
