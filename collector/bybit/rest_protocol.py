"""How the exchange speaks over REST: questions as query parameters, answers as checked values or named errors.

Pure: bytes in, values out. An answer that is not exactly what was asked for never becomes data. The rules are those of
https://bybit-exchange.github.io/docs/v5/guide and the pages below `market/`; where the documentation is silent, the
comment says what was seen.
"""

import json
import re
from collections.abc import Container, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import attrs
import msgspec

from collector.core.candle import MINUTE_MS, TIMEFRAMES, Series, Timeframe
from collector.core.maintenance import Maintenance
from collector.core.missing import InvalidRow
from collector.core.planning import EARLIEST_MS, PAGE, SETTLE_MS
from collector.core.rows import LATEST_MS, OLDEST_MS, NotACandle, Rows, open_of_line, plain_line, rows_of_lines
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import counted, moment_text
from collector.errors import (
    Banned,
    Blocked,
    ExchangeError,
    InvalidResponse,
    InvalidRowResponse,
    Rejected,
    Restricted,
    TryAgain,
)

KLINE = "/v5/market/kline"
INSTRUMENTS = "/v5/market/instruments-info"
TIME = "/v5/market/time"
STATUS = "/v5/system/status"

# What decoding any bytes whatever raises: the decoder's own errors and that of text that is not UTF-8, which it passes
# on, are ValueErrors; JSON that is nested too deeply ends its recursion.
UNREADABLE = (ValueError, RecursionError)

_VALUES = 7  # in a row of candles
_MOST_SYMBOLS = 10_000  # on a page: 1000 are asked for, and spot, which has 530, gives all at once

Query = dict[str, str]


@attrs.frozen
class TimeAnswer:
    """The exchange's time; every other answer bears it too."""

    time_ms: int


@attrs.frozen
class KlineAnswer(TimeAnswer):
    """The candles of one window that were closed at the exchange's time `time_ms`, oldest first.

    `asked` is the part of the window that was closed then; None when nothing of it was. Rows that are no candles are in
    `invalid`; there are none unless they were asked for.
    """

    rows: Rows
    asked: Span | None
    invalid: tuple[InvalidRow, ...] = ()


@attrs.frozen
class FirstAnswer(TimeAnswer):
    """The open time of a series' very first candle; None when it has none yet."""

    open_ms: int | None


@attrs.frozen
class Instrument:
    """One line of the exchange's list of symbols, as much of it as a collector needs."""

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
        """Whether it is open for trading. One without a status is: nothing else was asked for."""
        return self.status.casefold() in ("trading", "")


@attrs.frozen
class InstrumentsAnswer(TimeAnswer):
    """One page of the list of symbols; `cursor` is empty on the last. `unusable` are rows that name no symbol."""

    instruments: tuple[Instrument, ...]
    cursor: str
    unusable: tuple[str, ...] = ()


R = TypeVar("R", bound="_Reply")
_NONE = msgspec.Raw(b"null")


class _KlineResult(msgspec.Struct):
    list: msgspec.Raw  # an answer without it answers nothing
    category: str = ""
    symbol: str = ""


class _Reply(msgspec.Struct):
    """What a struct has no field for may be anything. A number may be a text, as many of the exchange's are."""

    retCode: int | str  # noqa: N815  (the exchange's names)
    time: int | str


class _KlineReply(_Reply):
    result: _KlineResult


@attrs.frozen
class _Page:
    """The rows of a good kline reply as lines, oldest first, the one of the candle in progress among them."""

    time_ms: int
    lines: list[bytes]


class _InstrumentRow(msgspec.Struct):
    """Every field is read by itself: an odd one must not spoil the row."""

    symbol: msgspec.Raw = _NONE
    status: msgspec.Raw = _NONE
    contractType: msgspec.Raw = _NONE  # noqa: N815
    baseCoin: msgspec.Raw = _NONE  # noqa: N815
    quoteCoin: msgspec.Raw = _NONE  # noqa: N815
    settleCoin: msgspec.Raw = _NONE  # noqa: N815
    launchTime: msgspec.Raw = _NONE  # noqa: N815
    deliveryTime: msgspec.Raw = _NONE  # noqa: N815


