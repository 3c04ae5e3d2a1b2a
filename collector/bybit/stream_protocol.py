"""How the exchange speaks over its stream: texts to send and texts received.

Pure: text in, values out. Only confirmed candles become rows; a push that confirms nothing is told apart without being
decoded, because there is one a second for every topic. The rules are those of
https://bybit-exchange.github.io/docs/v5/ws/connect and the pages below `websocket/public`; where they leave something
open, the code says so.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import attrs
import msgspec

from collector.bybit.rest_schema import UNREADABLE
from collector.core.candle import TIMEFRAMES, Series
from collector.core.events import Confirmed
from collector.core.rows import LATEST_MS, NotACandle, plain_line, row_of_each, rows_of_lines
from collector.core.text import exact_text

PING = '{"op":"ping"}'

# All topics of a connection may have 21,000 characters together. Whether quotes and commas count is not documented, so
# they do here, with room to spare.
_CONNECTION_CHARACTERS = 20_000
_TOPICS_PER_REQUEST = {"spot": 10}  # documented; the others name no limit
_TOPICS_USUALLY = 300


class Malformed(ValueError):
    """The text is invalid; the error says why."""


@attrs.frozen
class Pushed:
    """The confirmed candles of a push, mostly one or none."""

    confirmed: tuple[Confirmed, ...] = ()


@attrs.frozen
class Acknowledged:
    """The answer to a request of ours; `request` is empty when it does not say to which.

    A refusal names the first topic it does not like, and none became active.
    """

    request: str
    success: bool
    text: str

    @property
    def topic(self) -> str | None:
        """The topic that a refusal names."""
        found = _NAMED_TOPIC.search(self.text)
        return found[0] if found else None

    @property
    def already(self) -> bool:
        """Whether the refused topic is subscribed already, which is as good."""
        return "already subscribed" in self.text


@attrs.frozen
class Pong:
    """The answer to a ping."""


@attrs.frozen
class Unknown:
    """A well-formed text of unknown kind.

    The exchange adds kinds without notice.
    """


Frame = Pushed | Acknowledged | Pong | Unknown
NOTHING_CONFIRMED = Pushed()

_NAMED_TOPIC = re.compile(r"kline\.[0-9A-Z]+\.[A-Za-z0-9-]+")


class _Candle(msgspec.Struct):
    start: int
    end: int
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str
    confirm: bool


class _Text(msgspec.Struct):
    """Any text; the fields that are present tell its kind."""

    topic: str = ""
    ts: int = 0
    data: Sequence[_Candle] = ()
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""


class _Envelope(msgspec.Struct):
    """A text with fields that may be anything."""

    topic: object = ""
    op: object = ""
    success: object = None
    ret_msg: object = ""
    req_id: object = ""


class _Stamp(msgspec.Struct):
    ts: int = 0


_TEXT = msgspec.json.Decoder(_Text)
_STAMP = msgspec.json.Decoder(_Stamp)
_ENVELOPE = msgspec.json.Decoder(_Envelope)


def topic_of(series: Series) -> str:
    return f"kline.{series.timeframe}.{series.symbol}"


def subscribe_text(request: str, topics: Sequence[str]) -> str:
    """A text that subscribes to topics; `request` is the id its response carries."""
    return msgspec.json.encode({"req_id": request, "op": "subscribe", "args": list(topics)}).decode()


def batches(category: str, topics: Sequence[str]) -> Iterator[Sequence[str]]:
    """The topics in requests as long as the category allows."""
    most = _TOPICS_PER_REQUEST.get(category, _TOPICS_USUALLY)
    return (topics[first : first + most] for first in range(0, len(topics), most))


def connections(every_series: Iterable[Series]) -> list[tuple[Series, ...]]:
    """The series spread evenly over as few connections as the limit allows."""
    ordered = tuple(every_series)
    characters = sum(len(topic_of(series)) + 3 for series in ordered)
    count = -(-characters // _CONNECTION_CHARACTERS)
    return [ordered[first::count] for first in range(count)]


def read(text: str, subscribed: Mapping[str, Series]) -> Frame:
    """What a received text says; `subscribed` has the series of every topic that was asked for.

    Raises:
        Malformed: nothing the exchange should send.
    """
    if '"topic"' in text and "true" not in text:
        return NOTHING_CONFIRMED
    try:
        decoded = _TEXT.decode(text)
    except UNREADABLE as error:
        return _other(text, error)
    series = subscribed.get(decoded.topic)
    if series is not None:  # one push may hold two candles: the one that closed and the one that began
        return Pushed(tuple(_confirmed(series, candle, decoded.ts) for candle in decoded.data if candle.confirm))
    return _answer(decoded)


def read_all(texts: Iterable[str], subscribed: Mapping[str, Series]) -> Pushed:
    """What `read` finds in pushes that may confirm something, all of them at once.

    Raises:
        Malformed: one of them is no such push, or its candle is none; `read` says which, and why.
    """
    try:
        found = [
            (series, candle, push.ts)
            for push in map(_TEXT.decode, texts)
            for series in [subscribed[push.topic]]
            for candle in push.data
            if candle.confirm
        ]
    except (*UNREADABLE, LookupError) as error:
        raise Malformed(f"not all of them are pushes: {error}") from error
    for series, candle, at_ms in found:
        _expect_closed(series, candle, at_ms)
    rows = row_of_each([(series.timeframe, _line(candle)) for series, candle, _ in found])
    if rows is None:
        raise Malformed("not all of them are candles")
    candles = zip(found, rows, strict=True)
    return Pushed(tuple(Confirmed(series, row.covered[0], row, at_ms) for (series, _, at_ms), row in candles))


def forming(text: str, subscribed: Mapping[str, Series]) -> tuple[Series, tuple[float, ...]] | None:
    """The candle of a push that confirms nothing: open time in milliseconds, then the six numbers.

    None where there is none, or the text cannot be read.
    """
    try:
        decoded = _TEXT.decode(text)
        series, candle = subscribed[decoded.topic], decoded.data[-1]
        prices = candle.open, candle.high, candle.low, candle.close
        return series, (candle.start, *map(float, (*prices, candle.volume, candle.turnover)))
    except (*UNREADABLE, LookupError, ValueError):
        return None


def time_of(text: str) -> int | None:
    """The exchange's time in a push, or None.

    It costs a decoding.
    """
    try:
        at_ms = _STAMP.decode(text).ts
    except UNREADABLE:
        return None
    return at_ms if 0 < at_ms <= LATEST_MS else None


def _other(text: str, error: Exception) -> Frame:
    """A text of another kind, whose fields may have another shape."""
    try:
        envelope = _ENVELOPE.decode(text)
    except UNREADABLE:
        raise Malformed(f"a frame cannot be read: {error}") from error
    if isinstance(envelope.topic, str) and envelope.topic.startswith("kline."):
        raise Malformed(f"a push of {envelope.topic} does not have the documented shape: {error}") from error
    return _answer(envelope)


def _answer(decoded: _Text | _Envelope) -> Frame:
    """The response to something we sent.

    Its other fields are ignored.
    """
    if decoded.op in ("ping", "pong"):  # linear and spot answer a ping with op `ping`, options with `pong`
        return Pong()
    if decoded.op == "subscribe" and isinstance(decoded.success, bool):
        return Acknowledged(_text(decoded.req_id), decoded.success, _text(decoded.ret_msg))
    return Unknown()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _confirmed(series: Series, candle: _Candle, at_ms: int) -> Confirmed:
    _expect_closed(series, candle, at_ms)
    try:
        rows = rows_of_lines(series.timeframe, [_line(candle)])
    except NotACandle as defect:
        raise Malformed(f"a push of {series}: {defect}") from defect
    return Confirmed(series, rows.covered[0], rows, at_ms)


def _expect_closed(series: Series, candle: _Candle, at_ms: int) -> None:
    frame = series.timeframe
    if not 0 <= candle.start < at_ms <= LATEST_MS:  # what lies outside is no time, and has no place in a calendar
        raise Malformed(f"a push of {series} is of {exact_text(candle.start)}, at {exact_text(at_ms)}")
    if candle.interval != frame.name or candle.end != _close_ms(frame.name, candle.start) - 1:
        start, end = exact_text(candle.start), exact_text(candle.end)
        raise Malformed(f"a push of {series} is of interval {candle.interval}, from {start} to {end}")
    if at_ms < candle.end:  # the time of the push tells whether it can be closed; `timestamp` may lie after `end`
        raise Malformed(f"a candle of {series} is confirmed before its end, at {exact_text(at_ms)}")


def _line(candle: _Candle) -> bytes:
    """The values of a candle.

    Exponents cost time only where there are some.
    """
    prices = candle.open, candle.high, candle.low, candle.close
    line = ",".join((str(candle.start), *prices, candle.volume, candle.turnover)).encode("utf-8", "replace")
    return plain_line(line) if b"e" in line or b"E" in line else line


@lru_cache(maxsize=1024)
def _close_ms(frame: str, open_ms: int) -> int:
    """When a candle closes: all symbols have theirs at the same times."""
    return TIMEFRAMES[frame].close(open_ms)
