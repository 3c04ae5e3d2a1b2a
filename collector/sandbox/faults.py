"""Fault injection: the `Faults` value, and the draw for each request.

Draws depend on the seed and the request's number, so that a run can be repeated. Pure: this module decides;
`corrupt_pages` makes false answers, and the server breaks connections.
"""

from typing import Any

import attrs
import msgspec

from collector.core.candle import TIMEFRAMES, Timeframe, symbol
from collector.core.spans import Span, Spans
from collector.sandbox.clock import instant_ms
from collector.sandbox.market import noise
from collector.sandbox.market.listing import FOREVER_MS
from collector.sandbox.stream.faults import StreamFaults, checked_share, number, texts


@attrs.frozen
class Hole:
    """Candles missing at the exchange: those of a symbol that open in [start, end).

    In one timeframe, or in all.
    """

    symbol: str
    timeframe: str | None
    start_ms: int
    end_ms: int

    @classmethod
    def named(cls, text: str) -> "Hole":
        """Parses `SYMBOL[/TIMEFRAME]:start..end`, instants as ISO text or epoch ms.

        Raises:
            ValueError: the text has another form.
        """
        series, colon, span = text.partition(":")
        start, dots, end = span.partition("..")
        name, slash, timeframe = series.partition("/")
        if not colon or not dots or (slash and timeframe not in TIMEFRAMES):
            raise ValueError(f"{text!r} is no hole: SYMBOL[/TIMEFRAME]:start..end")
        return cls(symbol(name), timeframe or None, instant_ms(start), instant_ms(end))

    def is_of(self, name: str, timeframe: Timeframe) -> bool:
        """True if it affects the candles of this series."""
        return self.symbol == name and self.timeframe in (None, timeframe.name)

    def __str__(self) -> str:
        series = f"{self.symbol}/{self.timeframe}" if self.timeframe else self.symbol
        return f"{series}:{self.start_ms}..{self.end_ms}"


def _share(meaning: str) -> Any:
    return attrs.field(default=0.0, converter=float, validator=checked_share, metadata={"share": True, "help": meaning})


def _holes(given: Any) -> tuple[Hole, ...]:
    return tuple(hole if isinstance(hole, Hole) else Hole.named(hole) for hole in given)


@attrs.frozen(kw_only=True)
class Faults(StreamFaults):
    """All faults; those declared here concern REST.

    Shares are of requests, from 0 to 1; their sum is at most 1.
    """

    # Who is hit.
    paths: tuple[str, ...] = attrs.field(
        default=(), converter=texts, metadata={"help": "only paths that contain one of these, such as kline"}
    )
    times: int | None = number(None, "at most so many faults, then all goes well")
    skip: int = number(0, "let so many requests through first")

    # Slow, or no answer at all.
    latency_ms: float = number(0, "wait so long before every answer")
    jitter_ms: float = number(0, "and up to so much longer")
    dropped: float = _share("close the connection without an answer")
    reset: float = _share("reset the connection without an answer")
    stalled: float = _share("take the request and never answer")
    stall_s: float = number(30.0, "real seconds until a stalled connection is closed after all")
    truncated: float = _share("stop in the middle of the body, short of its Content-Length, and close")
    dripped: float = _share("send the body in twenty pieces")
    drip_s: float = number(1.0, "and so many real seconds lie between two of them")

    # Refusals.
    too_many_visits: float = _share("retCode 10006, HTTP 200")
    server_error: float = _share("retCode 10016, HTTP 200")
    server_timeout: float = _share("retCode 10000, HTTP 200")
    http_429: float = _share("HTTP 429")
    http_5xx: float = _share("HTTP 502, an HTML page of the gateway")
    redirected: float = _share("HTTP 302 to another address")
    gateway_page: float = _share("HTTP 200, an HTML page of the gateway")
    rate_ban: float = _share("HTTP 403 access too frequent, and the address is banned")
    ban_after: int | None = number(None, "ban the address once, with the request after so many")
    geo_block: float = _share("HTTP 403 of the content network: this country is blocked")
    waf_block: float = _share("HTTP 403 of the content network: request blocked, which passes")
    region_refused: float = _share("retCode 10009, HTTP 200: the region is not served")
    compliance_refused: float = _share("retCode 10024, HTTP 200: compliance rules")

    # Bodies that cannot be read, or answer something else.
    malformed: float = _share("a body that is not JSON")
    not_utf8: float = _share("a byte that is not UTF-8 in a text of the body")
    old_time: float = _share("an envelope time of an hour ago")
    future_time: float = _share("an envelope time of a week ahead")
    wrong_symbol: float = _share("another symbol's candles, labelled so")
    wrong_category: float = _share("labelled with another category")
    wrong_interval: float = _share("candles of a coarser or finer interval")
    unsorted: float = _share("candles in another order than newest first")
    duplicate: float = _share("one candle twice")
    off_grid: float = _share("a candle that opens between two")
    too_many_rows: float = _share("more candles than were asked for")
    high_below_low: float = _share("high and low of a candle exchanged")
    not_a_number: float = _share("a price that is no number")
    outside: float = _share("a candle from outside the window asked for")

    odd_list: bool = attrs.field(
        default=False, metadata={"help": "null, numbers and objects in the list of symbols where texts are documented"}
    )

    empty_list: bool = attrs.field(default=False, metadata={"help": "the list of symbols is empty"})
    closed: tuple[str, ...] = attrs.field(
        default=(), converter=texts, metadata={"help": "these symbols are Closed in the list, though they trade"}
    )
    list_page: int | None = number(None, "at most so many symbols on a page of the list")
    limit_headers: bool = attrs.field(
        default=False, metadata={"help": "every answer says how many requests are left, and until when it counts them"}
    )

    # What is not there, not yet, or not so.
    rest_lag_ms: float = number(0, "a closed candle is missing so long after its close, in exchange time")
    lag_unfinal: bool = attrs.field(
        default=False, metadata={"help": "during the lag the candle is there, but not final"}
    )
    holes: tuple[Hole, ...] = attrs.field(
        default=(),
        converter=_holes,
        metadata={
            "help": "candles the exchange does not have, such as BTCUSDT:2024-05-01T12:30..2024-05-01T13:00,"
            " or BTCUSDT/60:2024-05-01..2024-05-02 in one interval only"
        },
    )
    spoiled: tuple[Hole, ...] = attrs.field(
        default=(),
        converter=_holes,
        metadata={"help": "candles that have a price of 0 over REST and will never have another, said like holes"},
    )
    hole_share: float = _share("share of all candles the exchange does not have, chosen by the seed")
    spoiled_share: float = _share("share of all closed candles that have a price of 0 over REST, chosen by the seed")
    rest_wrong: float = _share("share of all closed candles that have other numbers over REST, chosen by the seed")
    rest_wrong_ms: float | None = number(None, "and for so long after their close only, in exchange time")

    def __attrs_post_init__(self) -> None:
        total = sum(getattr(self, name) for name in KINDS)
        if total > 1 + 1e-9:
            raise ValueError(f"the shares of all faults add up to {total:g}, which is more than 1")
        self.check_groups()

    def hits(self, path: str) -> bool:
        return not self.paths or any(part in path for part in self.paths)

    def absent(self, seed: int, category: str, name: str, timeframe: Timeframe, open_ms: int) -> bool:
        """True if the candle is missing at the exchange."""
        if any(hole.start_ms <= open_ms < hole.end_ms and hole.is_of(name, timeframe) for hole in self.holes):
            return True
        if not self.hole_share:
            return False
        key = noise.key_of(seed, "hole", category, name, timeframe.name)
        return noise.share(key, str(open_ms)) < self.hole_share

    @property
    def conceal(self) -> bool:
        """True if any candle is hidden or changed."""
        whole = self.holes or self.spoiled or self.hole_share or self.rest_lag_ms
        return bool(whole or self.spoiled_share or self.rest_wrong)

    def spoils(self, name: str, timeframe: Timeframe, open_ms: int) -> bool:
        """True if the candle's row over REST is invalid for good."""
        return any(each.start_ms <= open_ms < each.end_ms and each.is_of(name, timeframe) for each in self.spoiled)

    def emptied(self, name: str, timeframe: Timeframe) -> Spans:
        """The spans in which a series has only holes."""
        if self.hole_share >= 1:
            return Spans.between(0, FOREVER_MS)
        holes = [hole for hole in self.holes if hole.is_of(name, timeframe)]
        return Spans.of(*(Span(hole.start_ms, hole.end_ms) for hole in holes if hole.start_ms < hole.end_ms))

    def as_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        named = {name: list(map(str, getattr(self, name))) for name in ("holes", "spoiled")}
        return {**attrs.asdict(self, recurse=False), **named}