class _InstrumentsResult(msgspec.Struct):
    list: Sequence[msgspec.Raw]
    category: str = ""
    nextPageCursor: str | None = None  # noqa: N815


class _InstrumentsReply(_Reply):
    result: _InstrumentsResult


class _StatusRow(msgspec.Struct):
    state: str
    begin: str | int  # documented as text
    end: str | int
    title: Any = ""
    product: Any = ()


class _StatusResult(msgspec.Struct):
    list: Sequence[msgspec.Raw]


class _StatusReply(_Reply):
    result: _StatusResult


class _Envelope(msgspec.Struct):
    retCode: int | str  # noqa: N815
    retMsg: Any = ""  # noqa: N815
    time: int | str = 0


_KLINE_REPLY = msgspec.json.Decoder(_KlineReply)
_KLINE_ROWS = msgspec.json.Decoder(Sequence[msgspec.Raw])
_KLINE_ROW = msgspec.json.Decoder(Sequence[msgspec.Raw])
_INSTRUMENTS_REPLY = msgspec.json.Decoder(_InstrumentsReply)
_STATUS_REPLY = msgspec.json.Decoder(_StatusReply)
_STATUS_ROW = msgspec.json.Decoder(_StatusRow)
_INSTRUMENT_ROW = msgspec.json.Decoder(_InstrumentRow)
_TEXT = msgspec.json.Decoder(str)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_LONGEST_TITLE = 200
_PRODUCTS = {"linear": 1, "inverse": 1, "spot": 2}  # docs: enum#product


def kline_query(category: str, series: Series, span: Span) -> Query:
    """Asks for the candles that open in a span of at most a page; both ends of the exchange's range are inclusive."""
    frame = series.timeframe
    candles = frame.count(span.start_ms, span.end_ms)
    if not 1 <= candles <= PAGE:
        raise ValueError(f"a request holds 1 to {PAGE} candles, not {candles}")
    first = frame.ceil(span.start_ms)
    last = frame.shift(first, candles - 1)
    return _kline_query(category, series) | {"start": str(first), "end": str(last), "limit": str(candles)}


def kline_from_query(category: str, series: Series, span: Span) -> Query:
    """Asks for as many candles as the span has, from its start on, wherever the series begins: with a start alone, the
    exchange answers forward, and a start before the listing is clamped to the first candle."""
    query = kline_query(category, series, span)
    del query["end"]
    return query


def first_candle_query(category: str, series: Series) -> Query:
    """Asks for a series' very first candle: with a start alone, the exchange answers forward from its first candle."""
    return _kline_query(category, series) | {"start": str(EARLIEST_MS), "limit": "1"}


def instruments_query(category: str, cursor: str = "") -> Query:
    """Asks for a page of the list of symbols. The default page of 500 is shorter than the list."""
    return {"category": category, "limit": "1000"} | ({"cursor": cursor} if cursor else {})


def parse_kline(
    status: int, body: bytes, category: str, series: Series, span: Span, *, split_invalid: bool = False
) -> KlineAnswer:
    """The closed candles of a reply to `kline_query`; with `split_invalid`, `InvalidRowResponse` is never raised.

    Raises:
        InvalidResponse: it is not an answer to this question; the text says why.
        InvalidRowResponse: without some of its rows it is one.
        RequestError, Banned: the exchange gave another answer than candles (see `check_reply`).
    """
    page = _kline_page(status, body, category, series, series.timeframe.count(span.start_ms, span.end_ms))
    closed_ms = series.timeframe.floor(page.time_ms)
    asked = Span(span.start_ms, min(span.end_ms, closed_ms)) if closed_ms > span.start_ms else None
    invalid: tuple[InvalidRow, ...] = ()
    if split_invalid:
        page, invalid = _split(series.timeframe, page, asked)
    return KlineAnswer(page.time_ms, _closed_rows(series.timeframe, page, span, closed_ms), asked, invalid)


