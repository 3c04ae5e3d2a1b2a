"""How the collector is, now and over the last hours, and what it warned of last."""

import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import msgspec
import trio

from collector.core.redaction import masked, printable, secrets_in
from collector.logs.logger import TREE
from collector.monitoring.report import Report, encode
from collector.monitoring.status import Reporter, collector_version

_EVERY_S = 10.0  # between samples
_SAMPLES = 2160  # six hours
_WARNINGS = 50
_FRESH_S = 0.5  # a report is shared by all who ask within
_STORED = {"state": "stored", "doing": "nobody collects", "running": False}


class Sample(msgspec.Struct, frozen=True, gc=False):
    """Some numbers of one moment, by local time.

    Thousands are kept, and hold nothing to be collected.
    """

    at_ms: int
    messages_per_s: float
    candles_per_s: float
    requests_per_s: float
    queued: int
    to_fetch: int
    lag_s: float
    memory_bytes: int


class RecentWarnings(logging.Handler):
    """The last warnings and errors, without secrets."""

    def __init__(self) -> None:
        super().__init__("WARNING")
        self._secrets = secrets_in(os.environ)
        self._last: deque[dict[str, object]] = deque(maxlen=_WARNINGS)

    def emit(self, record: logging.LogRecord) -> None:
        text = printable(masked(record.getMessage(), self._secrets))
        self._last.append({"at_ms": int(record.created * 1000), "level": record.levelname.lower(), "text": text})

    def latest(self) -> list[dict[str, object]]:
        """The newest first."""
        return [*self._last][::-1]


@attrs.define(eq=False)
class Now:
    """What a page shows of a collector.

    Stored files alone have no reporter.
    """

    _reporter: Reporter | None = None
    _samples: deque[Sample] = attrs.field(factory=lambda: deque(maxlen=_SAMPLES))
    _warnings: RecentWarnings = attrs.field(factory=RecentWarnings)
    _secrets: tuple[str, ...] = attrs.field(factory=lambda: secrets_in(os.environ))
    _report: Report | None = None
    _reported_s: float = -_FRESH_S

    @property
    def is_live(self) -> bool:
        """Whether a collector runs."""
        return self._reporter is not None

    async def follow(self) -> None:
        """Takes a sample every ten seconds until cancelled."""
        with self._warnings_kept():
            while self._reporter is not None:
                self._samples.append(_sample(self._reporter.report()))
                await trio.sleep(_EVERY_S)

    @contextmanager
    def _warnings_kept(self) -> Iterator[None]:
        TREE.addHandler(self._warnings)
        try:
            yield
        finally:
            TREE.removeHandler(self._warnings)

    def report(self) -> Report | None:
        """The report, at most half a second old."""
        if self._reporter is not None and trio.current_time() - self._reported_s >= _FRESH_S:
            self._report, self._reported_s = self._reporter.report(), trio.current_time()
        return self._report

    def status(self) -> bytes:
        """The report as JSON on one line."""
        report = self.report()
        if report is None:
            return msgspec.json.encode(_STORED | {"version": collector_version()})
        return encode(report, self._secrets).rstrip()

    def everything(self) -> bytes:
        """Status, samples by column, and warnings as JSON."""
        columns = {field: [getattr(each, field) for each in self._samples] for field in Sample.__struct_fields__}
        warnings = self._warnings.latest()
        said = {"status": msgspec.Raw(self.status()), "samples": columns, "warnings": warnings}
        return msgspec.json.encode(said)


def _sample(report: Report) -> Sample:
    return Sample(
        report.now_ms,
        report.stream.messages_per_s,
        report.writing.per_s,
        report.requests.per_s,
        report.writing.queued_candles,
        report.candles_to_fetch,
        max((lag.lag_s for lag in report.lags), default=0.0),
        report.machine.memory_bytes,
    )
