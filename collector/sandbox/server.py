"""Serves an exchange on the network.

I/O only. `open_sandbox` is what tests and scripts enter; all tasks belong to it and end with it.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import attrs
import trio

from collector.machine import THIS_MACHINE
from collector.machine.clock import THIS_CLOCK
from collector.machine.network import Network, Stream
from collector.sandbox.clock import Clock, instant_ms
from collector.sandbox.counts import Counts
from collector.sandbox.exchange import Exchange
from collector.sandbox.faults import Faults
from collector.sandbox.maintenance import Maintenance
from collector.sandbox.market.listing import Category, Source
from collector.sandbox.market.market import Market
from collector.sandbox.market.replay import Replay
from collector.sandbox.market.universe import universe
from collector.sandbox.rest.http import Wire, serve_http
from collector.sandbox.rest.limits import Limits
from collector.sandbox.rest.query import Dialect
from collector.sandbox.stream.broadcast import Broadcast
from collector.sandbox.stream.rules import StreamRules

# A client whose own resolver leads the exchange's hosts here must find them in the certificate; only those who trust
# the authority of this run believe it.
_COUNTRIES = ("ae", "com.hk", "eu", "id", "kz", "nl", "tr")
_DOMAINS = (
    "bybit.com",
    "bytick.com",
    *(f"bybit.{end}" for end in _COUNTRIES),
    "bybit-tr.com",
    "bybitgeorgia.ge",
    "manepa.jp",
)
_HOSTS = {*(f"*.{domain}" for domain in _DOMAINS), "localhost", "127.0.0.1", "::1"}
Instant = int | str
"""Epoch milliseconds, or ISO text such as `2024-05-01T12:30`, UTC unless it says otherwise."""


class Sandbox:
    """An exchange being served.

    Faults, clock and counts are open at any time.
    """

    def __init__(self, exchange: Exchange, broadcast: Broadcast, host: str, port: int, tls: bool) -> None:
        self.exchange = exchange
        self._broadcast = broadcast
        self.host = host
        self.port = port
        self.url = f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"

    def ws_url(self, category: Category = "linear") -> str:
        """The URL of the category's stream."""
        return f"ws{self.url.removeprefix('http')}/v5/public/{category}"

    def cut_connections(self) -> int:
        """Cuts all stream connections at once; returns their number."""
        return self._broadcast.cut_all()

    @property
    def source(self) -> Source:
        return self.exchange.source

    @property
    def clock(self) -> Clock:
        return self.exchange.clock

    @property
    def counts(self) -> Counts:
        return self.exchange.counts

    @property
    def faults(self) -> Faults:
        return self.exchange.fault_injector.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.exchange.fault_injector.faults = faults

    @property
    def maintenance(self) -> tuple[Maintenance, ...]:
        """The announced maintenance, replaceable at any time."""
        return self.exchange.maintenance

    @maintenance.setter
    def maintenance(self, announced: Iterable[Maintenance | str]) -> None:
        self.exchange.announce(announced)
        self._broadcast.wake()

    def truth(
        self, symbol: str, interval: str, start: Instant, end: Instant, category: str = "linear", header: bool = True
    ) -> bytes:
        """The bytes that a CSV file of ours must hold for [start, end)."""
        return self.exchange.truth(symbol, interval, _ms(start), _ms(end), category, header)


class Options(TypedDict, total=False):
    """The options of an exchange; all have defaults."""

    seed: int  # all prices, volumes and faults follow from it
    symbols: Iterable[str] | None  # what is listed, as `BTCUSDT` or `spot:BTCUSDT`; else the usual small exchange
    count: int | None  # how many linear symbols there are in all, made-up ones among them
    listed: Mapping[str, Instant] | None  # when trading begins, by symbol, where the usual will not do
    delisted: Mapping[str, Instant] | None  # when it ends
    replay: Path | None  # a directory of our CSV files to serve instead of a made-up market
    replay_category: Category
    start_time: Instant | None  # what the clock shows at first; else the real time, or where a replay ends
    rate: float  # how fast the clock runs; 0 is frozen
    clock: Clock | None  # a clock of your own instead of these two
    faults: Faults | None
    limits: Limits | None
    dialect: Dialect | None
    maintenance: Iterable[Maintenance | str]  # what is announced, as `START..END` or `START..END=TITLE`
    stream: StreamRules | None  # cadence, lags and limits of the stream
    real_s: Callable[[], float]  # the real seconds by which limits and bans count; else monotonic time