def parse_kline_from(status: int, body: bytes, category: str, series: Series, span: Span) -> KlineAnswer:
    """The closed candles of a reply to `kline_from_query`; they may lie behind the span. Raises as `parse_kline` does.

    A full page answers for everything up to its last candle, a shorter one for everything up to now, but for a candle
    that closed a moment ago: it was not to be asked for yet, and may still change.
    """
    frame = series.timeframe
    most = frame.count(span.start_ms, span.end_ms)
    page = _kline_page(status, body, category, series, most)
    closed_ms = frame.floor(page.time_ms - SETTLE_MS)
    reach = Span(span.start_ms, max(span.end_ms, frame.close(frame.floor(page.time_ms))))
    rows = _closed_rows(frame, page, reach, closed_ms)
    reached_ms = rows.covered.bounds.end_ms if rows and len(page.lines) == most else closed_ms
    asked = Span(span.start_ms, reached_ms) if reached_ms > span.start_ms else None
    return KlineAnswer(page.time_ms, rows, asked)


def parse_first_candle(status: int, body: bytes, category: str, series: Series) -> FirstAnswer:
    """When the one candle in a reply to `first_candle_query` opens; its numbers, which are not asked for, may be wrong.

    Raises as `parse_kline` does.
    """
    page = _kline_page(status, body, category, series, most=1)
    open_ms = _minute_of(page.lines[0]) if page.lines else None
    if page.lines and (open_ms is None or open_ms > page.time_ms or not series.timeframe.is_open(open_ms)):
        raise InvalidResponse(f"the first candle is of {page.lines[0][:40].decode('utf-8', 'replace')!r}")
    return FirstAnswer(page.time_ms, open_ms)


def parse_instruments(
    status: int, body: bytes, category: str, known: Container[str] = (), cursors: Container[str] = ()
) -> InstrumentsAnswer:
    """One page of the list of symbols. Raises as `parse_kline` does.

    A page that has only symbols that are `known` from those before is none: whoever does not understand a cursor gives
    the first page again, and the rest of the list would be missing. One of the `cursors` that were followed already
    ends the list, as an empty one does.
    """
    reply = _decoded(_INSTRUMENTS_REPLY, status, body)
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
        _milliseconds(reply.time),
        instruments,
        "" if cursor in cursors else cursor,
        tuple(_glimpse(bytes(row)) for row, instrument in read if not instrument),
    )


def parse_time(status: int, body: bytes) -> TimeAnswer:
    """The exchange's time. Raises as `parse_kline` does."""
    check_reply(status, body)
    return TimeAnswer(_plausible(_milliseconds(_envelope(body).time)))


def parse_status(status: int, body: bytes, category: str) -> tuple[Maintenance, ...]:
    """The maintenance that is announced for a category and not over (docs: system-status).

    Rows are judged one by one: what is none is left out. Raises as `parse_kline` does.
    """
    reply = _decoded(_STATUS_REPLY, status, body)
    found = (_maintenance(row, category) for row in reply.result.list)
    return tuple(each for each in found if each)


def _maintenance(raw: msgspec.Raw, category: str) -> Maintenance | None:
    try:
        row = _STATUS_ROW.decode(raw)
    except UNREADABLE:
        return None
    begin_ms, end_ms = _ms(str(row.begin)), _ms(str(row.end))
    is_ours = not isinstance(row.product, list) or not row.product or _PRODUCTS.get(category) in row.product
    if row.state not in ("scheduled", "ongoing") or not is_ours or not begin_ms or not end_ms or end_ms <= begin_ms:
        return None
    return Maintenance(row.title[:_LONGEST_TITLE] if isinstance(row.title, str) else "", begin_ms, end_ms)


def _milliseconds(time: int | str) -> int:
    return _whole(time) or 0


