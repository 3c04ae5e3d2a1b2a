"""How the exchange speaks over REST: queries, and responses as checked values or named errors.

Pure: bytes in, values out. Only an answer to exactly what was asked becomes data. The shapes of responses are in
`rest_schema`, return codes in `return_codes`, rows of candles in `kline_rows`. The rules are those of
https://bybit-exchange.github.io/docs/v5/guide and the pages below `market/`; where the documentation is silent, the
comment says what was seen.
"""

from collections.abc import Container

import attrs
import msgspec

from collector.bybit.kline_rows import (
    Page,
    closed_rows,
    open_minute_of,
    page_of,
    split_page,
    wider,
    without_padding,
    without_wider,
)
from collector.bybit.rest_schema import (
    INSTRUMENT_ROW,
    INSTRUMENTS_REPLY,
    KLINE_REPLY,
    STATUS_REPLY,
    STATUS_ROW,
    TEXT,
    UNREADABLE,
    KlineResult,
)
from collector.bybit.return_codes import (
    check_reply,
    decode_envelope,
    decode_reply,
    glimpse,
    milliseconds,
    plausible_time,
)
from collector.core.candle import Series
from collector.core.errors import InvalidResponse
from collector.core.maintenance import Maintenance
from collector.core.missing import InvalidRow
from collector.core.request_windows import EARLIEST_MS, PAGE, SETTLE_MS
from collector.core.rows import Rows
from collector.core.spans import Span
from collector.core.text import counted

KLINE = "/v5/market/kline"
INSTRUMENTS = "/v5/market/instruments-info"
TIME = "/v5/market/time"
STATUS = "/v5/system/status"
_MOST_SYMBOLS = 10_000  # on a page: 1000 are asked for, and spot, which has 530, gives all at once

Query = dict[str, str]


@attrs.frozen
class TimeAnswer:
    """The exchange's time; every other answer bears it too."""

    time_ms: int


@attrs.frozen
class KlineAnswer(TimeAnswer):
    """The candles of one window that were closed at `time_ms`, oldest first.

    `asked` is the part of the window that was closed then, or None. `invalid` has the invalid rows, if asked for. One
    that is not sure counts for nothing: `wider_query` asks again.
    """

    rows: Rows
    asked: Span | None
    invalid: tuple[InvalidRow, ...] = ()
    is_sure: bool = True


@attrs.frozen
class FirstAnswer(TimeAnswer):
    """The open time of a series' very first candle.

    None before there is one.
    """

    open_ms: int | None


@attrs.frozen
class Instrument:
    """One symbol of the exchange's list, as far as a collector needs it."""

    symbol: str
    status: str
    kind: str
    base: str
    quote: str
    settle: str
    launch_ms: int | None
    delivery_ms: int | None

    @property
    def trades(self) -> bool:
        """Whether it is open for trading, as one without a status is."""
        return self.status.casefold() in ("trading", "")


@attrs.frozen
class InstrumentsAnswer(TimeAnswer):
    """One page of the list of symbols; `cursor` is empty on the last.

    `unusable` are rows that name no symbol.
    """

    instruments: tuple[Instrument, ...]
    cursor: str
    unusable: tuple[str, ...] = ()


_LONGEST_TITLE = 200
_PRODUCTS = {"linear": 1, "inverse": 1, "spot": 2}  # docs: enum#product


def kline_query(category: str, series: Series, span: Span) -> Query:
    """The query for a span of at most a page.

    The exchange's range includes both ends.
    """
    frame = series.timeframe
    candles = frame.count(span.start_ms, span.end_ms)
    if not 1 <= candles <= PAGE:
        raise ValueError(f"a request holds 1 to {PAGE} candles, not {candles}")
    first = frame.ceil(span.start_ms)
    last = frame.shift(first, candles - 1)
    return _kline_query(category, series) | {"start": str(first), "end": str(last), "limit": str(candles)}


def wider_query(category: str, series: Series, span: Span) -> Query:
    """The query for a span of less than a page, and the candle before it."""
    return kline_query(category, series, wider(series.timeframe, span))


def kline_from_query(category: str, series: Series, span: Span) -> Query:
    """The query for as many candles as the span has, from its start on.

    With a start alone the exchange answers forward, and clamps a start before the listing to the first candle.
    """
    query = kline_query(category, series, span)
    del query["end"]
    return query


def first_candle_query(category: str, series: Series) -> Query:
    """The query for a series' very first candle, answered forward from the start."""
    return _kline_query(category, series) | {"start": str(EARLIEST_MS), "limit": "1"}


