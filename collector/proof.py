"""The quick proof that many lines are sound: all of them, or nothing is said.

polars reads numbers fast and forgives much: half a number is a smaller number, `+1`, `1e5` and `05` are numbers too. So
what a line looks like is established first, from its bytes: without digits and dots nothing may remain but the
separators, and no number begins or ends in a dot or begins with a needless zero. What then is left to say, the columns
say. Whatever cannot be proven here is looked at line by line elsewhere; nothing here says what is wrong.
"""

from math import inf

import polars as pl

from collector.candle import Timeframe
from collector.rows import COLUMNS, DIGITS_AND_DOT, SEPARATORS

_SCHEMA = {"timestamp": pl.Int64, "datetime": pl.String} | dict.fromkeys(COLUMNS[2:], pl.Float64)
_LEAST_MS = 10**12  # from here on every time has thirteen digits
_STAMP = "%Y-%m-%d %H:%M:%S"

# What no good line has, given that it has the right separators in the right places. Literals, not classes: these are
# found with the machine's widest instructions, at a fourth of the cost.
_BAD = "|".join([r",\.", r"\.,", r"\.\n", *(f",0{digit}" for digit in range(10)), r"\n0"])


def proven_opens(frame: Timeframe, text: bytes, before_ms: int) -> pl.Series | None:
    """The open times of whole lines, at least one, if every line is sound by itself and opens before `before_ms`.

    Their order is not looked at. None if anything is less than certain.
    """
    count = text.count(b"\n")
    if text.translate(None, DIGITS_AND_DOT) != count * SEPARATORS or text.startswith(b"0"):
        return None
    if pl.Series([text], dtype=pl.Binary).cast(pl.String).str.contains(_BAD).item():
        return None
    try:
        rows = pl.read_csv(text, schema=_SCHEMA, has_header=False, quote_char=None, glob=False)
    except pl.exceptions.PolarsError:
        return None
    if len(rows) != count or rows.select(_conditions(frame, before_ms)).row(0) != (True,) * 8:
        return None
    opens = rows["timestamp"]
    if frame.step_ms is None and not all(map(frame.is_open, opens)):
        return None
    return opens


def _conditions(frame: Timeframe, before_ms: int) -> list[pl.Expr]:
    """What makes lines of the right shape candles, one condition a column."""
    time, stamp = pl.col("timestamp"), pl.col("datetime")
    opened, high, low, close, volume, turnover = map(pl.col, COLUMNS[2:])
    step_ms = frame.step_ms or 1
    stamped = stamp.str.to_datetime(_STAMP, time_unit="ms", strict=False).cast(pl.Int64)
    conditions = [
        (time.min() >= _LEAST_MS) & (time.max() < before_ms),
        ((time - frame.floor(0)) % step_ms == 0).all(),
        # Both, because a text of another length may be the same moment: 2024-1-5.
        (stamped.eq_missing(time)).all() & (stamp.str.len_bytes() == len("2024-01-05 00:00:00")).all(),
        ((low <= opened) & (low <= close)).all(),
        ((opened <= high) & (close <= high)).all(),
        low.min() > 0,
        (high.max() < inf) & (volume.max() < inf) & (turnover.max() < inf),
        pl.sum_horizontal(pl.col(COLUMNS).null_count()) == 0,
    ]
    return [condition.alias(str(place)) for place, condition in enumerate(conditions)]
