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

_LEAST_S, _HOUR_S = 120.0, 120.0  # of real time, for a run and for each hour in it; one that takes longer hangs
_END_S = 10.0  # for a process to be gone after it was killed


@attrs.define(eq=False)
class _Worker:
    """One process, started when there is something to do, and anew after it has died or hung."""

    command: list[str]
    process: trio.Process | None = None

    async def live(self, life: Life) -> Report:
        within_s = _LEAST_S + _HOUR_S * (life.length + life.calm)
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
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=_environment()
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


def _environment() -> dict[str, str]:
    return {"PYTHONHASHSEED": "0"} | os.environ  # sets of strings have an order of their own otherwise


@attrs.define(eq=False)
class Pool:
    """So many workers, and those of them that have nothing to do."""

    size: int
    give_back: trio.MemorySendChannel[_Worker]
    idle: trio.MemoryReceiveChannel[_Worker]

    async def live(self, life: Life) -> Report:
        """Lives a run as soon as a worker has time for it."""
        return await self._live(await self.idle.receive(), life)

    async def live_in_order(self, lives: Iterable[Life], finished: Callable[[Life, Report], bool]) -> None:
        """Lives runs, several at a time, and gives the reports in order, until `finished` says: enough."""
        early: dict[int, tuple[Life, Report]] = {}
        handed_out = 0

        async def live(worker: _Worker, place: int, life: Life) -> None:
            nonlocal handed_out
            early[place] = life, await self._live(worker, life)
            while handed_out in early:
                if finished(*early.pop(handed_out)):
                    nursery.cancel_scope.cancel()
                    return
                handed_out += 1

        async with trio.open_nursery() as nursery:
            for place, life in enumerate(lives):
                nursery.start_soon(live, await self.idle.receive(), place, life)

    async def _live(self, worker: _Worker, life: Life) -> Report:
        try:
            return await worker.live(life)
        finally:
            self.give_back.send_nowait(worker)


@asynccontextmanager
async def open_pool(processes: int, scratch: Path, *, log: bool = False) -> AsyncIterator[Pool]:
    """Processes for runs, which are gone afterwards, whatever they were doing."""
    command = [sys.executable, "-m", "tests.simulation.worker", str(scratch), *(["--log"] if log else [])]
    workers = [_Worker(command) for _ in range(processes)]
    give_back, idle = trio.open_memory_channel[_Worker](processes)
    for worker in workers:
        give_back.send_nowait(worker)
    try:
        yield Pool(processes, give_back, idle)
    finally:
        with trio.move_on_after(_END_S, shield=True):
            for worker in workers:
                await worker.end()
