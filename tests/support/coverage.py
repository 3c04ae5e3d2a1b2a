"""Coverage of some minutes from a fixed moment on."""

from collector.core.candle import DAY_MS, MINUTE_MS, Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.missing import State
from collector.core.spans import NOTHING, Span, Spans

MINUTE = Series("BTCUSDT", timeframe("1"))
HOUR = Series("BTCUSDT", timeframe("60"))
NOW = 1_700_000_000_000 // DAY_MS * DAY_MS
SECOND = 1000


def minutes(first: int, behind: int) -> Spans:
    return Spans.between(NOW + first * MINUTE_MS, NOW + behind * MINUTE_MS)


def span(first: int, behind: int) -> Span:
    return minutes(first, behind)[0]


def wanting(first: int, behind: int) -> CoverageIndex:
    coverage = CoverageIndex()
    coverage.want(MINUTE, minutes(first, behind))
    return coverage


def states(coverage: CoverageIndex, series: Series = MINUTE) -> list[tuple[Spans, State]]:
    return [(Spans((gap.span,)), gap.state) for gap in coverage.missing(series)]


ETH = Series("ETHUSDT", timeframe("1"))


def left_out(coverage: CoverageIndex, first: int, behind: int, at: int = NOW + 2 * DAY_MS) -> None:
    """Has an old hole settled."""
    for seconds in (0, 1):
        coverage.answer(MINUTE, span(first, behind), NOTHING, at + seconds * SECOND)
