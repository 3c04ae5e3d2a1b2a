"""The hydration: fills the files of series that come to this collector from the tables that a cluster shares.

    missing = wanted - held - in flight ──> table ──> channel ──> writer
                                              ├── what it lacks and the exchange too, by its gaps: on record here
                                              └── else it is in flight no more, and REST is asked for it

What is to be looked for is in flight from the moment on in which a series comes (`claim`), so nobody else fetches it,
and what the stream brings meanwhile waits behind it. Spans that the table lacks come out of flight, those beyond its
rows at once, and the reconciler finds them missing as ever. So does everything once the database is away, refuses, or
is too slow: nothing is guessed, and nothing waits for it.

What the exchange is known to lack comes with the dates of its earlier collector, so that it is due when it would have
been. A gap is taken where the table is seen to have no row, after the rows around it: it was read before them, so
that whatever comes in between is a row.

Which rows has REST confirmed? The table does not say. Its rows have the exchange's own text, as it had been written to
a file; but the owner may have died before REST confirmed what the stream had brought. So the table is treated as a file
that came without its ledger (`unverified_at_opening`): the rows of two days before the last one are unverified, and
REST is asked for them. What is older its owner had verified long since; what somebody has changed in the table is found
by `check --against-exchange` alone, as in a file.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial

import attrs
import trio

from collector.cluster.shared_table import OpenShared, SharedTable, open_shared_table
from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.errors import CollectorError, NotReadable
from collector.core.events import Event, Hydrated, Lacking
from collector.core.listing_dates import without_refuted
from collector.core.missing import Gap, gaps_met, gaps_within
from collector.core.request_windows import windows
from collector.core.rows import Rows
from collector.core.spans import NOTHING, Span, Spans
from collector.core.verification import unverified_at_opening
from collector.logs import get_logger
from collector.machine import Machine
from collector.machine.blocking_calls import BlockingCalls
from collector.monitoring.disk_gate import DiskGate
from collector.settings.settings import Settings

log = get_logger(__name__)
EventChannel = trio.MemorySendChannel[Event]
PagesOf = Callable[[Span], Awaitable[list[Rows]]]

_PATIENCE_S = 10.0  # for one question to the database
_WINDOW = 20_000  # candles of a question: 2 MB


@attrs.frozen
class _Share:
    """What the tables say of a series: from the first to the last row, and what the exchange lacks."""

    series: Series
    extent: Spans
    _gaps: tuple[Gap, ...]

    def gaps_in(self, spans: Spans) -> tuple[Gap, ...]:
        """What the exchange lacks of spans without rows; nothing is before the listing behind the first row."""
        return without_refuted(tuple(gaps_within(gaps_met(self._gaps, spans), spans)), self.extent)


@attrs.define(eq=False)
class Hydration:
    """Takes what missing candles it can from the shared table.

    Without a cluster, or without a table, it does nothing.
    """

    _settings: Settings
    _coverage: CoverageIndex
    _machine: Machine
    _gate: DiskGate
    _want: Callable[[Collection[Series]], Awaitable[None]]  # has wanted what the settings want of them
    _wake: Callable[[], None]  # something may be missing
    _told: Callable[[Collection[Series]], None]  # what the table says of the gaps of these is on its way, or nothing is
    _open: OpenShared = open_shared_table
    _claimed: dict[Series, Spans] = attrs.field(factory=dict)
    _more: trio.Event = attrs.field(factory=trio.Event)

    def apply(self, settings: Settings) -> None:
        """Follows other settings from the next series on."""
        self._settings = settings

    async def claim(self, every_series: Iterable[Series]) -> None:
        """Takes on what these series lack, in flight from now on."""
        come = [*every_series]
        here = [each for each in come if each not in self._coverage.skipped]
        if self._settings.cluster_url and self._settings.database_url and here:
            await self._want(here)
            for series in here:
                record = self._coverage[series]  # whatever the exchange said of what is missing, the table may have it
                if missing := record.wanted - record.held - record.in_flight:
                    self._coverage.ask(series, missing)
                    self._claimed[series] = self._claimed.get(series, NOTHING) | missing
            self._more.set()
        self._told([series for series in come if series not in self._claimed])

    def drop(self, series: Series) -> None:
        """Takes back what was not looked for yet of a series; REST may have it."""
        self._coverage.cancel_fetch(series, self._claimed.pop(series, NOTHING))

    async def work(self, out: EventChannel) -> None:
        """Looks for what is claimed, until cancelled."""
        with out:
            while True:
                await self._more.wait()
                self._more = trio.Event()
                if self._claimed:
                    await self._look(out)
                    for series in [*self._claimed]:
                        self._end(series)
                    self._wake()

    async def _look(self, out: EventChannel) -> None:
        """Looks for all that is claimed, or until trouble comes."""
        began_s, series, candles = trio.current_time(), len(self._claimed), 0
        calls = BlockingCalls(self._machine.threads, _PATIENCE_S)
        opening = partial(self._open, self._settings.database_url, self._settings.category)
        try:
            table = await calls.run(lambda: calls.opened.enter_context(opening()))
            while asked := [*self._claimed]:
                gaps = await calls.run(partial(table.lacking, asked))
                extents = await calls.run(partial(table.extents, asked))
                shares = {each: _Share(each, _spans(extents.get(each)), gaps.get(each, ())) for each in asked}
                for each, share in shares.items():
                    await self._release(share, self._claimed.get(each, NOTHING) - share.extent, out)
                self._wake()
                for each, share in shares.items():
                    candles += await self._take(share, partial(_pages, calls, table, each), out)
        except CollectorError as trouble:
            log.warning("history not taken from the shared table, REST fetches it", why=str(trouble))
        finally:
            calls.close()
        took_s = round(trio.current_time() - began_s, 1)
        if candles:
            log.info("history taken from the shared table", series=series, candles=candles, seconds=took_s)

    async def _take(self, share: _Share, pages_of: PagesOf, out: EventChannel) -> int:
        """Takes what the table has of a series; how many candles."""
        series, taken = share.series, 0
        unverified = unverified_at_opening(series.timeframe, share.extent, NOTHING)
        try:
            while self._gate.is_open:
                window = next(windows(series.timeframe, self._claimed.get(series, NOTHING), _WINDOW), None)
                if window is None:
                    break
                pages = await pages_of(window)
                if series not in self._claimed:  # it went to another collector meanwhile
                    break
                covered = Spans.of(*(page.covered.bounds for page in pages))
                self._claimed[series] -= covered
                for page in pages:
                    await out.send(Hydrated(series, page.covered.bounds, page, unverified & page.covered))
                    taken += len(page)
                await self._release(share, Spans((window,)) - covered, out)
        except NotReadable as defect:
            log.warning("series not taken from the shared table, REST fetches it", why=str(defect))
        self._end(series)
        return taken

    async def _release(self, share: _Share, spans: Spans, out: EventChannel) -> None:
        """Leaves to REST what the table lacks of some spans, but for what the exchange is known to lack."""
        series = share.series
        here = self._claimed.get(series, NOTHING) & spans
        if not here:
            return
        self._claimed[series] -= here
        gaps = share.gaps_in(here)
        self._coverage.cancel_fetch(series, here - Spans.of(*(gap.span for gap in gaps)))
        if gaps:
            await out.send(Lacking(series, gaps))

    def _end(self, series: Series) -> None:
        if series in self._claimed:
            self.drop(series)
            self._told([series])


async def _pages(calls: BlockingCalls, table: SharedTable, series: Series, window: Span) -> list[Rows]:
    return await calls.run(partial(table.pages, series, window))


def _spans(extent: Span | None) -> Spans:
    return Spans((extent,)) if extent else NOTHING
