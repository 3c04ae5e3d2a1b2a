"""Server-sent events: how the collector is, candles that have closed, the one in progress, and what has changed.

Each reader has a task that looks at what is new and sends it, one event after the other; nothing is queued. One that
reads slowly is told less often, and then all at once; one that does not read is cut off by its connection. The writer
wakes the readers when it has written, and goes on: a reader then waits for more candles of that moment, and looks for
candles twice a second at most.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from math import inf

import attrs
import msgspec
import trio
from starlette.types import Receive, Scope, Send

from collector.core.candle import Series, Timeframe
from collector.core.errors import CollectorError
from collector.core.rows import LATEST_MS
from collector.feeder.columns import to_dataframe
from collector.feeder.reader import read_span
from collector.machine import Machine
from collector.page.changes import NO_SERIES, Snapshot
from collector.page.now import Now
from collector.page.source import Known, Source

_LOOK_S = 0.5  # between looks
_GATHER_S = 0.05  # from the first news to a look: candles close together
_STATUS_S = 2.0
_SILENT_S = 15.0  # a comment is sent then: proxies end connections that say nothing
_RETRY_MS = 2000  # after which a browser connects again
_MOST_SERIES = 200  # whose candles are read at a time
_MOST_CANDLES = 500  # of a series at a time: who has missed more loads them
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]

Row = tuple[float, ...]


@attrs.frozen
class Selection:
    """Whose candles are told: of a symbol, of a timeframe, of both, or of all; or the status alone."""

    symbol: str | None = None
    timeframe: Timeframe | None = None
    only_status: bool = False

    @property
    def series(self) -> Series | None:
        """The one series, if it is one."""
        if self.only_status or not (self.symbol and self.timeframe):
            return None
        return Series(self.symbol, self.timeframe)


@attrs.define(eq=False)
class EventStream:
    """The response to one reader, until it leaves."""

    _source: Source
    _now: Now
    _machine: Machine
    _selection: Selection
    _waits: Callable[[float], AbstractContextManager[None]]
    _readers: trio.CapacityLimiter
    _told_ms: dict[Series, int] = attrs.field(factory=dict)  # up to where each series has been told
    _status_s: float = -inf
    _state: object = None
    _forming: Row | None = None
    _seen: Snapshot | None = None  # of the one series
    _sent_s: float = -inf
    _looked_s: float = -inf  # for candles
    _news: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._waits(inf):
            await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS]})
            if scope["method"] != "HEAD":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                    await self._tell(partial(_send, send))
        await send({"type": "http.response.body", "body": b""})

    async def _tell(self, say: Callable[[bytes], object]) -> None:
        text = b"retry: %d\n\n" % _RETRY_MS
        await self._begin()
        while True:
            candles = await self._candles() if self._is_due() else []
            text += b"".join([*self._status(), *candles, *self._in_progress()])
            if not text and trio.current_time() - self._sent_s >= _SILENT_S:
                text = b":\n\n"
            if text:
                await say(text)  # type: ignore[misc]
                self._sent_s = trio.current_time()
            text = b""
            with trio.move_on_after(_LOOK_S):
                await self._news.wait()
                await trio.sleep_until(max(trio.current_time() + _GATHER_S, self._looked_s + _LOOK_S))

    def _is_due(self) -> bool:
        """Whether to look for candles."""
        pause_s = _LOOK_S if self._news.is_set() else self._source.look_every_s
        return trio.current_time() >= self._looked_s + pause_s

    async def _known(self) -> list[tuple[Series, Known]]:
        if self._selection.only_status:
            return []
        return await self._source.known(self._selection.symbol, self._selection.timeframe)

    async def _begin(self) -> None:
        every = await self._known()
        self._told_ms = {series: _end_ms(known) for series, known in every}
        list(self._changes(every))

    def _status(self) -> Iterator[bytes]:
        report = self._now.report()
        state = report and (report.state, report.reasons, report.doing)
        now_s = trio.current_time()
        if state != self._state or now_s - self._status_s >= _STATUS_S:
            self._state, self._status_s = state, now_s
            yield _event("status", self._now.status())

    async def _candles(self) -> list[bytes]:
        """The candles that have closed since the last look, and what else has changed."""
        self._looked_s, self._news = trio.current_time(), self._source.news()
        grown: list[tuple[Series, int]] = []
        every = await self._known()
        for series, known in every:
            told_ms = self._told_ms.setdefault(series, 0)
            if _end_ms(known) > told_ms:
                grown.append((series, told_ms))
        changes = list(self._changes(every))
        if not grown:
            return changes
        if len(grown) > _MOST_SERIES:
            self._news = trio.Event()
            self._news.set()
        read = partial(self._read, grown[:_MOST_SERIES])
        return [*await self._machine.threads.run(read, self._readers), *changes]

    def _changes(self, every: list[tuple[Series, Known]]) -> Iterator[bytes]:
        """Where the one series is otherwise than at the last look."""
        if (series := self._selection.series) is None:
            return
        known = dict(every).get(series)  # none is stored any more, or yet
        before, self._seen = self._seen, Snapshot.of(known.record, known.file) if known else NO_SERIES
        if before and (span := self._seen.changed_since(before)):
            yield _event("changed", _described(series, start=span.start_ms, end=span.end_ms))

    def _read(self, grown: list[tuple[Series, int]]) -> list[bytes]:
        said = []
        for series, told_ms in grown:
            path = self._source.directory / series.file_name
            try:
                found = to_dataframe(read_span(self._machine.disk, path, told_ms, LATEST_MS).blocks)
            except (FileNotFoundError, CollectorError):  # it is gone, or is none; the page tells of it otherwise
                found = to_dataframe(())
            for row in found.tail(_MOST_CANDLES).iter_rows():
                said.append(_event("candle", _described(series, candle=row)))
                self._told_ms[series] = series.timeframe.close(int(row[0]))
        return said

    def _in_progress(self) -> Iterator[bytes]:
        if (series := self._selection.series) is None:
            return
        self._source.watch(series)
        forming = self._source.forming(series)
        if forming and forming != self._forming:
            self._forming = forming
            yield _event("forming", _described(series, candle=forming))


def _end_ms(known: Known) -> int:
    return known.record.held.end_ms


def _described(series: Series, **said: object) -> bytes:
    return msgspec.json.encode({"symbol": series.symbol, "timeframe": series.timeframe.name, **said})


def _event(name: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


async def _send(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    """Ends an answer when its reader has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
