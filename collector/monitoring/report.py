"""The report: all that a running collector says of itself, as `/status` gives it and `collector status` reads it.

Pure values in plain units: seconds, bytes, epoch milliseconds of the local clock unless a name says otherwise. Other
people's scripts read these names, so they are added to and not changed. No setting that could be a secret is in it.
"""

import json
from typing import Literal

import attrs
import msgspec

from collector.core.redaction import hidden
from collector.core.text import moment_text
from collector.monitoring.health import HealthState

Doing = Literal["starting", "catching up", "up to date", "waiting for the exchange"]


@attrs.frozen
class Requests:
    """To the exchange over REST. `outcomes` and those `under_way` add up to `begun`; `budget_left` is how many may
    still begin in the 5 seconds that the exchange counts in, out of `budget`."""

    begun: int
    under_way: int
    outcomes: dict[str, int]
    retries: int
    given_up: int
    per_s: float
    budget: int
    budget_left: int
    bans: int
    banned_until_ms: int


@attrs.frozen
class Streaming:
    """The connections to the stream. The lag is from a candle's close to its confirmation, by the exchange's clock,
    looked at once for every batch of candles."""

    connections: int
    connects: int
    reconnects: int
    messages: int
    messages_per_s: float
    confirmed: int
    confirm_lags: int
    confirm_lag_s: float
    malformed: int
    unknown: int
    refused_topics: tuple[str, ...]
    unconnected: str = ""  # why a connection that was lost is not open again, and when it is tried


@attrs.frozen
class Writing:
    """What went into the files. `candles` is the sum of the three ways: added at a file's end at once, added there
    after having waited for what lies before, and put in place further up."""

    candles: int
    appended: int
    staged: int
    rewritten: int
    per_s: float
    revisions: int
    queued_candles: int
    queued_answers: int
    flushes: int
    flush_s: float
    flush_wait_s: float


@attrs.frozen
class Lag:
    """How late the newest candles of a timeframe are, by the exchange's clock: 0 when every one that has closed is
    held."""

    timeframe: str
    series: int
    slowest: str
    lag_s: float


@attrs.frozen
class GapCount:
    """The spans missing in one state of the contract's."""

    state: str
    spans: int
    candles: int


@attrs.frozen
class Machine:
    """What the process has and what is left. A limit of 0 is none."""

    memory_bytes: int
    memory_limit_bytes: int
    disk_free_bytes: int
    low_disk_bytes: int


@attrs.frozen
class Announced:
    """A maintenance of the exchange that is not over, in the exchange's time; the title is its own text."""

    title: str
    begin_ms: int
    end_ms: int

    @property
    def span(self) -> str:
        return f"until {moment_text(self.end_ms)} UTC, from {moment_text(self.begin_ms)} on"


@attrs.frozen
class Report:
    """All of it at one moment; lags and gaps are from the last survey, some seconds ago when there are many series."""

    run: str
    pid: int
    version: str
    state: HealthState
    reasons: tuple[str, ...]
    doing: Doing
    exchange: str
    category: str
    mode: str
    symbols: int
    series: int
    candles_to_fetch: int
    started_ms: int
    now_ms: int
    exchange_ms: int
    survey_ms: int
    requests: Requests
    stream: Streaming
    writing: Writing
    lags: tuple[Lag, ...]
    gaps: tuple[GapCount, ...]
    machine: Machine
    url: str = ""  # of the TCP port at which it is served too
    port_trouble: str = ""  # why that is not served, tried again now and then
    maintenance: tuple[Announced, ...] = ()
    unserved: str = ""  # since when and why the exchange gives no good answer, and when it is asked again
    running: bool = True  # as whoever reads the JSON of `collector status` always finds it


def encode(report: Report, secrets: tuple[str, ...] = ()) -> bytes:
    """As JSON, on one line, without these secrets."""
    return json.dumps(hidden(attrs.asdict(report), secrets), separators=(",", ":")).encode() + b"\n"


def decode(text: bytes) -> Report:
    """What `encode` wrote.

    Raises:
        ValueError: this is not a report.
    """
    return msgspec.json.decode(text, type=Report)
