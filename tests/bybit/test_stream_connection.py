"""The connection to the stream: what can go wrong with it, on real sockets, and the one error that comes of it."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing
import trustme
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from collector.bybit import stream_connection
from collector.bybit.stream_connection import Stream, StreamLost, open_stream
from collector.machine import THIS_MACHINE
from collector.machine.network import Network
from collector.sandbox import Faults, Sandbox, open_sandbox
from tests.support.market import market
from tests.support.websocket_streams import Learnt, confirms_nothing, learnt, pieces
from tests.support.websocket_streams import stream as stream_of

PING = '{"op":"ping"}'


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not answer is waited for, but not for fifteen seconds."""
    monkeypatch.setattr("collector.bybit.stream_connection._CONNECT_S", 0.05)


async def why_lost(work: Callable[[], Awaitable[object]]) -> str:
    """What is said about the loss; that there is nothing but the loss."""
    try:
        with trio.fail_after(20):
            await work()
    except* StreamLost as lost:
        why = str(lost.exceptions[0])
    return why


async def connect(url: str) -> None:
    async with open_stream(url, THIS_MACHINE.network) as stream:
        await stream.receive()


@asynccontextmanager
async def listening(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that knows no WebSocket; its address."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v5/public/linear"
        nursery.cancel_scope.cancel()


async def test_texts_go_and_come() -> None:
    async with open_sandbox(market()) as box, open_stream(box.ws_url(), THIS_MACHINE.network) as stream:
        await stream.send(PING)
        assert '"pong"' in await stream.receive()


@pytest.mark.parametrize(("kind", "status"), [("handshake_403", "403"), ("handshake_5xx", "503")])
async def test_a_refused_handshake_may_do_better_next_time(kind: str, status: str) -> None:
    async with open_sandbox(market(faults=Faults(**{kind: 1.0}))) as box:  # type: ignore[arg-type]
        assert await why_lost(lambda: connect(box.ws_url())) == (
            f"{box.ws_url()} refused the handshake with HTTP {status}"
        )


async def test_a_wrong_path_is_told_by_its_status() -> None:
    async with open_sandbox(market()) as box:
        assert "HTTP 404" in await why_lost(lambda: connect(box.url.replace("http", "ws") + "/nowhere"))


async def test_nobody_listening_is_a_loss() -> None:
    async with open_sandbox(market()) as box:
        url = box.ws_url()
    why = await why_lost(lambda: connect(url))
    assert why.startswith(f"cannot connect to {url}: ")
    assert why.endswith("Connection refused")


async def test_a_name_without_an_address_is_a_loss() -> None:
    assert "cannot connect" in await why_lost(lambda: connect("ws://nobody.invalid/"))


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"\0\1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\xdb\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nX: " + 60_000 * b"x" + b"\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    ],
)
async def test_a_server_that_speaks_something_else_is_a_loss(words: bytes, short_wait: None) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(words)

    async with listening(speak) as url:
        assert await why_lost(lambda: connect(url))