# Drawn with one number for each request, so the shares add up; these are matters of the candle, not of the request.
_OF_CANDLES = ("hole_share", "spoiled_share", "rest_wrong")
KINDS: tuple[str, ...] = tuple(
    field.name for field in attrs.fields(Faults) if field.metadata.get("share") and field.name not in _OF_CANDLES
)
PAGE_FAULTS = KINDS[KINDS.index("wrong_symbol") :]
"""The kinds that change the candles of an answer; on other paths they do nothing."""


def read_faults(body: bytes, before: Faults) -> Faults:
    """The faults after applying a JSON object of fields to change.

    Raises:
        ValueError: the body is something else; the message says what is wrong.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a JSON object: {error}") from error
    unknown = fields.keys() - attrs.fields_dict(Faults).keys()
    if unknown:
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
    try:
        return attrs.evolve(before, **fields)
    except TypeError as error:
        raise ValueError(f"a value of the wrong type: {error}") from error


@attrs.frozen
class FaultDecision:
    """A delay and at most one of `KINDS` for one request."""

    delay_s: float = 0.0
    kind: str | None = None


class FaultInjector:
    """Counts requests since the faults were set, and draws a fault for each."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._key = noise.key_of(seed, "faults")
        self._before = self._seen = 0
        self.faults = faults

    @property
    def faults(self) -> Faults:
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        """Set other faults; all is counted from here; what is drawn goes on."""
        self._faults = faults
        self._before += self._seen
        self._seen = 0
        self._made = 0

    def decide(self, path: str) -> FaultDecision:
        """The decision for the next request."""
        faults = self._faults
        if not faults.hits(path):
            return FaultDecision()
        self._seen += 1
        place = str(self._before + self._seen)
        delay_s = (faults.latency_ms + faults.jitter_ms * noise.share(self._key, "jitter" + place)) / 1000
        if faults.ban_after is not None and self._seen == faults.ban_after + 1:
            return FaultDecision(delay_s, "rate_ban")
        if self._seen <= faults.skip or (faults.times is not None and self._made >= faults.times):
            return FaultDecision(delay_s)
        kind = self._drawn(noise.share(self._key, place), path)
        self._made += kind is not None
        return FaultDecision(delay_s, kind)

    def _drawn(self, number: float, path: str) -> str | None:
        for kind in KINDS:
            number -= getattr(self._faults, kind)
            if number < 0:
                return None if kind in PAGE_FAULTS and not path.endswith("/kline") else kind
        return None
