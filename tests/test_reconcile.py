"""The reconciler asks for the time when it has a reason to, however the clock that it waits by came to run."""

import pytest
import trio
from trio.testing import MockClock

from collector.book import Book
from collector.clock import Clock
from collector.reconcile import OVERDUE_MS, Reconciler
from collector.settings import Settings

NOW = 1_715_776_230_000
HOUR_S = 3600


@pytest.mark.parametrize(("wrong_by_ms", "slow"), [(20_000, 0.0), (20 * 60_000, 0.0), (0, 0.005)])
async def test_a_clock_that_leads_the_exchanges_does_not_make_it_ask_again_and_again(
    wrong_by_ms: int, slow: float, autojump_clock: MockClock
) -> None:
    clock, began_s, asked = Clock(), trio.current_time(), []

    def exchange_ms() -> int:
        return NOW + int((trio.current_time() - began_s) * 1000 * (1 - slow))

    async def server_time() -> int:
        await trio.sleep(0.1)
        asked.append(trio.current_time())
        clock.tell(exchange_ms())
        return clock.newest_ms

    async def pushes() -> None:
        clock.hear(NOW + wrong_by_ms)
        while True:
            await trio.sleep(1)
            clock.hear(exchange_ms())

    reconciler = Reconciler(Settings(mode="live"), [], Book(), clock, server_time, lambda *_: None, OVERDUE_MS)
    with trio.move_on_after(HOUR_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pushes)
            nursery.start_soon(reconciler.reconcile)
    assert 58 <= len(asked) <= 66  # once a minute
    assert abs(clock.now_ms - exchange_ms()) < 3_000
