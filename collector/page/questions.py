"""What a request asks for: its parameters, checked.

A parameter that is wrong, given twice or unknown is a `BadRequest`: a misspelt one would answer another question.
"""

from collections.abc import Collection

import attrs
from starlette.requests import Request

from collector.core.candle import TIMEFRAMES, Series, Timeframe, symbol, timeframe
from collector.core.missing import State
from collector.core.rows import LATEST_MS, OLDEST_MS
from collector.page.candles import Asked

DEFAULT_LIMIT, MOST_LIMIT = 1000, 10_000
LONGEST_WAIT_S = 60.0
_FORMATS = {"json": False, "arrow": True}
ARROW = "application/vnd.apache.arrow.stream"


class Refused(Exception):
    """A request that is answered with an error."""

    status = 400


class BadRequest(Refused):
    """A parameter is wrong."""


class NotStored(Refused):
    """The series is unknown here."""

    status = 404


class NotNow(Refused):
    """It cannot be answered at the moment."""

    status = 503


@attrs.frozen
class Question:
    """The parameters of a request."""

    _given: dict[str, str]

    @classmethod
    def of(cls, request: Request, allowed: Collection[str]) -> "Question":
        """The parameters, each at most once.

        Raises:
            BadRequest: one is unknown, or given twice.
        """
        items = request.query_params.multi_items()
        given = dict(items)
        for name, _ in items:
            if name not in allowed:
                raise BadRequest(f"there is no parameter {name!r}; there are {', '.join(allowed) or 'none'}")
        if len(items) > len(given):
            raise BadRequest("a parameter is given twice")
        return cls(given)

    @property
    def symbol(self) -> str | None:
        """The symbol, if one is given."""
        try:
            return symbol(self._given["symbol"]) if "symbol" in self._given else None
        except ValueError as error:
            raise BadRequest(str(error)) from None

    @property
    def timeframe(self) -> Timeframe | None:
        """The timeframe, if one is given."""
        try:
            return timeframe(self._given["timeframe"]) if "timeframe" in self._given else None
        except ValueError as error:
            raise BadRequest(str(error)) from None

    @property
    def needed_timeframe(self) -> Timeframe:
        """The timeframe; it has to be given."""
        if (found := self.timeframe) is None:
            raise BadRequest(f"timeframe is needed, one of {' '.join(TIMEFRAMES)}")
        return found

    @property
    def series(self) -> Series:
        """The series; both of its parameters have to be given."""
        if (name := self.symbol) is None:
            raise BadRequest("symbol is needed")
        return Series(name, self.needed_timeframe)

    @property
    def span(self) -> tuple[int | None, int | None]:
        """The bounds that are given."""
        start_ms, end_ms = self._moment("start"), self._moment("end")
        if start_ms is not None and end_ms is not None and end_ms < start_ms:
            raise BadRequest("the end lies before the start")
        return start_ms, end_ms

    @property
    def bounds(self) -> tuple[int, int]:
        """The same, where a bound that is not given is beyond all candles."""
        start_ms, end_ms = self.span
        return start_ms or 0, LATEST_MS + 1 if end_ms is None else end_ms

    @property
    def limit(self) -> int:
        found = self._whole("limit", 1, MOST_LIMIT)
        return DEFAULT_LIMIT if found is None else found

    @property
    def candles(self) -> Asked:
        return Asked(self.series, *self.span, self.limit)

    @property
    def wait_s(self) -> float | None:
        """How long to wait for the next closed candle, in seconds."""
        return self._whole("wait", 0, int(LONGEST_WAIT_S))

    @property
    def state(self) -> State | None:
        try:
            return State(self._given["state"]) if "state" in self._given else None
        except ValueError:
            raise BadRequest(f"state is one of {', '.join(State)}") from None

    @property
    def only_status(self) -> bool:
        """Whether the status alone is to be told."""
        if (text := self._given.get("only")) not in (None, "status"):
            raise BadRequest("only is status")
        return text is not None

    def wants_arrow(self, accept: str) -> bool:
        """Whether the answer is to be an Arrow stream: by `format`, or else by the header `Accept`."""
        if "format" not in self._given:
            return ARROW in accept
        if (name := self._given["format"]) not in _FORMATS:
            raise BadRequest(f"format is one of {', '.join(_FORMATS)}")
        return _FORMATS[name]

    def _moment(self, name: str) -> int | None:
        """A moment in epoch milliseconds, or 0; seconds would be a moment of 1970, and another answer."""
        if self._given.get(name) == "0":
            return 0
        try:
            return self._whole(name, OLDEST_MS, LATEST_MS)
        except BadRequest:
            raise BadRequest(f"{name} is a moment in epoch milliseconds, which have 13 digits, or 0") from None

    def _whole(self, name: str, least: int, most: int) -> int | None:
        """A whole number between two."""
        if (text := self._given.get(name)) is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= 20 and least <= int(text) <= most):
            raise BadRequest(f"{name} is a whole number between {least} and {most}")
        return int(text)
