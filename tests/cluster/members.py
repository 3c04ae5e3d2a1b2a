"""Collectors as processes, each with an address of its own, that share a market and a table in a real PostgreSQL."""

import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from collector.cluster.lease_table import read_leases
from collector.cluster.leases import SLOTS, Rows, slot_of
from collector.core.candle import Series
from collector.core.spans import Span
from collector.sandbox import Sandbox
from collector.settings.settings import Settings
from tests.campaign.process import heard, open_collector
from tests.campaign.truth import foreign_rows, series_of, wanted_start_ms
from tests.support.mirrors import Row, table_rows

_COINS = "BTC ETH SOL XRP ADA DOGE LTC DOT LINK AVAX BNB TRX UNI ATOM NEAR APT ARB OP FIL ETC XLM HBAR ICP SUI"
SYMBOLS = tuple(f"{coin}USDT" for coin in _COINS.split())  # of slots enough that each collector has some
LIMIT = 60  # requests in 5 s that an address may make: a tenth of the exchange's, so that it is felt
_MARKET = "sandbox linear"
_LATE_S = 5.0  # after its close a candle is in its file


@attrs.define
class Node:
    """One collector: its settings and address, and its process while it runs."""

    settings: Settings
    address: str
    process: trio.Process | None = None
    said: list[str] = attrs.field(factory=list)
    statuses: list[int] = attrs.field(factory=list)  # with which its processes ended

    @property
    def name(self) -> str:
        return self.settings.cluster_member

    async def run_until_end(
        self, command: str = "run", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Runs it until its process ends."""
        directory = str(self.settings.data_dir.parent)
        arguments = (self.address, directory, command)
        async with open_collector(self.settings, *arguments, module="tests.cluster.at_address") as self.process:
            task_status.started()
            self.said.append(await heard(self.process))
            self.statuses.append(await self.process.wait())
        self.process = None

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    async def ended(self) -> None:
        while self.process:  # noqa: ASYNC110, RUF100 - the file of what it said is read to its end
            await trio.sleep(0.05)

    def held(self, series: Series) -> tuple[int, Span | None]:
        """How many rows its file of a series has, and from where to where."""
        path = self.settings.data_dir / series.file_name
        _, _, rows = (path.read_bytes() if path.exists() else b"").rpartition(b"\n")[0].partition(b"\n")
        if not rows:
            return 0, None
        first, last = rows[:13], rows[rows.rfind(b"\n") + 1 :][:13]
        return rows.count(b"\n") + 1, Span(int(first), series.timeframe.close(int(last)))


Lacks = Callable[[dict[str, Node]], Iterator[str]]  # by the owners of symbols


@attrs.define
class Cluster:
    """Some collectors, the exchange and the database that they share."""

    box: Sandbox
    database: str
    nodes: list[Node]
    nursery: trio.Nursery

    async def rows(self) -> Rows | None:
        return await trio.to_thread.run_sync(partial(read_leases, self.database, _MARKET))

    async def owners(self) -> dict[int, str]:
        rows = await self.rows()
        return {slot.number: slot.owner for slot in rows.slots} if rows else {}

    async def symbols_of(self, node: Node) -> list[str]:
        owners = await self.owners()
        return [symbol for symbol in SYMBOLS if owners[slot_of(symbol)] == node.name]

    async def until(self, condition: Callable[[dict[int, str]], bool], within_s: float) -> float:
        """Waits for owners of slots; how long that took."""
        began_s = trio.current_time()
        with trio.move_on_after(within_s):
            while not condition(await self.owners()):  # noqa: ASYNC110, RUF100 - a table tells nobody
                await trio.sleep(0.2)
        return trio.current_time() - began_s

    async def until_nothing(self, lacks: Lacks, within_s: float) -> list[str]:
        """Waits until nothing is lacking, by the owners of symbols; what still is then."""
        lacking = ["not looked at"]
        with trio.move_on_after(within_s):
            while lacking := [*lacks(await self._owners_of_symbols())]:  # noqa: ASYNC110, RUF100 - nor does a file
                await trio.sleep(0.3)
        return lacking

    async def _owners_of_symbols(self) -> dict[str, Node]:
        owners, nodes = await self.owners(), {node.name: node for node in self.nodes}
        owned = {symbol: nodes.get(owners.get(slot_of(symbol), "")) for symbol in SYMBOLS}
        return {symbol: node for symbol, node in owned.items() if node}

    def unheard(self, symbols: list[str], owners: dict[str, Node]) -> Iterator[str]:
        """Series of which nobody hears; who was killed is a client no more, for its connections are closed."""
        heard = {topic for client in self.box._broadcast._clients for topic in client.session.topics}
        for series in series_of(attrs.evolve(self.nodes[0].settings, symbols=symbols)):
            if series.symbol not in owners or f"kline.{series.timeframe.name}.{series.symbol}" not in heard:
                yield f"nobody hears of {series}"

    def unwritten(self, symbols: list[str], since_ms: int, owners: dict[str, Node]) -> Iterator[str]:
        """Symbols of which their owners have no minute that closed after a moment."""
        for symbol in symbols:
            node = owners.get(symbol)
            _, span = node.held(Series.named(f"{symbol}_1")) if node else (0, None)
            if not span or span.end_ms <= since_ms:
                yield f"nothing new of {symbol}"

    def incomplete(self, symbols: list[str], owners: dict[str, Node]) -> Iterator[str]:
        """Series of which their owners lack wanted candles."""
        for symbol in symbols:
            if (node := owners.get(symbol)) is None:
                yield f"{symbol} has no owner"
                continue
            for series in series_of(attrs.evolve(node.settings, symbols=(symbol,))):
                due, (rows, span) = self._due(node.settings, series), node.held(series)
                there = span is not None and span.start_ms <= due.start_ms and span.end_ms >= due.end_ms
                if not (span and there and rows == series.timeframe.count(span.start_ms, span.end_ms)):
                    yield f"{node.name} has {rows} rows of {series} in {span}, of {due}"

    def _due(self, settings: Settings, series: Series) -> Span:
        """From where to where its wanted candles have to be there."""
        closed_ms = self.box.clock.now_ms() - round(_LATE_S * 1000 * self.box.clock.rate)
        return Span(wanted_start_ms(self.box, settings, series), series.timeframe.floor(closed_ms))

    def foreign(self, node: Node) -> list[str]:
        """Rows in its files that the exchange does not have, in the days wanted and those before."""
        there = {path.name.partition("_")[0] for path in node.settings.data_dir.glob("*.csv")}
        return foreign_rows(self.box, attrs.evolve(node.settings, symbols=sorted(there), days_to_fetch=9))

    def table_wrongs(self) -> list[str]:
        """How the shared table differs from what the exchange had since the first row of each series."""
        held: dict[Series, list[Row]] = {series: [] for series in series_of(self.nodes[0].settings)}
        for row in table_rows(self.database):
            held.setdefault(Series.named(f"{row[0]}_{row[1]}"), []).append(row)
        wrong = []
        for series, rows in held.items():
            start_ms = wanted_start_ms(self.box, self.nodes[0].settings, series)
            true = self._true_rows(series, min(start_ms, int(rows[0][2])) if rows else start_ms)
            if rows != true:
                apart = len({*rows} ^ {*true})
                wrong.append(f"the table has {len(rows)} rows of {series} instead of {len(true)}, {apart} apart")
        return wrong

    def _true_rows(self, series: Series, start_ms: int) -> list[Row]:
        text = self.box.truth(series.symbol, series.timeframe.name, start_ms, self.box.clock.now_ms(), header=False)
        lines = (line.split(",") for line in text.decode().splitlines())
        return [(series.symbol, series.timeframe.name, time, *numbers) for time, _, *numbers in lines]


def settings_of(box: Sandbox, database: str, directory: Path, number: int) -> Settings:
    return Settings(
        rest_url=box.url,
        ws_url=box.ws_url(),
        symbols=SYMBOLS,
        fetch_all_symbols=False,
        timeframes=("1", "5", "60"),
        days_to_fetch=2,
        limit_to_50_entries=False,
        bulk_request_delay_ms=0,
        ban_wait_s=1,
        flush_interval_s=0.2,
        address_share=LIMIT / 600,
        data_dir=directory / str(number) / "candles",
        logs_dir=directory / str(number) / "logs",
        listen="",
        cluster_url=database,
        database_url=database,
        cluster_member=f"c{number}",
    )


@asynccontextmanager
async def open_cluster(box: Sandbox, database: str, directory: Path, size: int) -> AsyncIterator[Cluster]:
    """A cluster whose collectors are started by whoever enters, and ended on leaving."""
    async with trio.open_nursery() as nursery:
        nodes = []
        for number in range(1, size + 1):
            (directory / str(number)).mkdir()
            nodes.append(Node(settings_of(box, database, directory, number), f"127.0.0.{number + 1}"))
        yield Cluster(box, database, nodes, nursery)
        for node in nodes:
            if node.process:
                node.send(signal.SIGCONT)
                node.send(signal.SIGTERM)
        nursery.cancel_scope.deadline = trio.current_time() + 20


def all_owned_by(*names: str) -> Callable[[dict[int, str]], bool]:
    return lambda owners: len(owners) == SLOTS and set(owners.values()) == set(names)


def shared_by(*names: str) -> Callable[[dict[int, str]], bool]:
    """Whether each has its fair share, after which no slot moves without a reason."""

    def shared(owners: dict[int, str]) -> bool:
        counts = Counter(owners.values())
        return counts.keys() == {*names} and max(counts.values()) - min(counts.values()) <= 1

    return shared
