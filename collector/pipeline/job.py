"""The job of a service: settings, options, and when it ends."""

from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from collector.bybit.exchange_state import RestState
from collector.cluster.lease_table import OpenLeases, join_leases
from collector.cluster.shared_table import OpenShared, open_shared_table
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.date_range import DateRange
from collector.core.spans import Spans
from collector.export.mirror_table import OpenTable, open_mirror_table
from collector.integrity.repair import OwnedDirectory, Repair
from collector.machine import THIS_MACHINE, Machine
from collector.monitoring.probes import Probes, probes_of
from collector.monitoring.report import Report
from collector.monitoring.sd_notify import NotifySocket
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings

Watch = Callable[[Counters, CoverageIndex, RestState], Awaitable[None]]
Display = Callable[[Callable[[], Report]], Awaitable[None]]


@attrs.frozen
class Databases:
    """How a service opens its databases.

    A simulation gives models.
    """

    leases: OpenLeases = join_leases
    mirror: OpenTable = open_mirror_table
    shared: OpenShared = open_shared_table


@attrs.frozen(eq=False)
class ServeOptions:
    """How a service runs, beyond its settings.

    Args:
        stop: set to end the service in good order.
        watch: runs beside it and reads its numbers.
        display: runs beside it and shows its reports.
        allow_trim: whether files longer than the limit may be trimmed.
        allow_replace: whether files may be replaced that lose rows by it.
        allow_shard: whether the data directory of another shard may become this one's.
        notify: systemd.
        reload_request: says when to read the settings again.
        status: whether to serve the status at a TCP port too, if the settings want that.
        probes: memory and disk, measured.
        machine: what it runs on.
        dates: the history to have, instead of what the settings want.
        databases: how they are opened.
    """

    stop: trio.Event = attrs.field(factory=trio.Event)
    watch: Watch | None = None
    display: Display | None = None
    allow_trim: bool = False
    allow_replace: bool = False
    allow_shard: bool = False
    notify: NotifySocket = attrs.field(factory=NotifySocket)
    reload_request: ReloadRequest | None = None
    status: bool = False
    probes: Probes | None = None
    machine: Machine = THIS_MACHINE
    dates: DateRange | None = None
    databases: Databases = Databases()


@attrs.define
class StartState:
    """What the start waits for."""

    disk_trouble: str = ""  # what the disk refuses; empty: nothing

    def refused(self, why: str) -> None:
        """Notes what the disk refuses."""
        self.disk_trouble = why

    def recovered(self) -> None:
        """Notes that the disk accepts all."""
        self.disk_trouble = ""


def _nothing(_: OwnedDirectory) -> None:
    """Nothing is to be prepared."""


@attrs.frozen(eq=False)
class Import:
    """Candles to have because files of others name them.

    Args:
        spans: of each series.
        asks_unlisted: whether symbols are asked for that do not trade.
        prepare: is given the directory before its files are opened; it blocks.
    """

    spans: Mapping[Series, Spans]
    asks_unlisted: bool = False
    prepare: Callable[[OwnedDirectory], None] = _nothing


@attrs.frozen(eq=False)
class Job:
    """What is to be done: a run, a fetch, a repair or an import.

    A run goes on until stopped; the others end `once` all is had that can be.
    """

    settings: Settings
    options: ServeOptions
    once: bool
    repair: Repair | None = None
    imports: Import | None = None
    start: StartState = attrs.field(factory=StartState, init=False)
    probes: Probes = attrs.field(init=False)

    @probes.default
    def _measured(self) -> Probes:
        return self.options.probes or probes_of(self.settings.data_dir, self.machine.clock)

    @property
    def by_settings(self) -> bool:
        """Whether the settings say what is wanted."""
        return self.repair is None and self.imports is None

    @property
    def machine(self) -> Machine:
        return self.options.machine

    @property
    def streams(self) -> bool:
        return self.settings.enable_websocket and not self.once
