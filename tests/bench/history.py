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

_FLAT_OUT_AIM, _PACED_AIM = 0.6, 0.75  # of ccxt's CPU per page at the same pace
_FLOOR_AIM = 3.0  # of the floor's
_PACE = 115.0  # about what the exchange's limit of 600 requests in 5 s leaves anybody

_FLOOR = "floor: httpx, answers thrown away"
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
    **peers.at_hand(),
    _FLOOR: peers.floor,
}


def run(pages: int, rounds: int) -> None:
    """All clients fetch the same pages from the same server, in turn, several times.

    A good number: the collector needs three quarters of ccxt's CPU per page at the exchange's pace, and 0.6 flat out.
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
            aim("the collector's CPU per page to ccxt's within the limit", _ratios(paced, _OURS), at_most=_PACED_AIM),
            aim("the collector's CPU per page to ccxt's flat out", _ratios(flat_out, _OURS), at_most=_FLAT_OUT_AIM),
            aim("the collector's CPU per page to the floor's", _ratios(flat_out, _OURS, _FLOOR), at_most=_FLOOR_AIM),
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
    return median(_ratios(taken, name))


def _ratios(taken: Sequence[Mapping[str, Measured]], name: str, other: str = _CCXT) -> list[float]:
    """Of each round, the CPU per page to another client's."""
    return [one[name].cpu_ms / one[other].cpu_ms for one in taken]
