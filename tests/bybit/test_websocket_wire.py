"""The bytes below a WebSocket: how they are gathered."""

import pytest
import trio
import trio.testing

from collector.bybit.websocket_sieve import Pushes
from collector.bybit.websocket_wire import Gathered, PausingWire, SiftedWire
from collector.sandbox.stream.pushes import frame

Clockwork = trio.testing.MockClock
T0 = 1_700_000_040_000


async def test_what_comes_bit_by_bit_is_received_by_the_dozen(autojump_clock: Clockwork) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    received: list[bytes] = []

    async def receive() -> None:
        wire = PausingWire(ours, nothing_gathered(), lambda: 0)
        while data := await wire.receive_some():
            received.append(bytes(data))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        for _ in range(100):
            await theirs.send_all(b"x")
            await trio.sleep(0.001)
        await theirs.aclose()
    assert b"".join(received) == b"x" * 100
    assert len(received) < 10


async def test_much_that_comes_is_received_without_a_pause(autojump_clock: Clockwork) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"x" * 1_000_000)
    wire, left, began_s = PausingWire(ours, nothing_gathered(), lambda: 0), 1_000_000, trio.current_time()
    while left:
        left -= len(await wire.receive_some(100_000))
    assert trio.current_time() == began_s


@pytest.mark.parametrize(
    ("now_ms", "pause_s"), [(0, 0.02), (T0, 0.02), (T0 + 4_999, 0.02), (T0 + 5_000, 0.2), (T0 + 59_960, 0.04)]
)
async def test_what_comes_is_looked_at_more_often_while_candles_close(
    now_ms: int, pause_s: float, autojump_clock: Clockwork
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    wire = PausingWire(ours, nothing_gathered(), lambda: now_ms)
    for _ in range(2):
        await theirs.send_all(b"x")
        began_s = trio.current_time()
        assert await wire.receive_some() == b"x"
    assert trio.current_time() - began_s == pytest.approx(pause_s)


class Records(trio.abc.Stream):
    """What TLS makes of a wire: hands on a few bytes at a time, and asks for more when it has none."""

    def __init__(self, wire: PausingWire, size: int) -> None:
        self._wire, self._size, self._left = wire, size, b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._left = self._left or bytes(await self._wire.receive_some())
        data, self._left = self._left[: self._size], self._left[self._size :]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...
    async def wait_send_all_might_not_block(self) -> None: ...
    async def aclose(self) -> None: ...


async def test_pushes_of_many_records_are_handed_on_at_once_and_before_what_came_behind(
    autojump_clock: Clockwork,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    learnt: list[Pushes | bytes] = []

    async def hand_on(pushes: Pushes) -> None:
        await trio.lowlevel.checkpoint()
        learnt.append(pushes)

    push, ping = frame(b'{"topic":"kline.1.BTCUSDT",%b"confirm":true}' % (b" " * 200)), b"\x89\x00"
    gathered = Gathered(hand_on)
    wire = SiftedWire(Records(PausingWire(ours, gathered, lambda: 0), len(push)), gathered)
    await theirs.send_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    await wire.receive_some()
    await theirs.send_all(push * 20 + ping + push * 5)
    learnt.append(await wire.receive_some())
    await theirs.aclose()
    assert await wire.receive_some() == b""
    assert [len(each) if isinstance(each, Pushes) else each for each in learnt] == [20, ping, 5]


def nothing_gathered() -> Gathered:
    async def hand_on(_: Pushes) -> None:
        await trio.lowlevel.checkpoint()
        raise AssertionError("nothing was sifted")

    return Gathered(hand_on)
