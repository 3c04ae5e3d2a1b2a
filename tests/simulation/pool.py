"""Processes that live runs, a few at a time. Whichever of them lives a run, the report is the same."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import trio

from tests.simulation.life import Life
from tests.simulation.report import Report

_PATIENCE_S = 120.0  # of real time, for a run and for each hour in it; one that takes longer hangs
_END_S = 10.0  # for a process to be gone after it was killed


@attrs.define(eq=False)
class Worker:
    """One process, started when there is something to do, and anew after it has died or hung."""

    command: list[str]
    patience_s: float = _PATIENCE_S
    process: trio.Process | None = None

    async def live(self, life: Life) -> Report:
        within_s = self.patience_s * (1 + life.length + life.calm)
        answer, what = b"", f"it takes longer than {within_s:.0f} s"
        try:
            with trio.move_on_after(within_s):
                answer = await self._answer(life)
                what = "its process died"
        finally:
            if not answer.endswith(b"\n"):
                with trio.move_on_after(_END_S, shield=True):
                    await self.end()
        return Report.from_json(answer) if answer.endswith(b"\n") else Report(runs=1, wrong=[what])

    async def _answer(self, life: Life) -> bytes:
        if self.process is None:
            self.process = await trio.lowlevel.open_process(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        answer = b""
        with suppress(trio.BrokenResourceError):  # it is gone
            await self.process.stdin.send_all(f"{life.to_json()}\n".encode())
            while not answer.endswith(b"\n") and (some := await self.process.stdout.receive_some()):
                answer += some
        return answer

    async def end(self) -> None:
        """Ends the process, and its copy that lives a run."""
        process, self.process = self.process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@attrs.define(eq=False)
class Pool:
    """So many workers, and those of them that have nothing to do."""

    size: int
    give_back: trio.MemorySendChannel[Worker]
    idle: trio.MemoryReceiveChannel[Worker]

    async def live(self, life: Life) -> Report:
        """Lives a run as soon as a worker has time for it."""
        worker = await self.idle.receive()
        try:
            return await worker.live(life)
        finally:
            self.give_back.send_nowait(worker)

    async def live_in_order(self, lives: Iterable[Life], finished: Callable[[Life, Report], bool]) -> None:
        """Lives runs, several at a time, and gives the reports in order, until `finished` says: enough."""
        early: dict[int, list[tuple[Life, Report]]] = {}
        handed_out = 0

        async def live(worker: Worker, place: int, life: Life) -> None:
            nonlocal handed_out
            early[place] = await self._tried(worker, life)
            while handed_out in early:
                enough = [finished(*one) for one in early.pop(handed_out)]
                handed_out += 1
                if any(enough):
                    nursery.cancel_scope.cancel()
                    return

        async with trio.open_nursery() as nursery:
            for place, life in enumerate(lives):
                nursery.start_soon(live, await self.idle.receive(), place, life)

    async def _tried(self, worker: Worker, life: Life) -> list[tuple[Life, Report]]:
        """One run, or several with the seeds that follow while they do not count."""
        tried: list[tuple[Life, Report]] = []
        try:
            for seed in range(life.seed, life.seed + life.tries):
                tried.append((life.with_seed(seed), await worker.live(life.with_seed(seed))))
                if tried[-1][1].wrong or not tried[-1][1].uncounted:
                    break
        finally:
            self.give_back.send_nowait(worker)
        return tried


@asynccontextmanager
async def open_pool(processes: int, scratch: Path, *, log: bool = False) -> AsyncIterator[Pool]:
    """Processes for runs, which are gone afterwards, whatever they were doing."""
    command = [sys.executable, "-m", "tests.simulation.worker", str(scratch), *(["--log"] if log else [])]
    workers = [Worker(command) for _ in range(processes)]
    give_back, idle = trio.open_memory_channel[Worker](processes)
    for worker in workers:
        give_back.send_nowait(worker)
    try:
        yield Pool(processes, give_back, idle)
    finally:
        with trio.move_on_after(_END_S, shield=True):
            for worker in workers:
                await worker.end()
