"""How much of the rate that the settings allow is reached."""

from functools import partial
from statistics import median

from collector.core.pacing import request_interval_s
from collector.settings.settings import Settings
from tests.bench import peers
from tests.bench.exchange import serving
from tests.bench.measure import Measured, apart
from tests.bench.ours import collector
from tests.bench.table import aim, show

_AIM = 0.95
_LATENCIES_MS = (0, 100)
_DELAYS_MS = (10.0, 8.62, 0.0)  # 100 a second, and twice the most that the exchange's limit leaves


def run(pages: int, rounds: int) -> None:
    """The collector fetches with several delays, from an exchange next door and from one a network away.

    A good number: at least 95 % of the allowed rate, between the first and the last tenth of the requests.
    """
    rows: list[tuple[str, ...]] = []
    shares: list[float] = []
    for latency_ms in _LATENCIES_MS:
        with serving(pages, latency_ms) as offer:
            ceiling = max(apart(peers.floor, offer).pages_s for _ in range(2))  # the first has to wait for the answers
            if not latency_ms:
                rows.append(("what the sandbox can serve here", "", f"{ceiling:.0f}", "", ""))
            for delay_ms in _DELAYS_MS:
                taken = [apart(partial(collector, delay_ms=delay_ms), offer) for _ in range(rounds)]
                rows.append(_row(delay_ms, latency_ms, taken))
                shares.append(_share(delay_ms, taken))
    show(
        "Rate: requests a second in the steady part of a fetch",
        ["bulk_request_delay_ms", "allowed", "reached", "share", "of a core"],
        rows,
        [f"medians of {rounds} rounds of {pages} pages", aim("the lowest share", min(shares), at_least=_AIM)],
    )


def _allowed(delay_ms: float) -> float:
    return 1 / request_interval_s(delay_ms, Settings().bulk_batch_size)


def _share(delay_ms: float, taken: list[Measured]) -> float:
    return median(one.steady_rate for one in taken) / _allowed(delay_ms)


def _row(delay_ms: float, latency_ms: float, taken: list[Measured]) -> tuple[str, ...]:
    network = f", {latency_ms:g} ms to the exchange" if latency_ms else ""
    return (
        f"{delay_ms:g}{network}",
        f"{_allowed(delay_ms):.1f}",
        f"{median(one.steady_rate for one in taken):.1f}",
        f"{_share(delay_ms, taken):.3f}",
        f"{median(one.cpu_s / one.seconds for one in taken):.0%}",
    )
