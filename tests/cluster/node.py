"""A collector of the simulated cluster: the real service on a machine of its own, and its way to the database.

Several processes share a run. Those that stand still (`pause`) are tasks that trio does not get to see until they go
on; their deadlines pass meanwhile, and what is sent to them waits, as it does with SIGSTOP.
"""

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from random import Random
from typing import TypeVar

import attrs
import trio
import trio._core._run as trio_run

from collector.core.errors import Unavailable
from tests.cluster.database import Database, Line, NotYet
from tests.simulation.machine import InlineThreads
from tests.simulation.process import Process

T = TypeVar("T")
_POLL_S = 0.5  # between two tries of what does not come through
_USER_TIMEOUT_S = 60.0  # after which the product's connections are given up, tcp_user_timeout
_OF: ContextVar["Node | None"] = ContextVar("node", default=None)


class Queue(deque[trio.lowlevel.Task]):
    """The tasks that may run next, but for those of processes that stand still."""

    def append(self, task: trio.lowlevel.Task) -> None:
        node = task.context.get(_OF)
        if node and node.held is not None:
            node.held.append(task)
        else:
            super().append(task)


def node_at_work() -> str:
    """The name of the node whose task runs now."""
    node = _OF.get()
    return node.name if node else "-"


def be_pausable() -> None:
    """Makes the run that is under way one in which processes can stand still."""
    runner = trio_run.GLOBAL_RUN_CONTEXT.runner
    runner.runq = Queue(runner.runq)


@attrs.define(eq=False)
class NodeLine(Line):
    """The way of a node to the database."""

    dice: Random
    cut: str = ""  # "silent", "refused" or not
    slow_s: float = 0.0  # a statement takes up to so long each way
    loses: float = 0.0  # of the answers
    at_halfway: Callable[[], None] | None = None  # called in the middle of the next transaction

    @property
    def away(self) -> str:
        return self.cut or self.database.away

    def reach(self) -> None:
        if self.away == "silent":
            raise NotYet
        if self.away:
            raise Unavailable("nobody answers")

    def halfway(self, *, again: bool) -> None:
        act, self.at_halfway = self.at_halfway, None
        if act:
            act()
        if act or (not again and self.dice.random() < 0.5):
            raise NotYet
        self.reach()

    def answered(self) -> None:
        if self.dice.random() < self.loses:
            raise Unavailable("the answer was lost")

    def delay_s(self) -> float:
        return self.dice.uniform(0, self.slow_s)


class Calls(InlineThreads):
    """Threads whose questions to the database take as long as those take."""

    line: NodeLine

    async def run(
        self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None, *, abandon: bool = False
    ) -> T:
        return await (self._ask(work) if abandon else super().run(work, limiter))

    async def _ask(self, work: Callable[[], T]) -> T:
        until_s = trio.current_time() + _USER_TIMEOUT_S
        while trio.current_time() < until_s:
            await trio.sleep(self.line.delay_s())
            try:
                result = work()
            except NotYet:
                await trio.sleep(_POLL_S)
                continue
            await trio.sleep(self.line.delay_s())
            return result
        raise Unavailable("the connection timed out")


@attrs.define(eq=False)
class Node:
    """One collector, whatever process of it runs."""

    process: Process
    line: NodeLine
    held: list[trio.lowlevel.Task] | None = None  # while it stands still

    @property
    def name(self) -> str:
        return self.process.settings.cluster_member

    @property
    def database(self) -> Database:
        return self.line.database

    @property
    def runs(self) -> bool:
        return self.process.serves and not self.process.ended.is_set() and self.process.began.is_set()

    async def run(self) -> None:
        _OF.set(self)
        await self.process.run()

    def pause(self) -> None:
        if self.held is None:
            queue = trio_run.GLOBAL_RUN_CONTEXT.runner.runq
            self.held = [task for task in queue if task.context.get(_OF) is self]
            for task in self.held:
                queue.remove(task)

    def go_on(self) -> None:
        held, self.held = self.held or [], None
        for task in held:
            trio_run.GLOBAL_RUN_CONTEXT.runner.runq.append(task)

    async def kill(self, again_s: float, *, power: bool = False, anyhow: bool = False) -> None:
        self.go_on()
        if self.runs or anyhow:
            await self.process.kill(again_s, power=power)

    async def end(self, again_s: float) -> None:
        if self.runs and self.held is None:
            await self.process.end(again_s)

    def cut_exchange(self, how: str) -> None:
        """Parts it from the exchange: silently, or with a word."""
        network = self.process.machine.network
        if how == "silent":
            network.leave_half_open()
            network.hangs_s = 20.0
        else:
            network.cut()
            network.refuses = "no route to host"

    def heal(self) -> None:
        """Ends all its troubles, but for a death."""
        network, line = self.process.machine.network, self.line
        network.hangs_s, network.refuses = 0.0, ""
        line.cut, line.slow_s, line.loses, line.at_halfway = "", 0.0, 0.0, None
        self.go_on()
