"""The history pool: a fixed number of fetching workers.

Each pulls a window from the fetch queue, requests it, and passes on the answer.

Queued work is spans, not tasks. A request that fails for good goes back as a span given up and stops nobody else, and
a row that is no candle spoils no other: the rows around it are taken, at once if all such rows of an answer are known
to be the exchange's own. Only an exchange that cannot be reached, or
refuses us, ends the pool. While the disk is nearly full, everything is given up. Nothing here knows files or decides
what is missing.
"""

from itertools import count

import attrs
import trio

from collector.bybit.rest_client import Rest
from collector.bybit.rest_protocol import KlineAnswer
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import InvalidRowsPersist, Rejected, RequestFailed, Unreachable
from collector.core.events import Answered, Event, GaveUp
from collector.core.listing_dates import begins_before
from collector.core.missing import known_invalid
from collector.core.request_windows import FetchQueue, Window, halves
from collector.core.rows import Rows
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import moment_text, span_texts
from collector.logs import get_logger
from collector.monitoring.disk_gate import DiskGate

log = get_logger(__name__)

EventChannel = trio.MemorySendChannel[Event]


@attrs.define(eq=False)
class History:
    """The work to do and the workers doing it."""

    _rest: Rest
    _coverage: CoverageIndex
    _counters: Counters
    _gate: DiskGate
    _retry_forever: bool  # wait for an exchange that cannot be reached, instead of raising
    _queue: FetchQueue = attrs.field(factory=FetchQueue)
    _more: trio.Event = attrs.field(factory=trio.Event)

    def fetch(self, series: Series, spans: Spans) -> None:
        """Queues spans of a series, in flight from now on."""
        listing_unknown = self._coverage[series].listing_unknown(spans.bounds.start_ms)
        self._coverage.ask(series, spans)
        self._queue.add(series, spans, listing_unknown=listing_unknown)
        self._wake()

    def drop(self, series: Series) -> None:
        """Takes back what waits of a series.

        What was asked for still comes.
        """
        self._coverage.cancel_fetch(series, self._queue.drop(series))

    async def work(self, workers: int, out: EventChannel) -> None:
        """Runs the pool until it is cancelled.

        Raises:
            Unreachable, Refused: nobody can be served.
        """
        with out:
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(self._worker, out.clone())

    async def _worker(self, out: EventChannel) -> None:
        with out:
            while True:
                window = self._queue.take()
                if window is None:
                    await self._more.wait()
                elif not self._gate.is_open:
                    await self._hand_back(window, out)
                else:
                    await self._fetch(window, out)

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()

    async def _hand_back(self, window: Window, out: EventChannel) -> None:
        """Gives up a series while the disk is nearly full.

        The space that is left is for what the stream brings.
        """
        for span in Spans((window.span,)) | self._queue.drop(window.series):
            await out.send(GaveUp(window.series, span, "the disk is nearly full", self._rest.now_ms))
        self._resume(window)

    async def _fetch(self, window: Window, out: EventChannel) -> None:
        try:
            answer = await self._answer(window)
        except InvalidRowsPersist:  # if it is a first answer's, the listing date was asked for by itself
            self._resume(window)
            await self._fetch_sound(window.series, window.span, out)
        except (Rejected, RequestFailed) as failure:
            await self._fail(window, failure, out)
        else:
            self._resume(window)
            await self._pass_on(window.series, Spans((window.span,)), answer, out)

    async def _fail(self, window: Window, failure: Rejected | RequestFailed, out: EventChannel) -> None:
        series, given_up = window.series, Spans((window.span,))
        if window.probes_listing:  # whether the windows after it are worth a request is still unknown
            given_up |= self._queue.drop(series)
        self._resume(window)
        # Of a symbol that trades no more, a refusal is the answer: there is nothing.
        if isinstance(failure, Rejected) and series.symbol in self._coverage.delisted:
            for span in given_up:
                await out.send(Answered(series, span, Rows(), self._rest.now_ms))
        else:
            await self._give_up(series, given_up, str(failure), out)

    async def _fetch_sound(self, series: Series, span: Span, out: EventChannel) -> None:
        """Fetches a window with invalid rows again, and keeps the valid ones.

        Those rows are the exchange's own if its answers to the whole and to both halves agree which they are; if not,
        it is the answers that are wrong, and those with such rows are not believed.
        """
        parts = halves(series.timeframe, span) or [span]
        try:
            whole, *answers = [await self._answer(Window(series, each), split=True) for each in (span, *parts)]
        except (Rejected, RequestFailed) as failure:
            await self._give_up(series, Spans((span,)), str(failure), out)
            return
        found = {row.span for answer in answers for row in answer.invalid}
        agreed = found == {row.span for row in whole.invalid}
        for part, answer in zip(parts, answers, strict=True):
            if agreed or not answer.invalid:
                await self._pass_on(series, Spans((part,)), answer, out)
            else:
                await self._give_up(series, Spans((part,)), f"answers differ on whether {answer.invalid[0].why}", out)

    async def _pass_on(self, series: Series, span: Spans, answer: KlineAnswer, out: EventChannel) -> None:
        if answer.asked:
            span -= Spans((answer.asked,))
            await out.send(Answered(series, answer.asked, answer.rows, self._rest.now_ms, answer.invalid))
        await self._give_up(series, span, "not closed yet by the exchange's clock", out)

    def _resume(self, window: Window) -> None:
        """A first window was dealt with: those after it are handed out."""
        if window.probes_listing:
            self._queue.resume(window.series)
            self._wake()

    async def _answer(self, window: Window, *, split: bool = False) -> KlineAnswer:
        for times in count(1):
            try:
                if window.probes_listing:
                    return await self._first_answer(window)
                if split:
                    return await self._rest.klines(window.series, window.span, split_invalid=True)
                return await self._sound_answer(window)
            except Unreachable as trouble:
                if not self._retry_forever:
                    raise
                if self._rest.state.tells_outage():
                    log.warning("still no answer, trying on", series=str(window.series), why=str(trouble))
            await self._rest.pause(times)
        raise AssertionError("patience has no end")

    async def _sound_answer(self, window: Window) -> KlineAnswer:
        """An answer whose only invalid rows are the known ones."""
        known = known_invalid(self._coverage[window.series].gaps, Spans((window.span,)))
        answer = await self._rest.klines(window.series, window.span, split_invalid=bool(known))
        for row in answer.invalid:
            if row.span.start_ms not in known:
                raise InvalidRowsPersist(row.why)
        return answer

    async def _first_answer(self, window: Window) -> KlineAnswer:
        """Fetches the first candles of a series, and its listing date.

        An answer that begins with the window's first candle proves that the series is older. Otherwise the candles
        before may be missing, or may never have been: unless the answer begins where the series was known to, the
        exchange is asked for its very first candle. So it is when a row of the answer is no candle.
        """
        series, start_ms = window.series, window.span.start_ms
        answer: KlineAnswer | InvalidRowsPersist
        try:
            answer = await self._rest.klines_from(series, window.span)
        except InvalidRowsPersist as failure:
            answer = failure
        if isinstance(answer, InvalidRowsPersist):  # below `except`, where a cancellation would lose what failed
            await self._find_first(series, start_ms, NOTHING)
            raise answer
        if start_ms not in answer.rows.covered:
            await self._find_first(series, start_ms, answer.rows.covered)
        if answer.asked:  # it may have answered for more than the window
            self._queue.drop(series, Spans((answer.asked,)))
        return answer

    async def _find_first(self, series: Series, start_ms: int, covered: Spans) -> None:
        """Finds the first candle of a series, and drops the queue before it.

        `covered` is what an answer from `start_ms` on holds.

        Two answers tell: this one, and that to the question for the very first candle, or that which was given before.
        """
        first_ms = self._coverage[series].gap_index.listing_ms
        if first_ms is None or begins_before(covered, first_ms):
            first_ms = await self._rest.first_candle(series)
            if first_ms is None:
                raise Rejected("the exchange has no candle of this series")
            if begins_before(covered, first_ms):
                raise RequestFailed(
                    f"the exchange says that its first candle is of {moment_text(first_ms)}, and has older"
                )
            self._counters.listings += 1
            log.debug("first candle found", series=str(series), at=moment_text(first_ms))
        before = self._coverage[series].set_listing_date(start_ms, first_ms, self._rest.now_ms)
        self._coverage.cancel_fetch(series, self._queue.drop(series, before))

    async def _give_up(self, series: Series, spans: Spans, why: str, out: EventChannel) -> None:
        for span in spans:
            self._counters.failed += 1
            log.warning("given up for now", series=str(series), **span_texts(span), why=why)
            await out.send(GaveUp(series, span, why, self._rest.now_ms))
