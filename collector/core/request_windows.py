"""Which requests to make: near spans joined where that saves one, then cut into windows and queued.

A window names its first and last candle and spans at most a page: of a wider one the exchange drops the oldest rows in
silence. What is missing is the coverage's to know. Pure.
"""

from collections.abc import Iterator

import attrs

from collector.core.candle import DAY_MS, Series, Timeframe
from collector.core.listing_dates import ListingProbes
from collector.core.spans import NOTHING, Span, Spans

PAGE = 1000  # the most rows one reply holds (https://bybit-exchange.github.io/docs/v5/market/kline, `limit`)
# The exchange opened in 2018; nothing it has is older, and a start before a listing is clamped to the first candle.
EARLIEST_MS = 1_483_228_800_000  # 2017-01-01
# After its close a candle may still change for about a second (confirmations were seen 0.2 to 1.0 s late), so nothing
# is asked for, or taken for closed, earlier than this after the minute's end.
SETTLE_MS = 2_000
NEWEST = 50  # rows that `mode = recent` fetches and `limit_to_50_entries` keeps


@attrs.frozen
class Window:
    """One request to come: a span of a series.

    `probes_listing` marks the first window of a series whose listing date is unknown: its answer tells.
    """

    series: Series
    span: Span
    probes_listing: bool = False


def wanted(timeframe: Timeframe, now_ms: int, days: int | None, *, newest_only: bool) -> Spans:
    """The closed candles to have of a series.

    Those of the last `days`, if that says anything, and of them only the newest, if more are unwanted. The candle that
    contains the first instant is wanted whole, so that coarse timeframes reach as far as fine ones.
    """
    end = timeframe.floor(now_ms)
    starts = [] if days is None else [timeframe.floor(max(EARLIEST_MS, now_ms - days * DAY_MS))]
    if newest_only:
        starts.append(timeframe.shift(end, -NEWEST))
    return Spans.between(max(starts), end)


def windows(timeframe: Timeframe, spans: Spans, page: int = PAGE) -> Iterator[Span]:
    """Cuts spans into disjoint windows of at most `page` candles.

    They come oldest first and together cover every candle.
    """
    for span in spans:
        start = timeframe.ceil(span.start_ms)
        while start < span.end_ms:
            end = min(timeframe.shift(start, page), timeframe.ceil(span.end_ms))
            yield Span(start, end)
            start = end


def joined(timeframe: Timeframe, spans: Spans, between: Spans | None = None, page: int = PAGE) -> Spans:
    """The spans, joined where that saves a request.

    Args:
        timeframe: of the candles.
        spans: to ask for.
        between: what may be asked for with them (None: anything).
        page: the most candles of a request.
    """
    if not spans:
        return spans
    allowed = Spans((spans.bounds,)) if between is None else between | spans
    numbered = [(span, timeframe.number_at(span.start_ms - 1), timeframe.number_at(span.end_ms - 1)) for span in spans]
    (union, first, last), *others = numbered
    pages = _pages(last - first, page)
    result: list[Span] = []
    for span, before, last in others:
        together, alone = _pages(last - first, page), _pages(last - before, page)
        if together < pages + alone and allowed.covers(union.start_ms, span.end_ms):
            union, pages = Span(union.start_ms, span.end_ms), together
        else:
            result.append(union)
            union, first, pages = span, before, alone
    return Spans.of(*result, union)


def _pages(candles: int, page: int) -> int:
    return -(-candles // page)


def halves(timeframe: Timeframe, span: Span) -> list[Span]:
    """The two halves of a span, the first the longer.

    None of a single candle.
    """
    candles = timeframe.count(span.start_ms, span.end_ms)
    return list(windows(timeframe, Spans((span,)), -(-candles // 2))) if candles > 1 else []


@attrs.define
class FetchQueue:
    """The spans that wait for a worker, series after series.

    A series whose listing date is unknown gives out its first window, a probe; the windows after it wait until `resume`
    is called (`listing_dates.py`).
    """

    _waiting: dict[Series, Spans] = attrs.field(factory=dict)
    _probes: ListingProbes = attrs.field(factory=ListingProbes)

    def add(self, series: Series, spans: Spans, *, listing_unknown: bool = False) -> None:
        """Queues spans; `listing_unknown` makes the first window a probe."""
        if spans:
            self._waiting[series] = self._waiting.get(series, NOTHING) | spans
            if listing_unknown:
                self._probes.add(series)

    def take(self) -> Window | None:
        """The next window to ask for; None while all wait."""
        series = next((each for each in self._waiting if not self._probes.waits(each)), None)
        if series is None:
            return None
        probes_listing = self._probes.begin(series)
        span = next(windows(series.timeframe, self._waiting[series]))
        self._drop(series, Spans((span,)))
        return Window(series, span, probes_listing)

    def resume(self, series: Series) -> None:
        """Hands out the windows after a probe that is answered."""
        self._probes.end(series)

    def drop(self, series: Series, spans: Spans | None = None) -> Spans:
        """Takes waiting spans back (None: all); returns them."""
        waiting = self._waiting.get(series, NOTHING)
        dropped = waiting if spans is None else waiting & spans
        self._drop(series, dropped)
        return dropped

    def _drop(self, series: Series, spans: Spans) -> None:
        rest = self._waiting.get(series, NOTHING) - spans
        if rest:
            self._waiting[series] = rest
        else:
            self._waiting.pop(series, None)
            self._probes.forget(series)
