"""What a page of history costs, from the request to the file, beside clients that only fetch and parse."""

from functools import partial
from statistics import median

from tests.bench import peers
from tests.bench.exchange import serving
from tests.bench.measure import Client, apart
from tests.bench.offer import SYMBOLS
from tests.bench.ours import collector
from tests.bench.table import aim, show

_AIM = 0.67  # of ccxt's CPU per page
_PACE = 115.0  # about what the exchange's limit of 600 requests in 5 s leaves anybody

_CLIENTS: dict[str, Client] = {
    "collector, whole path to the synced file": collector,
    "ccxt, parses only": peers.ccxt,
    f"ccxt, parses only, {_PACE:g} pages/s": partial(peers.ccxt, pace=_PACE),
    "pybit, parses only": peers.pybit,
    "floor: httpx, answers thrown away": peers.floor,
}


def run(pages: int, rounds: int) -> None:
    """All clients fetch the same pages from the same server, in turn, several times.

    A good number: the collector needs at most two thirds of ccxt's CPU per page.
    """
    with serving(pages) as offer:
        apart(peers.floor, offer)  # so that nobody is the one the exchange makes its answers for
        taken = [{name: apart(client, offer) for name, client in _CLIENTS.items()} for _ in range(rounds)]
    ours, theirs, paced, *_ = _CLIENTS
    ratios = {name: median(one[name].cpu_ms / one[theirs].cpu_ms for one in taken) for name in _CLIENTS}
    same_pace = median(one[ours].cpu_ms / one[paced].cpu_ms for one in taken)
    rows = [
        (
            name,
            f"{median(one[name].pages_s for one in taken):.0f}",
            f"{median(one[name].cpu_ms for one in taken):.2f}",
            f"{ratios[name]:.2f}",
            f"{median(one[name].peak_mb for one in taken):.0f}",
        )
        for name in _CLIENTS
    ]
    fetched = taken[0][ours]
    show(
        f"History: {fetched.pages} pages, {fetched.candles:,} candles of {len(SYMBOLS)} symbols, TLS and gzip",
        ["client", "pages/s", "CPU ms/page", "CPU : ccxt", "peak MB"],
        rows,
        [
            f"medians of {rounds} rounds; {peers.WORKERS} workers each, the collector as many as by default",
            "the collector keeps the exchange's limit of 600 requests in 5 s, the others run as fast as they can",
            "the collector's CPU has listing, connecting, checks, files, fsync, ledger and logs in it; peers are warm",
            aim("the collector's CPU per page to ccxt's", ratios[ours], at_most=_AIM),
            f"to ccxt's at the pace that the limit leaves anybody: {same_pace:.2f}",
        ],
    )
