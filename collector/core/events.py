"""The values that travel through the channel to the writer.

Pure.
"""

import attrs

from collector.core.candle import Series
from collector.core.missing import Gap, InvalidRow
from collector.core.rows import Rows
from collector.core.spans import Span, Spans


@attrs.frozen
class Answered:
    """The exchange's answer for all candles of a span.

    `asked` is on the grid and holds closed candles only; `rows` are all it has there; `at_ms` is the exchange's time of
    the answer. Rows of the exchange that are no candles are in `invalid`.
    """

    series: Series
    asked: Span
    rows: Rows
    at_ms: int
    invalid: tuple[InvalidRow, ...] = ()


@attrs.frozen
class GaveUp:
    """A span that is given up for now.

    Rows behind it wait no longer.
    """

    series: Series
    asked: Span
    why: str
    at_ms: int


@attrs.frozen
class Confirmed:
    """A closed candle, as the stream confirmed it.

    REST has the last word on its numbers.
    """

    series: Series
    asked: Span
    rows: Rows
    at_ms: int


@attrs.frozen
class Hydrated:
    """Candles of a span without a hole, as the table that collectors share has them.

    `unverified` are those that REST has yet to confirm.
    """

    series: Series
    asked: Span
    rows: Rows
    unverified: Spans


@attrs.frozen
class Lacking:
    """What the exchange lacks of a series, as its earlier collector has it on record.

    Rows behind it wait no longer.
    """

    series: Series
    gaps: tuple[Gap, ...]


Event = Answered | Hydrated | Lacking | GaveUp | tuple[Confirmed, ...]
