"""The HTTP server over raw sockets: what it answers, whom it refuses, and that nobody can hold it up."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from collector.machine.network import Network
from collector.page import connection, server
from collector.page.access import OPEN, Access
from collector.page.guard import Guard
from collector.page.pages import Page
from collector.page.server import HttpServer
from collector.page.site import build_site

HELLO = b"GET /hello HTTP/1.1\r\nHost: %b\r\n\r\n"


def broken() -> Page:
    raise RuntimeError("no page today")


PAGES = {
    "/hello": lambda: Page(b"hello\n"),
    "/healthz": lambda: Page(b"healthy\n"),
    "/ill": lambda: Page(b"ill\n", status=503),
    "/broken": broken,
}


@attrs.frozen
class Served:
    port: int

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def said(self, request: bytes) -> bytes:
        """All that is answered until the connection is closed."""
        async with await self.connect() as stream:
            await stream.send_all(request)
            return await rest_of(stream)

    async def status(self, request: bytes) -> int:
        return int((await self.said(request)).split()[1])


async def rest_of(stream: trio.SocketStream) -> bytes:
    answer = b""
    with trio.fail_after(20):
        async for part in stream:
            answer += part
    return answer


@asynccontextmanager
async def served(*names: str, access: Access = OPEN) -> AsyncIterator[Served]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(HttpServer(Guard(build_site(PAGES), names, access), Network()).answer, listeners)
        yield Served(listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def test_a_page_is_shown_and_the_connection_closed() -> None:
    async with served() as site:
        answer = await site.said(HELLO % b"127.0.0.1")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"\r\ncontent-length: 6" in head
    assert body == b"hello\n"


async def test_no_page_of_another_origin_may_read_an_answer_and_none_is_kept() -> None:
    async with served() as site:
        head = (await site.said(HELLO % b"127.0.0.1")).lower()
    assert b"access-control" not in head
    for line in (b"nosniff", b"no-store", b"cross-origin-resource-policy: same-origin"):
        assert line in head


async def test_a_page_has_its_own_status_and_may_be_asked_with_a_query() -> None:
    async with served() as site:
        assert await site.status(b"GET /ill?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n") == 503


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"127.0.0.1", 200),
        (b"127.0.0.1:8787", 200),
        (b"localhost:1", 200),
        (b"[::1]:8787", 200),
        (b"LOCALHOST", 200),
        (b"collector.example.net:8787", 200),
        (b"evil.example", 421),
        (b"localhost.evil.example", 421),
        (b"127.0.0.1.evil.example", 421),
        (b"192.0.2.1:8787", 421),
        (b"[::1", 421),
        (b"a@localhost@b", 421),
        (b"a@localhost", 421),
        (b"localhost:a", 421),
        (b"", 421),
    ],
)
async def test_it_answers_only_to_names_of_its_own(host: bytes, status: int) -> None:
    async with served("collector.example.net") as site:
        assert await site.status(HELLO % host) == status


async def test_a_request_without_a_name_or_with_two_is_refused() -> None:
    async with served() as site:
        assert await site.status(b"GET /hello HTTP/1.0\r\n\r\n") == 421
        assert await site.status(b"GET /hello HTTP/1.1\r\n\r\n") == 400
        assert await site.status(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n") == 400


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PRI", b"NONSENSE"])
async def test_only_get_and_head_are_answered(method: bytes) -> None:
    async with served() as site:
        answer = await site.said(method + b" /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nallow: GET, HEAD" in head
    assert body == b"only GET and HEAD\n"


async def test_head_is_answered_as_get_is_but_for_the_page_itself() -> None:
    async with served() as site:
        for path in (b"hello", b"ill"):
            got = await site.said(b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            head = await site.said(b"HEAD /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            assert head == got.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


@pytest.mark.parametrize("path", [b"/", b"/hello/", b"//hello", b"/../hello", b"/%68ello", b"*", b"http://x/hello"])
async def test_there_is_nothing_but_the_pages(path: bytes) -> None:
    async with served() as site:
        assert await site.status(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path) == 404


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 13_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 100_000, 431),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 413),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 300_000, 413),
        (b"GET /hello HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000, 405),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
async def test_what_is_too_large_or_no_request_is_refused_and_told_so(request_text: bytes, status: int) -> None:
    async with served() as site:
        assert await site.status(request_text) == status
        assert await site.status(HELLO % b"localhost") == 200


async def test_a_page_that_fails_is_an_error_of_its_own_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as site:
        answer = await site.said(b"GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"no page today" not in answer
        assert await site.status(HELLO % b"localhost") == 200
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def drip(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"G")
        await trio.sleep(0.005)


async def test_a_client_that_takes_its_time_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_REQUEST_TIMEOUT_S", 0.05)
    async with served() as site, await site.connect() as stream:
        await stream.send_all(b"GET /hello HTTP/1.1\r\nHo")
        assert (await rest_of(stream)).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_drips_is_let_go_as_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_REQUEST_TIMEOUT_S", 0.05)
    monkeypatch.setattr(connection, "_LINGER_S", 0.05)
    async with served() as site, await site.connect() as stream:
        with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
            await drip(stream)


async def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_RESPONSE_TIMEOUT_S", 0.1)
    monkeypatch.setitem(PAGES, "/long", lambda: Page(b"x" * 20_000_000))
    async with served() as site, await site.connect() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stream.send_all(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
            await drip(stream)


@pytest.mark.parametrize("request_text", [b"", b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n"])
async def test_the_oldest_of_too_many_connections_gives_way(
    request_text: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Silent ones, and ones that do not read their answer."""
    monkeypatch.setattr(server, "_MAX_CONNECTIONS", 4)
    monkeypatch.setitem(PAGES, "/long", lambda: Page(b"x" * 20_000_000))
    async with served() as site:
        idle = [await site.connect() for _ in range(server._MAX_CONNECTIONS)]
        for each in idle:
            await each.send_all(request_text)
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert await site.status(HELLO % b"localhost") == 200
        with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
            await drip(idle[0])  # closed
        await idle[-1].send_all(request_text or HELLO % b"localhost")
        assert await idle[-1].receive_some(4)
        for each in idle:
            await trio.aclose_forcefully(each)
    assert "status connection closed" in caplog.text


