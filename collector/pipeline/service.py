"""The nursery tree: who runs, who outlives whom, and how it ends.

    outer nursery      a deadline is set on it when draining starts
    ├─ writer          ends when its channel ends; its crash ends everything
    └─ inner nursery   producers; cancelled by a stop, when one fails, or when there is nothing left to do
       ├─ live         a task per connection to the stream, with its heartbeat
       ├─ history      the pool of requests
       ├─ reconcile    decides what they ask for
       ├─ listings     follows the exchange's list of symbols
       ├─ settings     read again when somebody asks for it
       ├─ notifier     tells systemd how we are; reads only
       ├─ log          says how often what it left out came
       ├─ monitor      judges how all of it is, once a second; reads only
       ├─ status       says so over HTTP, for the command `run`
       └─ watch        shows progress; reads only

Everything that runs in the background is to be seen here. Signals are the command line's business.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import count
from typing import TypeVar

import attrs
import trio

from collector.bybit.address_limit import AddressLimit, open_address_limit
from collector.bybit.clock import Clock, cancel_when
from collector.bybit.exchange_state import RestState
from collector.bybit.proxies import proxy_for
from collector.bybit.rate_ban import RateBan
from collector.bybit.refused_topics import RefusedTopics
from collector.bybit.rest_client import Rest, open_rest
from collector.bybit.throttle import Throttle
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.events import Event
from collector.core.missing import State, neighbours_joined
from collector.core.pacing import retry_pause_s
from collector.core.planning import NEWEST, SETTLE_MS
from collector.core.text import counted
from collector.errors import CollectorError, RequestError, SettingsError, StorageError, Unreachable, cause_of
from collector.integrity.demand import Demand
from collector.integrity.plan import Plan
from collector.integrity.recheck import Refetch
from collector.integrity.repair import Chosen, Repair, RepairResult, Stock, stored_series
from collector.integrity.samples import Draw
from collector.logs import flush_suppressed, get_logger
from collector.machine import THIS_MACHINE, Machine
from collector.machine.threads import Threads
from collector.monitoring.disk_gate import DiskGate
from collector.monitoring.endpoint import serve_status
from collector.monitoring.monitor import Monitor, MonitorInputs
from collector.monitoring.probes import Probes, probes_of
from collector.monitoring.sd_notify import NotifySocket
from collector.monitoring.status import Reporter
from collector.monitoring.watchdog import SystemdNotifier
from collector.pipeline.collection import Collection, series_of, too_long
from collector.pipeline.history import History
from collector.pipeline.listings import Listings
from collector.pipeline.live import Live
from collector.pipeline.maintenance import Announcements
from collector.pipeline.outcome import Outcome
from collector.pipeline.reconcile import OVERDUE_MS, Reconciler
from collector.pipeline.symbols import Symbols, symbols_to_collect
from collector.pipeline.writer import CHANNEL, Writer, build_writer
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.ledger import Ledger, open_ledger

log = get_logger(__name__)
T = TypeVar("T")

_DRAIN_S = 30.0  # for the writer to write, sync and save what it has received when the producers are gone
_TELL_COUNTS_S = 10.0

Watch = Callable[[Counters, CoverageIndex, RestState], Awaitable[None]]


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
    return await serve(changed, once=not changed.enable_websocket, machine=machine)


async def serve(
    settings: Settings,
    *,
    once: bool,
    stop: trio.Event | None = None,
    watch: Watch | None = None,
    allow_trim: bool = False,
    allow_replace: bool = False,
    mending: Repair | None = None,
    notify: NotifySocket | None = None,
    reload_request: ReloadRequest | None = None,
    status: bool = False,
    probes: Probes | None = None,
    machine: Machine = THIS_MACHINE,
) -> Outcome:
    """Collects until there is nothing left to do (`once`), or until `stop` is set. Raises as `collect` does.

    With `mending`, it is about what is stored, and not about what the settings say is to be collected. With `status` it
    says how it is at a TCP port too, if the settings want that; a script that collects opens none.
    """
    run = _Run(
        settings,
        once,
        trio.Event() if stop is None else stop,
        allow_trim,
        allow_replace,
        mending,
        watch,
        notify or NotifySocket(),
        reload_request,
        status,
        probes or probes_of(settings.data_dir, machine.clock),
        machine,
    )
    try:
        return await _serve(run)
    except BaseExceptionGroup as group:
        cause = cause_of(group, trio.BrokenResourceError)
        if cause is None:
            raise
    raise cause


async def repair(
    settings: Settings,
    chosen: Chosen,
    demand: Demand | None = None,
    draw: Draw | None = None,
    *,
    stop: trio.Event | None = None,
    watch: Watch | None = None,
    allow_replace: bool = False,
    machine: Machine = THIS_MACHINE,
) -> tuple[list[Plan | Refetch], Outcome]:
    """Mends the files of the series that are chosen, and fetches what is then missing. Raises as `collect` does.

    What the last run wanted is, and what is demanded beyond that; by default, what the settings list. With `draw`,
    stretches of what is stored are compared with the exchange, whose rows win.

    Returns:
        What was done about which series, and how the fetching ended.
    """
    mending = Repair(machine.disk, settings, chosen, demand or Demand(settings), draw)
    # What is wanted is the ledger's and the files' to say, not the settings'; and nothing is trimmed.
    only = attrs.evolve(settings, mode="live")
    outcome = await serve(
        only, once=True, stop=stop, watch=watch, allow_replace=allow_replace, mending=mending, machine=machine
    )
    return mending.plans, outcome


@attrs.define
class _Start:
    """What the start waits for."""

    disk_trouble: str = ""  # what the disk refuses

    def refused(self, why: str) -> None:
        """The disk refuses something, or nothing any more."""
        self.disk_trouble = why


@attrs.frozen
class _Run:
    """What is to be done, until when, who looks on, and who is told how it goes."""

    settings: Settings
    once: bool
    stop: trio.Event
    allow_trim: bool
    allow_replace: bool
    mending: Repair | None
    watch: Watch | None
    notify: NotifySocket
    reload_request: ReloadRequest | None
    status: bool
    probes: Probes
    machine: Machine
    start: _Start = attrs.field(factory=_Start)

    @property
    def streams(self) -> bool:
        return self.settings.enable_websocket and not self.once


@attrs.frozen
class _Stations:
    """All who work on one collection. They know one another as far as they have to, and nothing of it runs yet."""

    writer: Writer
    history: History
    reconciler: Reconciler
    live: Live
    monitor: Monitor
    reporter: Reporter
    notifier: SystemdNotifier


async def _serve(run: _Run) -> Outcome:
    began_s = trio.current_time()
    if run.streams:
        _refuse_to_mix(run.settings)
        proxy_for(run.settings.stream_url, os.environ)  # one that cannot be used is said at the start
    elif run.settings.mode == "live" and not run.once:
        raise SettingsError(["[collection] mode: live is what the stream brings, and enable_websocket is off"])
    counters, clock = Counters(), Clock()
    every_series: list[Series] = []
    symbols = Symbols()
    failures: list[ExceptionGroup[CollectorError]] = []
    draining = trio.Event()
    with ExitStack() as owned, open_address_limit(run.settings, run.machine) as limit:
        stock = await _own(run, counters, clock, owned)
        if stock is None:
            seconds = trio.current_time() - began_s
            return Outcome(counters, seconds, 0, missing=(), absent=(), unknown=(), looked=False, stopped=True)
        ledger = stock.ledger
        rate_ban = RateBan(ledger.ban_until_ms(), ledger.save_ban, run.machine.clock.now_ms, ledger.ban_until_ms)
        served = ledger.claimed or bool(stock.store.every_series())
        throttle = Throttle(run.settings, rate_ban, limit, RestState(ever_served=served))
        rest_opened = open_rest(run.settings, throttle, counters, clock, run.machine)
        async with rest_opened as rest, trio.open_nursery() as outer:
            stations = _wired(run, stock, rest, limit, every_series, counters, clock)
            async with _kept(failures), trio.open_nursery() as inner:
                inner.start_soon(cancel_when, run.stop, inner.cancel_scope)
                inner.start_soon(stations.notifier.run)
                inner.start_soon(_flush_suppressed)
                if not run.once:
                    inner.start_soon(Announcements(rest.maintenance, rest.state).follow)
                inner.start_soon(stations.monitor.watch)
                inner.start_soon(partial(serve_status, run.settings, stations.reporter, run.machine, port=run.status))
                if run.watch:
                    inner.start_soon(run.watch, counters, stock.coverage, rest.state)
                symbols = await _choose(run, stock, rest, every_series)
                await _despite_disk(run, partial(stations.writer.open_files, every_series))
                if run.settings.mode == "live" and not run.mending:
                    stock.coverage.want_nothing(every_series)
                stock.coverage.relist(symbols.trading)
                stock.coverage.delist(symbols.delisted)
                send, receive = trio.open_memory_channel[Event](CHANNEL)
                outer.start_soon(_write, stations.writer, receive, draining)
                stations.reporter.queued_answers = lambda: receive.statistics().current_buffer_used
                with send:
                    inner.start_soon(stations.history.work, run.settings.bulk_batch_size, send.clone())
                    if run.streams:
                        # First, so that the candle in progress is whole when it is confirmed; REST has all before it.
                        streamed = series_of(run.settings, symbols.trading)
                        streamed = [each for each in streamed if each not in stock.coverage.left_alone]
                        await inner.start(stations.live.stream, streamed, send.clone())
                if run.once:
                    await stations.reconciler.reconcile_once()
                    inner.cancel_scope.cancel()
                else:
                    collection = _collection(run, stock, stations, rest, every_series, clock, symbols.trading)
                    inner.start_soon(collection.follow_listings)
                    inner.start_soon(collection.follow_disk, stations.monitor.gate)
                    if run.reload_request:
                        inner.start_soon(_follow_settings, run.reload_request, stations.notifier, collection)
                    await stations.reconciler.reconcile()
            draining.set()
            outer.cancel_scope.deadline = trio.current_time() + _DRAIN_S
        if outer.cancel_scope.cancelled_caught:
            log.warning("not all was written in time, the next start fetches the rest", within_s=_DRAIN_S)
        mended = RepairResult()
        if run.mending:
            mended = await run.machine.threads.run(partial(run.mending.finish, stock, clock.now_ms))
    if failures:
        raise failures[0]
    gaps = [(series, gap) for series in every_series for gap in neighbours_joined(stock.coverage.missing(series))]
    return Outcome(
        counters,
        trio.current_time() - began_s,
        len(every_series),
        missing=tuple(each for each in gaps if each[1].state in (State.PENDING, State.RETRYING)),
        absent=tuple(each for each in gaps if each[1].state is State.ABSENT),
        invalid=tuple(each for each in gaps if each[1].state is State.INVALID),
        unknown=symbols.unknown,
        looked=stations.reconciler.looked,
        stopped=run.stop.is_set(),
        left_alone=tuple(stock.coverage.left_alone.values()),
        mended=mended,
    )


@asynccontextmanager
async def _kept(failures: list[ExceptionGroup[CollectorError]]) -> AsyncIterator[None]:
    """Keeps what ends the producers for later: what they have sent is written first, and what is missing goes on
    record."""
    try:
        yield
    except* CollectorError as failure:
        failures.append(failure)


async def _own(run: _Run, counters: Counters, clock: Clock, owned: ExitStack) -> Stock | None:
    """Owns the data directory, with what is on record of it; None if a stop came before the disk let us."""

    def own() -> Stock:
        with ExitStack() as entered:
            settings, disk = run.settings, run.machine.disk
            ledger = entered.enter_context(open_ledger(disk, settings.data_dir, settings.exchange, settings.category))
            stock = _stock(run, ledger)
            owned.push(entered.pop_all())
        return stock

    stock = None
    try:
        return own()
    except StorageError as trouble:
        if run.once:
            raise
        run.start.refused(str(trouble))
    local, coverage = run.machine.clock, CoverageIndex()
    inputs = MonitorInputs(
        run.settings, counters, coverage, clock, (), run.probes, local, disk_trouble=lambda: run.start.disk_trouble
    )
    monitor = Monitor(inputs)
    async with trio.open_nursery() as waiting:
        waiting.start_soon(cancel_when, run.stop, waiting.cancel_scope)
        waiting.start_soon(monitor.watch)
        reporter = Reporter(monitor, lambda: False, run.machine.chance.name())
        waiting.start_soon(partial(serve_status, run.settings, reporter, run.machine, port=run.status, socket=False))
        stock = await _despite_disk(run, partial(run.machine.threads.run, own))
        waiting.cancel_scope.cancel()
    return stock


async def _despite_disk(run: _Run, act: Callable[[], Awaitable[T]]) -> T:
    """What comes of an act at the start. A service tries again for as long as the disk refuses; a command ends."""
    for times in count(1):
        try:
            done = await act()
        except StorageError as trouble:
            if run.once:
                raise
            run.start.refused(str(trouble))
            log.warning("the disk refuses, trying on", why=str(trouble))
        else:
            run.start.refused("")
            return done
        run.notify.starting(2 * retry_pause_s(times))
        run.notify.status(f"starting: degraded: {run.start.disk_trouble}")
        await trio.sleep(retry_pause_s(times))
    raise AssertionError("patience has no end")


def _stock(run: _Run, ledger: Ledger) -> Stock:
    """What is stored, as it is on record; whatever is missing is asked for anew."""
    coverage = CoverageIndex()
    checkpoints = ledger.load(coverage)
    coverage.reset_attempts()
    return Stock(Store(run.settings.data_dir, run.machine.disk, run.allow_replace), ledger, coverage, checkpoints)


def _wired(
    run: _Run,
    stock: Stock,
    rest: Rest,
    limit: AddressLimit,
    every_series: list[Series],
    counters: Counters,
    clock: Clock,
) -> _Stations:
    settings, coverage = run.settings, stock.coverage
    exchange_ms, mends = partial(_exchange_ms, clock, rest), run.mending is not None
    writer = build_writer(stock, settings, run.machine, counters, exchange_ms, spares_long=mends)
    gate = DiskGate()
    history = History(rest, coverage, counters, gate, retry_forever=not run.once)
    settle_ms = OVERDUE_MS if run.streams else SETTLE_MS
    reconciler = Reconciler(
        settings, every_series, coverage, clock, rest.server_time, history.fetch, settle_ms, rest.pause
    )
    refused = RefusedTopics()
    live = Live(settings, coverage, clock, counters, reconciler.wake, limit, run.machine, refused)
    local = run.machine.clock
    inputs = MonitorInputs(
        settings,
        counters,
        coverage,
        clock,
        every_series,
        run.probes,
        local,
        lambda: writer.work,
        refused,
        rest.state,
        live.state,
        lambda: run.start.disk_trouble,
    )
    monitor = Monitor(inputs, gate)
    notifier = SystemdNotifier(
        run.notify,
        flows=lambda: reconciler.looked or counters.subscriptions > 0,
        work=lambda: writer.work,
        line=partial(_line, counters, coverage, monitor),
    )
    reporter = Reporter(monitor, lambda: reconciler.looked, run.machine.chance.name())
    return _Stations(writer, history, reconciler, live, monitor, reporter, notifier)


async def _choose(run: _Run, stock: Stock, rest: Rest, every_series: list[Series]) -> Symbols:
    """Adds the series that it is about, and returns what there is of their symbols."""
    symbols = Symbols()
    if run.mending:
        mended, symbols = await _mend(run.mending, rest, stock, run.machine.threads)
        every_series += mended
    else:
        stored = {series.symbol for series in (*stock.checkpoints, *stock.store.every_series())}
        symbols = await symbols_to_collect(run.settings, rest, stored, retry_forever=not run.once)
        await _despite_disk(run, partial(run.machine.threads.run, stock.ledger.claim))
        every_series += series_of(run.settings, (*symbols.trading, *symbols.delisted))
    if run.settings.limit_to_50_entries and not run.allow_trim and not run.mending:
        _refuse_to_trim(stock, every_series)
    return symbols


def _collection(
    run: _Run,
    stock: Stock,
    stations: _Stations,
    rest: Rest,
    every_series: list[Series],
    clock: Clock,
    trading: Iterable[str],
) -> Collection:
    return Collection(
        run.settings,
        every_series,
        stock.coverage,
        (rest, stations.writer, stations.reconciler, stations.live, stations.monitor.inputs),
        stock.store,
        stations.writer,
        stations.live,
        stations.reconciler,
        _listings(run.settings, rest, clock, trading),
        run.allow_trim,
    )


async def _mend(mending: Repair, rest: Rest, stock: Stock, threads: Threads) -> tuple[list[Series], Symbols]:
    """Mends what is stored, by the exchange's time; the series that were looked at, and what is known of their symbols.

    One answer that lies about the time must not make of every row one that is not closed yet.
    """
    await rest.server_time()
    now_ms = max(
        [
            await rest.server_time(),
            *(checkpoint.held.bounds.end_ms for checkpoint in stock.checkpoints.values() if checkpoint.held),
        ]
    )
    stock.ledger.claim()
    spans, new = mending.demanded(stock, now_ms)
    unknown = new - {each.symbol for each in await rest.instruments() if each.trades} if new else new
    for series, span in spans.items():
        if series.symbol not in unknown:
            stock.coverage.want(series, stock.coverage[series].wanted | span)
    every_series = stored_series(stock.store, stock.coverage, mending.chosen)
    for series in every_series:
        await threads.run(partial(mending.repair, stock, series, now_ms))
    refetched = await threads.run(partial(mending.refetch, stock, every_series, now_ms))
    stock.coverage.expire_claims(every_series)
    return sorted({*every_series, *refetched}), Symbols(unknown=tuple(sorted(unknown)))


async def _follow_settings(reload_request: ReloadRequest, notifier: SystemdNotifier, collection: Collection) -> None:
    """Reads the settings again whenever somebody asks for it, until cancelled."""
    while True:
        await reload_request.wait()
        with notifier.reloading():
            if (read := reload_request.load()) is not None:
                await collection.apply(read)


async def _write(writer: Writer, receive: trio.MemoryReceiveChannel[Event], draining: trio.Event) -> None:
    """Runs the writer. What it stands at is said when the end takes long: a system call cannot be cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell_slow_end, writer, draining)
        await writer.write(receive)
        nursery.cancel_scope.cancel()


