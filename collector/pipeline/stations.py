"""The stations of one service, built and joined; `service` runs them."""

from functools import partial

import attrs

from collector.bybit.address_limit import AddressLimit
from collector.bybit.clock import Clock
from collector.bybit.refused_topics import RefusedTopics
from collector.bybit.rest_client import Rest
from collector.cluster.leases import Standing
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import RequestError, Unreachable
from collector.core.request_windows import SETTLE_MS
from collector.core.text import counted
from collector.core.tracked_series import TrackedSeries
from collector.integrity.repair import OwnedDirectory
from collector.logs import get_logger
from collector.monitoring.alerts import Alerts
from collector.monitoring.disk_gate import DiskGate
from collector.monitoring.monitor import Monitor, MonitorInputs
from collector.monitoring.report import Clustered
from collector.monitoring.status import Reporter
from collector.monitoring.systemd_watchdog import SystemdNotifier
from collector.page.source import LiveSource
from collector.pipeline.collection import Collection, series_of
from collector.pipeline.history import History
from collector.pipeline.hydration import Hydration
from collector.pipeline.job import Job
from collector.pipeline.listings import Listings
from collector.pipeline.live import Live
from collector.pipeline.membership import Membership
from collector.pipeline.mirror import Mirror
from collector.pipeline.reconcile import OVERDUE_MS, Reconciler
from collector.pipeline.standing import standing_of
from collector.pipeline.symbols import Symbols
from collector.pipeline.writer import Writer, build_writer

log = get_logger(__name__)


@attrs.frozen(eq=False)
class Shared:
    """What the stations share."""

    owned: OwnedDirectory
    rest: Rest
    limit: AddressLimit
    clock: Clock
    counters: Counters
    membership: Membership | None = None
    tracked: TrackedSeries = attrs.field(factory=TrackedSeries)


@attrs.frozen(eq=False)
class Stations:
    """All stations of one service, at rest until `service` starts them."""

    writer: Writer
    history: History
    hydration: Hydration
    reconciler: Reconciler
    live: Live
    monitor: Monitor
    reporter: Reporter
    notifier: SystemdNotifier
    alerts: Alerts
    mirror: Mirror


def build_stations(job: Job, shared: Shared) -> Stations:
    """Builds every station and joins them."""
    settings, coverage, counters, clock = job.settings, shared.owned.coverage, shared.counters, shared.clock
    told = partial(exchange_ms, clock, shared.rest)
    writer = build_writer(shared.owned, settings, job.machine, counters, told, spares_long=not job.by_settings)
    gate = DiskGate()
    history = History(shared.rest, coverage, counters, gate, retry_forever=not job.once)
    reconciler = Reconciler(
        settings,
        shared.tracked,
        coverage,
        clock,
        shared.rest.server_time,
        history.fetch,
        OVERDUE_MS if job.streams else SETTLE_MS,
        shared.rest.pause,
        wants_by_settings=job.by_settings,
        dates=job.options.dates,
        only=job.imports.spans if job.imports else None,
    )
    hydration = _hydration(job, shared, gate, reconciler)
    refused = RefusedTopics()
    live = Live(settings, coverage, clock, counters, reconciler.wake, shared.limit, job.machine, refused)
    alerts = Alerts(settings, job.machine.network)
    mirror = _mirror(job, shared)
    inputs = attrs.evolve(_monitored(job, shared, writer, live, refused, reconciler), mirror=mirror.state)
    monitor = Monitor(inputs, gate) if job.once else Monitor(inputs, gate, alerts.observe)
    notifier = SystemdNotifier(
        job.options.notify,
        flows=lambda: reconciler.reconciled or counters.subscriptions > 0,
        work=lambda: writer.work,
        line=partial(_status_line, counters, coverage, monitor),
    )
    cluster = shared.membership.state if shared.membership else Clustered
    name = job.machine.chance.name()
    reporter = Reporter(monitor, lambda: reconciler.reconciled, name, lambda: writer.queued, alerts, cluster)
    return Stations(writer, history, hydration, reconciler, live, monitor, reporter, notifier, alerts, mirror)


