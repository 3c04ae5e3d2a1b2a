"""The reconciler: the one place that decides what to fetch.

    missing = wanted - held - absent - in flight

Whenever it is woken it subtracts span sets and hands what is missing to the history pool. It fetches nothing itself
and never sees a candle: rows are corrected by `core/merging.py`. A market has thousands of series, so a look takes
some of them at a time and lets other tasks run in between.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

import attrs
import trio

from collector.bybit.clock import Clock
from collector.core.candle import MINUTE_MS, Series, Timeframe
from collector.core.coverage import CoverageIndex
from collector.core.date_range import DateRange
from collector.core.errors import RequestError, Unreachable
from collector.core.missing import Gap, State
from collector.core.pacing import retry_pause_s
from collector.core.request_windows import SETTLE_MS, wanted
from collector.core.rows import candles_in
from collector.core.series_coverage import SeriesCoverage, requests_for
from collector.core.spans import NOTHING, Spans
from collector.core.text import moment_text
from collector.logs import get_logger
from collector.settings.settings import Settings

log = get_logger(__name__)

_AT_ONCE = 64  # series between which nothing else runs: a few ms if all of them are to be fetched
OVERDUE_MS = 5_000  # with a stream, that brings the candles by then; what has not come is asked for


Chosen = Callable[[Series, Spans], Spans]
Announce = Callable[[Mapping[Series, Spans], int], Awaitable[None]]


def _everything(_: Series, spans: Spans) -> Spans:
    return spans


def wanted_history(settings: Settings, dates: DateRange | None, timeframe: Timeframe, now_ms: int) -> Spans:
    """The closed candles that dates, or else the settings, want of a series."""
    if dates is None:
        return wanted(timeframe, now_ms, settings.history_days, newest_only=settings.newest_only)
    span = dates.wanted(timeframe, now_ms)
    return span & wanted(timeframe, now_ms, None, newest_only=True) if settings.newest_only else span


def _behind(record: SeriesCoverage, spans: Spans) -> Spans:
    """The part of some spans that is later than all that is wanted or held."""
    known = record.wanted | record.held
    return spans.within(known.bounds.end_ms, spans.bounds.end_ms) if known and spans else spans


async def _sleep(times: int) -> None:
    await trio.sleep(retry_pause_s(times))


@attrs.define(eq=False)
class Reconciler:
    """Keeps what is held equal to what is wanted."""

    _settings: Settings
    _every_series: Collection[Series]
    _coverage: CoverageIndex
    _clock: Clock
    _server_time: Callable[[], Awaitable[int]]
    _fetch: Callable[[Series, Spans], None]
    _settle_ms: int = SETTLE_MS
    _pause: Callable[[int], Awaitable[None]] = _sleep
    _wants_by_settings: bool = True  # for a repair and an import, what is wanted is on record
    _dates: DateRange | None = None  # the history wanted, instead of that of the settings
    _only: Mapping[Series, Spans] | None = None  # what an import is about
    reconciled: bool = False  # whether it is known what is missing
    _looking: bool = True  # whether it is about to find out
    _woken: trio.Event = attrs.field(factory=trio.Event)

    async def reconcile_once(self, announce: Announce | None = None) -> None:
        """Fetches what is missing now, and returns once that is settled.

        Candles that closed within the last hour and that an answer left out are waited for, at most three minutes. What
        closes in the meantime is not, or a fast market would never let it end. Dates are wanted beside what was wanted
        before, and nothing else is fetched: they are about this fetch, and change nothing for the next. What is due is
        announced first; an error of that ends it.
        """
        now_ms = await self._settled_time()
        await self._want(now_ms, self._dates)
        self._coverage.recheck_all(self._every_series)
        if announce:
            await announce(await self._due(now_ms, self._chosen), now_ms)
        while True:
            if await self._fetch_due(now_ms, self._chosen):
                await self._until_idle()
            elif retrying := self._retrying(now_ms):
                now_ms = max(now_ms, await self._wait_for(retrying))
            else:
                self._looking = False
                return
            if self._clock.now_ms < now_ms:  # it was wrong, and so is what is wanted
                now_ms = await self._settled_time()
                await self._want(now_ms, self._dates)

    def _retrying(self, now_ms: int) -> list[tuple[Series, Gap]]:
        """What an answer left out that may still come within minutes."""
        return [
            (series, gap)
            for series in self._every_series
            for gap in self._coverage[series].gaps
            if gap.state is State.RETRYING and (gap.due_ms or 0) > now_ms
            if self._chosen(series, Spans((gap.span,)))
        ]

    async def _wait_for(self, retrying: Sequence[tuple[Series, Gap]]) -> int:
        """Waits until the first of these is due.

        Returns the time.
        """
        due_ms = min(gap.due_ms or 0 for _, gap in retrying)
        until = moment_text(max(gap.settles_ms for _, gap in retrying))
        candles = sum(candles_in(series.timeframe, Spans((gap.span,))) for series, gap in retrying)
        log.info("waiting for candles that REST does not have yet", candles=candles, until=until)
        await self._clock.reach_or_ask(trio.Event(), due_ms)
        if self._clock.now_ms < due_ms:
            await self._server_time()
        return min(due_ms, self._clock.now_ms)

    async def reconcile(self, announce: Announce | None = None) -> None:
        """Fetches what is missing, announced first, then whatever falls due, until cancelled."""
        looked_ms = failed = 0
        while True:
            self._woken, self._looking = trio.Event(), True
            try:
                now_ms = await self._settled_time()
            except (Unreachable, RequestError) as trouble:
                if not failed:  # once in an outage
                    log.warning("the exchange does not answer, trying on", why=str(trouble))
                failed += 1
                await self._pause(failed)
                continue
            failed = 0
            await self._want(now_ms)
            if announce and not looked_ms:
                await announce(await self._due(now_ms), now_ms)
            await self._fetch_due(now_ms)
            self._looking = False
            if now_ms <= looked_ms:  # the exchange's clock stands, and ours must not make us ask again and again
                await trio.sleep(retry_pause_s(1))
            looked_ms = now_ms
            await self._clock.reach_or_ask(self._woken, await self._next_ms(now_ms))

    def apply(self, settings: Settings) -> None:
        """Follows other settings, and looks at once."""
        self._settings = settings
        self.wake()

    @property
    def settled(self) -> bool:
        """Whether what is missing is known, and all of it was asked for and answered."""
        return self.reconciled and not self._looking and not self._woken.is_set() and self._coverage.idle

    def wake(self) -> None:
        """Something may have been missed: look now."""
        self._woken.set()

    async def _settled_time(self) -> int:
        """The exchange's time, once the candles closed by it have settled."""
        now_ms = await self._server_time()
        await self._clock.reach(now_ms - now_ms % MINUTE_MS + self._settle_ms)
        await self._for_each(lambda each: self._coverage.drop_future_timestamps(each, now_ms), self._coverage.records)
        return now_ms

    async def _for_each(self, look: Callable[[Series], None], every_series: Iterable[Series] = ()) -> None:
        """Looks at these series, or at every one that is tracked now."""
        for count, series in enumerate([*(every_series or self._every_series)], 1):
            look(series)
            if count % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    async def want(self, every_series: Collection[Series]) -> None:
        """Has wanted what the settings want of series that are about to be tracked."""
        await self._want(self._clock.now_ms, every_series=every_series)

    def want_closed(self) -> list[Series]:
        """Has wanted, at an end, what has closed since the last look; the series of which some of that is missing.

        The exchange may have been away since then. Its time is carried on by our clock.
        """
        lacking: list[Series] = []
        if self.reconciled and self._wants_by_settings and self._settings.mode != "live":
            by_ms = self._clock.now_ms - SETTLE_MS
            for series in self._every_series:
                closed = wanted_history(self._settings, self._dates, series.timeframe, by_ms)
                late = _behind(self._coverage[series], closed)
                if late and series.symbol not in self._coverage.delisted:
                    self._coverage.want_also(series, late)
                    lacking.append(series)
        return lacking

    async def _want(self, now_ms: int, added: DateRange | None = None, every_series: Iterable[Series] = ()) -> None:
        """Has wanted what the settings want, or the dates; with `added`, these beside what is wanted already."""
        if not self._wants_by_settings or self._settings.mode == "live":  # live: only what the stream brings
            return

        want = self._coverage.want_also if added else self._coverage.want

        def look(series: Series) -> None:
            want(series, wanted_history(self._settings, self._dates, series.timeframe, now_ms))

        await self._for_each(look, every_series)

    def _chosen(self, series: Series, spans: Spans) -> Spans:
        """What of some spans a fetch of dates, or an import, is about; else all."""
        if self._only is not None:
            return spans & self._only.get(series, NOTHING)
        return spans & self._dates.candles(series.timeframe) if self._dates and self._wants_by_settings else spans

    async def _due(self, now_ms: int, chosen: Chosen = _everything) -> dict[Series, Spans]:
        """What is due of each series."""
        due: dict[Series, Spans] = {}

        def look(series: Series) -> None:
            due[series] = chosen(series, self._coverage.due(series, now_ms))

        await self._for_each(look)
        return due

    async def _fetch_due(self, now_ms: int, chosen: Chosen = _everything) -> bool:
        """Hands what is missing to the pool.

        Returns whether there was anything.
        """
        found = False

        def fetch(series: Series) -> None:
            nonlocal found
            if due := chosen(series, self._coverage.due(series, now_ms)):
                found = True
                self._fetch(series, requests_for(self._coverage[series], due, now_ms))

        await self._for_each(fetch)
        self.reconciled = True
        return found

    async def _until_idle(self) -> None:
        idle = trio.Event()
        self._coverage.when_idle(idle.set)
        await idle.wait()

    async def _next_ms(self, now_ms: int) -> int:
        """The next time to look: a settled close, or a due gap."""
        next_ms = now_ms - now_ms % MINUTE_MS + MINUTE_MS + self._settle_ms

        def look(series: Series) -> None:
            nonlocal next_ms
            if (due_ms := self._coverage[series].gap_index.next_due_ms(now_ms)) is not None:
                next_ms = min(next_ms, due_ms)

        await self._for_each(look)
        return next_ms
