"""An exchange in a box without a network, and short ways to ask it; time stands still unless it is moved."""

import json
from typing import Any, Unpack
from urllib.parse import urlencode

import attrs

from collector.sandbox import Clock, Options, build_exchange
from collector.sandbox.exchange import Exchange
from collector.sandbox.messages import Reply, Request

NOW = 1_714_567_890_123  # 2024-05-01 12:51:30.123
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class RealTime:
    """Real seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@attrs.define
class Asker:
    """Sends requests into an exchange and reads what comes back."""

    exchange: Exchange
    real: RealTime

    def reply(
        self, path: str, address: str = "10.0.0.1", method: str = "GET", body: bytes = b"", **query: Any
    ) -> Reply:
        target = f"{path}?{urlencode(query)}" if query else path
        return self.exchange.respond(Request(address, method, target, body, bool(body)))

    def json(self, path: str, **query: Any) -> Any:
        return json.loads(self.reply(path, **query).body)

    def kline(self, **query: Any) -> Any:
        """The reply to a question for hours of BTCUSDT, unless the query says otherwise."""
        return self.json("/v5/market/kline", **{"symbol": "BTCUSDT", "interval": "60", **query})

    def opens(self, **query: Any) -> list[int]:
        return [int(row[0]) for row in self.kline(**query)["result"]["list"]]

    def instruments(self, **query: Any) -> Any:
        return self.json("/v5/market/instruments-info", **query)["result"]

    def symbols(self, **query: Any) -> list[str]:
        return [row["symbol"] for row in self.instruments(**query)["list"]]


def asker(now_ms: int = NOW, **options: Unpack[Options]) -> Asker:
    """An exchange whose clock stands at an instant."""
    real = RealTime()
    options.setdefault("clock", Clock(now_ms, rate=0))
    options.setdefault("real_s", real)
    return Asker(build_exchange(**options), real)