def _hydration(job: Job, shared: Shared, gate: DiskGate, reconciler: Reconciler) -> Hydration:
    owned, opening = shared.owned, job.options.databases.shared
    told = owned.changes.gaps_read
    return Hydration(job.settings, owned.coverage, job.machine, gate, reconciler.want, reconciler.wake, told, opening)


def _mirror(job: Job, shared: Shared) -> Mirror:
    """A run keeps the database.

    What others change, the next run finds.
    """
    settings = attrs.evolve(job.settings, database_url="") if job.once else job.settings
    owned, fence, opening = shared.owned, shared.membership.fence if shared.membership else None, job.options.databases
    return Mirror(settings, owned.changes, owned.coverage, shared.tracked, job.machine, opening.mirror, fence)


def _monitored(
    job: Job, shared: Shared, writer: Writer, live: Live, refused: RefusedTopics, reconciler: Reconciler
) -> MonitorInputs:
    return MonitorInputs(
        job.settings,
        shared.counters,
        shared.owned.coverage,
        shared.clock,
        shared.tracked,
        job.probes,
        job.machine.clock,
        lambda: writer.work,
        refused,
        shared.rest.state,
        live.state,
        lambda: job.start.disk_trouble,
        lambda: reconciler.reconciled,
        lambda: reconciler.settled,
    )


def build_collection(job: Job, shared: Shared, stations: Stations, symbols: Symbols) -> Collection:
    """Builds what follows the list of symbols and the settings."""
    return Collection(
        job.settings,
        shared.tracked,
        shared.owned.coverage,
        (
            *(shared.rest, stations.writer, stations.reconciler, stations.live, stations.monitor.inputs),
            *(stations.alerts, stations.mirror, stations.hydration),
        ),
        shared.owned.store,
        stations.writer,
        stations.live,
        stations.reconciler,
        stations.history,
        _listings(job, shared, symbols),
        stations.mirror,
        stations.hydration,
        job.options.allow_trim,
    )


def page_source(job: Job, shared: Shared, stations: Stations) -> LiveSource:
    """Builds what the page reads."""
    owned, clock, directory = shared.owned, shared.clock, job.settings.data_dir
    return LiveSource(
        directory,
        owned.coverage,
        shared.tracked,
        owned.checkpoints,
        lambda: clock.now_ms,
        job.machine,
        stations.live.forming,
        lambda: stations.writer.written,
    )


def streamed_series(job: Job, shared: Shared, symbols: Symbols) -> list[Series]:
    """The series to stream from the start."""
    skipped = shared.owned.coverage.skipped
    return [each for each in series_of(job.settings, symbols.trading) if each not in skipped]


def _listings(job: Job, shared: Shared, symbols: Symbols) -> Listings:
    async def trading() -> list[str]:
        return [instrument.symbol for instrument in await shared.rest.instruments() if instrument.trades]

    wanted = job.settings.symbols_here
    takes = shared.membership.takes if shared.membership else job.settings.shard.takes
    return Listings(trading, shared.clock, wanted, set(symbols.trading), takes)


async def exchange_ms(clock: Clock, rest: Rest, by_ms: int) -> int:
    """The exchange's time, asked for anew before the given instant.

    One answer that lies would turn every row into one that has yet to close. Without another answer the one before it
    counts: rows of the future would stay, and go on record as closed. A sound row that is cut is kept and comes back.
    """
    if by_ms <= clock.now_ms:
        return clock.now_ms
    try:
        return await rest.server_time()
    except (Unreachable, RequestError) as trouble:
        log.warning("the exchange does not answer, trying on", why=str(trouble))
        return clock.now_ms or by_ms


def standing_in_cluster(stations: Stations) -> Standing:
    """How this collector is, for the others of its cluster."""
    monitor = stations.monitor
    return standing_of(stations.reporter.report(), monitor.readings, low_disk=not monitor.gate.is_open)


def _status_line(counters: Counters, coverage: CoverageIndex, monitor: Monitor) -> str:
    """How the service is, in a line."""
    written, connections = counted(counters.rows, "candle"), counted(counters.connections, "connection")
    now = f"{written} written, {coverage.candles_in_flight:,} to fetch, {connections}"
    return "; ".join(filter(None, [now, monitor.health.line if monitor.health.reasons else ""]))
