"""What the end-to-end tests share: a small market on real sockets whose clock stands, and settings for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Unpack

import trio

from collector.machine.clock import LocalClock
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import serve
from collector.sandbox import Faults, Options, Sandbox, build_exchange, open_sandbox
from collector.sandbox.exchange import Exchange
from collector.sandbox.market.listing import Row, Source
from collector.settings.settings import Settings

KLINE = "/v5/market/kline"

# A Wednesday, half a minute past: no candle has closed within the last seconds, so there is nothing to wait for.
NOW = "2024-05-15T12:30:30"


class ClockByHand(LocalClock):
    """A clock of the machine that stands where a test puts it."""

    def __init__(self, at_s: float = 0.0) -> None:
        self.at_s = at_s
        self.paused: list[float] = []

    def now_ns(self) -> int:
        return round(self.at_s * 1e9)

    def elapsed_ns(self) -> int:
        return round(self.at_s * 1e9)

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)


# What the market of an exchange follows from.
_MADE_OF = ("seed", "start_time", "symbols", "count", "listed", "delisted")
_PAGES = 256  # that a market remembers; some 100 kB each


class Remembered:
    """A market that gives what it was asked for before without making it up again; it is a pure function."""

    def __init__(self, source: Source) -> None:
        self.listings = source.listings
        self._rows = lru_cache(_PAGES)(source.rows)
        self._page = lru_cache(_PAGES)(source.page)

    def rows(self, *asked: Any) -> list[Row]:
        return [*self._rows(*asked)]

    def page(self, *asked: Any) -> list[Row]:
        return [*self._page(*asked)]


_remembered: dict[str, Remembered] = {}


def built(options: Options) -> Exchange:
    """An exchange; those whose markets are the same share it."""
    exchange = build_exchange(**options)
    if "clock" not in options:
        made_of = repr([options.get(name) for name in _MADE_OF])
        exchange.source = _remembered.setdefault(made_of, Remembered(exchange.source))
    return exchange


def market(**options: Unpack[Options]) -> Exchange:
    """An exchange whose clock stands still at `NOW`, unless told otherwise."""
    defaults = Options(seed=7, start_time=NOW, rate=0, symbols=["BTCUSDT", "ETHUSDT"])
    return built(defaults | options)


def kline_faults(shares: Mapping[str, float], **others: Any) -> Faults:
    """Faults in answers to questions for candles alone."""
    fields: dict[str, Any] = {"paths": ("kline",), **others, **shares}
    return Faults(**fields)


def settings_for(url: str, directory: Path, **changes: object) -> Settings:
    """Ten days of hours of one symbol, as fast as the exchange allows."""
    usual: dict[str, object] = {
        "rest_url": url,
        "ws_url": f"ws{url.removeprefix('http')}/v5/public/linear",
        "symbols": ["BTCUSDT"],
        "fetch_all_symbols": False,
        "timeframes": ["60"],
        "days_to_fetch": 10,
        "limit_to_50_entries": False,
        "bulk_request_delay_ms": 0,
        "ban_wait_s": 1,
        "data_dir": directory / "candles",
        "logs_dir": directory / "logs",
        "listen": "",
    }
    return Settings(**(usual | changes))


async def fetch(settings: Settings) -> Outcome:
    """What the command `fetch` does."""
    return await serve(settings, once=True)


async def until(condition: Callable[[], bool]) -> None:
    """Looks again and again: numbers, and processes that write files, tell nobody."""
    while not condition():  # noqa: ASYNC110, RUF100 - see above
        await trio.sleep(0.005)


@contextmanager
def served(exchange: Exchange) -> Iterator[Sandbox]:
    """Serves an exchange from a thread of its own, for tests of commands, which run trio themselves."""
    opened: SimpleQueue[tuple[Sandbox, Callable[[], None]]] = SimpleQueue()

    async def serve_until_told() -> None:
        done, token = trio.Event(), trio.lowlevel.current_trio_token()
        async with open_sandbox(exchange) as box:
            opened.put((box, lambda: token.run_sync_soon(done.set)))
            await done.wait()

    thread = Thread(target=trio.run, args=(serve_until_told,))
    thread.start()
    box, tell = opened.get()
    try:
        yield box
    finally:
        tell()
        thread.join()
