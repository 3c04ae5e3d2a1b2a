"""The report that `/status` serves and `collector status` reads.

Pure, and plain values: seconds, bytes, epoch milliseconds of the local clock unless a name says otherwise.
Users' scripts read these names: fields are added, existing ones stay. Settings that could be secret are excluded.
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
    """REST requests to the exchange.

    `begun` is the sum of `outcomes` and `under_way`. `budget_left` of `budget` requests may still begin in the 5
    seconds over which the exchange counts.
    """

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
    """The stream connections.

    The lag runs from a candle's close to its confirmation, by the exchange's clock, one sample per batch of candles.
    """

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
    wanted: int = 0  # connections
    subscribed: int = 0  # of them: those that have subscribed
    series: int = 0  # on these
    unconnected: str = ""  # why a connection is lost, and when the next is tried


@attrs.frozen
class Fetching:
    """History on its way, since last nothing was.

    Attributes:
        candles: those that were answered, of these and of the `to_fetch` that were not yet.
        series: how many have something on its way.
        per_s: candles answered a second, over the last half minute.
        left_s: the time that the rest takes at this rate; None if nothing is answered.
        reached: the series written last, up to `reached_ms`.
    """

    candles: int = 0
    to_fetch: int = 0
    series: int = 0
    per_s: float = 0.0
    left_s: float | None = 0.0
    reached: str = ""
    reached_ms: int = 0


@attrs.frozen
class Writing:
    """Candles written to the files.

    `candles` is the sum of three ways: appended at once, staged until earlier candles were in the file, and inserted
    further up by a rewrite.
    """

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
    """How late the newest candles of a timeframe are, by the exchange's clock.

    0 when every closed candle is held.
    """

    timeframe: str
    series: int
    slowest: str
    lag_s: float


@attrs.frozen
class GapCount:
    """Spans and candles missing in one state."""

    state: str
    spans: int
    candles: int


@attrs.frozen
class Machine:
    """Memory and disk; a limit of 0 is off."""

    memory_bytes: int
    memory_limit_bytes: int
    disk_free_bytes: int
    low_disk_bytes: int


@attrs.frozen
class Alerting:
    """The alerts to the operator's webhook, of which only the host is shown; empty: there is none."""

    host: str = ""
    sent: int = 0
    failed: int = 0
    waiting: int = 0
    trouble: str = ""  # why the last try failed


@attrs.frozen
class Mirroring:
    """The copy of the candles in a database, of which address only host and name are shown; empty: there is none.

    Attributes:
        rows: written, changed or removed there since the start.
        waiting: series with flushed changes that are yet to be copied.
        comparing: series whose files are yet to be compared with the table.
        lag_s: how long the oldest of these changes has waited.
        away_s: how long the database has been away; 0 while it answers.
        trouble: why the last try failed; empty: it did not.
        refused: whether somebody has to change something first.
    """

    place: str = ""
    connected: bool = False
    rows: int = 0
    commits: int = 0
    failures: int = 0
    waiting: int = 0
    comparing: int = 0
    lag_s: float = 0.0
    away_s: float = 0.0
    trouble: str = ""
    refused: bool = False


@attrs.frozen
class Announced:
    """A maintenance announced by the exchange, in its time and under its title."""

    title: str
    begin_ms: int
    end_ms: int

    @property
    def span(self) -> str:
        return f"until {moment_text(self.end_ms)} UTC, from {moment_text(self.begin_ms)} on"


@attrs.frozen
class Clustermate:
    """A member of a cluster, as it said itself when it was last heard.

    `lease_s` is what is left of its lease; below zero it has ended.
    """

    name: str
    slots: tuple[int, ...]
    lease_s: float
    state: str = ""
    unfit: str = ""  # why it wants no slots
    symbols: int = 0
    series: int = 0
    lag_s: float = 0.0
    missing: int = 0  # candles that may still come


@attrs.frozen
class Clustered:
    """This collector's part in a cluster.

    Without one, `name` is empty.
    """

    place: str = ""  # host and database
    name: str = ""
    slots: tuple[int, ...] = ()  # owned by this collector
    free: int = 0  # slots without an owner
    members: tuple[Clustermate, ...] = ()
    trouble: str = ""  # why the database is away
    away_s: float = 0.0


@attrs.frozen
class Report:
    """The collector at one moment.

    Lags and gaps are from the last scan, some seconds ago if there are many series.
    """

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
    fetching: Fetching = Fetching()
    files: int = 0  # to be read at the start
    files_read: int = 0
    next_close_ms: int = 0  # in the exchange's time: when the next candle of any timeframe closes
    url: str = ""  # of the TCP port
    port_trouble: str = ""  # why the port is unavailable; retried every minute
    maintenance: tuple[Announced, ...] = ()
    unserved: str = ""  # since when and why all requests fail, and when the next is sent
    alerts: Alerting = Alerting()
    cluster: Clustered = Clustered()
    shard: str = ""  # the part of the symbols, such as 2/5; empty: all of them
    mirror: Mirroring = Mirroring()
    running: bool = True  # False in the JSON of `collector status` for a stopped collector


def encode(report: Report, secrets: tuple[str, ...] = ()) -> bytes:
    """One line of JSON, with these secrets masked."""
    return json.dumps(hidden(attrs.asdict(report), secrets), separators=(",", ":")).encode() + b"\n"


def decode(text: bytes) -> Report:
    """Parses what `encode` wrote.

    Raises:
        ValueError: the text is something else.
    """
    return msgspec.json.decode(text, type=Report)
