"""The bytes below a WebSocket: how they are gathered."""

import trio
import trio.testing

from collector.bybit.websocket_wire import PausingWire

Clockwork = trio.testing.MockClock


async def test_what_comes_bit_by_bit_is_received_by_the_dozen(autojump_clock: Clockwork) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    received: list[bytes] = []

    async def receive() -> None:
        wire = PausingWire(ours)
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
    wire, left, began_s = PausingWire(ours), 1_000_000, trio.current_time()
    while left:
        left -= len(await wire.receive_some(100_000))
    assert trio.current_time() == began_s
