"""Three collectors that share a market and a table through a real PostgreSQL, and what befalls them and it.

    python -m tests.cluster --kills 20 --seed 1

Collectors are killed, stopped for longer than a lease, and ended; the database is started anew, and killed. An exchange
whose candles close twenty times as fast misbehaves a little, and bans an address at a tenth of the real limit.

    a death   within 30 s each symbol of the dead one has a living owner that hears the stream of it, and within 60 s
              more that one has all of its candles in its files
    the end   the shared table is the exchange's, to the byte, and so are all files of every collector after a `fetch`,
              which asks for what others collected meanwhile
    limit     no address makes more requests than it may, and none is banned
"""

import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random

import attrs
import trio

from collector.sandbox import Faults, Limits, build_exchange, open_sandbox
from tests.cluster.members import LIMIT, SYMBOLS, Cluster, Lacks, Node, all_owned_by, open_cluster, shared_by
from tests.support.live_market import START, wrongs
from tests.support.mirrors import table_rows
from tests.support.servers import PostgresServer

_RATE = 20
_COLLECTED_S, _CAUGHT_UP_S = 30.0, 60.0
_HANDED_OVER_S = 20.0
_SHARED_S = 90.0  # until all have their fair share
_PAUSE_S = 30.0
_TURN_S = 120.0  # on average, at most
_FAULTS = Faults(paths=("kline",), latency_ms=5, jitter_ms=30, http_5xx=0.02, dropped=0.02, truncated=0.02)
Say = Callable[[str], None]


@attrs.frozen
class Plan:
    """How often what happens, in an order that follows from the seed."""

    kills: int = 20
    others: int = 4  # pauses, ends, and of the database new starts and kills: so many of each
    seed: int = 1


@attrs.define
class Report:
    """What was seen; `wrong` is empty when every promise was kept."""

    wrong: list[str] = attrs.field(factory=list)
    happened: dict[str, int] = attrs.field(factory=dict)
    collected_s: list[float] = attrs.field(factory=list)  # after each kill
    caught_up_s: list[float] = attrs.field(factory=list)  # after that
    handed_over_s: list[float] = attrs.field(factory=list)  # after each end
    requests: int = 0
    most_in_5s: dict[str, int] = attrs.field(factory=dict)
    rows: int = 0
    seconds: float = 0.0

    def lines(self) -> list[str]:
        happened = ", ".join(f"{count} {what}" for what, count in sorted(self.happened.items()))
        most = ", ".join(f"{count} from {address}" for address, count in sorted(self.most_in_5s.items()))
        return [
            f"{self.seconds:.0f} s: {happened}",
            f"a dead collector's symbols were collected again after {_spread(self.collected_s)}, "
            f"caught up {_spread(self.caught_up_s)} later",
            f"slots of one that ended were others' after {_spread(self.handed_over_s)}",
            f"{self.requests} requests, in any 5 s at most {most}, where {LIMIT} are allowed",
            f"{self.rows} rows in the table at the end, {len(self.wrong)} wrong",
            *(f"WRONG: {each}" for each in self.wrong),
        ]


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    return f"{min(seconds):.1f} to {max(seconds):.1f} s (median {sorted(seconds)[len(seconds) // 2]:.1f})"


