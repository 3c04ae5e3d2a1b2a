"""The quick proof that many lines are sound: all of them, or nothing is said.

polars reads numbers fast and forgives much: half a number is a smaller number, `+1`, `1e5` and `05` are numbers too. So
what a line looks like is established first, from its bytes: without digits and dots nothing may remain but the
separators, and no number begins or ends in a dot or begins with a needless zero. What then is left to say, the columns
say. Whatever cannot be proven here is looked at line by line elsewhere; nothing here says what is wrong.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf

import polars as pl

from collector.candle import Timeframe
from collector.rows import COLUMNS, DIGITS_AND_DOT, SEPARATORS, check_lines

_SCHEMA = {"timestamp": pl.Int64, "datetime": pl.String} | dict.fromkeys(COLUMNS[2:], pl.Float64)
_LEAST_MS = 10**12  # from here on every time has thirteen digits
_STAMP = "%Y-%m-%d %H:%M:%S"
_FEW = 32 * 1024  # bytes: up to here, checking line by line is quicker than calling polars a dozen times
_AHEAD = 2  # blocks under way at once: while polars parses one, the bytes of the next are gone through

# What no good line has, given that it has the right separators in the right places. Literals, not classes: these are
# found with the machine's widest instructions, at a fourth of the cost.
_BAD = "|".join([r",\.", r"\.,", r"\.\n", *(f",0{digit}" for digit in range(10)), r"\n0"])


def each_proven(
    frame: Timeframe, blocks: Iterable[bytes], before_ms: int, *, ahead: bool
) -> Iterator[tuple[bytes, pl.Series | None]]:
    """Every block with what `proven_opens` says of it, in order; a few `ahead`, in threads, if there are several."""
    if not ahead:
        yield from ((block, proven_opens(frame, block, before_ms)) for block in blocks)
        return
    with ThreadPoolExecutor(_AHEAD) as pool:
        under_way: deque[tuple[bytes, Future[pl.Series | None]]] = deque()
        for block in blocks:
            under_way.append((block, pool.submit(proven_opens, frame, block, before_ms)))
            if len(under_way) > _AHEAD:
                text, proven = under_way.popleft()
                yield text, proven.result()
        for text, proven in under_way:
            yield text, proven.result()


def proven_opens(frame: Timeframe, text: bytes, before_ms: int) -> pl.Series | None:
    """The open times of whole lines, at least one, if every line is sound by itself and opens before `before_ms`.

    None if anything is less than certain. The order of the times is not promised.
    """
    if len(text) <= _FEW:
        opens, good, _ = check_lines(frame, text)
        return pl.Series(opens, dtype=pl.Int64) if good == len(text) and opens[-1] < before_ms else None
    skeleton = text.translate(None, DIGITS_AND_DOT)
    count = len(skeleton) // len(SEPARATORS)
    if skeleton != count * SEPARATORS or text.startswith(b"0"):
        return None
    if pl.Series([text], dtype=pl.Binary).cast(pl.String).str.contains(_BAD).item():
        return None
    try:
        rows = pl.read_csv(text, schema=_SCHEMA, has_header=False, quote_char=None, glob=False)
    except pl.exceptions.PolarsError:
        return None
    if (
        len(rows) != count
        or any(rows.null_count().row(0))
        or not all(rows.select(*_conditions(frame, before_ms)).row(0))
    ):
        return None
    opens_of = rows["timestamp"]
    if frame.step_ms is None and not all(map(frame.is_open, opens_of)):
        return None
    return opens_of


def _conditions(frame: Timeframe, before_ms: int) -> Iterator[pl.Expr]:
    """What makes lines of the right shape candles."""
    time, stamp = pl.col("timestamp"), pl.col("datetime")
    opened, high, low, close, volume, turnover = map(pl.col, COLUMNS[2:])
    yield ((time.min() >= _LEAST_MS) & (time.max() < before_ms)).alias("times")
    if frame.step_ms:
        yield ((time - frame.floor(0)) % frame.step_ms == 0).all().alias("grid")
    # Both, because a text of another length may be the same moment: 2024-1-5. All differ: a cache only costs time.
    stamped = stamp.str.to_datetime(_STAMP, time_unit="ms", strict=False, cache=False).cast(pl.Int64)
    yield stamped.eq_missing(time).all().alias("stamps")
    yield (stamp.str.len_bytes() == len("2024-01-05 00:00:00")).all().alias("stamp lengths")
    yield ((low <= opened) & (low <= close)).all().alias("lows")
    yield ((opened <= high) & (close <= high)).all().alias("highs")
    yield (low.min() > 0).alias("positive")
    yield ((high.max() < inf) & (volume.max() < inf) & (turnover.max() < inf)).alias("finite")
