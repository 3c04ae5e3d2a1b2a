"""The start of a service: data directory, symbols, files, and refusals."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import count
from typing import TypeVar

import trio

from collector.bybit.clock import Clock, cancel_when
from collector.bybit.proxies import proxy_for
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.date_range import DateRange
from collector.core.errors import SettingsError, StorageError
from collector.core.pacing import retry_pause_s
from collector.core.request_windows import NEWEST
from collector.core.text import counted
from collector.feeder.database import parse_database
from collector.integrity.repair import OwnedDirectory, Repair, stored_series
from collector.logs import get_logger
from collector.monitoring.monitor import Monitor, MonitorInputs
from collector.monitoring.status import Reporter
from collector.page.endpoint import serve_status
from collector.pipeline.collection import series_of, too_long
from collector.pipeline.job import Import, Job
from collector.pipeline.stations import Shared
from collector.pipeline.symbols import Symbols, symbols_to_collect, tell_unknown
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.ledger import Ledger, open_ledger

log = get_logger(__name__)
T = TypeVar("T")


def refuse_unusable(job: Job) -> None:
    """Looks at the settings before anything is opened.

    Raises:
        SettingsError: the settings contradict one another.
    """
    if job.options.dates and job.by_settings:
        _refuse_end(job, job.options.dates)
    if job.settings.database_url and not job.once:
        parse_database(job.settings.database_url)  # raises if it is unusable, or psycopg is missing
    if job.streams:
        _refuse_to_mix(job.settings)
        proxy_for(job.settings.stream_url, os.environ)  # raises if it is unusable
    elif job.settings.mode == "live" and not job.once:
        raise SettingsError(["[collection] mode: live is what the stream brings, and enable_websocket is off"])


@asynccontextmanager
async def open_data_directory(job: Job, counters: Counters, clock: Clock) -> AsyncIterator[OwnedDirectory | None]:
    """Owns the data directory while entered; yields its contents.

    Yields None if stopped before the disk was ready.

    A run waits for a disk that refuses, and serves its status meanwhile; a command raises.
    """
    with ExitStack() as exits:

        def own() -> OwnedDirectory:
            with ExitStack() as entered:
                settings, disk = job.settings, job.machine.disk
                market = settings.exchange, settings.category, settings.shard
                opened = open_ledger(disk, settings.data_dir, *market, allow_shard=job.options.allow_shard)
                owned = _load(job, entered.enter_context(opened))
                exits.push(entered.pop_all())
            return owned

        owned = None
        try:
            owned = own()
        except StorageError as trouble:
            if job.once:
                raise
            job.start.refused(str(trouble))
        if owned is None:
            owned = await _wait_for_disk(job, counters, clock, own)
        yield owned


async def _wait_for_disk(
    job: Job, counters: Counters, clock: Clock, own: Callable[[], OwnedDirectory]
) -> OwnedDirectory | None:
    owned = None
    local, coverage = job.machine.clock, CoverageIndex()
    inputs = MonitorInputs(
        job.settings, counters, coverage, clock, (), job.probes, local, disk_trouble=lambda: job.start.disk_trouble
    )
    monitor = Monitor(inputs)
    reporter = Reporter(monitor, lambda: False, job.machine.chance.name())
    async with trio.open_nursery() as waiting:
        waiting.start_soon(cancel_when, job.options.stop, waiting.cancel_scope)
        waiting.start_soon(monitor.watch)
        port = job.options.status
        waiting.start_soon(partial(serve_status, job.settings, reporter, job.machine, port=port, socket=False))
        if job.options.display:
            waiting.start_soon(job.options.display, reporter.report)
        owned = await despite_disk(job, partial(job.machine.threads.run, own))
        waiting.cancel_scope.cancel()
    return owned


def _load(job: Job, ledger: Ledger) -> OwnedDirectory:
    """What is stored, as recorded.

    What is missing is due anew.
    """
    coverage = CoverageIndex()
    checkpoints = ledger.load(coverage)
    coverage.reset_attempts()
    store = Store(job.settings.data_dir, job.machine.disk, job.options.allow_replace)
    return OwnedDirectory(store, ledger, coverage, checkpoints)


async def despite_disk(job: Job, act: Callable[[], Awaitable[T]]) -> T:
    """Returns the result of an act that needs the disk.

    A run repeats it while the disk refuses, a command raises.
    """
    for times in count(1):
        try:
            done = await act()
        except StorageError as trouble:
            if job.once:
                raise
            job.start.refused(str(trouble))
            log.warning("the disk refuses, trying on", why=str(trouble))
        else:
            job.start.recovered()
            return done
        job.options.notify.starting(2 * retry_pause_s(times))
        job.options.notify.status(f"starting: degraded: {job.start.disk_trouble}")
        await trio.sleep(retry_pause_s(times))
    raise AssertionError("the retries have no end")


async def choose_symbols(job: Job, shared: Shared) -> Symbols:
    """Tracks the series to be collected; returns their symbols.

    Raises:
        SettingsError: nothing is left to collect, the dates lie in the future, or a file is longer than the limit.
    """
    owned = shared.owned
    stored = {series.symbol for series in (*owned.checkpoints, *owned.store.every_series())}
    takes = shared.membership.takes if shared.membership else None
    symbols = await symbols_to_collect(job.settings, shared.rest, stored, retry_forever=not job.once, takes=takes)
    if job.options.dates and (problem := job.options.dates.problem(shared.clock.now_ms)):
        raise SettingsError([problem])
    await despite_disk(job, partial(job.machine.threads.run, owned.ledger.claim))
    shared.tracked.add(series_of(job.settings, (*symbols.trading, *symbols.delisted)))
    if job.settings.limit_to_50_entries and not job.options.allow_trim:
        look = partial(_refuse_to_trim, owned, shared.tracked)
        await despite_disk(job, partial(job.machine.threads.run, look))
    return symbols


async def repair_files(job: Job, shared: Shared, repair: Repair) -> Symbols:
    """Repairs what is stored and tracks it; returns its symbols.

    It goes by the exchange's time. One answer that lies about it would turn every row into one that has yet to close.
    """
    rest, owned, threads = shared.rest, shared.owned, job.machine.threads
    await rest.server_time()
    closed_ms = [checkpoint.held.bounds.end_ms for checkpoint in owned.checkpoints.values() if checkpoint.held]
    now_ms = max([await rest.server_time(), *closed_ms])
    owned.ledger.claim()
    spans, new = repair.demanded(owned, now_ms)
    unknown = new - {each.symbol for each in await rest.instruments() if each.trades} if new else new
    for series, span in spans.items():
        if series.symbol not in unknown:
            owned.coverage.want_also(series, span)
    every_series = stored_series(owned.store, owned.coverage, repair.chosen)
    shared.counters.files += len(every_series)
    for series in every_series:
        await threads.run(partial(repair.repair, owned, series, now_ms))
        shared.counters.files_read += 1
    refetched = await threads.run(partial(repair.refetch, owned, every_series, now_ms))
    owned.coverage.expire_claims(every_series)
    shared.tracked.add(sorted({*every_series, *refetched}))
    return Symbols(unknown=tuple(sorted(unknown)))


def _refuse_end(job: Job, dates: DateRange) -> None:
    """An end is for history that is kept.

    Raises:
        SettingsError: what is wanted goes on after the end, or is more than the limit keeps.
    """
    if dates.end_ms is None:
        return
    if not job.once:
        raise SettingsError(["--end: run goes on with what closes; use fetch for history up to a date"])
    if job.settings.newest_only:
        raise SettingsError(
            [
                f"--end: only the {NEWEST} newest candles are wanted (limit_to_50_entries, mode), and an end leaves "
                f"them out; add {job.settings.without_limit}"
            ]
        )


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


async def want_imported(job: Job, shared: Shared, imports: Import) -> Symbols:
    """Has the spans of an import wanted, beside what was wanted before; returns its symbols.

    A symbol that does not trade is asked for where its candles are stored, or where the import says so.
    """
    rest, owned = shared.rest, shared.owned
    listed = {each.symbol for each in await rest.instruments() if each.trades}
    now_ms = await rest.server_time()
    owned.ledger.claim()
    await job.machine.threads.run(partial(imports.prepare, owned))
    symbols = {series.symbol for series in imports.spans}
    stored = {series.symbol for series in (*owned.checkpoints, *owned.store.every_series())}
    delisted = symbols - listed if imports.asks_unlisted else symbols & stored - listed
    tracked = sorted(series for series in imports.spans if series.symbol in listed | delisted)
    for series in tracked:
        closed = imports.spans[series].within(0, series.timeframe.floor(now_ms))
        owned.coverage.want_also(series, closed)
    shared.tracked.add(tracked)
    shared.counters.files += len(tracked)
    unknown = tuple(sorted(symbols - listed - delisted))
    where = f"{job.settings.category} at {job.settings.rest_url}"
    tell_unknown(unknown, listed, where)
    return Symbols(frozenset(symbols & listed), frozenset(delisted), unknown)


def _refuse_to_trim(owned: OwnedDirectory, every_series: Collection[Series]) -> None:
    """The 50-row limit never destroys history by accident.

    Raises:
        SettingsError: a file holds more rows than the limit would leave.
    """
    long = [
        f"{path} holds {counted(rows, 'row')}"
        for _, path, rows in too_long(owned.store, every_series, owned.checkpoints)
    ]
    if long:
        more = f" (and {counted(len(long) - 3, 'more file')})" if len(long) > 3 else ""
        raise SettingsError(
            [
                f"[collection] limit_to_50_entries: {', '.join(long[:3])}{more}, and the limit would leave {NEWEST}; "
                "switch it off, or allow it with --allow-trim"
            ]
        )
