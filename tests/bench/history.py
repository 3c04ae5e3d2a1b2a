"""What a page of history costs, from the request to the file, beside clients that only fetch and parse."""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from tests.bench import peers
from tests.bench.exchange import serving
from tests.bench.measure import Client, Measured, apart
from tests.bench.offer import SYMBOLS
from tests.bench.ours import collector
from tests.bench.table import aim, show

_AIM = 0.67  # of ccxt's CPU per page at the same pace
_PACE = 115.0  # about what the exchange's limit of 600 requests in 5 s leaves anybody

_OURS, _CCXT = "collector, whole path to the synced file", "ccxt, parses only"

# A client that rests between two pages finds its caches cold, so one that is paced is compared with one that is.
_PACED: dict[str, Client] = {
    _OURS: collector,
    _CCXT: partial(peers.ccxt, pace=_PACE),
}
_FLAT_OUT: dict[str, Client] = {
    _OURS: partial(collector, unlimited=True),
    _CCXT: peers.ccxt,
    "pybit, parses only": peers.pybit,
    "floor: httpx, answers thrown away": peers.floor,
}


def run(pages: int, rounds: int) -> None:
    """All clients fetch the same pages from the same server, in turn, several times.

    A good number: the collector needs at most two thirds of ccxt's CPU per page, at the exchange's pace and flat out.
    """
    with serving(pages) as offer:
        apart(peers.floor, offer)  # so that nobody is the one the exchange makes its answers for
        taken = [
            [{name: apart(client, offer) for name, client in clients.items()} for clients in (_PACED, _FLAT_OUT)]
            for _ in range(rounds)
        ]
    paced, flat_out = zip(*taken, strict=True)
    fetched = paced[0][_OURS]
    show(
        f"History: {fetched.pages} pages, {fetched.candles:,} candles of {len(SYMBOLS)} symbols, TLS and gzip",
        ["client", "pages/s", "CPU ms/page", "CPU : ccxt", "peak MB"],
        [
            ("within the exchange's limit", "", "", "", ""),
            *_rows(paced),
            ("flat out", "", "", "", ""),
            *_rows(flat_out),
        ],
        [
            f"medians of {rounds} rounds; {peers.WORKERS} workers each, the collector as many as by default",
            "the collector's CPU has listing, connecting, checks, files, fsync, ledger and logs in it; peers are warm",
            aim("the collector's CPU per page to ccxt's within the limit", _ratio(paced, _OURS), at_most=_AIM),
            aim("the collector's CPU per page to ccxt's flat out", _ratio(flat_out, _OURS), at_most=_AIM),
        ],
    )


def _rows(taken: Sequence[Mapping[str, Measured]]) -> list[tuple[str, ...]]:
    return [
        (
            f"  {name}",
            f"{median(one[name].pages_s for one in taken):.0f}",
            f"{median(one[name].cpu_ms for one in taken):.2f}",
            f"{_ratio(taken, name):.2f}",
            f"{median(one[name].peak_mb for one in taken):.0f}",
        )
        for name in taken[0]
    ]


def _ratio(taken: Sequence[Mapping[str, Measured]], name: str) -> float:
    return median(one[name].cpu_ms / one[_CCXT].cpu_ms for one in taken)
