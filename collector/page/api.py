"""The API of the page: what is stored, what is missing, candles, and what happens, for browsers and scripts.

`static/openapi.json` describes it, and a test holds both to each other. Times are epoch milliseconds; a span includes
its start and not its end. Files are read in threads. What takes long goes by series in batches, between which other
tasks run, so that nobody who asks delays collecting.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from collector.core.candle import Series
from collector.core.errors import CollectorError
from collector.core.missing import SETTLED, neighbours_joined
from collector.core.rows import candles_in
from collector.core.spans import Spans
from collector.integrity.gaps import SeriesGap
from collector.integrity.inventory import StoredSeries
from collector.machine import Machine
from collector.monitoring.lag import next_open_ms
from collector.page.candles import Asked, Candles, read_candles
from collector.page.connection import Connection
from collector.page.coverage import STATES, RunCache, gaps_meeting, runs_of
from collector.page.events import EventStream, Selection
from collector.page.now import Now
from collector.page.questions import ARROW, NotNow, NotStored, Question, Refused
from collector.page.source import Known, Source

_BATCH = 200  # series, between which other tasks run: about a millisecond
_POLL_S = 0.25  # between looks for the next closed candle, at least
_MAX_WAITING = 24  # answers that wait for something; each is a connection
_READERS = 2  # threads that read files for the page

Answer = Callable[[Request], Awaitable[Response | ASGIApp]]


@attrs.define(eq=False)
class Api:
    """All of it, over one source."""

    _source: Source
    _now: Now
    _machine: Machine
    _runs: RunCache = attrs.field(factory=RunCache)
    _waiting: int = 0
    _readers: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(_READERS))

    @property
    def routes(self) -> list[Route]:
        answers: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "series": self.series,
            "coverage": self.coverage,
            "gaps": self.gaps,
            "candles": self.candles,
            "events": self.events,
            "now": self.now,
        }
        return [Route(f"/api/{name}", partial(_answered, answer)) for name, answer in answers.items()]

    async def series(self, request: Request) -> Response:
        """Every series with span, rows, size, and how much is missing."""
        question = Question.of(request, ("symbol", "timeframe"))
        known = await self._known(question)
        sizes = await self._in_thread(partial(self._sizes, [series for series, _ in known]))
        found: list[dict[str, Any]] = []
        for batch in _batches(known):
            found += [self._described(series, each, sizes[series]) for series, each in batch]
            await trio.lowlevel.checkpoint()
        return _json({"now_ms": self._source.now_ms, "series": found})

    def _described(self, series: Series, known: Known, size: int) -> dict[str, Any]:
        record, frame = known.record, series.timeframe
        counts = {state.value: candles for state, (_, candles) in record.gap_index.counts.items()}
        counts["pending"] = counts.get("pending", 0) + candles_in(frame, record.never_asked)
        missing = sum(candles for state, candles in counts.items() if state not in SETTLED)
        stored = StoredSeries(series, record.held, missing, size, known.problem)
        unverified = candles_in(frame, record.unverified)
        return {**stored.record(), "unverified": unverified, "gaps": counts, "lag_ms": self._lag_ms(series, known)}

    def _lag_ms(self, series: Series, known: Known) -> int | None:
        """How long the next candle is overdue, where one is expected."""
        now_ms = self._source.now_ms
        next_ms = next_open_ms(series, known.record, now_ms)
        if not self._now.is_live or next_ms is None or known.problem or series.symbol in self._source.delisted:
            return None
        return max(0, now_ms - series.timeframe.close(next_ms))

    def _sizes(self, every_series: Iterable[Series]) -> dict[Series, int]:
        return {series: _size(self._source, series) for series in every_series}

    async def coverage(self, request: Request) -> Response:
        """What each series of a timeframe holds and lacks, as runs of one state."""
        question = Question.of(request, ("timeframe", "symbol", "start", "end"))
        frame, (start_ms, end_ms) = question.needed_timeframe, question.bounds
        whole, found = question.span == (None, None), list[object]()
        for batch in _batches(await self._known(question)):
            if whole:
                found += [self._runs.of(series, each.record) for series, each in batch]
            else:
                runs = ((series.symbol, runs_of(each.record, start_ms, end_ms)) for series, each in batch)
                found += [{"symbol": symbol, "runs": some} for symbol, some in runs]
            await trio.lowlevel.checkpoint()
        said = {"timeframe": frame.name, "now_ms": self._source.now_ms, "states": STATES, "series": found}
        return _json(said)

    async def gaps(self, request: Request) -> Response:
        """What is missing, with state and reason."""
        question = Question.of(request, ("symbol", "timeframe", "state", "start", "end", "limit"))
        (start_ms, end_ms), state, limit = question.bounds, question.state, question.limit
        found: list[dict[str, object]] = []
        for batch in _batches(await self._known(question)):
            for series, each in batch:
                if len(found) <= limit and (each.record.gaps or each.record.wanted != each.record.held):
                    joined = neighbours_joined(gaps_meeting(each.missing, start_ms, end_ms))
                    found += [SeriesGap(series, gap).record() for gap in joined if state in (None, gap.state)]
            await trio.lowlevel.checkpoint()
        return _json({"gaps": found[:limit], "more": len(found) > limit})

    async def candles(self, request: Request) -> Response:
        """Candles of a series, at once or when the next has closed."""
        names = ("symbol", "timeframe", "start", "end", "limit", "format", "wait")
        question = Question.of(request, names)
        asked, arrow = question.candles, question.wants_arrow(request.headers.get("accept", ""))
        wait_s = question.wait_s
        known = await self._one(asked.series)
        if wait_s is not None:
            asked = await self._next_closed(request, asked, known, wait_s)
        held = await self._held(asked.series)
        read = partial(read_candles, self._machine.disk, self._source.directory, asked, held)
        found: Candles = await self._in_thread(read)
        self._source.watch(asked.series)
        said = partial(found.json, self._source.forming(asked.series), known.record.corrections)
        body = await self._in_thread(found.arrow if arrow else said)
        told = {"X-Candle-Timeframe": found.timeframe.name, "X-Candles-Merged": str(found.merged), "Vary": "Accept"}
        return Response(body, headers=told, media_type=ARROW if arrow else "application/json")

    async def _next_closed(self, request: Request, asked: Asked, known: Known, wait_s: float) -> Asked:
        """What is asked for, once a candle from its start on is held; without a start, from now on."""
        start_ms = asked.start_ms
        if start_ms is None:
            start_ms = known.record.held.bounds.end_ms if known.record.held else 0
        connection = _connection(request)
        with self._waits(request, wait_s), trio.move_on_after(wait_s):
            while not (held := (await self._one(asked.series)).record.held) or held.bounds.end_ms <= start_ms:
                with trio.move_on_after(max(_POLL_S, self._source.look_every_s)):
                    await self._source.news().wait()
                if connection and connection.has_left:
                    break
        return attrs.evolve(asked, start_ms=start_ms)

    async def events(self, request: Request) -> ASGIApp:
        """What happens, as server-sent events."""
        question = Question.of(request, ("symbol", "timeframe", "only"))
        if question.symbol or question.timeframe:
            await self._known(question)
        self._expect_place()
        selection = Selection(question.symbol, question.timeframe, question.only_status)
        return EventStream(
            self._source, self._now, self._machine, selection, partial(self._waits, request), self._readers
        )

    async def now(self, request: Request) -> Response:
        """The status, rates of the last hours, and the last warnings."""
        Question.of(request, ())
        await trio.lowlevel.checkpoint()
        return Response(self._now.everything(), media_type="application/json")

    async def _known(self, question: Question) -> list[tuple[Series, Known]]:
        """What is known of the series that are asked for.

        Raises:
            NotStored: one is named, and there is none.
        """
        symbol, frame = question.symbol, question.timeframe
        found = await self._source.known(symbol, frame)
        if not found and (symbol or frame):
            named = " ".join(filter(None, (symbol, f"timeframe {frame}" if frame else "")))
            raise NotStored(f"{named} is not stored")
        return found

    async def _one(self, series: Series) -> Known:
        if (known := await self._source.one(series)) is None:
            raise NotStored(f"{series} is not stored")
        return known

    async def _held(self, series: Series) -> dict[Series, Spans]:
        """What the files of a symbol hold."""
        return {each: known.record.held for each, known in await self._source.known(series.symbol, None)}

    @contextmanager
    def _waits(self, request: Request, seconds: float) -> Iterator[None]:
        """Has a place among the answers that wait."""
        self._expect_place()
        if connection := _connection(request):
            connection.allow(seconds)
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _expect_place(self) -> None:
        if self._waiting >= _MAX_WAITING:
            raise NotNow("too many pages and programs wait already; ask again later")

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await self._machine.threads.run(work, self._readers)


def _connection(request: Request) -> Connection | None:
    """What the server of this package has put there."""
    found: Connection | None = request.scope.get("state", {}).get("connection")
    return found


async def _answered(answer: Answer, request: Request) -> Any:
    """An answer, or why it is refused."""
    try:
        return await answer(request)
    except Refused as refusal:
        return _error(refusal.status, str(refusal))
    except FileNotFoundError:
        return _error(NotStored.status, "this series has no file yet")
    except CollectorError as error:
        return _error(NotNow.status, str(error))


def _error(status: int, why: str) -> Response:
    return Response(msgspec.json.encode({"error": why}), status, media_type="application/json")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _batches(known: list[tuple[Series, Known]]) -> Iterator[list[tuple[Series, Known]]]:
    return (known[at : at + _BATCH] for at in range(0, len(known), _BATCH))


def _size(source: Source, series: Series) -> int:
    try:
        return (source.directory / series.file_name).stat().st_size
    except OSError:
        return 0