def instruments_query(category: str, cursor: str = "") -> Query:
    """The query for a page of the list of symbols; the default of 500 is shorter than the list."""
    return {"category": category, "limit": "1000"} | ({"cursor": cursor} if cursor else {})


def parse_kline(
    status: int, body: bytes, category: str, series: Series, span: Span, *, split_invalid: bool = False
) -> KlineAnswer:
    """The closed candles of a reply to `kline_query`; `split_invalid` takes invalid rows out.

    Raises:
        InvalidResponse: it is not an answer to this question; the text says why.
        InvalidRowResponse: without some of its rows it is one.
        RequestError, Banned: the exchange gave another answer than candles (see `check_reply`).
    """
    page = _kline_page(status, body, category, series, series.timeframe.count(span.start_ms, span.end_ms))
    return _kline_answer(without_padding(series.timeframe, page, span), series, span, split_invalid)


def parse_wider(
    status: int, body: bytes, category: str, series: Series, span: Span, *, split_invalid: bool = False
) -> KlineAnswer:
    """The closed candles that a reply to `wider_query` has of the span. Raises as `parse_kline` does."""
    wide = wider(series.timeframe, span)
    page = _kline_page(status, body, category, series, series.timeframe.count(wide.start_ms, wide.end_ms))
    return _kline_answer(without_wider(series.timeframe, page, span), series, span, split_invalid)


def joined_answers(first: KlineAnswer, second: KlineAnswer) -> KlineAnswer:
    """One answer for both halves of a window; the first alone if it ends earlier than its half."""
    if not first.asked or not second.asked or first.asked.end_ms != second.asked.start_ms:
        return first
    rows = Rows(first.rows.text + second.rows.text, first.rows.covered | second.rows.covered)
    asked = Span(first.asked.start_ms, second.asked.end_ms)
    return KlineAnswer(second.time_ms, rows, asked, first.invalid + second.invalid)


def _kline_answer(page: Page, series: Series, span: Span, split_invalid: bool) -> KlineAnswer:
    closed_ms = series.timeframe.floor(page.time_ms)
    asked = Span(span.start_ms, min(span.end_ms, closed_ms)) if closed_ms > span.start_ms else None
    is_sure = page.is_sure
    invalid: tuple[InvalidRow, ...] = ()
    if split_invalid:
        page, invalid = split_page(series.timeframe, page, asked)
    return KlineAnswer(page.time_ms, closed_rows(series.timeframe, page, span, closed_ms), asked, invalid, is_sure)


def parse_kline_from(status: int, body: bytes, category: str, series: Series, span: Span) -> KlineAnswer:
    """The closed candles of a reply to `kline_from_query`, which may lie behind the span.

    A full page answers for everything up to its last candle, a shorter one for everything up to now, but for a candle
    that closed a moment ago and may still change. Raises as `parse_kline` does.
    """
    frame = series.timeframe
    most = frame.count(span.start_ms, span.end_ms)
    page = _kline_page(status, body, category, series, most)
    if without_padding(frame, page, span) is not page:  # it answers for these places alone
        return parse_kline(status, body, category, series, span)
    closed_ms = frame.floor(page.time_ms - SETTLE_MS)
    reach = Span(span.start_ms, max(span.end_ms, frame.close(frame.floor(page.time_ms))))
    rows = closed_rows(frame, page, reach, closed_ms)
    reached_ms = rows.covered.bounds.end_ms if rows and len(page.lines) == most else closed_ms
    asked = Span(span.start_ms, reached_ms) if reached_ms > span.start_ms else None
    return KlineAnswer(page.time_ms, rows, asked)


def parse_first_candle(status: int, body: bytes, category: str, series: Series) -> FirstAnswer:
    """The open time in a reply to `first_candle_query`; the candle's numbers are ignored.

    Raises as `parse_kline` does.
    """
    page = _kline_page(status, body, category, series, most=1)
    open_ms = open_minute_of(page.lines[0]) if page.lines else None
    if page.lines and (open_ms is None or open_ms > page.time_ms or not series.timeframe.is_open(open_ms)):
        raise InvalidResponse(f"the first candle is of {page.lines[0][:40].decode('utf-8', 'replace')!r}")
    return FirstAnswer(page.time_ms, open_ms)