@attrs.define(eq=False)
class Campaign:
    """One campaign at work."""

    cluster: Cluster
    server: PostgresServer
    plan: Plan
    say: Say
    report: Report = attrs.field(factory=Report)
    _dice: Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._dice = Random(self.plan.seed)

    async def run(self) -> None:
        """Starts all, lets everything happen, and judges."""
        for node in self.cluster.nodes:
            await self.cluster.nursery.start(node.run_until_end)
        await self._be_shared()
        for number, what in enumerate(self._turns(), 1):
            name = what.__name__.strip("_").replace("_", " ")
            node = self._dice.choice(self.cluster.nodes)
            self.report.happened[name] = self.report.happened.get(name, 0) + 1
            self.say(f"{number}: {name}, {node.name}: {await what(node)}")
            await self._be_shared()
            await trio.sleep(self._dice.uniform(0, 5))  # anywhere between two rounds of leases
        await self._judge()

    def _turns(self) -> list[Callable[[Node], Awaitable[str]]]:
        others = (self._pause, self._end, self._new_start_of_the_database, self._kill_of_the_database)
        turns: list[Callable[[Node], Awaitable[str]]] = [self._kill] * self.plan.kills
        turns += [what for what in others for _ in range(self.plan.others)]
        self._dice.shuffle(turns)
        return turns

    # What happens; what came of it.

    async def _kill(self, node: Node) -> str:
        cluster, symbols = self.cluster, await self.cluster.symbols_of(node)
        node.send(signal.SIGKILL)
        began_s, since_ms = trio.current_time(), cluster.box.clock.now_ms()
        owned_s = await cluster.until(all_owned_by(*self._others(node)), 2 * _COLLECTED_S)
        await self._nothing(partial(cluster.unheard, symbols), 2 * _COLLECTED_S)
        collected_s = trio.current_time() - began_s
        await self._nothing(partial(cluster.unwritten, symbols, since_ms), _CAUGHT_UP_S)
        written_s = trio.current_time() - began_s
        await self._nothing(partial(cluster.incomplete, symbols), _CAUGHT_UP_S)
        caught_up_s = trio.current_time() - began_s - collected_s
        self.report.collected_s.append(collected_s)
        self.report.caught_up_s.append(caught_up_s)
        if collected_s > _COLLECTED_S or caught_up_s > _CAUGHT_UP_S:
            self._wrong(f"symbols of {node.name} collected after {collected_s:.1f} s, all {caught_up_s:.1f} s later")
        await self._start_again(node)
        said = f"{len(symbols)} symbols, others' after {owned_s:.1f} s, collected again after {collected_s:.1f} s"
        return f"{said}, written after {written_s:.1f} s, caught up {caught_up_s:.1f} s after they were collected"

    async def _pause(self, node: Node) -> str:
        node.send(signal.SIGSTOP)
        owned_s = await self.cluster.until(all_owned_by(*self._others(node)), _PAUSE_S)
        await trio.sleep(max(0.0, _PAUSE_S - owned_s))
        node.send(signal.SIGCONT)
        return f"others own its slots after {owned_s:.1f} s"

    async def _end(self, node: Node) -> str:
        began_s = trio.current_time()
        node.send(signal.SIGTERM)
        owned_s = await self.cluster.until(all_owned_by(*self._others(node)), 2 * _HANDED_OVER_S)
        await node.ended()
        ended_s = trio.current_time() - began_s
        self.report.handed_over_s.append(owned_s)
        if owned_s > _HANDED_OVER_S:
            self._wrong(f"the slots of {node.name}, which ended, were others' after {owned_s:.1f} s")
        await self._start_again(node, status=0)
        return f"others own its slots after {owned_s:.1f} s, its process took {ended_s:.1f} s at most"

    async def _new_start_of_the_database(self, _: Node) -> str:
        return await self._down(self.server.stop, self._dice.choice((0.0, 3.0, 25.0)))

    async def _kill_of_the_database(self, _: Node) -> str:
        how = self._dice.choice((self.server.kill, self.server.kill_postmaster))
        return await self._down(how, self._dice.choice((0.0, 3.0, 25.0)))

    async def _down(self, how: Callable[[], None], for_s: float) -> str:
        """Ends the database for some time; nobody's slots change meanwhile."""
        before, began_s = await self.cluster.owners(), trio.current_time()
        await trio.to_thread.run_sync(how)
        await trio.sleep(for_s)
        await trio.to_thread.run_sync(self.server.start)
        away_s = trio.current_time() - began_s
        await trio.sleep(25)  # whoever takes over on a guess has done so by then
        if (after := await self.cluster.owners()) != before:
            moved = sum(before[slot] != owner for slot, owner in after.items())
            self._wrong(f"{moved} slots moved when the database was away for {away_s:.1f} s")
        return f"{how.__name__}, away for {away_s:.1f} s"

    def _others(self, node: Node) -> set[str]:
        return {each.name for each in self.cluster.nodes} - {node.name}

    async def _start_again(self, node: Node, status: int = -signal.SIGKILL) -> None:
        await node.ended()
        if node.statuses[-1] != status:
            self._wrong(f"{node.name} ended with status {node.statuses[-1]}: {node.said[-1][-300:]}")
        await self.cluster.nursery.start(node.run_until_end)

    # What has to be so.

    async def _be_shared(self) -> None:
        """Everybody has its fair share, and all candles are there."""
        names = {node.name for node in self.cluster.nodes}
        if (took_s := await self.cluster.until(shared_by(*names), _SHARED_S)) > _SHARED_S - 1:
            self._wrong(f"not shared again within {took_s:.0f} s")
        await self._nothing(partial(self.cluster.incomplete, [*SYMBOLS]), _CAUGHT_UP_S)
        for node in self.cluster.nodes:
            if not node.process:
                self._wrong(f"{node.name} ended by itself: {node.said[-1][-300:]}")
                await self.cluster.nursery.start(node.run_until_end)

    async def _nothing(self, lacks: Lacks, within_s: float) -> None:
        if lacking := await self.cluster.until_nothing(lacks, within_s):
            self._wrong(f"not within {within_s:.0f} s: {'; '.join(lacking[:5])} (of {len(lacking)})")

    async def _judge(self) -> None:
        cluster, report = self.cluster, self.report
        cluster.box.clock.rate, cluster.box.faults = 0, Faults()
        await self._nothing(partial(cluster.incomplete, [*SYMBOLS]), _CAUGHT_UP_S)
        with trio.move_on_after(_CAUGHT_UP_S):
            while table := cluster.table_wrongs():  # noqa: ASYNC110, RUF100 - a table tells nobody
                await trio.sleep(0.5)
        report.wrong += table
        for node in cluster.nodes:
            node.send(signal.SIGTERM)
            await node.ended()
            report.wrong += [f"{node.name}: {each}" for each in cluster.foreign(node)]
            await node.run_until_end("fetch")
            if node.statuses[-2:] != [0, 0]:
                self._wrong(f"{node.name} ended with {node.statuses[-2:]}: {node.said[-1][-300:]}")
            report.wrong += [f"{node.name}, after a fetch: {each}" for each in wrongs(cluster.box, node.settings)]
        report.wrong += cluster.table_wrongs()
        counts = cluster.box.counts
        report.requests, report.most_in_5s = counts.requests, counts.most_in_5s_by_address
        report.rows = len(table_rows(cluster.database))
        if set(report.most_in_5s) != {node.address for node in cluster.nodes}:
            self._wrong(f"requests came from {sorted(report.most_in_5s)}")
        if max(report.most_in_5s.values()) > LIMIT or counts.by_outcome["banned"]:
            self._wrong(f"at most {report.most_in_5s} requests in 5 s, {counts.by_outcome['banned']} during a ban")

    def _wrong(self, what: str) -> None:
        self.report.wrong.append(what)
        self.say(f"WRONG: {what}")


async def run_campaign(plan: Plan, server: PostgresServer, directory: Path, say: Say = lambda _: None) -> Report:
    """Runs a campaign as planned; files and logs go into the directory, which is there."""
    exchange = build_exchange(
        seed=plan.seed, symbols=SYMBOLS, start_time=START, rate=_RATE, faults=_FAULTS, limits=Limits(LIMIT, ban_s=5)
    )
    began_s = trio.current_time()
    async with open_sandbox(exchange) as box, open_cluster(box, server.address, directory, 3) as cluster:
        campaign = Campaign(cluster, server, plan, say)
        with trio.fail_after(_TURN_S * (plan.kills + 4 * plan.others + 2)):
            await campaign.run()
    campaign.report.seconds = trio.current_time() - began_s
    return campaign.report