async def test_a_server_that_says_nothing_is_given_up(short_wait: None) -> None:
    async def mute(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    async with listening(mute) as url:
        assert "did not answer" in await why_lost(lambda: connect(url))
        assert "did not answer" in await why_lost(lambda: connect(url.replace("ws:", "wss:")))


async def test_a_cut_is_a_loss_to_whoever_receives_or_sends() -> None:
    async with open_sandbox(market()) as box:

        async def cut_and(use: Callable[[Stream], Awaitable[object]]) -> None:
            async with open_stream(box.ws_url(), THIS_MACHINE.network) as stream:
                await stream.send(PING)
                await stream.receive()
                box.cut_connections()
                await use(stream)

        async def send_on(stream: Stream) -> None:
            while True:
                await stream.send(PING)

        assert await why_lost(lambda: cut_and(Stream.receive))
        assert await why_lost(lambda: cut_and(send_on))


async def test_leaving_says_goodbye_and_an_error_inside_is_not_taken_for_a_loss() -> None:
    async with open_sandbox(market()) as box:
        with pytest.RaisesGroup(KeyError):
            async with open_stream(box.ws_url(), THIS_MACHINE.network):
                raise KeyError
        await no_connection_left(box)
        assert box.counts.stream.ended == {"closed": 1}


async def test_a_stop_hears_the_answer_to_its_goodbye() -> None:
    async with open_sandbox(market()) as box:
        with trio.CancelScope() as stop:
            async with open_stream(box.ws_url(), THIS_MACHINE.network) as stream:
                stop.cancel()
                began_s = trio.current_time()
                await stream.receive()
        assert trio.current_time() - began_s < stream_connection._GOODBYE_S / 2
        await no_connection_left(box)
        assert box.counts.stream.ended == {"closed": 1}


async def test_a_certificate_that_cannot_be_trusted_is_a_loss() -> None:
    async with open_sandbox(market(), tls=True) as box:
        assert "cannot be trusted" in await why_lost(lambda: connect(box.ws_url()))


async def test_a_certificate_is_trusted_for_its_names_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_sandbox(market(), tls=True, ca_file=tmp_path / "ca.pem", host="0.0.0.0") as box:
        trust(monkeypatch, tmp_path / "ca.pem")
        async with open_stream(box.ws_url().replace("0.0.0.0", "127.0.0.1"), THIS_MACHINE.network) as stream:
            await stream.send(PING)
            assert '"pong"' in await stream.receive()
        other_name = box.ws_url().replace("0.0.0.0", "127.0.0.3")
        assert "cannot be trusted" in await why_lost(lambda: connect(other_name))


async def test_plain_words_where_tls_is_expected_are_a_loss() -> None:
    async with open_sandbox(market()) as box:
        assert await why_lost(lambda: connect(box.ws_url().replace("ws:", "wss:")))


def trust(monkeypatch: pytest.MonkeyPatch, ca_file: Path) -> None:
    """As if the machine trusted this authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))


async def no_connection_left(box: Sandbox) -> None:
    with trio.fail_after(20):
        while box.counts.stream.open:  # noqa: ASYNC110, RUF100 - the box has no event for a test
            await trio.lowlevel.checkpoint()


# Pushes, which are sifted from below the library, and what the library makes of the rest.


class MemoryNetwork(Network):
    """Connects to one server in memory."""

    def __init__(self, nursery: trio.Nursery, serve: Callable[[trio.abc.Stream], Awaitable[None]]) -> None:
        self._nursery, self._serve = nursery, serve

    async def connect(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours


async def heard_of(arriving: Iterable[bytes], context: ssl.SSLContext | None = None) -> Learnt:
    """The texts that come of these bytes, and how many came that confirm nothing; until the connection ends."""
    texts: list[tuple[str]] = []
    nothing = 0

    def hear(text: str) -> None:
        nonlocal nothing
        if confirms_nothing(text):
            nothing += 1
        elif text:  # binary messages come as nothing
            texts.append((text,))

    async def serve(plain: trio.abc.Stream) -> None:
        stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True) if context else plain
        server = WSConnection(ConnectionType.SERVER)
        while not (asked := list(server.events())):
            server.receive_data(bytes(await stream.receive_some()))
        assert isinstance(asked[0], Request)
        answer = server.send(AcceptConnection())
        with suppress(trio.BrokenResourceError):  # the client has left
            for data in (answer, *arriving):
                await stream.send_all(data)
            await trio.sleep(1)  # all has been heard by then, and every ping answered
            await stream.aclose()

    async def receive_pushes(stream: Stream) -> None:
        nonlocal nothing
        async for pushes in stream.pushes:
            nothing += pushes.dropped
            for text in pushes.texts:
                hear(text)

    with suppress(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            url = f"{'wss' if context else 'ws'}://localhost/v5/public/linear"
            async with open_stream(url, MemoryNetwork(nursery, serve)) as stream, trio.open_nursery() as inner:
                inner.start_soon(receive_pushes, stream)
                while True:
                    hear(await stream.receive())
    return [*texts, (nothing,)]


def texts_of(sent: bytes) -> Learnt:
    """What `heard_of` should be for these bytes."""
    *learnt_of, (count,) = learnt(sent)
    texts = [each for each in learnt_of if isinstance(each[0], str) and each[0]]
    return [*texts, (count - len([each for each in learnt_of if isinstance(each[0], str)]),)]


@pytest.mark.parametrize("seed", range(60))
async def test_pushes_and_other_texts_come_as_the_library_alone_would_tell_them(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    sent = stream_of(Random(seed))
    assert await heard_of(pieces(sent, Random(seed))) == texts_of(sent)


@pytest.mark.parametrize("seed", range(100, 110))
async def test_they_do_so_over_tls(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trust(monkeypatch, tmp_path / "ca.pem")
    sent = stream_of(Random(seed))
    assert await heard_of(pieces(sent, Random(seed)), context) == texts_of(sent)