def _whole(value: int | str) -> int | None:
    """A whole number, also where it was written as a text."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() and len(value) <= 19 else None
    return value


def _plausible(time_ms: int) -> int:
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        raise InvalidResponse(f"its time, {str(time_ms)[:40]}, is none")
    return time_ms


def _kline_query(category: str, series: Series) -> Query:
    return {"category": category, "symbol": series.symbol, "interval": series.timeframe.name}


def _kline_page(status: int, body: bytes, category: str, series: Series, most: int) -> _Page:
    reply = _decoded(_KLINE_REPLY, status, body)
    lines = _lines(reply.result.list)
    if lines or reply.result.symbol:  # whether a reply without a row repeats the question is not documented
        _check_addressee(reply.result, category, series)
    if len(lines) > most:
        raise InvalidResponse(f"{counted(len(lines), 'row')} came where {most:,} were asked for")
    return _Page(_milliseconds(reply.time), lines)


def _lines(rows: msgspec.Raw) -> list[bytes]:
    """The rows of a reply, oldest first, each its values between commas. They come newest first.

    The exchange writes `[["…","…"],["…","…"]]` without a blank, which can be taken apart as it is, at half the price of
    a list of texts. As many texts as there have to be, and no comma but those between them: so none has one in it. What
    each row holds is for the rows' check.
    """
    text = bytes(rows)
    lines = text.translate(None, b'"')[2:-2].split(b"],[")
    values = _VALUES * len(lines)
    counts = text.count(b","), text.count(b'"')
    if counts != (values - 1, 2 * values) or any(blank in text for blank in b" \t\n\r"):
        try:
            every_row = _KLINE_ROWS.decode(text)
        except UNREADABLE as error:
            raise _misshapen(error) from error
        lines = list(map(_line, every_row))
    lines.reverse()
    return list(map(plain_line, lines)) if b"e" in text or b"E" in text else lines


def _line(row: msgspec.Raw) -> bytes:
    """A row as a line; one that is no list, or lacks a value, makes one that is no candle.

    Fields are added to what the exchange says several times a year; new ones behind those we know are no concern.
    """
    try:
        values = [_value(value) for value in _KLINE_ROW.decode(row)[:_VALUES]]
    except UNREADABLE:
        return bytes(row)
    return bytes(row) if any(b"," in value for value in values) else b",".join(values)


def _value(value: msgspec.Raw) -> bytes:
    """The text of a value. A number that is not in quotes is its own text, which no float could give back."""
    text = bytes(value)
    return _TEXT.decode(text).encode() if text.startswith(b'"') else text


def _check_addressee(result: _KlineResult, category: str, series: Series) -> None:
    if result.symbol != series.symbol:
        raise InvalidResponse(f"the answer is for symbol {result.symbol!r}, not {series.symbol!r}")
    if result.category != category:
        raise InvalidResponse(f"the answer is for category {result.category!r}, not {category!r}")


def _closed_rows(frame: Timeframe, page: _Page, span: Span, closed_ms: int) -> Rows:
    """Those that open before the last instant at which one closed: there is no mark on the candle in progress."""
    rows = _checked(frame, page.lines, span)
    if rows and rows.covered.bounds.end_ms > closed_ms:
        rows = _checked(frame, [line for line in page.lines if open_of_line(line) < closed_ms], span)
    return rows


def _checked(frame: Timeframe, lines: list[bytes], span: Span) -> Rows:
    try:
        rows = rows_of_lines(frame, lines)
    except NotACandle as defect:
        if any(_is_of_finer(frame, line) for line in lines):
            raise InvalidResponse(str(defect)) from defect
        _checked(frame, _sound(frame, lines)[0], span)
        raise InvalidRowResponse(str(defect)) from defect
    if rows:
        bounds = rows.covered.bounds
        if bounds.start_ms < span.start_ms or bounds.end_ms > frame.ceil(span.end_ms):
            raise InvalidResponse(f"candles from {moment_text(bounds.start_ms)} on lie outside what was asked for")
        _check_interval(frame, rows, span)
    return rows


def _split(frame: Timeframe, page: _Page, asked: Span | None) -> tuple[_Page, tuple[InvalidRow, ...]]:
    """A page of nothing but candles, and its closed rows that are none. One that is not to be taken apart stays as it
    is, and is refused as a whole."""
    if any(_is_of_finer(frame, line) for line in page.lines):
        return page, ()
    sound, defects = _sound(frame, page.lines)
    closed = Spans((asked,)) if asked else NOTHING
    found = (InvalidRow(Span(ms, frame.close(ms)), why) for ms, why in sorted(defects.items()) if ms in closed)
    return attrs.evolve(page, lines=sound), tuple(found)


def _sound(frame: Timeframe, lines: list[bytes]) -> tuple[list[bytes], dict[int, str]]:
    """The rows that are candles, oldest first, and what is wrong with others, by their open times.

    Of two different rows for one time nobody knows which is right.
    """
    sound: dict[int, bytes] = {}
    defects: dict[int, str] = {}
    for line in lines:
        try:
            rows_of_lines(frame, [line])
        except NotACandle as defect:
            if (open_ms := _minute_of(line)) is not None:
                defects[open_ms] = str(defect)
        else:
            open_ms = open_of_line(line)
            if sound.setdefault(open_ms, line) != line:
                defects[open_ms] = f"open time {open_ms} is there twice"
    return [sound[open_ms] for open_ms in sorted(sound.keys() - defects.keys())], defects


def _is_of_finer(frame: Timeframe, line: bytes) -> bool:
    """Whether a candle of a finer interval opens then, and none of this one: it is not a row that is wrong."""
    open_ms = _minute_of(line)
    return open_ms is not None and not frame.is_open(open_ms)


def _minute_of(line: bytes) -> int | None:
    """The time a line begins with, if a candle of any interval can open then."""
    with suppress(ValueError):
        open_ms = open_of_line(line)
        return open_ms if OLDEST_MS <= open_ms <= LATEST_MS and open_ms % MINUTE_MS == 0 else None
    return None


def _check_interval(frame: Timeframe, rows: Rows, span: Span) -> None:
    """The reply does not name its interval, but candles of a coarser one give themselves away.

    They all stand apart, on the coarser grid. A few real candles between holes could do that too, so it takes three of
    them, or two that are all a window of some length would have in the coarser interval. One alone proves nothing: a
    symbol that was listed on the hour has one candle at first.
    """
    if len(rows.covered) == 1 and frame.count(rows.covered[0].start_ms, rows.covered[0].end_ms) > 1:
        return  # a run
    opens = [each.start_ms for each in rows.covered]
    if len(opens) < 2 or len(opens) != len(rows):
        return
    names = list(TIMEFRAMES)
    for coarse in map(TIMEFRAMES.__getitem__, reversed(names[names.index(frame.name) + 1 :])):
        if not all(map(coarse.is_open, opens)):
            continue
        long = frame.count(span.start_ms, span.end_ms) >= 10
        if len(opens) >= 3 or (long and len(opens) == coarse.count(span.start_ms, span.end_ms)):
            raise InvalidResponse(f"the answer is for interval {coarse}, not {frame}")


def _instrument(raw: msgspec.Raw) -> Instrument | None:
    """A row of the list; None if it names no symbol."""
    try:
        row = _INSTRUMENT_ROW.decode(raw)
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
        return _TEXT.decode(value)
    except UNREADABLE:
        return ""


def _written(value: msgspec.Raw) -> str:
    """A number as it is written, in quotes or not."""
    return _shown(value) or bytes(value).decode("utf-8", "replace")


def _ms(text: str) -> int | None:
    """Times of day zero and empty texts mean `none` in the list of symbols."""
    return int(text) or None if text.isascii() and text.isdecimal() and len(text) <= 13 else None


def _decoded(decoder: msgspec.json.Decoder[R], status: int, body: bytes) -> R:
    """A reply whose retCode is 0. The envelope is looked at alone only when something is wrong with the whole."""
    try:
        if status == 200:
            reply = decoder.decode(body)
            if _whole(reply.retCode) == 0:
                _plausible(_milliseconds(reply.time))
                return reply
    except UNREADABLE as error:
        check_reply(status, body)
        raise _misshapen(error) from error
    check_reply(status, body)
    raise AssertionError("a reply that is not decoded is refused by check_reply")


def _misshapen(error: Exception) -> InvalidResponse:
    return InvalidResponse(f"the answer does not have the documented shape: {error}")


def _envelope(body: bytes) -> _Envelope:
    try:
        return _ENVELOPE.decode(body)
    except UNREADABLE as error:
        raise InvalidResponse(f"the answer is not the exchange's JSON: {error}; it begins {_glimpse(body)}") from error


# What the codes ask of a client (https://bybit-exchange.github.io/docs/v5/error). 10001 is a parameter error, 10017 an
# unknown route; codes not listed are taken for final, because asking the same again would get the same.
_TRY_AGAIN_CODES = {10000, 10006, 10016, 429}
_BAN_CODES = {10018}  # replaced by HTTP 403 in the documentation; clients still know it
_RESTRICTED_CODES = {10009, 10024}  # a region the exchange does not serve; its compliance rules
_RESTRICTED_STATUS = 451  # unavailable for legal reasons
_RESTRICTED_PAGE = re.compile(r"\byour (country|region)\b", re.IGNORECASE)


def check_reply(status: int, body: bytes) -> None:
    """Passes a successful reply and names the trouble with any other.

    Raises:
        TryAgain: a passing trouble (5xx, 429, retCodes 10000, 10006, 10016).
        InvalidResponse: the body is not what the exchange sends.
        Banned: the address made too many requests; it must be silent for ten minutes at least.
        Blocked: the gateway turned the request away; silence is the safe reading.
        Restricted: the exchange does not serve this country, network or person.
        Rejected: the request itself is wrong.
    """
    if status != 200:
        raise _http_trouble(status, body)
    reply = _envelope(body)
    code = _whole(reply.retCode)
    if code == 0:
        return
    said = f"retCode {str(reply.retCode)[:40]}: {str(reply.retMsg)[:200]}"
    if code is None:
        raise InvalidResponse(said)
    if code in _TRY_AGAIN_CODES:
        raise TryAgain(said)
    if code in _BAN_CODES:
        raise Banned(said)
    if code in _RESTRICTED_CODES:
        raise Restricted(f"the exchange does not serve this region or person ({said})")
    raise Rejected(said)


def _http_trouble(status: int, body: bytes) -> ExchangeError:
    if status in (403, _RESTRICTED_STATUS):
        return _forbidden(status, body)
    if status == 429 or status >= 500:
        return TryAgain(f"HTTP {status}")
    if status in (400, 405):
        return Rejected(f"HTTP {status}: {_glimpse(body)}")
    return TryAgain(f"HTTP {status}, which the exchange never gives here: is the address right?")


def _forbidden(status: int, body: bytes) -> Banned:
    """What a 403 is, by its words: the rate ban, a geographic block, or any other page of the content network.

    The block comes as a page of the content network, which has others that pass ("Request blocked", "Bad request.");
    the ban's page is not documented beyond its words.
    """
    text = " ".join(body.decode("utf-8", "replace").split())
    if "too frequent" in text.lower():
        return Banned(f"HTTP {status}: {_glimpse(body)}")
    if status == _RESTRICTED_STATUS or _RESTRICTED_PAGE.search(text):
        return Restricted(f"the exchange refuses this country or network (HTTP {status} from its gateway)")
    return Blocked(f"HTTP {status}: {_gist(text)}")


def _gist(page: str) -> str:
    """What a page says, without its markup; a page of the content network begins with nothing else."""
    words = " ".join(re.sub(r"(?i)<(style|script|title)\b.*?</\1>|<[^>]*>", " ", page).split())
    return json.dumps(words[:160])


def _glimpse(body: bytes) -> str:
    return json.dumps(body[:80].decode("utf-8", "replace"))
