"""Serves `/healthz`, `/status` and `/metrics` of a running collector.

They are served twice: at a Unix socket in the data directory, where `collector status` finds the collector of exactly
that directory, and at a TCP port for everybody else. The port's address is written beside the ledger, for users who
lack permission for the socket. Collection has priority over both: a socket or port that is unavailable is logged as a
warning and retried every minute.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import trio

from collector.core.redaction import masked, printable, secrets_in
from collector.logs import get_logger
from collector.machine import Machine
from collector.machine.disk import Disk
from collector.machine.local_socket import LocalSocket
from collector.machine.own_files import read_own, replace_own
from collector.machine.threads import Threads
from collector.monitoring.http_server import HttpServer, Page, Pages
from collector.monitoring.local_socket import status_socket
from collector.monitoring.report import encode
from collector.monitoring.status import Reporter
from collector.settings.settings import Settings
from collector.storage.data_directory import OWN

log = get_logger(__name__)

_FILE = "status"
_RETRY_S = 60.0  # between attempts to bind the port or the socket
_SOCKET_CHECK_S = 5.0  # users may delete `.collector/` with the socket in it


async def serve_status(
    settings: Settings, reporter: Reporter, machine: Machine, *, port: bool = True, socket: bool = True
) -> None:
    """Serves the socket and the TCP port until cancelled.

    Args:
        port: serve at the TCP port too, if the settings have one.
        socket: serve at the Unix socket, which only the owner of the data directory can open.
    """
    pages = pages_of(reporter)
    async with trio.open_nursery() as nursery:
        if socket:
            nursery.start_soon(_serve_socket, settings.data_dir, HttpServer(pages, machine.network), machine)
        if port and settings.listen:
            server = HttpServer(pages, machine.network, settings.listen_names)
            nursery.start_soon(_serve_port, settings, server, reporter, machine)


async def _serve_socket(data_dir: Path, server: HttpServer, machine: Machine) -> None:
    """Serves at the socket, and binds it again when it is deleted.

    A reason for which it cannot be bound is logged once.
    """
    place, said = status_socket(machine.network, data_dir), ""
    while True:
        try:
            listener = await machine.threads.run(place.listen)
        except OSError as error:
            why = error.strerror or str(error)
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


async def _serve_port(settings: Settings, server: HttpServer, reporter: Reporter, machine: Machine) -> None:
    """Serves at the TCP port as soon as it can be bound."""
    parts = urlsplit(f"//{settings.listen}")
    host, said = parts.hostname or "", ""
    while True:
        try:
            listeners = await machine.network.listen(host, parts.port or 0)
            break
        except OSError as error:
            why = error.strerror or str(error)
            reporter.port_failed(why)
            if why != said:
                log.warning("status port not available, trying again", listen=settings.listen, why=why)
            said = why
        await trio.sleep(_RETRY_S)
    url = _url(host, machine.network.address_of(listeners[0])[1])
    reporter.port_bound(url)
    with _announced(machine.disk, settings.data_dir, reporter.run, url):
        log.info("status served", url=url, listen=settings.listen)
        await server.answer(listeners)


def _url(host: str, port: int) -> str:
    """The address as seen from this machine."""
    if ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def announced(disk: Disk, data_dir: Path) -> tuple[str, str] | None:
    """The run and URL last written to the data directory, or None.

    The collector that wrote them may have ended since.
    """
    try:
        written = json.loads(read_own(disk, data_dir / OWN / _FILE))
        return str(written["run"]), str(written["url"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def pages_of(reporter: Reporter) -> Pages:
    """The pages served, by path."""
    secrets = secrets_in(os.environ)
    return {
        "/healthz": lambda: _healthz(reporter, secrets),
        "/status": lambda: Page(encode(reporter.report(), secrets), "application/json"),
        "/metrics": lambda: _metrics(reporter),
    }


def _metrics(reporter: Reporter) -> Page:
    from collector.monitoring.prometheus import (
        CONTENT_TYPE,
        metrics_text,
    )  # imported at the first scrape: it takes 2 MB

    return Page(metrics_text(reporter.report()), CONTENT_TYPE)


def _healthz(reporter: Reporter, secrets: tuple[str, ...]) -> Page:
    """200 while healthy, 503 otherwise.

    Starting and catching up count as healthy, so that a container orchestrator lets them finish.
    """
    report = reporter.report()
    announced = [f"maintenance announced {each.span}" for each in report.maintenance]
    if report.state == "healthy":
        return _lines_page(secrets, f"healthy, {report.doing}", *announced)
    return _lines_page(secrets, "degraded", *report.reasons, *announced, status=503)


def _lines_page(secrets: tuple[str, ...], *lines: str, status: int = 200) -> Page:
    shown = (printable(masked(line, secrets)) for line in lines)
    return Page("".join(f"{line}\n" for line in shown).encode(), status=status)


@contextmanager
def _announced(disk: Disk, data_dir: Path, run: str, url: str) -> Iterator[None]:
    path = data_dir / OWN / _FILE
    try:
        replace_own(disk, path, json.dumps({"run": run, "pid": os.getpid(), "url": url}).encode() + b"\n")
    except OSError as error:
        log.warning("where the status is served could not be written down", url=url, why=error.strerror)
    try:
        yield
    finally:
        with suppress(OSError):
            disk.remove(path)
