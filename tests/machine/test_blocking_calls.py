"""Blocking calls: what they opened is closed once, and never under a call that is still at work."""

from threading import Event

import pytest
import trio

from collector.core.errors import Unavailable
from collector.machine.blocking_calls import BlockingCalls
from collector.machine.threads import Threads


async def begin(calls: BlockingCalls, gate: Event, nursery: trio.Nursery) -> trio.CancelScope:
    """Has a call at work until the gate opens; cancelling the scope leaves it behind."""
    scope, began = trio.CancelScope(), Event()

    def work() -> None:
        began.set()
        gate.wait()

    async def run() -> None:
        with scope:
            await calls.run(work)

    nursery.start_soon(run)
    await trio.to_thread.run_sync(began.wait)
    return scope


@pytest.fixture
def closed() -> Event:
    return Event()


@pytest.fixture
def calls(closed: Event) -> BlockingCalls:
    made = BlockingCalls(Threads())
    made.opened.callback(closed.set)
    return made


async def test_what_nobody_uses_is_closed_at_once(calls: BlockingCalls, closed: Event) -> None:
    assert await calls.run(lambda: 5) == 5
    assert not closed.is_set()
    calls.close()
    assert closed.is_set()


async def test_what_a_call_uses_that_was_left_behind_is_closed_when_it_returns(
    calls: BlockingCalls, closed: Event
) -> None:
    gate = Event()
    async with trio.open_nursery() as nursery:
        (await begin(calls, gate, nursery)).cancel()
    calls.close()
    assert not closed.is_set()
    gate.set()
    await trio.to_thread.run_sync(closed.wait)


async def test_a_call_behind_one_that_was_left_has_its_connection_to_its_end(
    calls: BlockingCalls, closed: Event
) -> None:
    gates = Event(), Event()
    async with trio.open_nursery() as nursery:
        (await begin(calls, gates[0], nursery)).cancel()
        scope = await begin(calls, gates[1], nursery)
        gates[0].set()
        while len(calls._under_way) > 1:  # noqa: ASYNC110, RUF100 - a thread tells nobody
            await trio.sleep(0.001)
        calls.close()
        assert not closed.is_set()
        gates[1].set()
        await trio.to_thread.run_sync(closed.wait)
        scope.cancel()


async def test_a_call_that_takes_too_long_is_given_up(closed: Event) -> None:
    calls, gate = BlockingCalls(Threads(), within_s=0.01), Event()
    calls.opened.callback(closed.set)
    with pytest.raises(Unavailable, match="no answer within 0 s"):
        await calls.run(gate.wait)
    calls.close()
    gate.set()
    await trio.to_thread.run_sync(closed.wait)
