"""The exchange in a box: a local stand-in for Bybit's public market data.

For trying things and for tests:

async with open_sandbox(symbols=["BTCUSDT"], rate=20) as box:
    print(box.url, box.ws_url("linear"))
"""

from collector.sandbox.clock import Clock
from collector.sandbox.faults import Faults, Hole
from collector.sandbox.maintenance import Maintenance
from collector.sandbox.rest.limits import Limits
from collector.sandbox.rest.query import Dialect
from collector.sandbox.server import Options, Sandbox, build_exchange, open_sandbox
from collector.sandbox.stream.rules import StreamRules

__all__ = [
    "Clock",
    "Dialect",
    "Faults",
    "Hole",
    "Limits",
    "Maintenance",
    "Options",
    "Sandbox",
    "StreamRules",
    "build_exchange",
    "open_sandbox",
]
