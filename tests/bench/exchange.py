"""The exchange in a box in a process of its own, so that what it costs is not counted as the client's."""

import math
import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import attrs
import trio

from collector.sandbox import Limits, build_exchange, open_sandbox
from collector.sandbox.exchange import Exchange
from collector.sandbox.messages import Reply, Request
from tests.bench.offer import DAY_MS, MINUTE_MS, NOW, PAGE, SYMBOLS, Offer

_NO_LIMIT = Limits(requests=1_000_000_000)  # peers run at the speed they reach, which the exchange would ban


@contextmanager
def serving(pages: int, latency_ms: float = 0) -> Iterator[Offer]:
    """An exchange that offers about so many pages, over TLS and gzip, until this is left."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory(prefix="collector-bench-") as scratch:
        ca_file = Path(scratch) / "ca.pem"
        process = context.Process(target=_serve, args=(theirs, ca_file, latency_ms))
        process.start()
        theirs.close()
        try:
            yield Offer(ours.recv(), ca_file, math.ceil(pages / len(SYMBOLS) * PAGE * MINUTE_MS / DAY_MS))
        finally:
            ours.close()
            process.join()


class _Remembering(Exchange):
    """Makes every answer once: the clock stands still, so the same question has the same answer."""

    def __init__(self, made: Exchange, latency_ms: float) -> None:
        super().__init__(made.source, made.clock, limits=_NO_LIMIT)
        self._latency_s = latency_ms / 1000
        self._known: dict[tuple[str, ...], Reply] = {}

    def respond(self, request: Request) -> Reply:
        path, _, query = request.target.partition("?")
        question = (path, *sorted(query.split("&")))  # clients differ in the order of what they ask
        if question not in self._known:
            self._known[question] = attrs.evolve(super().respond(request), delay_s=self._latency_s)
        return self._known[question]


def _serve(parent: Connection, ca_file: Path, latency_ms: float) -> None:
    trio.run(_serve_until_left, parent, ca_file, latency_ms)


async def _serve_until_left(parent: Connection, ca_file: Path, latency_ms: float) -> None:
    made = build_exchange(symbols=SYMBOLS, start_time=NOW, rate=0, listed=dict.fromkeys(SYMBOLS, "2020-01-01"))
    async with open_sandbox(_Remembering(made, latency_ms), tls=True, ca_file=ca_file) as box:
        parent.send(box.url)
        await trio.lowlevel.wait_readable(parent.fileno())  # the other end was closed, by intent or by death