def build_exchange(**options: Unpack[Options]) -> Exchange:
    """Builds an exchange without a network.

    It is served with `open_sandbox`, or asked directly with `Exchange.respond`.

    Raises:
        ValueError: a name, an instant or a number is invalid.
    """
    seed = options.get("seed", 1)
    start = options.get("start_time")
    replay = None
    if (directory := options.get("replay")) is not None:
        replay = Replay(directory, options.get("replay_category", "linear"))
        start = replay.newest_ms if start is None else start
    clock = options.get("clock") or Clock(None if start is None else _ms(start), options.get("rate", 1))
    return Exchange(
        replay or _market(seed, clock.now_ms(), options),
        clock,
        seed=seed,
        limits=options.get("limits") or Limits(),
        faults=options.get("faults") or Faults(),
        dialect=options.get("dialect") or Dialect(),
        stream=options.get("stream") or StreamRules(),
        maintenance=options.get("maintenance", ()),
        real_s=options.get("real_s", THIS_CLOCK.elapsed_s),
    )


def _market(seed: int, start_ms: int, options: Options) -> Market:
    listed, delisted = _instants(options.get("listed")), _instants(options.get("delisted"))
    return Market(seed, universe(seed, start_ms, options.get("symbols"), options.get("count"), listed, delisted))


@asynccontextmanager
async def open_sandbox(
    exchange: Exchange | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: bool = False,
    ca_file: Path | None = None,
    network: Network = THIS_MACHINE.network,
    **options: Unpack[Options],
) -> AsyncIterator[Sandbox]:
    """Serves an exchange inside the block; leaving closes its connections.

    Args:
        exchange: from `build_exchange`; by default one is built from the options.
        port: 0 takes a free one.
        tls: speak TLS with a certificate for the host and the exchange's own, signed by an authority made for the run.
        ca_file: where that authority's certificate is written (PEM), for clients to trust.
        network: what it listens on; a simulation gives one in memory.
        options: what to build, see `Options`.

    Raises:
        OSError: the port is taken, or the file is unwritable.
        ValueError: an option is invalid.
    """
    exchange = exchange or build_exchange(**options)
    context = _tls_context(host, ca_file) if tls else None
    listeners = await network.listen(host, port)
    bound = network.address_of(listeners[0])[1]
    fault_injector = exchange.fault_injector
    stall_s, drip_s = (lambda: fault_injector.faults.stall_s), (lambda: fault_injector.faults.drip_s)
    wire = Wire(exchange.respond, exchange.clock.now_ms, stall_s, network, drip_s=drip_s)
    broadcast = Broadcast(exchange)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broadcast.run)
        serve = partial(
            trio.serve_listeners, partial(_connection, exchange.counts, wire, broadcast, context), list(listeners)
        )
        await nursery.start(serve)
        yield Sandbox(exchange, broadcast, host, bound, tls)
        nursery.cancel_scope.cancel()


async def _connection(
    counts: Counts, wire: Wire, broadcast: Broadcast, context: ssl.SSLContext | None, raw: Stream
) -> None:
    stream: trio.abc.Stream = raw
    if context is not None:
        stream = trio.SSLStream(raw, context, server_side=True, https_compatible=True)
    counts.connection_opened()
    try:
        address = wire.network.peer_of(raw)[0]
        await serve_http(stream, address, attrs.evolve(wire, upgrade=partial(broadcast.serve, address)))
    except OSError:  # the client was gone before it could be asked for its address
        pass
    finally:
        counts.connection_closed()
        with trio.move_on_after(1) as scope:
            scope.shield = True
            await trio.aclose_forcefully(raw) if context is None else await stream.aclose()


def _tls_context(host: str, ca_file: Path | None) -> ssl.SSLContext:
    try:
        import trustme  # not above: what signs is large, and every command would wait for it
    except ModuleNotFoundError as error:
        raise ImportError("TLS needs the package trustme: pip install 'collector[sandbox-tls]'") from error
    authority = trustme.CA()
    names = {host, *_HOSTS} - {"0.0.0.0", "::"}
    certificate = authority.issue_cert(*sorted(names))
    if ca_file is not None:
        authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def _instants(given: Mapping[str, Instant] | None) -> dict[str, int]:
    return {name: _ms(instant) for name, instant in (given or {}).items()}


def _ms(instant: Instant) -> int:
    return instant if isinstance(instant, int) else instant_ms(instant)
