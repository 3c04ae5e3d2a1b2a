"""The mirror: copies what was flushed into a database, from a task of its own.

    writer ──> Changes ──> Mirror ──> table     spans, not rows: the files are the truth

The writer notes where it wrote, which takes no time, and waits for nothing. The mirror reads the rows from the files
and makes the table equal to them in these spans. What it cannot know, because files were opened, a series changed in
too many places, or the server was started anew, it finds by comparing checksums of whole months. A database that is
away is tried again at growing pauses; so is one that refuses, in case somebody has put it right.

In a cluster the table is shared. Only series that are collected here are copied: what was gathered of one that goes to
another collector is dropped (`leave`), and one that comes back is compared (`enter`). The gaps of a series are copied
once it is known what the table had of them (`Changes.gaps_read`): its earlier collector knew what the exchange lacks.

Each step is one call in a thread, which a stop leaves behind once its time is over: a transaction that is cut off
changes nothing, and the next start compares.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from collector.core.candle import Series
from collector.core.changes import Changes, Due
from collector.core.coverage import CoverageIndex
from collector.core.errors import CollectorError, NotReadable, Unavailable
from collector.core.missing import Gap, neighbours_joined
from collector.core.pacing import retry_pause_s
from collector.core.spans import Spans
from collector.export.mirror_table import Fence, OpenTable, Table
from collector.logs import get_logger
from collector.machine import Machine
from collector.machine.blocking_calls import BlockingCalls
from collector.monitoring.report import Mirroring
from collector.settings.addresses import database_of
from collector.settings.settings import Settings

log = get_logger(__name__)

_BATCH = 256  # series in a transaction, each with a lock of some thousands that a server has
_GATHER_S = 1.0  # after a change, so that those of one moment share a transaction
_GAPS_EVERY_S = 10.0  # history changes its gaps with every answer
_GAPS_BATCH = 500
_BLOCKED_S = 1.0  # until a series that an export is writing is tried again
_GOODBYE_S = 5.0  # for what is due when the writer has drained
_STOP_S = 30.0  # from the stop on, the writer's time included


@attrs.define(eq=False)
class Mirror:
    """Keeps a database equal to the files, as far as it answers."""

    _settings: Settings
    _changes: Changes
    _coverage: CoverageIndex
    _tracked: Iterable[Series]
    _machine: Machine
    _open: OpenTable
    _fence: Fence | None = None  # where the table is shared
    _state: Mirroring = attrs.field(factory=Mirroring)
    _started: str = ""  # the server, when it was last seen
    _gaps: "_MirroredGaps" = attrs.field(init=False)
    _at_work_s: float | None = None  # since when the changes under way wait
    _away_since_s: float | None = None
    _tries: int = 0
    _news: trio.Event = attrs.field(factory=trio.Event)
    _ended: trio.Event = attrs.field(factory=trio.Event)
    _calls: BlockingCalls = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._gaps = _MirroredGaps(self._changes, self._coverage)
        self._changes.report_to(self._notify, shared=self._fence is not None)
        if self._settings.database_url:
            self._changes.follow((), 0.0)

    def state(self) -> Mirroring:
        """How it is at this moment."""
        if not self._settings.database_url:
            return Mirroring()
        now_s, changes = trio.current_time(), self._changes
        since = [each for each in (changes.oldest_s, self._at_work_s) if each is not None]
        return attrs.evolve(
            self._state,
            place=database_of(self._settings.database_url),
            waiting=changes.due,
            comparing=changes.unsure,
            lag_s=round(now_s - min(since), 3) if since else 0.0,
            away_s=0.0 if self._away_since_s is None else round(now_s - self._away_since_s, 3),
        )

    def apply(self, settings: Settings) -> None:
        """Follows other settings; another database is filled from the files."""
        changed = settings.database_url != self._settings.database_url
        self._settings = settings
        if not changed:
            return
        self._state, self._started, self._away_since_s, self._tries = Mirroring(), "", None, 0
        self._changes.unfollow()
        if settings.database_url:
            self._changes.follow(self._tracked, trio.current_time())
        self._notify()

    def enter(self, every_series: Iterable[Series]) -> None:
        """Copies these from now on, whatever somebody else has made of them."""
        for series in (entered := [*every_series]):
            self._gaps.copied.pop(series, None)
        self._changes.enter(entered, trio.current_time())

    def leave(self, every_series: Iterable[Series]) -> None:
        """Copies these no more: somebody else does."""
        self._changes.leave(every_series)

    async def copy(self) -> None:
        """Copies until `finish`, then what is due."""
        while not self._ended.is_set():
            if not self._settings.database_url:
                await self._wait()
            elif trouble := await self._connect_and_copy():
                self._note_trouble(trouble)
                await self._pause(retry_pause_s(self._tries))

    def finish(self) -> None:
        """Ends `copy` when nothing is due any more, or the database is away."""
        self._ended.set()
        self._notify()

    def _notify(self) -> None:
        self._news.set()

    async def _connect_and_copy(self) -> CollectorError | None:
        """Copies until the end, until other settings, or until trouble comes, which is returned."""
        self._calls = BlockingCalls(self._machine.threads)
        try:
            return await self._copy_with(self._settings)
        finally:
            self._state = attrs.evolve(self._state, connected=False)
            self._calls.close()

    async def _copy_with(self, settings: Settings) -> CollectorError | None:
        where = (
            settings.database_url,
            settings.category,
            self._machine.disk,
            settings.data_dir,
            self._fence,
        )
        try:
            table = await self._calls.run(lambda: self._calls.opened.enter_context(self._open(*where)))
            if settings.database_url == self._settings.database_url:
                self._note_connection(table.started)
            while settings.database_url == self._settings.database_url:
                if not await self._step(table):
                    if self._ended.is_set():
                        break
                    await self._wait()
        except CollectorError as error:
            return error
        return None

    async def _step(self, table: Table) -> bool:
        """Copies some changes, some gaps, and compares one series; whether anything was done."""
        got_on = await self._copy_some(table)
        due = self._ended.is_set() or trio.current_time() >= self._gaps.due_s
        if due and self._changes.has_gaps:
            got_on = await self._gaps.copy(table, self._calls) or got_on
        if self._changes.unsure and not self._ended.is_set():
            await self._compare(table)
            got_on = True
        return got_on

    async def _copy_some(self, table: Table) -> bool:
        """Copies the oldest changes; whether any were copied."""
        taken = self._changes.take(_BATCH)
        if not taken:
            return False
        self._at_work_s = min(due.since_s for due in taken.values())
        left: Mapping[Series, Due] = taken
        try:
            copied = await self._calls.run(partial(table.copy, {series: due.spans for series, due in taken.items()}))
            left = {series: Due(spans, taken[series].since_s) for series, spans in copied.left.items()}
        finally:
            self._at_work_s = None
            self._changes.put_back(left)
        self._state = attrs.evolve(self._state, rows=self._state.rows + copied.rows, commits=self._state.commits + 1)
        for error in copied.unreadable:
            _tell_unreadable(error)
        if left == taken:
            await self._pause(_BLOCKED_S)
        return left != taken

    async def _compare(self, table: Table) -> None:
        """Compares one file with the table; what differs is to be copied."""
        if (next_one := self._changes.take_unsure()) is None:
            return
        series, self._at_work_s = next_one
        spans: Spans | None = None
        try:
            spans = await self._calls.run(partial(table.differing, series))
        except NotReadable as error:
            spans = Spans()
            _tell_unreadable(error)
        finally:
            if spans is None:
                self._changes.doubt([series], self._at_work_s)
            elif spans:
                self._changes.put_back({series: Due(spans, self._at_work_s)})
            self._at_work_s = None
        if not self._changes.unsure:
            log.info("mirror compared with the files", series=len([*self._tracked]), to_copy=self._changes.due)

    async def _wait(self) -> None:
        """Waits for news, and a moment longer for more of them."""
        with trio.move_on_at(self._gaps.due_s if self._changes.has_gaps else float("inf")):
            await self._news.wait()
        self._news = trio.Event()
        await self._pause(_GATHER_S)

    async def _pause(self, seconds: float) -> None:
        """Waits, until the end at most."""
        with trio.move_on_after(seconds):
            await self._ended.wait()

    def _note_connection(self, started: str) -> None:
        now_s = trio.current_time()
        away_s = 0 if self._away_since_s is None else round(now_s - self._away_since_s)
        log.info("mirror connected", to=database_of(self._settings.database_url), away_for_s=away_s)
        if self._started and started != self._started:
            self._changes.doubt(self._tracked, now_s)
        if started != self._started:
            self._gaps.copied.clear()
        self._started, self._away_since_s, self._tries = started, None, 0
        self._state = attrs.evolve(self._state, connected=True, trouble="", refused=False)

    def _note_trouble(self, error: CollectorError) -> None:
        said, refused = str(error), not isinstance(error, Unavailable)
        if refused and said != self._state.trouble:
            log.error("mirror refused", why=said)
        elif not refused and (self._away_since_s is None or self._state.refused):
            log.warning("mirror interrupted", why=said)
        else:
            log.debug("mirror not connected", why=said)
        if self._away_since_s is None:
            self._away_since_s = trio.current_time()
        self._tries += 1
        self._state = attrs.evolve(
            self._state, trouble=said, refused=refused, failures=self._state.failures + 1, connected=False
        )


@attrs.define(eq=False)
class _MirroredGaps:
    """The gaps as they were copied last, and when those that changed are due."""

    _changes: Changes
    _coverage: CoverageIndex
    copied: dict[Series, tuple[Gap, ...]] = attrs.field(factory=dict)
    due_s: float = 0.0

    async def copy(self, table: Table, calls: BlockingCalls) -> bool:
        """Copies the gaps of some series; whether any were copied."""
        every_series = self._changes.take_gaps(_GAPS_BATCH)
        found = {series: self._of(series) for series in every_series}
        changed = {series: gaps for series, gaps in found.items() if self.copied.get(series) != gaps}
        left: Collection[Series] = every_series
        for series in changed:
            self.copied.pop(series, None)  # a connection that breaks does not say which of the two the table has
        try:
            left = await calls.run(partial(table.replace_gaps, changed)) if changed else ()
        finally:
            if left:
                self._changes.saved(left)
        self.copied |= {series: gaps for series, gaps in changed.items() if series not in left}
        if left or not self._changes.has_gaps:
            self.due_s = trio.current_time() + _GAPS_EVERY_S
        return len(changed) > len(left)

    def _of(self, series: Series) -> tuple[Gap, ...]:
        """What is missing of a series; for its next collector, each claim with its own dates, as in the ledger."""
        missing = self._coverage.missing(series)
        return tuple(each.as_claimed for each in missing) if self._changes.shared else tuple(neighbours_joined(missing))


def _tell_unreadable(error: NotReadable) -> None:
    log.warning("file not mirrored", why=str(error))


@asynccontextmanager
async def open_mirror(mirror: Mirror, stop: trio.Event) -> AsyncIterator[None]:
    """Copies while entered.

    What is due on leaving gets some seconds, within those that a stop has.
    """
    scope = trio.CancelScope()
    async with trio.open_nursery() as copying:
        copying.start_soon(_copy_within, mirror, scope)
        async with trio.open_nursery() as inner:
            inner.start_soon(_limit_stop, stop, scope)
            yield
            inner.cancel_scope.cancel()
        mirror.finish()
        scope.deadline = min(scope.deadline, trio.current_time() + _GOODBYE_S)
    if scope.cancelled_caught:
        log.warning("mirror not up to date, the next start copies the rest")


async def _copy_within(mirror: Mirror, scope: trio.CancelScope) -> None:
    with scope:
        await mirror.copy()


async def _limit_stop(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.deadline = trio.current_time() + _STOP_S
