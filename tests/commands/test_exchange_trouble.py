"""Commands whose exchange is not there, is something else, or refuses them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from collector.sandbox import Faults, Sandbox
from tests.commands.command_line import Command, complaints
from tests.support.market import settings_for


@contextmanager
def stranger(greeting: bytes) -> Iterator[str]:
    """A server that says the same to everybody; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_greet, args=(server, greeting), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _greet(server: socket.socket, greeting: bytes) -> None:
    while True:
        try:
            client = server.accept()[0]
        except OSError:
            return
        with client:
            client.recv(4096)
            client.sendall(greeting)


def test_a_host_that_cannot_be_reached_ends_fetch_with_status_3(say: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    status, _, err = say(settings_for(f"http://127.0.0.1:{port}", tmp_path), "fetch", bulk_max_retries="1")
    assert status == 3
    (sentence,) = complaints(err)
    assert f"http://127.0.0.1:{port} cannot be reached" in sentence


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<html>hi</html>",
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{"hello": true}',
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"",
    ],
    ids=["ssh", "html", "json", "404", "redirect", "silence"],
)
def test_a_host_that_is_no_exchange_ends_fetch_with_status_3(say: Command, tmp_path: Path, greeting: bytes) -> None:
    with stranger(greeting) as url:
        status, _, err = say(settings_for(url, tmp_path), "fetch", bulk_max_retries="1")
    assert status == 3
    assert len(complaints(err)) == 1


@pytest.mark.parametrize("name", ["run", "fetch", "symbols"])
def test_a_country_that_is_not_served_ends_every_command_with_status_3(
    say: Command, box: Sandbox, tmp_path: Path, name: str
) -> None:
    box.faults = Faults(geo_block=1.0)
    status, _, err = say(settings_for(box.url, tmp_path), name)
    assert status == 3
    (sentence,) = complaints(err)
    assert "country" in sentence