def parse_instruments(
    status: int, body: bytes, category: str, known: Container[str] = (), cursors: Container[str] = ()
) -> InstrumentsAnswer:
    """One page of the list of symbols.

    Raises as `parse_kline` does.

    A page that has only symbols that are `known` from those before is none: whoever does not understand a cursor gives
    the first page again, and the rest of the list would be missing. One of the `cursors` that were followed already
    ends the list, as an empty one does.
    """
    reply = decode_reply(INSTRUMENTS_REPLY, status, body)
    if reply.result.category != category:
        raise InvalidResponse(f"the list is of category {reply.result.category!r}, not {category!r}")
    if len(reply.result.list) > _MOST_SYMBOLS:
        raise InvalidResponse(f"a page of the list of symbols has {len(reply.result.list)} of them")
    read = [(row, _instrument(row)) for row in reply.result.list]
    # A short last page can carry a cursor; the page after it is empty.
    cursor = (reply.result.nextPageCursor or "") if read else ""
    instruments = tuple(instrument for _, instrument in read if instrument)
    if instruments and all(each.symbol in known for each in instruments):
        raise InvalidResponse("a page of the list of symbols brings nothing new")
    return InstrumentsAnswer(
        milliseconds(reply.time),
        instruments,
        "" if cursor in cursors else cursor,
        tuple(glimpse(bytes(row)) for row, instrument in read if not instrument),
    )


def parse_time(status: int, body: bytes) -> TimeAnswer:
    """The exchange's time. Raises as `parse_kline` does."""
    check_reply(status, body)
    return TimeAnswer(plausible_time(milliseconds(decode_envelope(body).time)))


def parse_status(status: int, body: bytes, category: str) -> tuple[Maintenance, ...]:
    """The maintenance announced for a category and still to end (docs: system-status).

    Invalid rows are left out one by one. Raises as `parse_kline` does.
    """
    reply = decode_reply(STATUS_REPLY, status, body)
    found = (_maintenance(row, category) for row in reply.result.list)
    return tuple(each for each in found if each)


def _maintenance(raw: msgspec.Raw, category: str) -> Maintenance | None:
    try:
        row = STATUS_ROW.decode(raw)
    except UNREADABLE:
        return None
    begin_ms, end_ms = _ms(str(row.begin)), _ms(str(row.end))
    is_ours = not isinstance(row.product, list) or not row.product or _PRODUCTS.get(category) in row.product
    if row.state not in ("scheduled", "ongoing") or not is_ours or not begin_ms or not end_ms or end_ms <= begin_ms:
        return None
    return Maintenance(row.title[:_LONGEST_TITLE] if isinstance(row.title, str) else "", begin_ms, end_ms)


def _kline_query(category: str, series: Series) -> Query:
    return {"category": category, "symbol": series.symbol, "interval": series.timeframe.name}


def _kline_page(status: int, body: bytes, category: str, series: Series, most: int) -> Page:
    reply = decode_reply(KLINE_REPLY, status, body)
    page = page_of(milliseconds(reply.time), reply.result.list)
    if page.lines or reply.result.symbol:  # whether a reply without a row repeats the question is not documented
        _check_addressee(reply.result, category, series)
    if len(page.lines) > most:
        raise InvalidResponse(f"{counted(len(page.lines), 'row')} came where {most:,} were asked for")
    return page


def _check_addressee(result: KlineResult, category: str, series: Series) -> None:
    if result.symbol != series.symbol:
        raise InvalidResponse(f"the answer is for symbol {result.symbol!r}, not {series.symbol!r}")
    if result.category != category:
        raise InvalidResponse(f"the answer is for category {result.category!r}, not {category!r}")


def _instrument(raw: msgspec.Raw) -> Instrument | None:
    """A row of the list.

    None if it names no symbol.
    """
    try:
        row = INSTRUMENT_ROW.decode(raw)
    except UNREADABLE:
        return None
    symbol = _shown(row.symbol)
    if not symbol:
        return None
    return Instrument(
        symbol=symbol,
        status=_shown(row.status),
        kind=_shown(row.contractType),
        base=_shown(row.baseCoin),
        quote=_shown(row.quoteCoin),
        settle=_shown(row.settleCoin),
        launch_ms=_ms(_written(row.launchTime)),
        delivery_ms=_ms(_written(row.deliveryTime)),
    )


def _shown(value: msgspec.Raw) -> str:
    """A text; empty if it is none."""
    try:
        return TEXT.decode(value)
    except UNREADABLE:
        return ""


def _written(value: msgspec.Raw) -> str:
    """A number as it is written, with or without quotes."""
    return _shown(value) or bytes(value).decode("utf-8", "replace")


def _ms(text: str) -> int | None:
    """Times of day zero and empty texts mean `none` in the list of symbols."""
    return int(text) or None if text.isascii() and text.isdecimal() and len(text) <= 13 else None
