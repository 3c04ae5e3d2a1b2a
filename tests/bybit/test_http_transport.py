"""Connections for requests: made through the network that was given, kept while in use, and never one too old."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from collector.bybit.clock import Clock
from collector.bybit.rest_client import Rest, open_rest
from collector.core.counters import Counters
from collector.core.errors import Unreachable
from collector.machine import Machine
from collector.machine.network import Stream
from collector.sandbox import open_sandbox
from collector.settings.settings import Settings
from tests.simulation.network import Network
from tests.support.market import market
from tests.support.throttle import throttle_for


class Memory(Network):
    """Connections in memory; `hangs` is whether no new one comes about."""

    def __init__(self) -> None:
        super().__init__(lambda *_: None, Random(1), Path("nowhere"))
        self.hangs = False

    async def connect(self, host: str, port: int) -> Stream:
        if self.hangs:
            await trio.sleep_forever()
        return await super().connect(host, port)


@asynccontextmanager
async def asking(network: Memory) -> AsyncIterator[Rest]:
    """A way to an exchange, whose requests are tried once."""
    machine = Machine(network=network)
    async with open_sandbox(market(), network=network) as box:
        settings = Settings(rest_url=box.url, bulk_max_retries=1, bulk_request_delay_ms=0)
        async with open_rest(settings, throttle_for(settings), Counters(), Clock(), machine) as rest:
            yield rest


async def test_a_connection_is_kept_for_requests_that_follow_within_seconds(autojump_clock: MockClock) -> None:
    network = Memory()
    async with asking(network) as rest:
        for _ in range(3):
            assert await rest.server_time()
            await trio.sleep(4)
        assert network.opened == 1
        await trio.sleep(2)
        assert await rest.server_time()
        assert network.opened == 2


async def test_a_connection_that_ended_while_nobody_used_it_is_made_anew(autojump_clock: MockClock) -> None:
    network = Memory()
    async with asking(network) as rest:
        assert await rest.server_time()
        assert network.cut() == 1
        assert await rest.server_time()
        assert network.opened == 2


async def test_the_networks_own_words_are_said(autojump_clock: MockClock) -> None:
    network = Memory()
    async with asking(network) as rest:
        network.refuses = "no route to host"
        with pytest.raises(Unreachable, match="cannot connect: no route to host"):
            await rest.server_time()
        network.refuses = ""
        assert await rest.server_time()


async def test_a_connection_that_does_not_come_about_is_given_up_after_ten_seconds(autojump_clock: MockClock) -> None:
    network = Memory()
    async with asking(network) as rest:
        network.hangs, began_s = True, trio.current_time()
        with pytest.raises(Unreachable, match="no answer in time"):
            await rest.server_time()
        assert trio.current_time() - began_s == pytest.approx(10.0, abs=0.1)


async def test_a_connection_that_breaks_under_a_request_is_no_answer(autojump_clock: MockClock) -> None:
    network = Memory()
    async with asking(network) as rest, trio.open_nursery() as nursery:
        network.latency_s = 1.0
        nursery.start_soon(_cut_after, network, 1.5)
        with pytest.raises(Unreachable, match="the connection failed"):
            await rest.server_time()


async def _cut_after(network: Memory, seconds: float) -> None:
    await trio.sleep(seconds)
    network.cut()