async def _tell_slow_end(writer: Writer, draining: trio.Event) -> None:
    await draining.wait()
    await trio.sleep(_DRAIN_S / 2)
    log.warning("the end waits for the disk", at=writer.work.at)


async def _flush_suppressed() -> None:
    """The log says in time how often what it left out came, also when nothing else is said; until cancelled."""
    while True:
        await trio.sleep(_TELL_COUNTS_S)
        flush_suppressed()


async def _exchange_ms(clock: Clock, rest: Rest, by_ms: int) -> int:
    """The exchange's time. One answer that lies must not make of every row one that is not closed yet: should the
    instant not have come, the exchange is asked again; without an answer it counts as come, and nothing is cut."""
    if by_ms <= clock.now_ms:
        return clock.now_ms
    try:
        return await rest.server_time()
    except (Unreachable, RequestError) as trouble:
        log.warning("the exchange does not answer, trying on", why=str(trouble))
        return by_ms


def _line(counters: Counters, coverage: CoverageIndex, monitor: Monitor) -> str:
    """How we are, in a line."""
    written, connections = counted(counters.rows, "candle"), counted(counters.connections, "connection")
    now = f"{written} written, {coverage.candles_in_flight:,} to fetch, {connections}"
    return "; ".join(filter(None, [now, monitor.health.line if monitor.health.reasons else ""]))


