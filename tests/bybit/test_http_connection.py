"""One connection after another: which one is kept for the next request, and which one is not."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import attrs
import httpx
import pytest
import trio
from trio.testing import memory_stream_pair

from collector.bybit.http_connection import Transport
from collector.machine.network import Network, Stream

URL = "http://exchange.invalid/v5/market/time"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"


@attrs.define(eq=False)
class Scripted(Network):
    """Servers in memory: each connection answers every request with the next of the texts, and then ends if told so."""

    answers: list[bytes]
    nursery: trio.Nursery
    ends: bool = False
    refuses: bool = False
    opened: int = 0
    heads: list[bytes] = attrs.field(factory=list)

    async def connect(self, host: str, port: int) -> Stream:
        if self.refuses:
            raise ConnectionRefusedError
        ours, theirs = memory_stream_pair()
        self.opened += 1
        self.nursery.start_soon(self._serve, theirs)
        return ours

    def has_news(self, stream: Stream) -> bool:
        return False

    async def _serve(self, theirs: Stream) -> None:
        async with theirs:
            while request := await theirs.receive_some():
                self.heads.append(bytes(request))
                await theirs.send_all(self.answers.pop(0))
                if self.ends:
                    return


@asynccontextmanager
async def served(*answers: bytes) -> AsyncIterator[tuple[Scripted, Transport]]:
    async with trio.open_nursery() as nursery:
        network = Scripted(list(answers), nursery)
        async with aclosing(Transport(network)) as transport:
            yield network, transport
        nursery.cancel_scope.cancel()


async def ask(transport: Transport) -> bytes:
    async with aclosing(await transport.handle_async_request(httpx.Request("GET", URL))) as response:
        return await response.aread()


async def test_a_connection_serves_one_request_after_another() -> None:
    async with served(GOOD, GOOD) as (network, transport):
        assert [await ask(transport), await ask(transport)] == [b"good", b"good"]
        assert network.opened == 1


async def test_what_comes_behind_an_answer_is_no_answer_to_the_next_request() -> None:
    async with served(GOOD + GOOD.replace(b"good", b"evil"), GOOD) as (network, transport):
        assert [await ask(transport), await ask(transport)] == [b"good", b"good"]
        assert network.opened == 2


async def test_a_server_that_wants_to_close_is_asked_over_a_new_connection() -> None:
    last = GOOD.replace(b"Content", b"Connection: close\r\nContent")
    async with served(last, GOOD) as (network, transport):
        assert [await ask(transport), await ask(transport)] == [b"good", b"good"]
        assert network.opened == 2


async def test_a_body_that_is_not_read_ends_its_connection() -> None:
    async with served(GOOD.replace(b"4", b"9999"), GOOD) as (network, transport):
        async with aclosing(await transport.handle_async_request(httpx.Request("GET", URL))) as response:
            assert response.status_code == 200
        assert await ask(transport) == b"good"
        assert network.opened == 2


async def test_an_interim_response_is_not_the_response() -> None:
    async with served(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + GOOD) as (_, transport):
        assert await ask(transport) == b"good"


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200", GOOD[:-1], b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"\0\0\0"]
)
async def test_an_answer_that_breaks_off_or_is_none_is_an_error_of_the_protocol(said: bytes) -> None:
    async with served(said, GOOD) as (network, transport):
        network.ends = True
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport)
        assert await ask(transport) == b"good"


async def test_after_an_attempt_that_failed_another_may_do_better() -> None:
    async with served(GOOD.replace(b"Content", b"Connection: close\r\nContent"), GOOD) as (network, transport):
        assert await ask(transport) == b"good"
        network.refuses = True
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                await ask(transport)
        network.refuses = False
        assert await ask(transport) == b"good"


async def test_a_head_without_end_is_refused() -> None:
    async with served(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000) as (_, transport):
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport)


async def test_a_request_says_the_host_and_the_path() -> None:
    async with served(GOOD) as (network, transport):
        await ask(transport)
    (head,) = network.heads
    assert head.startswith(b"GET /v5/market/time HTTP/1.1\r\nHost: exchange.invalid\r\n")
