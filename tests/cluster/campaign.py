"""Collectors as processes that share a market through a real PostgreSQL, killed, stopped and cut off at random.

    python -m tests.cluster --turns 20 --seed 1

The exchange in a box stands still but for the minutes that the campaign lets pass: every file is held against it.
"""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import attrs
import trio

from collector.cluster.lease_table import read_leases
from collector.cluster.leases import SLOTS, Rows, slot_of
from collector.core.candle import MINUTE_MS
from collector.sandbox import Sandbox
from collector.settings.settings import Settings
from tests.campaign.process import heard, open_collector
from tests.campaign.truth import foreign_rows, series_of, truth_of, whole_lines

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "LTCUSDT", "DOTUSDT", "LINKUSDT")
_MARKET = "sandbox linear"
_MINUTE_S = 1.0  # of the campaign, in which a minute of the exchange passes


@attrs.define
class Node:
    """One collector: its settings, and its process while it runs."""

    settings: Settings
    process: trio.Process | None = None
    stopped: bool = False  # by SIGSTOP
    said: list[str] = attrs.field(factory=list)
    _scope: trio.CancelScope | None = None

    @property
    def name(self) -> str:
        return self.settings.cluster_member

    async def run_until_end(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs it until its process ends."""
        async with open_collector(self.settings, "run") as self.process:
            task_status.started()
            self.said.append(await heard(self.process))
        self.process = None

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)
        self.stopped = number == signal.SIGSTOP or (self.stopped and number != signal.SIGCONT)


@attrs.define
class Cluster:
    """Some collectors, the exchange and the database that they share."""

    box: Sandbox
    address: str
    nodes: list[Node]
    nursery: trio.Nursery

    async def rows(self) -> Rows | None:
        return await trio.to_thread.run_sync(partial(read_leases, self.address, _MARKET))

    async def owners(self) -> dict[int, str]:
        rows = await self.rows()
        return {slot.number: slot.owner for slot in rows.slots} if rows else {}

    async def until(self, condition: Callable[[dict[int, str]], bool], within_s: float) -> float:
        """Waits for owners of slots; how long that took."""
        began_s = trio.current_time()
        with trio.fail_after(within_s):
            while not condition(await self.owners()):  # noqa: ASYNC110, RUF100 - a table tells nobody
                await trio.sleep(0.1)
        return trio.current_time() - began_s

    async def until_equal(self, within_s: float) -> float:
        """Waits until each symbol's file at its owner is the exchange's; how long that took."""
        began_s = trio.current_time()
        wrong: list[str] = ["not looked at"]
        with trio.move_on_after(within_s):
            while wrong := [each async for each in self.wrong()]:  # noqa: ASYNC110, RUF100 - nor does a file
                await trio.sleep(0.2)
        assert not wrong, wrong
        return trio.current_time() - began_s

    async def wrong(self) -> AsyncIterator[str]:
        owners = await self.owners()
        nodes = {node.name: node for node in self.nodes}
        for symbol in SYMBOLS:
            owner = nodes.get(owners.get(slot_of(symbol), ""))
            if owner is None:
                yield f"{symbol} has no owner"
                continue
            for series in series_of(attrs.evolve(owner.settings, symbols=(symbol,))):
                held = whole_lines(owner.settings.data_dir / series.file_name)
                missing = set(truth_of(self.box, owner.settings, series).splitlines()) - set(held)
                if missing:
                    yield f"{owner.name}: {len(missing)} rows of {series} are missing"

    def foreign(self) -> Iterator[str]:
        """Rows in any file that the exchange does not have, in the days wanted and those before."""
        for node in self.nodes:
            there = {path.name.partition("_")[0] for path in node.settings.data_dir.glob("*.csv")}
            yield from foreign_rows(self.box, attrs.evolve(node.settings, symbols=tuple(there), days_to_fetch=9))

    async def pass_minutes(self) -> None:
        """Lets the exchange's time pass, until cancelled."""
        while True:
            await trio.sleep(_MINUTE_S)
            self.box.clock.advance(MINUTE_MS)


def settings_of(box: Sandbox, address: str, directory: Path, number: int) -> Settings:
    return Settings(
        rest_url=box.url,
        ws_url=f"ws{box.url.removeprefix('http')}/v5/public/linear",
        symbols=SYMBOLS,
        fetch_all_symbols=False,
        timeframes=("1", "5", "60"),
        days_to_fetch=2,
        limit_to_50_entries=False,
        bulk_request_delay_ms=0,
        ban_wait_s=1,
        flush_interval_s=0.2,
        address_share=0.3,
        data_dir=directory / str(number) / "candles",
        logs_dir=directory / str(number) / "logs",
        listen="",
        cluster_url=address,
        cluster_member=f"c{number}",
    )


@asynccontextmanager
async def open_cluster(box: Sandbox, address: str, directory: Path, size: int) -> AsyncIterator[Cluster]:
    """A cluster whose collectors are started by whoever enters, and ended on leaving."""
    async with trio.open_nursery() as nursery:
        nodes = [Node(settings_of(box, address, directory, number)) for number in range(1, size + 1)]
        yield Cluster(box, address, nodes, nursery)
        for node in nodes:
            if node.process:
                node.send(signal.SIGCONT)
                node.send(signal.SIGTERM)
        nursery.cancel_scope.deadline = trio.current_time() + 20


def all_owned_by(*names: str) -> Callable[[dict[int, str]], bool]:
    return lambda owners: len(owners) == SLOTS and set(owners.values()) == set(names)


async def run_campaign(cluster: Cluster, turns: int, seed: int, say: Callable[[str], None] = print) -> None:
    """Kills, stops and ends collectors; after each time the market is whole again, at once or after a take-over."""
    dice = Random(seed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cluster.pass_minutes)
        for node in cluster.nodes:
            await cluster.nursery.start(node.run_until_end)
        names = {node.name for node in cluster.nodes}
        say(f"{len(names)} collectors share the market after {await cluster.until(all_owned_by(*names), 90):.1f} s")
        for turn in range(1, turns + 1):
            node = dice.choice(cluster.nodes)
            how = dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM))
            node.send(how)
            took_s = await cluster.until(all_owned_by(*names - {node.name}), 60)
            say(f"{turn}: {node.name} {how.name}, others own its slots after {took_s:.1f} s")
            assert took_s < (12 if how == signal.SIGTERM else 30), took_s
            if how == signal.SIGSTOP:
                await trio.sleep(max(0.0, 30 - took_s))
                node.send(signal.SIGCONT)
            else:
                while node.process:  # noqa: ASYNC110, RUF100 - nor does a process
                    await trio.sleep(0.05)
                await cluster.nursery.start(node.run_until_end)
            say(f"   shared again after {await cluster.until(all_owned_by(*names), 90):.1f} s")
        nursery.cancel_scope.cancel()
    say(f"equal after {await cluster.until_equal(60):.1f} s")
    assert not [*cluster.foreign()]
