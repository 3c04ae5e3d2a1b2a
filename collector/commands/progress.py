"""Progress: two live lines on a terminal, otherwise regular log lines.

It only reads.
"""

from collections.abc import Sequence

import attrs
import trio
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from collector.bybit.exchange_state import RestState
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.text import agreeing, moment_text
from collector.logs import get_logger

log = get_logger(__name__)

_DRAW_EVERY_S = 0.25
_LOG_FIRST_S = 10.0
_LOG_EVERY_S = 300.0  # at the most; the pause doubles with each line
_RATE_OVER_S = 5.0
_LONG = 10_000_000


@attrs.frozen
class ProgressSample:
    """The numbers at one time."""

    at_s: float
    candles: int
    requests: int
    remaining: int
    where: str

    def rates(self, before: "ProgressSample") -> tuple[float, float]:
        """Candles and requests a second since an earlier sample."""
        seconds = max(self.at_s - before.at_s, 1e-9)
        return (self.candles - before.candles) / seconds, (self.requests - before.requests) / seconds


def take_sample(counters: Counters, coverage: CoverageIndex, rest: RestState) -> ProgressSample:
    where = f"{counters.series} {moment_text(counters.reached_ms)}" if counters.series else "starting"
    if rest.ban:
        where = f"{rest.ban.why}, silent until {moment_text(rest.ban.until_ms)} UTC"
    return ProgressSample(trio.current_time(), counters.rows, counters.requests, coverage.candles_in_flight, where)


async def log_progress(counters: Counters, coverage: CoverageIndex, rest: RestState) -> None:
    """Log progress while it advances, ever more rarely, until cancelled."""
    before, pause_s = take_sample(counters, coverage, rest), _LOG_FIRST_S
    while True:
        await trio.sleep(pause_s)
        now = take_sample(counters, coverage, rest)
        if now.remaining and before.remaining and (now.candles, now.remaining) != (before.candles, before.remaining):
            pause_s = min(2 * pause_s, _LOG_EVERY_S)
            candles_s, requests_s = now.rates(before)
            log.info(
                "progress",
                candles=now.candles,
                candles_per_s=round(candles_s),
                requests=now.requests,
                requests_per_s=round(requests_s, 1),
                remaining=now.remaining,
                left=_left(now.remaining, candles_s),
                reached=now.where,
            )
        elif not now.remaining:
            pause_s = _LOG_FIRST_S
        before = now


@attrs.frozen
class Display:
    """Two live lines on a terminal."""

    console: Console

    async def draw(self, counters: Counters, coverage: CoverageIndex, rest: RestState) -> None:
        """Draw until cancelled."""
        seen = [take_sample(counters, coverage, rest)]
        # rich draws in a thread: a stopped terminal (Ctrl-S) leaves the collector running.
        with Live(get_renderable=lambda: picture(seen), console=self.console, transient=True, refresh_per_second=4):
            while True:
                await trio.sleep(_DRAW_EVERY_S)
                newest = take_sample(counters, coverage, rest)
                seen = [*(each for each in seen if each.at_s >= newest.at_s - _RATE_OVER_S), newest]


def picture(seen: Sequence[ProgressSample]) -> Group:
    """Render the newest sample in two lines; the numbers fit into 80 columns."""
    now = seen[-1]
    candles_s, requests_s = now.rates(seen[0])
    total = now.candles + now.remaining
    numbers = (
        f"{_short(now.candles)}/{_short(total)} {agreeing(total, 'candle')} {candles_s:,.0f}/s"
        f" · {_short(now.requests)} {agreeing(now.requests, 'request')} {requests_s:,.0f}/s"
        f" · {_left(now.remaining, candles_s)} left"
    )
    place = Table.grid(padding=(0, 1))
    place.add_row(
        ProgressBar(total=max(total, 1), completed=now.candles, width=20),
        Text(now.where, no_wrap=True, overflow="ellipsis"),
    )
    return Group(Text(numbers, no_wrap=True, overflow="ellipsis"), place)


def _short(number: int) -> str:
    """Format a number in at most nine characters, for a whole market too."""
    return f"{number:,}" if number < _LONG else f"{number / 1_000_000:,.1f}M"


def _left(remaining: int, candles_s: float) -> str:
    if remaining and not candles_s:
        return "unknown"
    return _duration(remaining / max(candles_s, 1e-9))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
