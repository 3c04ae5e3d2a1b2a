"""Proxies: which one the environment means, and that REST and the stream both go through it."""

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest
import trio
import trustme

from collector.bybit.clock import Clock
from collector.bybit.proxies import proxy_for
from collector.bybit.rest_client import open_rest
from collector.bybit.stream_connection import StreamLost, open_stream
from collector.core.counters import Counters
from collector.core.errors import RequestFailed, SettingsError, Unreachable
from collector.machine import THIS_MACHINE
from collector.pipeline.service import serve
from collector.sandbox import open_sandbox
from collector.settings.settings import Settings
from tests.support.market import market, settings_for
from tests.support.throttle import throttle_for

REST = "https://api.bybit.com"
STREAM = "wss://stream.bybit.com/v5/public/linear"
PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        (REST, {}, None),
        (REST, {"https_proxy": PROXY}, PROXY),
        (STREAM, {"https_proxy": PROXY}, PROXY),
        (STREAM, {"HTTPS_PROXY": PROXY}, PROXY),
        ("http://mirror/", {"https_proxy": PROXY}, None),
        ("ws://mirror/", {"http_proxy": PROXY}, PROXY),
        ("ws://mirror/", {"ALL_PROXY": PROXY}, PROXY),
        (REST, {"all_proxy": PROXY, "https_proxy": "http://other"}, "http://other:80"),
        (REST, {"https_proxy": "https://other"}, "https://other:443"),
        (REST, {"https_proxy": "http://[fd00::1]:3128/"}, "http://[fd00::1]:3128"),
        (REST, {"https_proxy": "HTTP://Proxy:3128"}, PROXY),
        (REST, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, PROXY),
        (REST, {"https_proxy": "", "HTTPS_PROXY": "http://other", "all_proxy": PROXY}, None),
        ("http://mirror/", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None),
    ],
)
def test_the_variable_for_the_scheme_names_the_proxy(
    url: str, environment: Mapping[str, str], proxy: str | None
) -> None:
    found = proxy_for(url, environment)
    assert (found and found.url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8890",
        "ws://127.8.9.1/",
        "http://localhost:1",
        "https://[::1]:1",
        "ws://box.localhost/",
        "http://LOCALHOST",
        "http://localhost.:1",
        "http://[::ffff:127.0.0.1]:1",
    ],
)
def test_this_machine_is_never_reached_through_a_proxy(url: str) -> None:
    names = ("http_proxy", "HTTPS_PROXY", "all_proxy")
    assert proxy_for(url, dict.fromkeys(names, "nonsense")) is None


