"""What travels through the channel to the writer. Pure values; nothing else crosses from the producers to the files."""

import attrs

from collector.core.candle import Series
from collector.core.missing import InvalidRow
from collector.core.rows import Rows
from collector.core.spans import Span


@attrs.frozen
class Answered:
    """The exchange answered for all candles of a span: these rows, and no others.

    `asked` is on the grid and holds closed candles only; `at_ms` is the exchange's time of the answer. Rows that are no
    candles are in `invalid`.
    """

    series: Series
    asked: Span
    rows: Rows
    at_ms: int
    invalid: tuple[InvalidRow, ...] = ()


@attrs.frozen
class GaveUp:
    """Nobody will fetch this span now; whatever waits behind it need not wait any longer."""

    series: Series
    asked: Span
    why: str
    at_ms: int


@attrs.frozen
class Confirmed:
    """The stream confirmed a candle: it is closed. The exchange's REST side has the last word on its numbers."""

    series: Series
    asked: Span
    rows: Rows
    at_ms: int


Event = Answered | GaveUp | tuple[Confirmed, ...]
