"""The pages for programs: health, status and metrics."""

import os
from collections.abc import Callable, Mapping

import attrs

from collector.core.redaction import masked, printable, secrets_in
from collector.monitoring.report import encode
from collector.monitoring.status import Reporter


@attrs.frozen
class Page:
    """One response."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Pages = Mapping[str, Callable[[], Page]]


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
