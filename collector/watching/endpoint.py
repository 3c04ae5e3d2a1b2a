"""The endpoint: `/healthz`, `/status` and `/metrics` of a running collector, and where they are to be found.

The address is written beside the ledger, so that `collector status` finds the collector of a data directory and no
other. An address that cannot be had is a warning: collecting goes on without. Nothing here counts or judges.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import trio

from collector.logs import get_logger
from collector.ownership import OWN
from collector.settings import Settings
from collector.watching.http_server import HttpServer, Page
from collector.watching.report import encode
from collector.watching.reporter import Reporter

log = get_logger(__name__)

_FILE = "status"


async def serve_status(settings: Settings, reporter: Reporter) -> None:
    """Serves until cancelled; returns at once when there is nowhere to listen, or nothing to serve."""
    if not settings.listen:
        return
    parts = urlsplit(f"//{settings.listen}")
    host = parts.hostname or ""
    try:
        listeners = await trio.open_tcp_listeners(parts.port or 0, host=host)
    except OSError as error:
        why = error.strerror or str(error)
        log.warning("no status is served, collecting goes on without", listen=settings.listen, why=why)
        return
    url = _url(host, listeners[0].socket.getsockname()[1])
    with _announced(settings.data_dir, reporter.run, url):
        log.info("status served", url=url, listen=settings.listen)
        await HttpServer(_pages(reporter), settings.listen_names).answer(listeners)


def _url(host: str, port: int) -> str:
    """The address for somebody on this machine."""
    if ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def announced(data_dir: Path) -> tuple[str, str] | None:
    """The run and the address that the last collector to serve its status wrote down; it may be gone by now."""
    try:
        said = json.loads((data_dir / OWN / _FILE).read_text())
        return str(said["run"]), str(said["url"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _pages(reporter: Reporter) -> dict[str, Callable[[], Page]]:
    from collector.watching.metrics import CONTENT_TYPE, metrics_text  # only where it is served: it takes 2 MB

    return {
        "/healthz": lambda: _healthz(reporter),
        "/status": lambda: Page(encode(reporter.report()), "application/json"),
        "/metrics": lambda: Page(metrics_text(reporter.report()), CONTENT_TYPE),
    }


def _healthz(reporter: Reporter) -> Page:
    """200 while all is well, which includes starting and catching up: a supervisor must not end that. 503 otherwise."""
    report = reporter.report()
    if report.state == "healthy":
        return Page(f"healthy, {report.doing}\n".encode())
    return Page("".join(f"{line}\n" for line in ("degraded", *report.reasons)).encode(), status=503)


@contextmanager
def _announced(data_dir: Path, run: str, url: str) -> Iterator[None]:
    path = data_dir / OWN / _FILE
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps({"run": run, "pid": os.getpid(), "url": url}) + "\n")
        new.replace(path)
    except OSError as error:
        log.warning("where the status is served could not be written down", url=url, why=error.strerror)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
