"""Made-up candles to measure with: as long as real ones, of any number of minutes from 2020 on."""

from random import Random

from collector.core.candle import MINUTE_MS, TIMEFRAMES, Timeframe
from collector.core.request_windows import PAGE
from collector.core.rows import Rows, rows_of

MINUTE = TIMEFRAMES["1"]
FIRST_MS = 1_577_836_800_000  # 2020-01-01


def rows_of_minutes(minutes: range) -> Rows:
    """Candles of minutes counted from the first."""
    return rows_counted(MINUTE, MINUTE_MS, minutes)


def rows_counted(timeframe: Timeframe, step_ms: int, places: range) -> Rows:
    """Candles of a timeframe counted from the first."""
    return rows_of(timeframe, [(str(FIRST_MS + at * step_ms), *_VALUES[at % len(_VALUES)]) for at in places])


def _values(random: Random) -> tuple[str, str, str, str, str, str]:
    low = random.uniform(60_000, 70_000)
    opened, close, high = low + 3.5, low + 7, low + 12.5
    volume = random.uniform(1, 200)
    return f"{opened:.1f}", f"{high:.1f}", f"{low:.1f}", f"{close:.1f}", f"{volume:.3f}", f"{volume * low:.4f}"


_VALUES = [_values(Random(seed)) for seed in range(PAGE)]
