"""The collector as a client: the whole path from the request to the synced file, the ledger and the logs.

Its modules are imported and have run once before the measuring begins. Everything else that a run does is measured:
listing symbols, opening connections, checking, formatting, writing, syncing. Peers have done the first two before.
"""

import gc
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import trio
from rich.console import Console

from collector import Settings
from collector.bybit.exchange_state import RestState
from collector.commands.progress import log_progress
from collector.core import rate_limit
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.logs import ConsoleHandler, LogFile, open_logs
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import ServeOptions, serve
from tests.bench.measure import Measure, Measured
from tests.bench.offer import SYMBOLS, Offer

Glimpse = tuple[float, int]
"""A moment, and how many requests had been made by then."""

_LOOK_EVERY_S = 0.05


def collector(offer: Offer, delay_ms: float = 0, *, unlimited: bool = False) -> Measured:
    """One fetch of everything, as fast as the settings and the exchange's limit let it, or as if it had none."""
    if unlimited:
        rate_limit.WINDOW_REQUESTS = 1_000_000_000  # type: ignore[attr-defined]
    os.environ["SSL_CERT_FILE"] = str(offer.ca_file)
    gc.set_threshold(50_000, 20, 50)  # as the command line does
    _collect(offer, 1, delay_ms, [])
    glimpses: list[Glimpse] = []
    measure = Measure(offer)
    outcome = _collect(offer, offer.days, delay_ms, glimpses)
    return measure.end(outcome.counters.rows, _steady_rate(glimpses))


def _collect(offer: Offer, days: int, delay_ms: float, glimpses: list[Glimpse]) -> Outcome:
    async def watch(counters: Counters, coverage: CoverageIndex, rest: RestState) -> None:
        while True:
            glimpses.append((time.perf_counter(), counters.requests))
            await trio.sleep(_LOOK_EVERY_S)

    with tempfile.TemporaryDirectory(prefix="collector-bench-") as scratch, Path(os.devnull).open("w") as nowhere:
        settings = Settings(
            rest_url=offer.url,
            symbols=SYMBOLS,
            fetch_all_symbols=False,
            timeframes="1",
            days_to_fetch=days,
            limit_to_50_entries=False,
            bulk_request_delay_ms=delay_ms,
            data_dir=scratch,
            logs_dir=Path(scratch) / "logs",
        )
        with open_logs(LogFile(settings.logs_dir), ConsoleHandler(Console(file=nowhere))):
            return trio.run(
                partial(serve, settings, once=True, options=ServeOptions(watch=watch, display=log_progress))
            )


def _steady_rate(glimpses: list[Glimpse]) -> float:
    """Requests a second between the first and the last tenth of them."""
    total = glimpses[-1][1]
    steady = [(at_s, count) for at_s, count in glimpses if 0.1 * total <= count <= 0.9 * total]
    (first_s, first), (last_s, last) = steady[0], steady[-1]
    return (last - first) / (last_s - first_s)
