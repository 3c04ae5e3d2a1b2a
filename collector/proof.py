"""The quick proof that many lines are sound: all of them, or nothing is said.

polars reads numbers fast and forgives much: half a number is a smaller number, `+1`, `1e5` and `05` are numbers too. So
what a line looks like is established from its bytes: without digits and dots nothing may remain but the
separators, and no number begins or ends in a dot or begins with a needless zero. What then is left to say, the columns
say. Whatever cannot be proven here is looked at line by line elsewhere; nothing here says what is wrong.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf

import polars as pl

from collector.candle import Timeframe
from collector.inspection import Bytes
from collector.rows import COLUMNS, DIGITS_AND_DOT, SEPARATORS, check_lines

_PIECE = 64 * 1024  # memory of this size is used again; more is new each time, which costs as much as the work in it
_FEW = 32 * 1024  # bytes: up to here, checking line by line is quicker than calling polars a dozen times
_AHEAD = 3  # blocks that polars reads while the bytes of another are gone through

_SCHEMA = {"timestamp": pl.Int64, "datetime": pl.String} | dict.fromkeys(COLUMNS[2:], pl.Float64)
_LEAST_MS = 10**12  # from here on every time has thirteen digits
_STAMP = "%Y-%m-%d %H:%M:%S"

# What no good line has, given that it has the right separators in the right places. Literals, not classes: these are
# found with the machine's widest instructions, at a fourth of the cost.
_ODD = "|".join([r",\.", r"\.,", r"\.\n", *(f",0{digit}" for digit in range(10)), r"\n0"])


def blocks(data: Bytes, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Where blocks of whole lines start and end, between two places; what is no whole line is in the last one."""
    while start < end:
        behind = end if end - start <= most else data.rfind(b"\n", start, start + most) + 1
        if behind <= start:  # a line longer than a block
            behind = data.find(b"\n", start, end) + 1 or end
        yield start, behind
        start = behind


def each_proven(frame: Timeframe, texts: Iterable[bytes], before_ms: int) -> Iterator[tuple[bytes, pl.Series | None]]:
    """Every text, in order, with the open times of its lines if each of them is a sound one by itself and opens before
    `before_ms`; with None if anything is less than certain.

    A text is whole lines, at least one. That the times increase is not promised.
    """
    with ThreadPoolExecutor(_AHEAD) as pool:
        under_way: deque[tuple[bytes, Callable[[], pl.Series | None]]] = deque()
        for text in texts:
            under_way.append((text, _begun(pool, frame, text, before_ms)))
            if len(under_way) > _AHEAD:
                first, proven = under_way.popleft()
                yield first, proven()
        yield from ((text, proven()) for text, proven in under_way)


def _begun(pool: ThreadPoolExecutor, frame: Timeframe, text: bytes, before_ms: int) -> Callable[[], pl.Series | None]:
    """Has polars read the text in a thread; what is returned looks at the bytes meanwhile, and tells."""
    if len(text) <= _FEW:
        return partial(_checked, frame, text, before_ms)
    opens = pool.submit(_read, frame, text, before_ms)
    return lambda: opens.result() if _is_plain(text) else None


def _checked(frame: Timeframe, text: bytes, before_ms: int) -> pl.Series | None:
    opens, good, _ = check_lines(frame, text)
    return pl.Series(opens, dtype=pl.Int64) if good == len(text) and opens[-1] < before_ms else None


def _is_plain(text: bytes) -> bool:
    """Whether all lines are plain decimal numbers between the right separators."""
    for start, end in blocks(text, 0, len(text), _PIECE):
        skeleton = text[start:end].translate(None, DIGITS_AND_DOT)
        if skeleton != len(skeleton) // len(SEPARATORS) * SEPARATORS:
            return False
    odd = pl.Series([text], dtype=pl.Binary).cast(pl.String).str.contains(_ODD).item()
    return not odd and not text.startswith(b"0")


def _read(frame: Timeframe, text: bytes, before_ms: int) -> pl.Series | None:
    """The open times of plain lines if each is a candle; of lines that are not plain it may say anything."""
    lines = pl.scan_csv(text, schema=_SCHEMA, has_header=False, quote_char=None, glob=False)
    try:
        rows = lines.select("timestamp", good=_is_candle(frame, before_ms)).collect(engine="streaming")
    except pl.exceptions.PolarsError:
        return None
    opens, good = rows
    if good.null_count() or not good.all():
        return None
    if frame.step_ms is None and not all(map(frame.is_open, opens)):
        return None
    return opens


def _is_candle(frame: Timeframe, before_ms: int) -> pl.Expr:
    """What makes a line of the right shape a candle; null if something in it is no number."""
    time, stamp = pl.col("timestamp"), pl.col("datetime")
    opened, high, low, close, volume, turnover = map(pl.col, COLUMNS[2:])
    # Both, because a text of another length may be the same moment: 2024-1-5. All differ: a cache only costs time.
    stamped = stamp.str.to_datetime(_STAMP, time_unit="ms", strict=False, cache=False).cast(pl.Int64)
    good = (stamped == time) & (stamp.str.len_bytes() == len("2024-01-05 00:00:00"))
    good &= (time >= _LEAST_MS) & (time < before_ms)
    if frame.step_ms:
        good &= (time - frame.floor(0)) % frame.step_ms == 0
    good &= (low > 0) & (low <= opened) & (low <= close) & (opened <= high) & (close <= high)
    return good & (high < inf) & (volume < inf) & (turnover < inf)
