"""What all listeners to the station share. It imports nothing of the collector, which must not count as a peer's."""

import json
import resource
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import attrs


@attrs.frozen
class Audience:
    """Where the station is, and the topics of each connection to it."""

    url: str
    control_port: int
    groups: tuple[tuple[str, ...], ...]

    @property
    def topics(self) -> int:
        return sum(map(len, self.groups))

    def open_control(self) -> "Control":
        return Control(socket.create_connection(("127.0.0.1", self.control_port)))


@attrs.frozen
class Control:
    """Tells the station what to push. Both methods block for less than it takes to push."""

    _socket: socket.socket

    def begin(self, task: "Task") -> None:
        self._socket.sendall(json.dumps({"progress": task.progress, "spread": task.spread}).encode() + b"\n")

    def began_s(self) -> float:
        """When the first of it was sent, by `time.perf_counter`; to be asked when it has come."""
        text = b""
        while not text.endswith(b"\n"):
            text += self._socket.recv(100)
        return float(json.loads(text))


Results = list[list["Heard"]]


@attrs.frozen
class Task:
    """So many pushes of every candle in progress, and then its confirmation; at once, or each round in a second."""

    progress: int = 0
    spread: bool = False
    times: int = 1
    pause_s: float = 0.0  # before each time

    @property
    def pushes(self) -> int:
        """Of each topic."""
        return self.progress + 1


Plan = tuple[Task, ...]


class Listener(Protocol):
    """A client of the station, to be run in a process of its own."""

    def __call__(self, audience: Audience, plan: Plan) -> Results: ...


@attrs.frozen
class Heard:
    """What one push of everything took: until the last of it was dealt with, and the CPU of it."""

    seconds: float
    cpu_s: float


@attrs.define
class Tally:
    """Counts what has come up to what is expected; `pushes` says whether pushes are counted, or confirmed candles."""

    pushes: bool = True
    left: int = 0
    at_s: float = 0.0
    on_all: Callable[[], None] = lambda: None

    def add(self, count: int = 1) -> None:
        self.left -= count
        if self.left == 0:
            self.at_s = time.perf_counter()
            self.on_all()


class Event(Protocol):
    """What trio and asyncio have in common."""

    def set(self) -> None: ...
    async def wait(self) -> object: ...


async def rehearse(
    audience: Audience,
    plan: Plan,
    tally: Tally,
    sleep: Callable[[float], Awaitable[None]],
    event: Callable[[], Event],
    after_each: Callable[[], None] = lambda: None,
) -> Results:
    """Has the station do all that is planned, and waits each time until the tally is full. Under trio or asyncio."""
    control, results = audience.open_control(), []
    for task in plan:
        heard = []
        for _ in range(task.times):
            await sleep(task.pause_s)
            done = event()
            tally.left = audience.topics * (task.pushes if tally.pushes else 1)
            tally.on_all = done.set
            cpu = cpu_s()
            control.begin(task)
            await done.wait()
            heard.append(Heard(tally.at_s - control.began_s(), cpu_s() - cpu))
        results.append(heard)
        after_each()
    return results


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_mb() -> float:
    (size,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)
    return int(size) / 1024
