"""The service: four jobs, each a nursery to be read at a glance.

Nesting is lifetime, and so the order of the end.

    run, fetch, repair or import            systemd is told of the end as soon as it is asked for
    └─ open_service        the data directory, owned; the limit of this address; the REST client
       └─ open_writing     the writer: ends when its channel ends; its crash ends everything; a deadline while draining
          └─ producers     cancelled by a stop, when one fails, or when nothing is left to do
             ├─ live         a task per connection to the stream, with its heartbeat         (run)
             ├─ listings     follows the exchange's list of symbols                          (run)
             ├─ membership   renews the leases of a cluster                                  (run)
             ├─ slots        follows what they say is ours                                   (run)
             ├─ disk         fetches what was given up for want of space                     (run)
             ├─ settings     read again when somebody asks for it                            (run)
             ├─ maintenance  asks for announcements                                          (run)
             ├─ hydration    fills files from the table that a cluster shares                (run)
             ├─ history      the pool of requests
             ├─ reconcile    decides what they ask for
             ├─ notifier     tells systemd how the service is; reads only
             ├─ log          flushes the counts of suppressed lines
             ├─ monitor      judges how all of it is, once a second; reads only
             ├─ status       serves that over HTTP
             ├─ display      shows what the status has; reads only
             └─ watch        reads numbers, for tests and the demo
       mirror                copies what was flushed into a database; ends soon after the writer               (run)
       alerts                posts what the monitor tells; ends while the writer drains                 (run)

Everything that runs in the background is to be seen here. Signals are the command line's business.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial

import attrs
import trio

from collector.bybit.address_limit import open_address_limit
from collector.bybit.ban_file import recorded_rate_ban
from collector.bybit.clock import Clock, cancel_when
from collector.bybit.exchange_state import RestState
from collector.bybit.rest_client import open_rest
from collector.bybit.throttle import Throttle
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.errors import CollectorError, SettingsError, cause_of
from collector.core.missing import Gap, State, gaps_within, neighbours_joined
from collector.core.spans import NOTHING, Spans
from collector.integrity.demand import Demand
from collector.integrity.recheck import Refetch
from collector.integrity.repair import Chosen, Repair, RepairResult
from collector.integrity.repair_plan import Plan
from collector.integrity.samples import Draw
from collector.logs import flush_suppressed, get_logger
from collector.machine import THIS_MACHINE, Machine
from collector.monitoring.alerts import open_alerts
from collector.monitoring.systemd_watchdog import telling_end
from collector.page.endpoint import serve_status
from collector.pipeline.announcement import collecting
from collector.pipeline.draining import open_writing
from collector.pipeline.fetch_planning import announce_plan
from collector.pipeline.job import Import, Job, ServeOptions, Watch
from collector.pipeline.maintenance import Announcements
from collector.pipeline.membership import Membership, open_membership
from collector.pipeline.mirror import open_mirror
from collector.pipeline.outcome import Outcome
from collector.pipeline.startup import (
    choose_symbols,
    despite_disk,
    open_data_directory,
    refuse_unusable,
    repair_files,
    want_imported,
)
from collector.pipeline.stations import (
    Shared,
    Stations,
    build_collection,
    build_stations,
    page_source,
    standing_in_cluster,
    streamed_series,
)
from collector.pipeline.symbols import Symbols
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings

__all__ = ["Import", "ServeOptions", "Watch", "collect", "fetch_imported", "repair", "serve"]

log = get_logger(__name__)

_FLUSH_SUPPRESSED_S = 10.0


async def collect(
    settings: Settings,
    symbols: Iterable[str] | None = None,
    timeframes: Iterable[str] | None = None,
    days: int | None = None,
    mode: str = "full",
    *,
    machine: Machine = THIS_MACHINE,
) -> Outcome:
    """Collects into the files of `settings.data_dir`: history, then live, until it is cancelled.

    With `enable_websocket` off there is only history, and this returns when nothing more can be had at the moment. Runs
    under trio. Cancelling it is safe at any moment: the files hold whole rows, and the next call goes on.

    Args:
        settings: everything else; `Settings.load()` reads a file.
        symbols: collect these, whatever the settings list.
        timeframes: the exchange's names, such as `["1", "60", "D"]`.
        days: how far back.
        mode: `full`, `recent` (the 50 newest candles of each series) or `live` (no history).
        machine: what it runs on; a simulation gives one of its own.

    Raises:
        SettingsError: something has to be changed first.
        DirectoryInUse: another collector owns the directory.
        Unreachable, Refused: the exchange cannot be reached, or does not serve us.
        StorageError: the disk refuses.
    """
    changes: dict[str, object] = {"symbols": symbols, "timeframes": timeframes, "days_to_fetch": days, "mode": mode}
    changes = {key: value for key, value in changes.items() if value is not None}
    if symbols is not None:
        changes["fetch_all_symbols"] = False
    changed = attrs.evolve(settings, **changes)
    options = ServeOptions(machine=machine)
    return await serve(changed, once=not changed.enable_websocket, options=options)


async def serve(settings: Settings, *, once: bool, options: ServeOptions | None = None) -> Outcome:
    """Collects until all is had (`once`), or until stopped.

    Raises as `collect` does.
    """
    job = Job(settings, options or ServeOptions(), once)
    return await _serve(job, _fetch if once else _run)


async def repair(
    settings: Settings,
    chosen: Chosen,
    demand: Demand | None = None,
    draw: Draw | None = None,
    *,
    options: ServeOptions | None = None,
) -> tuple[list[Plan | Refetch], Outcome]:
    """Repairs the chosen files, and fetches what is then missing.

    Raises as `collect` does.

    Wanted is what the last run wanted, and what is demanded beyond that; by default, what the settings list. With
    `draw`, stretches of what is stored are compared with the exchange, whose rows win.

    Returns:
        What was done about which series, and how the fetching ended.
    """
    options = options or ServeOptions()
    work = Repair(options.machine.disk, settings, chosen, demand or Demand(settings), draw)
    outcome = await _serve(Job(settings, options, once=True, repair=work), partial(_repair, work))
    return work.plans, outcome


async def fetch_imported(settings: Settings, imports: Import, *, options: ServeOptions | None = None) -> Outcome:
    """Fetches the spans of an import.

    Raises as `collect` does.
    """
    return await _serve(Job(settings, options or ServeOptions(), once=True, imports=imports), _fetch)


@attrs.define(eq=False)
class _Service:
    """One service at work, and what became of it."""

    job: Job
    shared: Shared
    stations: Stations
    symbols: Symbols = attrs.field(factory=Symbols)
    result: RepairResult = attrs.field(factory=RepairResult)
    failures: list[ExceptionGroup[CollectorError]] = attrs.field(factory=list)

    @contextmanager
    def keep_failures(self) -> Iterator[None]:
        """Keeps the errors of producers until the writer has drained."""
        try:
            yield
        except* CollectorError as failure:
            self.failures.append(failure)

    @contextmanager
    def wanting_closed(self) -> Iterator[None]:
        """Has on record at the end what has closed and did not come; the writer has to be at work until then."""
        try:
            yield
        finally:
            self.stations.writer.mark_unsaved(self.stations.reconciler.want_closed())

    def start_monitoring(self, nursery: trio.Nursery) -> None:
        """Starts what watches a service, and what stops it."""
        options, stations, settings = self.job.options, self.stations, self.job.settings
        nursery.start_soon(cancel_when, options.stop, nursery.cancel_scope)
        nursery.start_soon(stations.notifier.run)
        nursery.start_soon(_flush_suppressed)
        nursery.start_soon(stations.monitor.watch)
        serve = partial(
            serve_status,
            settings,
            stations.reporter,
            options.machine,
            page_source(self.job, self.shared, stations),
        )
        nursery.start_soon(partial(serve, port=options.status))
        if options.display:
            nursery.start_soon(options.display, stations.reporter.report)
        if options.watch:
            nursery.start_soon(options.watch, self.shared.counters, self.shared.owned.coverage, self.shared.rest.state)

    async def open_chosen(self) -> None:
        """Chooses the symbols and opens their files."""
        if self.job.imports:
            self.symbols = await want_imported(self.job, self.shared, self.job.imports)
            await self.open_files()
            self._note_listings()
            return
        self.symbols = await choose_symbols(self.job, self.shared)
        job, now_ms = self.job, self.shared.clock.now_ms
        about = collecting(job.settings, self.shared.tracked, now_ms, streams=job.streams, dates=job.options.dates)
        sentence, facts = about
        log.info("collecting", **facts, sentence=sentence)
        await self.open_files()
        if self.job.settings.mode == "live":
            self.shared.owned.coverage.want_nothing(self.shared.tracked)
        self._note_listings()

    async def open_repaired(self, work: Repair) -> None:
        """Repairs the files and opens them."""
        self.symbols = await repair_files(self.job, self.shared, work)
        await self.open_files()
        self._note_listings()

    async def open_files(self) -> None:
        opening = partial(self.stations.writer.open_files, list(self.shared.tracked))
        await despite_disk(self.job, opening)

    async def announce(self, due: Mapping[Series, Spans], now_ms: int) -> None:
        """Says what will be fetched.

        Raises:
            NoRoom: it does not fit on the disk, and nothing else is to be done.
        """
        await announce_plan(self.job, self.shared, self.symbols, due, now_ms)

    def _note_listings(self) -> None:
        self.shared.owned.coverage.relist(self.symbols.trading)
        self.shared.owned.coverage.delist(self.symbols.delisted)

    def _chosen(self, series: Series, gaps: Sequence[Gap]) -> Sequence[Gap]:
        """The gaps that this job is about: of a fetch of dates those in them, of an import those in its spans."""
        if self.job.imports:
            return [*neighbours_joined(gaps_within(gaps, self.job.imports.spans.get(series, NOTHING)))]
        dates = self.job.options.dates if self.job.once and not self.job.repair else None
        return [*neighbours_joined(gaps_within(gaps, dates.candles(series.timeframe)) if dates else gaps)]

    def outcome(self, seconds: float) -> Outcome:
        coverage, tracked = self.shared.owned.coverage, self.shared.tracked
        gaps = [(series, gap) for series in tracked for gap in self._chosen(series, coverage.missing(series))]
        return Outcome(
            self.shared.counters,
            seconds,
            len(tracked),
            missing=tuple(each for each in gaps if each[1].state in (State.PENDING, State.RETRYING)),
            absent=tuple(each for each in gaps if each[1].state is State.ABSENT),
            invalid=tuple(each for each in gaps if each[1].state is State.INVALID),
            unknown=self.symbols.unknown,
            looked=self.stations.reconciler.reconciled,
            stopped=self.job.options.stop.is_set(),
            left_alone=tuple(coverage.skipped.values()),
            mended=self.result,
            connections=self.stations.live.state.wanted,
            complete_after_s=self.stations.monitor.milestones.complete_after_s,
        )


async def _fetch(service: _Service) -> None:
    """Fetches what is missing now, and ends."""
    stations, workers = service.stations, service.job.settings.bulk_batch_size
    async with open_writing(stations.writer) as start_writer:
        with service.keep_failures():
            async with trio.open_nursery() as producers:
                service.start_monitoring(producers)
                await service.open_chosen()
                answers = start_writer()
                with answers:
                    producers.start_soon(stations.history.work, workers, answers.clone())
                await stations.reconciler.reconcile_once(service.announce)
                await stations.monitor.finish()
                producers.cancel_scope.cancel()


async def _run(service: _Service) -> None:
    """Fetches, streams, and follows lists and settings, until stopped."""
    job, shared, stations = service.job, service.shared, service.stations
    stop, membership = job.options.stop, shared.membership
    async with (
        open_alerts(stations.alerts, stop),
        open_membership(membership),
        open_mirror(stations.mirror, stop),
        open_writing(stations.writer) as start_writer,
    ):
        with service.keep_failures():
            async with trio.open_nursery() as producers:
                service.start_monitoring(producers)
                producers.start_soon(Announcements(shared.rest.maintenance, shared.rest.state).follow)
                if membership:
                    await membership.join(partial(standing_in_cluster, stations))
                    producers.start_soon(membership.renew)
                await service.open_chosen()
                await stations.hydration.claim(shared.tracked)
                answers = start_writer()
                with answers, service.wanting_closed():
                    producers.start_soon(stations.hydration.work, answers.clone())
                    producers.start_soon(stations.history.work, job.settings.bulk_batch_size, answers.clone())
                    if job.streams:
                        # First, so that the candle in progress is whole when it is confirmed; REST has all before it.
                        streamed = streamed_series(job, shared, service.symbols)
                        await producers.start(stations.live.stream, streamed, answers.clone())
                    collection = build_collection(job, shared, stations, service.symbols)
                    producers.start_soon(collection.follow_listings)
                    if membership:
                        producers.start_soon(collection.follow_slots, membership)
                    producers.start_soon(collection.follow_disk, stations.monitor.gate)
                    if request := job.options.reload_request:
                        producers.start_soon(follow_settings, request, stations.notifier.reloading, collection.apply)
                    await stations.reconciler.reconcile(service.announce)


async def _repair(work: Repair, service: _Service) -> None:
    """Repairs the files, fetches what is then missing, and ends."""
    shared, stations, workers = service.shared, service.stations, service.job.settings.bulk_batch_size
    async with open_writing(stations.writer) as start_writer:
        with service.keep_failures():
            async with trio.open_nursery() as producers:
                service.start_monitoring(producers)
                await service.open_repaired(work)
                answers = start_writer()
                with answers:
                    producers.start_soon(stations.history.work, workers, answers.clone())
                await stations.reconciler.reconcile_once()
                await stations.monitor.finish()
                producers.cancel_scope.cancel()
    finish = partial(work.finish, shared.owned, shared.clock.now_ms)
    service.result = await service.job.machine.threads.run(finish)


async def _serve(job: Job, work: Callable[[_Service], Awaitable[None]]) -> Outcome:
    """Does a job.

    Returns its outcome or raises its one cause.
    """
    try:
        async with telling_end(job.options.notify, job.options.stop):
            return await _work(job, work)
    except BaseExceptionGroup as group:
        cause = cause_of(group, trio.BrokenResourceError)
        if cause is None:
            raise
    raise cause


async def _work(job: Job, work: Callable[[_Service], Awaitable[None]]) -> Outcome:
    began_s = trio.current_time()
    refuse_unusable(job)
    counters = Counters()
    async with _open_service(job, counters) as service:
        if service is None:
            seconds = trio.current_time() - began_s
            return Outcome(counters, seconds, 0, missing=(), absent=(), unknown=(), looked=False, stopped=True)
        await work(service)
    if service.failures:
        raise service.failures[0]
    return service.outcome(trio.current_time() - began_s)


@asynccontextmanager
async def _open_service(job: Job, counters: Counters) -> AsyncIterator[_Service | None]:
    """Owns what a service needs while entered.

    Yields None if stopped before the disk was ready.
    """
    clock = Clock(job.machine.clock.since_boot_s)
    with open_address_limit(job.settings, job.machine) as limit:
        async with open_data_directory(job, counters, clock) as owned:
            if owned is None:
                yield None
                return
            rate_ban = recorded_rate_ban(job.machine, job.settings.data_dir)
            served = owned.ledger.claimed or bool(owned.store.every_series())
            throttle = Throttle(job.settings, rate_ban, limit, RestState(ever_served=served))
            async with open_rest(job.settings, throttle, counters, clock, job.machine) as rest:
                joins = bool(job.settings.cluster_url) and not job.once
                membership = Membership(job.settings, job.machine, job.options.databases.leases) if joins else None
                shared = Shared(owned, rest, limit, clock, counters, membership)
                yield _Service(job, shared, build_stations(job, shared))


async def follow_settings(
    request: ReloadRequest,
    reloading: Callable[[], AbstractContextManager[None]],
    apply: Callable[[Settings], Awaitable[None]],
) -> None:
    """Reads the settings again whenever somebody asks for it, until cancelled; says what is wrong with them."""
    while True:
        await request.wait()
        with reloading():
            try:
                read = request.load()
            except SettingsError as error:
                for problem in error.problems:
                    log.warning("settings are wrong, going on with the old ones", problem=problem)
            else:
                await apply(read)


async def _flush_suppressed() -> None:
    """Logs the counts of suppressed lines in time, until cancelled."""
    while True:
        await trio.sleep(_FLUSH_SUPPRESSED_S)
        flush_suppressed()