def _listings(settings: Settings, rest: Rest, clock: Clock, found: Iterable[str]) -> Listings:
    async def trading() -> list[str]:
        return [instrument.symbol for instrument in await rest.instruments() if instrument.trades]

    return Listings(trading, clock, None if settings.fetch_all_symbols else settings.symbols, set(found))


def _refuse_to_mix(settings: Settings) -> None:
    """Live candles come from the market that history comes from.

    Raises:
        SettingsError: history comes from another site, and nobody said where that one streams; or the stream's address
            names another category.
    """
    stream = settings.stream_url
    named = stream.rpartition("/")[2]
    if not stream:
        what = (
            f"rest_url is a market of its own, {settings.exchange}; name its stream too, such as "
            f"wss://stream-testnet.bybit.com/v5/public/{settings.category}, or do without (--no-websocket)"
        )
    elif named != settings.category and named in ("linear", "spot", "inverse", "option"):
        what = f"{stream} streams {named}, and the category is {settings.category}"
    else:
        return
    raise SettingsError([f"[exchange] ws_url: {what}"])


def _refuse_to_trim(stock: Stock, every_series: Sequence[Series]) -> None:
    """The 50-row limit never destroys history by accident.

    Raises:
        SettingsError: a file holds more rows than the limit would leave.
    """
    long = [
        f"{path} holds {counted(rows, 'row')}"
        for _, path, rows in too_long(stock.store, every_series, stock.checkpoints)
    ]
    if long:
        more = f" (and {counted(len(long) - 3, 'more file')})" if len(long) > 3 else ""
        raise SettingsError(
            [
                f"[collection] limit_to_50_entries: {', '.join(long[:3])}{more}, and the limit would leave {NEWEST}; "
                "switch it off, or allow it with --allow-trim"
            ]
        )