@pytest.mark.parametrize(
    ("no_proxy", "excepted"),
    [
        ("*", True),
        ("bybit.com", True),
        (".bybit.com", True),
        ("*.bybit.com", True),
        ("example.org, API.bybit.com", True),
        ("example.org api.bybit.com", True),
        ("api.bybit.com:443", True),
        ("api.bybit.com:8443", False),
        ("bit.com", False),
        ("stream.bybit.com", False),
        ("", False),
        (" , ,", False),
    ],
)
def test_no_proxy_lists_what_is_reached_without(no_proxy: str, excepted: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        assert (proxy_for(REST, {"https_proxy": PROXY, name: no_proxy}) is None) is excepted


@pytest.mark.parametrize(
    ("no_proxy", "excepted"), [("10.1.2.3", True), ("10.0.0.0/8", True), ("10.1.2.3:80", True), ("10.1.2.0/30", True)]
)
def test_no_proxy_lists_addresses_and_networks(no_proxy: str, excepted: bool) -> None:
    assert (proxy_for("http://10.1.2.3/", {"http_proxy": PROXY, "no_proxy": no_proxy}) is None) is excepted


@pytest.mark.parametrize(
    "value",
    [
        "socks5://u:s3'cr3t@proxy:1080",
        "u:s3'cr3t@proxy:3128",
        "proxy",
        "http://",
        "http://u:s3'cr3t@proxy:x",
        "ftp://s3'cr3t@proxy",
        "http://s3'cr3t@pro xy",
        "http://u:s3'cr3t#@proxy:1",
        "http://s3'cr3t@proxy:0",
        "http://[",
    ],
)
def test_what_cannot_be_used_names_the_variable_alone(value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        proxy_for(REST, {"HTTPS_PROXY": value})
    (problem,) = caught.value.problems
    assert problem.startswith("HTTPS_PROXY: ")
    assert "cr3t" not in problem
    assert "proxy:" not in problem.removeprefix("HTTPS_PROXY: ")


def test_a_password_is_decoded_and_never_shown() -> None:
    proxy = proxy_for(REST, {"https_proxy": "http://us%40er:p%3Aw@proxy:3128"})
    assert proxy
    assert proxy.headers == [("Proxy-Authorization", "Basic " + b64encode(b"us@er:p:w").decode())]
    assert "p:w" not in f"{proxy} {proxy.url}"


@attrs.define
class FakeProxy:
    """A proxy that knows where hosts are; it notes what it is asked, and with which authorization."""

    hosts: dict[str, int] = attrs.field(factory=dict)
    refuses: bytes = b""
    asked: list[tuple[str, str]] = attrs.field(factory=list)

    async def serve(self, client: trio.abc.Stream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await client.receive_some(4096)
        method, target, *_ = head.decode().split(" ")
        shown = [line.partition(": ")[2] for line in head.decode().splitlines() if "authorization:" in line.lower()]
        self.asked.append((f"{method} {target}", "".join(shown)))
        if self.refuses:
            await client.send_all(self.refuses)
            return
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        server = await trio.open_tcp_stream("127.0.0.1", self.hosts[parts.hostname or ""])
        if method == "CONNECT":
            await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            await server.send_all(head)
        await _join(client, server)


async def _join(client: trio.abc.Stream, server: trio.abc.Stream) -> None:
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(_copy, client, server)
        nursery.start_soon(_copy, server, client)


async def _copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
    try:
        async for chunk in source:
            await sink.send_all(chunk)
        await sink.aclose()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await source.aclose()


@asynccontextmanager
async def listening(
    serve: Callable[[trio.abc.Stream], Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serves connections, over TLS if there is a context; its port."""
    (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener = trio.SSLListener(plain, context) if context else plain
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, [listener])
        yield plain.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def ask(url: str) -> int:
    settings = Settings(rest_url=url, bulk_max_retries=1, ban_wait_s=600)
    async with open_rest(settings, throttle_for(settings), Counters(), Clock(), THIS_MACHINE) as rest:
        return await rest.server_time()


async def ping(url: str) -> str:
    async with open_stream(url, THIS_MACHINE.network) as stream:
        await stream.send('{"op":"ping"}')
        return await stream.receive()


async def test_rest_and_stream_go_through_one_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = FakeProxy()
    async with open_sandbox(market()) as box, listening(proxy.serve) as port:
        proxy.hosts["exchange.invalid"] = box.port
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{port}")
        assert await ask("http://exchange.invalid:1")
        assert "pong" in await ping("ws://exchange.invalid:1/v5/public/linear")
    shown = "Basic " + b64encode(b"user:pass").decode()
    assert [each[0].split("/v5")[0] for each in proxy.asked] == [
        "GET http://exchange.invalid:1",
        "CONNECT exchange.invalid:1",
    ]
    assert {each[1] for each in proxy.asked} == {shown}


@pytest.mark.parametrize("secure_proxy", [False, True])
async def test_tls_is_spoken_through_plain_and_secure_proxies(
    secure_proxy: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("exchange.invalid", "127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    proxy = FakeProxy()

    async def front(client: trio.abc.Stream) -> None:
        await _join(client, await trio.open_tcp_stream("127.0.0.1", box.port))

    async with (
        open_sandbox(market()) as box,
        listening(front, context) as exchange,
        listening(proxy.serve, context if secure_proxy else None) as port,
    ):
        proxy.hosts["exchange.invalid"] = exchange
        monkeypatch.setenv("HTTPS_PROXY", f"http{'s' if secure_proxy else ''}://127.0.0.1:{port}")
        assert await ask("https://exchange.invalid")
        assert "pong" in await ping("wss://exchange.invalid/v5/public/linear")
    assert [each[0] for each in proxy.asked] == ["CONNECT exchange.invalid:443"] * 2


@pytest.mark.parametrize("says", [b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n", b"\0"])
async def test_a_proxy_that_refuses_is_named_without_its_password(says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = FakeProxy(refuses=says)
    async with listening(proxy.serve) as port:
        monkeypatch.setenv("all_proxy", f"http://user:s3cr3t@127.0.0.1:{port}")
        with pytest.raises(StreamLost, match=f"the proxy http://127.0.0.1:{port} ") as caught:
            await ping("wss://exchange.invalid/")
        with pytest.raises((Unreachable, RequestFailed)) as failed:
            await ask("https://exchange.invalid")
    assert "s3cr3t" not in f"{caught.value} {failed.value}"


async def test_a_proxy_that_is_away_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(FakeProxy().serve) as port:
        pass
    monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{port}")
    with pytest.raises(StreamLost, match="cannot be reached"):
        await ping("wss://exchange.invalid/")


async def test_a_proxy_that_cannot_be_used_ends_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    settings = settings_for("http://exchange.invalid", tmp_path, ban_wait_s=600)
    for once in (True, False):
        with pytest.raises(SettingsError, match="HTTP_PROXY: "):
            await serve(settings, once=once)