async def test_a_client_that_goes_away_is_no_trouble() -> None:
    async with served() as site:
        for request in (b"", b"GET /he", HELLO % b"localhost"):
            async with await site.connect() as stream:
                await stream.send_all(request) if request else await trio.lowlevel.checkpoint()
        assert await site.status(HELLO % b"localhost") == 200


async def test_no_other_protocol_is_spoken() -> None:
    upgrades = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    async with served() as site:
        for protocol in (b"h2c", b"websocket", b"\r\n h2c"):
            asked = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n" + upgrades % protocol
            assert (await site.said(asked)).startswith(b"HTTP/1.1 200 ")
        assert await site.status(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") in (400, 421)


async def test_a_page_of_another_origin_is_not_answered() -> None:
    async with served() as site:
        for origin, status in ((b"http://evil.example", 403), (b"null", 403), (b"http://localhost:1", 200)):
            asked = b"GET /hello HTTP/1.1\r\nHost: localhost:1\r\nOrigin: %b\r\n\r\n" % origin
            assert await site.status(asked) == status


async def test_a_server_that_is_stopped_waits_for_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PAGES, "/long", lambda: Page(b"x" * 20_000_000))
    async with trio.open_nursery() as nursery:
        async with served() as site:
            stream = await site.connect()
            await stream.send_all(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await stream.receive_some(4)
            nursery.cancel_scope.deadline = trio.current_time() + 2
        assert not nursery.cancel_scope.cancelled_caught
        await trio.aclose_forcefully(stream)
        assert trio.current_time() < nursery.cancel_scope.deadline


BEARER = b"GET %b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n"


async def test_beyond_loopback_all_but_health_asks_for_the_token() -> None:
    async with served(access=Access(False, "s3cret-token")) as site:
        assert await site.status(HELLO % b"localhost") == 401
        assert await site.status(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == 200
        assert await site.status(BEARER % (b"/hello", b"wrong")) == 401
        assert await site.status(BEARER % (b"/nothing", b"wrong")) == 401
        assert await site.status(BEARER % (b"/hello", b"s3cret-token")) == 200
        login = await site.said(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n")
        assert login.startswith(b"HTTP/1.1 401 ")
        assert b"<form" in login


@pytest.mark.parametrize("token", ["geheim-\u00e4\u20ac", "a\u00e0", "with a blank"])
async def test_a_token_may_have_any_letters(token: str) -> None:
    async with served(access=Access(False, token)) as site:
        assert await site.status(BEARER % (b"/hello", token.encode())) == 200
        assert await site.status(BEARER % (b"/hello", token[:-1].encode())) == 401


async def test_without_a_token_nothing_but_health_is_served_beyond_loopback() -> None:
    async with served(access=Access(False, "")) as site:
        assert await site.status(HELLO % b"localhost") == 403
        assert await site.status(BEARER % (b"/hello", b"")) == 403
        assert await site.status(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == 200


async def test_a_browser_shows_the_token_once_and_then_a_cookie() -> None:
    async with served(access=Access(False, "s3cret-token")) as site:
        assert await site.status(BEARER % (b"/login", b"wrong")) == 401
        head = await site.said(BEARER % (b"/login", b"s3cret-token"))
        (line,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"set-cookie: "))
        assert b"HttpOnly" in line
        assert b"SameSite=Strict" in line
        assert b"s3cret-token" not in head
        cookie = line.split(b" ")[1].rstrip(b";")
        asked = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nCookie: %b\r\n\r\n"
        assert await site.status(asked % cookie) == 200
        assert await site.status(asked % cookie[:-1]) == 401
