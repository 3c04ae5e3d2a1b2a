"""Serves health, status, metrics and the page of a running collector.

They are served twice: at a Unix socket in the data directory, where `collector status` finds the collector of exactly
that directory, and at a TCP port for everybody else. The port's address is written beside the ledger, for users who
lack permission for the socket. Collection has priority over both: a socket or port that is unavailable is logged as a
warning and retried every minute.
"""

import os
from collections.abc import Callable, Collection
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from collector.core.errors import SettingsError
from collector.logs import get_logger
from collector.machine import Machine
from collector.machine.local_socket import LocalSocket
from collector.machine.threads import Threads
from collector.monitoring.announcement import announcing
from collector.monitoring.local_socket import status_socket
from collector.monitoring.status import Reporter
from collector.page.access import OPEN, Access, token_in
from collector.page.now import Now
from collector.page.pages import Page, Pages, pages_of
from collector.page.source import Source
from collector.settings.settings import Settings

if TYPE_CHECKING:
    from collector.page.server import HttpServer

log = get_logger(__name__)

_LOOPBACK = "127.0.0.1"
_RETRY_S = 60.0  # between attempts to bind the port or the socket
_SOCKET_CHECK_S = 5.0  # users may delete `.collector/` with the socket in it


async def serve_status(
    settings: Settings,
    reporter: Reporter,
    machine: Machine,
    source: Source | None = None,
    *,
    port: bool = True,
    socket: bool = True,
) -> None:
    """Serves the socket and the TCP port until cancelled.

    Args:
        source: what the page shows; without one, there is no page.
        port: serve at the TCP port too, if the settings have one.
        socket: serve at the Unix socket, which only the owner of the data directory can open.
    """
    now = Now(reporter)
    server_for = _servers(pages_of(reporter), source, now, machine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(now.follow)
        if socket:
            nursery.start_soon(_serve_socket, settings.data_dir, server_for((), OPEN), machine)
        if port and settings.listen:
            server = server_for(settings.listen_names, access_at(settings.listen))
            nursery.start_soon(_serve_port, settings, server, reporter, machine)


async def serve_stored(source: Source, machine: Machine, port: int, said: Callable[[str], None]) -> None:
    """Serves the page over stored files on this machine until cancelled; 0 takes any port that is free.

    Args:
        said: is told the address.

    Raises:
        SettingsError: the port cannot be served at.
    """
    pages = {"/healthz": lambda: Page(b"healthy, nobody collects\n")}
    server_for = _servers(pages, source, Now(), machine)
    try:
        listeners = await machine.network.listen(_LOOPBACK, port)
    except OSError as error:
        raise SettingsError([f"--port {port} cannot be served at: {_why(error)}"]) from error
    said(_url(_LOOPBACK, machine.network.address_of(listeners[0])[1]))
    await server_for((), OPEN).answer(listeners)


def _servers(
    pages: Pages, source: Source | None, now: Now, machine: Machine
) -> "Callable[[Collection[str], Access], HttpServer]":
    """Makes servers of these pages and those over a source, each for the names and the access of its address."""
    # Imported here: they take a third of a second, and most commands serve nothing.
    from collector.page.guard import Guard
    from collector.page.routes import page_routes
    from collector.page.server import HttpServer
    from collector.page.site import build_site

    site = build_site(pages, page_routes(source, now, machine) if source else ())
    return lambda names, access: HttpServer(Guard(site, names, access), machine.network)


def access_at(listen: str) -> Access:
    """Who may see everything at an address: whoever reaches it on this machine, from elsewhere who has the token."""
    host = urlsplit(f"//{listen}").hostname or ""
    return Access(ip_address(host).is_loopback, token_in(os.environ))


async def _serve_socket(data_dir: Path, server: "HttpServer", machine: Machine) -> None:
    """Serves at the socket, and binds it again when it is deleted.

    A reason for which it cannot be bound is logged once.
    """
    place, said = status_socket(machine.network, data_dir), ""
    while True:
        try:
            listener = await machine.threads.run(place.listen)
        except OSError as error:
            why = _why(error)
            if why != said:
                log.warning("status socket not available", why=why)
            said = why
            await trio.sleep(_RETRY_S)
            continue
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.answer, [listener])
                await _until_gone(place, machine.threads)
                nursery.cancel_scope.cancel()
        finally:
            place.remove()


async def _until_gone(place: LocalSocket, threads: Threads) -> None:
    while True:
        await trio.sleep(_SOCKET_CHECK_S)
        if not await threads.run(place.is_bound, abandon=True):
            return


async def _serve_port(settings: Settings, server: "HttpServer", reporter: Reporter, machine: Machine) -> None:
    """Serves at the TCP port as soon as it can be bound."""
    parts = urlsplit(f"//{settings.listen}")
    host, said = parts.hostname or "", ""
    while True:
        try:
            listeners = await machine.network.listen(host, parts.port or 0)
            break
        except OSError as error:
            why = _why(error)
            reporter.port_failed(why)
            if why != said:
                log.warning("status port not available, trying again", listen=settings.listen, why=why)
            said = why
        await trio.sleep(_RETRY_S)
    url = _url(host, machine.network.address_of(listeners[0])[1])
    reporter.port_bound(url)
    with announcing(machine.disk, settings.data_dir, reporter.run, url):
        log.info("status served", url=url, listen=settings.listen)
        await server.answer(listeners)


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _url(host: str, port: int) -> str:
    """The address as seen from this machine."""
    if ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
