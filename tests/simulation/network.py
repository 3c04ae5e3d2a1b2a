"""A network in memory: listeners and connections by port, which can be cut, delayed or left half-open."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import trio
import trio.testing

from collector.machine import network
from collector.machine.local_socket import LocalSocket

_AGAIN_S = (0.2, 1.0, 3.0, 12.0)  # after which TCP sends again what was lost


class Wire(trio.abc.HalfCloseableStream):
    """One end of a connection; what it sends goes into the trace of the run."""

    far: "Wire"  # the other end

    def __init__(self, network: "Network", inner: Any, name: str) -> None:
        self._network, self._inner, self._name = network, inner, name
        self.address = network.address
        self.half_open = False  # the other side is gone, and nobody has said so
        self.ended = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._network.note(self._name, bytes(data))
        if delay_s := self._network.delay_s():
            await trio.sleep(delay_s)
        if self.half_open:
            await trio.lowlevel.checkpoint()
        else:
            await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data: bytes | bytearray = await self._inner.receive_some(max_bytes)
        if self.half_open:
            await trio.sleep_forever()
        return data

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        self.cut()
        await trio.lowlevel.checkpoint()

    def cut(self) -> bool:
        """Ends both directions at once; whether it was open."""
        was_open, self.ended = not self.ended, True
        self._inner.send_stream.close()
        self._inner.receive_stream.close()
        return was_open


class _Listener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    def __init__(self, network: "Network", port: int) -> None:
        self._network, self.port = network, port
        self.arrived, self._waiting = trio.open_memory_channel[trio.abc.HalfCloseableStream](1000)

    async def accept(self) -> network.Stream:
        return await self._waiting.receive()

    async def aclose(self) -> None:
        self._network.listeners.pop(self.port, None)
        await trio.lowlevel.checkpoint()


class _NoSocket(LocalSocket):
    """A file system that lacks sockets."""

    def listen(self) -> network.Listener:
        raise OSError("the file system has no sockets")


class Network(network.Network):
    """All connections of a run, or those of one machine in it: then the machines have the same `listeners`.

    `refuses` is why no new one can be made, `latency_s` how long whatever is sent is under way, and `loss` the share of
    it that has to be sent again, and comes as much later.
    """

    def __init__(self, gap: Callable[..., None], dice: Random, place: Path) -> None:
        self._note, self._dice, self._place = gap, dice, place
        self.address = "127.0.0.1"  # of those who connect from here
        self.listeners: dict[int, _Listener] = {}
        self.wires: list[Wire] = []
        self.opened = 0
        self.refuses = ""
        self.hangs_s = 0.0  # until a connection is given up, while none can be made
        self.latency_s = 0.0
        self.loss = 0.0
        self.sent = 0  # pieces
        self.lost = 0  # of them
        self.refused = 0  # connections

    def note(self, name: str, data: bytes) -> None:
        self.sent += 1
        self._note(name, data)

    def delay_s(self) -> float:
        """How long a piece is under way."""
        if not self.loss or self._dice.random() > self.loss:
            return self.latency_s
        self.lost += 1
        return self.latency_s + self._dice.choice(_AGAIN_S)

    async def listen(self, host: str, port: int) -> Sequence[network.Listener]:
        await trio.lowlevel.checkpoint()
        port = port or 4000 + len(self.listeners)
        self.listeners[port] = _Listener(self, port)
        return [self.listeners[port]]

    async def connect(self, host: str, port: int) -> network.Stream:
        await trio.lowlevel.checkpoint()
        if self.hangs_s:
            self.refused += 1
            await trio.sleep(self.hangs_s)
            raise OSError("connection timed out")
        if self.refuses:
            self.refused += 1
            raise OSError(self.refuses)
        if port not in self.listeners:
            raise OSError("connection refused")
        ours, theirs = trio.testing.memory_stream_pair()
        self.opened += 1
        near, far = Wire(self, ours, f"c{self.opened}"), Wire(self, theirs, f"s{self.opened}")
        near.far, far.far = far, near
        self.wires = [*self.wires[-64:], near]
        self.listeners[port].arrived.send_nowait(far)
        return near

    def visit(self, port: int) -> network.Stream | None:
        """A connection that meets no fault, of somebody on the collector's own machine, if there is a listener."""
        if port not in self.listeners:
            return None
        ours, theirs = trio.testing.memory_stream_pair()
        self.listeners[port].arrived.send_nowait(theirs)
        return ours

    def cut(self) -> int:
        """Ends every connection at once, without a word; how many there were."""
        cut = sum(wire.cut() for wire in self.wires)
        self.wires.clear()
        return cut

    def leave_half_open(self) -> int:
        """From now on nothing arrives over the connections that are open, and nobody is told; how many there are."""
        for wire in self.wires:
            wire.half_open = True
        left = sum(not wire.ended for wire in self.wires)
        self.wires.clear()
        return left

    def address_of(self, end: network.Stream | network.Listener) -> tuple[str, int]:
        return "127.0.0.1", end.port if isinstance(end, _Listener) else 0

    def peer_of(self, stream: network.Stream) -> tuple[str, int]:
        return (stream.far.address if isinstance(stream, Wire) else "127.0.0.1"), 0

    def has_news(self, stream: network.Stream) -> bool:
        assert isinstance(stream, Wire)
        return (stream.ended or stream.far.ended) and not stream.half_open

    def reset(self, stream: network.Stream) -> None:
        assert isinstance(stream, Wire)
        stream.cut()

    def local_socket(self, directory: Path, name: str) -> LocalSocket:
        return _NoSocket(directory, name)

    def shared_directories(self) -> Sequence[str]:
        return (str(self._place),)


class Trace:
    """A digest of everything that was sent and when: two runs that did the same have the same."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.events = 0

    def note(self, *what: Any) -> None:
        self.events += 1
        self._digest.update(repr((round(trio.current_time(), 6), *what)).encode())

    @property
    def text(self) -> str:
        return self._digest.hexdigest()[:16]
