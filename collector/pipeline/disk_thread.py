"""The disk thread: the writer's only way to the disk.

A system call may block for minutes, or for ever, and those who report on the collector run on the event loop. So every
call runs in a thread, one at a time, and what it is doing can be read at any moment.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from collector.machine.threads import Threads

T = TypeVar("T")


@attrs.define(eq=False)
class DiskThread:
    """Runs blocking work on files, one call after the other."""

    threads: Threads
    begun: int = 0  # steps, since it was made
    _call: tuple[str, Path] | None = None
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    @property
    def at(self) -> str:
        """The step under way and its file; empty while idle."""
        return f"{self._call[0]} {self._call[1].name}" if self._call else ""

    async def run(self, what: str, path: Path, work: Callable[[], T]) -> T:
        """Runs work in the thread; `what` and `path` describe it.

        Calls may come from several tasks: files are opened while others are written. So the description is set in the
        thread, when the call's turn has come.
        """

        def described() -> T:
            self.step(what, path)
            try:
                return work()
            finally:
                self._call = None

        return await self.threads.run(described, self._limiter)

    def step(self, what: str, path: Path) -> None:
        """Describes the next step of the work.

        Called within the thread.
        """
        self._call = (what, path)
        self.begun += 1
