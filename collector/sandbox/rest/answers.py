"""The exchange's answers: from a source, an instant and a query to JSON.

Pure. `change_page` may change a page of candles before it is written. Every reply has the envelope of
https://bybit-exchange.github.io/docs/v5/guide, with the box's time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import attrs
import msgspec

from collector.core.candle import Timeframe
from collector.sandbox import maintenance
from collector.sandbox.maintenance import Maintenance
from collector.sandbox.market.listing import Row, Selection, Source, opened_ms
from collector.sandbox.market.prices import json_of
from collector.sandbox.rest.instruments import list_instruments, with_closed, with_odd_rows
from collector.sandbox.rest.query import Asked, Dialect, Query, Refusal, read_kline

KLINE = "/v5/market/kline"
INSTRUMENTS = "/v5/market/instruments-info"
TIME = "/v5/market/time"
STATUS = "/v5/system/status"
PATHS = (KLINE, INSTRUMENTS, TIME, STATUS)


@attrs.frozen
class Page:
    """A page of candles, newest first, and its labels."""

    category: str
    symbol: str
    timeframe: Timeframe
    rows: list[Row]


PageChange = Callable[[Page, Asked], Page]
"""A change to a page before it is answered: what a fault does to it."""


@attrs.frozen
class Answer:
    """A reply in the exchange's envelope, and its retCode."""

    code: int
    body: bytes


def kline(source: Source, dialect: Dialect, now_ms: int, query: Query, change_page: PageChange | None = None) -> Answer:
    """Candles (docs: market/kline)."""
    try:
        asked = read_kline(query, source, dialect, now_ms)
        rows = candles(source, dialect, now_ms, asked)
    except Refusal as refusal:
        return refused(refusal, now_ms)
    rows.reverse()  # the exchange lists the newest first
    page = Page(asked.category, asked.listing.symbol, asked.timeframe, rows)
    if change_page is not None:
        page = change_page(page, asked)
    result = f'{{"category":"{page.category}","symbol":"{page.symbol}","list":{json_of(page.rows)}}}'
    return succeeded(result.encode(), now_ms)


def candles(source: Source, dialect: Dialect, now_ms: int, asked: Asked) -> list[Row]:
    """The candles selected by a request, oldest first, including the one in progress.

    Start and end are inclusive, and a start within a candle selects it, also the one in progress for a client whose
    clock is a little ahead. A start alone runs forward from there (or from the first candle there is); otherwise the
    newest `limit` candles of the range are returned. Only existing candles count, so a client that pages over a gap
    finds what lies behind it.
    """
    listing, timeframe = asked.listing, asked.timeframe
    start, end = asked.start_ms, asked.end_ms
    future_ms = timeframe.close(timeframe.floor(now_ms))
    if start is not None and (start >= future_ms or (end is not None and start > end)):
        if dialect.odd_range == "refuse":
            raise Refusal("params error: start or end invalid")
        return []
    first_ms = timeframe.floor(max(0, start or 0))
    last_ms = now_ms if end is None else max(0, min(end, now_ms))
    if start is not None and dialect.missing_candles == "padded":
        return _padded(source, asked, first_ms, last_ms, now_ms)
    newest = start is None or end is not None
    return source.page(listing, timeframe, Selection(first_ms, last_ms + 1, asked.limit, newest), now_ms)


def _padded(source: Source, asked: Asked, first_ms: int, last_ms: int, now_ms: int) -> list[Row]:
    """As many candles as the range has places, the newest up to its end, whatever its start.

    Seen of spot pairs that were relisted after weeks, and of delisted ones: where a range has no candles, the answer
    has those before it. Before the very first candle there are none, and no places.
    """
    timeframe = asked.timeframe
    for oldest in source.page(asked.listing, timeframe, Selection(0, now_ms + 1, 1, False), now_ms):
        first_ms = max(first_ms, opened_ms(oldest))
    if asked.end_ms is None:
        last_ms = min(last_ms, timeframe.shift(first_ms, asked.limit - 1))
    places = min(asked.limit, timeframe.count(first_ms, last_ms + 1))
    return source.page(asked.listing, timeframe, Selection(0, last_ms + 1, places, True), now_ms) if places else []


def instruments(
    source: Source, dialect: Dialect, now_ms: int, query: Query, *, odd: bool = False, closed: Sequence[str] = ()
) -> Answer:
    """The list of instruments (docs: market/instrument).

    With `odd` fields and rows on request, and with some symbols `closed`.
    """
    try:
        result = list_instruments(source, dialect, now_ms, query)
        result = with_closed(result, closed) if closed else result
        result = with_odd_rows(result) if odd else result
    except Refusal as refusal:
        return refused(refusal, now_ms)
    return succeeded(msgspec.json.encode(result), now_ms)


def no_instruments(query: Query, now_ms: int) -> Answer:
    """An empty list of instruments."""
    result = {"category": query.get("category", ""), "list": [], "nextPageCursor": ""}
    return succeeded(msgspec.json.encode(result), now_ms)


def time(now_ns: int) -> Answer:
    """The exchange's time (docs: market/time); its numbers are texts."""
    result = f'{{"timeSecond":"{now_ns // 10**9}","timeNano":"{now_ns}"}}'
    return succeeded(result.encode(), now_ns // 1_000_000)


def status(announced: Iterable[Maintenance], now_ms: int, query: Query) -> Answer:
    """Announced maintenance (docs: system-status), filtered by id or state."""
    wanted = {name: query[name] for name in ("id", "state") if name in query}
    found = [
        row for row in maintenance.rows(announced, now_ms) if all(row[name] == text for name, text in wanted.items())
    ]
    return succeeded(msgspec.json.encode({"list": found}), now_ms, b"")


def succeeded(result: bytes, now_ms: int, message: bytes = b"OK") -> Answer:
    envelope = b'{"retCode":0,"retMsg":"%b","result":%b,"retExtInfo":{},"time":%d}'
    return Answer(0, envelope % (message, result, now_ms))


def refused(refusal: Refusal, now_ms: int) -> Answer:
    """A business error; the HTTP status stays 200."""
    envelope: Mapping[str, object] = {
        "retCode": refusal.code,
        "retMsg": refusal.message,
        "result": refusal.result,
        "retExtInfo": cast(object, {}),
        "time": now_ms,
    }
    return Answer(refusal.code, msgspec.json.encode(envelope))
