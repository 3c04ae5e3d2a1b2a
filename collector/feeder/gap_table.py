"""The table of gaps in PostgreSQL: what is missing beside the candles, and why.

Times are the database's. `since_time` came later: an older table gets it, and one that cannot be altered does without.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from collector.core.candle import Series
from collector.core.missing import SETTLED, Gap, State
from collector.core.spans import Span

GAPS = "gaps"
GAPS_KEY = ("category", "symbol", "timeframe", "start_time")
GAPS_TYPES: Mapping[str, str] = (
    dict.fromkeys(GAPS_KEY[:3], "text")
    | dict.fromkeys(("start_time", "end_time"), "timestamp with time zone")
    | {"state": "text", "candles": "bigint", "tries": "integer", "asked_time": "timestamp with time zone"}
    | {"why": "text"}
)
SINCE = "since_time"
_MS = "(extract(epoch FROM {}) * 1000)::bigint"
_SINCE = f"coalesce((to_jsonb({GAPS}) ->> '{SINCE}')::timestamptz, asked_time)"
# What the exchange lacks of some series, by time.
SETTLED_GAPS = f"""
    SELECT wanted.place, {_MS.format("start_time")}, {_MS.format("end_time")}, state, tries,
        {_MS.format("asked_time")}, why, {_MS.format(_SINCE)}
    FROM unnest(%s::int[], %s::text[], %s::text[]) AS wanted (place, symbol, timeframe)
        JOIN {GAPS} ON {GAPS}.symbol = wanted.symbol AND {GAPS}.timeframe = wanted.timeframe
    WHERE category = %s AND asked_time IS NOT NULL AND state IN ({", ".join(f"'{state}'" for state in SETTLED)})
    ORDER BY 1, 2
"""


def row_of(series: Series, gap: Gap) -> tuple[object, ...]:
    """The row of a gap, without the category and with `since_time` at its end."""
    name, frame, start, end = series.symbol, series.timeframe, gap.span.start_ms, gap.span.end_ms
    times, asked, since = (_moment(start), _moment(end)), _moment(gap.asked_ms), _moment(gap.since_ms)
    return name, frame.name, *times, gap.state, frame.count(start, end), gap.tries, asked, gap.why, since


def gap_of(series: Series, row: tuple[Any, ...]) -> Gap | None:
    """The gap of a row of `SETTLED_GAPS` behind its place; None if it is of no candles of the series."""
    start_ms, end_ms, state, tries, asked_ms, why, since_ms = row
    floor = series.timeframe.floor
    if not start_ms < end_ms or (floor(start_ms), floor(end_ms)) != (start_ms, end_ms):
        return None
    return Gap(Span(start_ms, end_ms), State(state), tries, asked_ms, why, since_ms)


def _moment(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None
