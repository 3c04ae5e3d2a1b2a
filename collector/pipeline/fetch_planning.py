"""The plan of a fetch, from what is stored and what the exchange lists.

A fetch announces its plan before the first request for candles, and ends there if it cannot fit. A dry run makes the
same plan beside whoever owns the directory: it asks for the list of symbols and the time, and for the first candle of a
symbol whose listing date neither the list nor the ledger tells.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress

import attrs
import trio

from collector.bybit.rest_client import Rest
from collector.bybit.shared_client import open_shared_rest
from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.date_range import DateRange
from collector.core.errors import NoRoom, RequestError, SettingsError
from collector.core.fetch_plan import ROW_BYTES, DiskRoom, FetchPlan, plan_series
from collector.core.pacing import request_interval_s
from collector.core.rate_limit import Demand
from collector.core.rows import candles_in
from collector.core.spans import NOTHING, Spans
from collector.core.verification import unverified_at_opening
from collector.integrity.gaps import held_in_file
from collector.logs import get_logger
from collector.machine import Machine
from collector.machine.own_files import OWN
from collector.monitoring.probes import Probes, file_system_of, free_bytes, nearest_directory
from collector.pipeline.collection import series_of
from collector.pipeline.job import Job, ServeOptions
from collector.pipeline.reconcile import wanted_history
from collector.pipeline.startup import refuse_unusable
from collector.pipeline.stations import Shared
from collector.pipeline.symbols import Symbols, symbols_to_collect
from collector.settings.settings import Settings
from collector.storage.data_directory import checked_identity
from collector.storage.inspection import Checkpoint, valid_checkpoint
from collector.storage.ledger_reading import LedgerSnapshot, read_ledger
from collector.storage.stored import known_series

log = get_logger(__name__)

_MB = 1_000_000
_ASKED_AT_ONCE = 10  # questions for listing dates
_LIST_PAGE = 1000  # symbols on a page of the exchange's list


@attrs.define(eq=False)
class FetchPlanner:
    """Makes the plan of what is due.

    `symbols` say when each was listed.
    """

    settings: Settings
    coverage: CoverageIndex
    checkpoints: Mapping[Series, Checkpoint]
    symbols: Symbols
    room: DiskRoom
    _listed_ms: dict[str, int] = attrs.field()

    @_listed_ms.default
    def _as_listed(self) -> dict[str, int]:
        return dict(self.symbols.listed_ms)

    def plan(self, due: Mapping[Series, Spans], now_ms: int, overhead: int) -> FetchPlan:
        """The plan of these candles, and of requests beside those for them."""
        settings = self.settings
        demand = Demand.of(settings.bulk_batch_size, settings.address_share)
        return FetchPlan(
            tuple(
                plan_series(series, self.coverage[series], spans, now_ms, self._listed_ms.get(series.symbol))
                for series, spans in due.items()
            ),
            overhead,
            request_interval_s(settings.bulk_request_delay_ms, demand.in_flight, demand.allowed),
            self._row_bytes(),
            self.room,
            self.symbols.unknown,
            tuple(why for _, why in sorted(self.coverage.skipped.items())),
        )

    async def find_listing_dates(self, due: Mapping[Series, Spans], rest: Rest) -> int:
        """Asks for the first candle of each symbol whose listing date the ledger does not tell.

        The launch in the list of symbols is another date: candles begin earlier or later.

        Returns:
            How many symbols that were.
        """
        unknown: dict[str, Series] = {}
        for series, spans in due.items():
            if spans and self.coverage[series].listing_unknown(spans[0].start_ms):
                unknown.setdefault(series.symbol, series)  # the finest: series are in order

        async def find(queue: Iterator[Series]) -> None:
            for series in queue:
                with suppress(RequestError):  # then the launch counts
                    if (first_ms := await rest.first_candle(series)) is not None:
                        self._listed_ms[series.symbol] = first_ms

        async with trio.open_nursery() as nursery:
            queue = iter(unknown.values())
            for _ in range(_ASKED_AT_ONCE):
                nursery.start_soon(find, queue)
        return len(unknown)

    def _row_bytes(self) -> float:
        """The length of a row of the files there are."""
        held = [(each.size, candles_in(series.timeframe, each.held)) for series, each in self.checkpoints.items()]
        rows = sum(each for _, each in held)
        return sum(size for size, _ in held) / rows if rows >= _LIST_PAGE else ROW_BYTES


async def plan_fetch(
    settings: Settings, dates: DateRange | None, machine: Machine, *, allow_shard: bool = False
) -> FetchPlan:
    """What a fetch would do; it owns nothing and writes nothing.

    Raises as `fetch` does, but for the disk, on which nothing is written.
    """
    data_dir, disk = settings.data_dir, machine.disk
    refuse_unusable(Job(settings, ServeOptions(machine=machine, dates=dates), once=True))
    market = settings.exchange, settings.category, settings.shard
    checked_identity(disk, data_dir / OWN, *market, allow_shard=allow_shard)
    saved = read_ledger(data_dir, settings.category, disk=disk)
    async with open_shared_rest(settings, machine, in_flight=_ASKED_AT_ONCE) as rest:
        stored = {series.symbol for series in known_series(disk, data_dir, saved.coverage)}
        symbols = await symbols_to_collect(settings, rest, stored, retry_forever=False)
        now_ms = await rest.server_time()
        if dates and (problem := dates.problem(now_ms)):
            raise SettingsError([problem])
        every_series = series_of(settings, (*symbols.trading, *symbols.delisted))
        due = {series: _due(settings, dates, machine, saved, series, now_ms) for series in every_series}
        planner = FetchPlanner(settings, saved.coverage, saved.checkpoints, symbols, room_of(settings, None))
        asked = await planner.find_listing_dates(due, rest)
    sent = 1 - (-symbols.listed // _LIST_PAGE)
    plan = planner.plan(due, now_ms, sent)
    return planner.plan(due, now_ms, sent + asked) if plan.is_long else plan


def _due(
    settings: Settings,
    dates: DateRange | None,
    machine: Machine,
    saved: LedgerSnapshot,
    series: Series,
    now_ms: int,
) -> Spans:
    """What a fetch would ask for of a series."""
    path, record = settings.data_dir / series.file_name, saved.coverage[series]
    file = held_in_file(machine.disk, path, series, saved.checkpoints.get(series))
    record.reset_attempts()
    record.hold(file.held)
    if file.alone:
        saved.coverage.skip(series, file.alone)
        return NOTHING
    checkpoint = valid_checkpoint(path, saved.checkpoints.get(series))
    if settings.mode == "live":
        record.want(NOTHING)
    else:
        span = wanted_history(settings, dates, series.timeframe, now_ms)
        record.want(record.wanted | span if dates else span)
    record.mark_unverified(
        unverified_at_opening(series.timeframe, file.held, checkpoint.held if checkpoint else NOTHING)
    )
    record.recheck(0)
    due = record.due(now_ms)
    return due & dates.candles(series.timeframe) if dates else due


def room_of(settings: Settings, probes: Probes | None) -> DiskRoom:
    """The room on the disk of the data directory, or of where it would be made."""
    directory = nearest_directory(settings.data_dir)
    free: int | None
    if probes:
        free = probes.disk_free_bytes()
        free = None if probes.disk_unresponsive_s() else free
    else:
        free = free_bytes(directory)
    return DiskRoom(free, settings.low_disk_mb * _MB, file_system_of(directory))


async def announce_plan(
    job: Job, shared: Shared, symbols: Symbols, due: Mapping[Series, Spans], now_ms: int
) -> FetchPlan:
    """Logs the plan of a fetch that takes a while.

    Raises:
        NoRoom: what is to be fetched does not fit on the disk, and nothing else is to be done.
    """
    owned, sent = shared.owned, shared.counters.requests
    room = room_of(job.settings, job.probes)
    planner = FetchPlanner(job.settings, owned.coverage, owned.checkpoints, symbols, room)
    plan = planner.plan(due, now_ms, sent)
    if job.once and plan.is_long:
        asked = await planner.find_listing_dates(due, shared.rest)
        plan = planner.plan(due, now_ms, sent + asked)
    if plan.is_long or not plan.fits:
        log.info("to fetch", **plan.summary(), sentence=plan.sentence)
    if not plan.fits:
        if job.once:
            raise NoRoom(plan.refusal)
        log.warning("the history does not fit on the disk", needed=plan.summary()["disk"], free=plan.summary()["free"])
    return plan
