"""Progress for a person: a live line on a terminal, a log line now and then without one. It only reads."""

import attrs
import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from collector.book import Book
from collector.coverage import moment_text
from collector.logs import get_logger
from collector.vitals import Vitals

log = get_logger(__name__)

_DRAW_EVERY_S = 0.25
_LOG_EVERY_S = 10.0
_RATE_OVER_S = 5.0


@attrs.frozen
class Glimpse:
    """The numbers at one moment."""

    at_s: float
    candles: int
    requests: int
    remaining: int
    where: str

    def rates(self, before: "Glimpse") -> tuple[float, float]:
        """Candles and requests a second since an earlier glimpse."""
        seconds = max(self.at_s - before.at_s, 1e-9)
        return (self.candles - before.candles) / seconds, (self.requests - before.requests) / seconds


def glimpse(vitals: Vitals, book: Book) -> Glimpse:
    where = f"{vitals.series} {moment_text(vitals.reached_ms)}" if vitals.series else "starting"
    if vitals.quiet_until_ms:
        where = f"rate ban: silent until {moment_text(vitals.quiet_until_ms)} UTC"
    return Glimpse(trio.current_time(), vitals.rows, vitals.requests, book.candles_in_flight, where)


async def log_progress(vitals: Vitals, book: Book) -> None:
    """A line every few seconds while there is something to fetch, until cancelled."""
    before = glimpse(vitals, book)
    while True:
        await trio.sleep(_LOG_EVERY_S)
        now = glimpse(vitals, book)
        if now.remaining or now.candles != before.candles:
            candles_s, requests_s = now.rates(before)
            log.info(
                "progress",
                candles=now.candles,
                candles_per_s=round(candles_s),
                requests=now.requests,
                requests_per_s=round(requests_s, 1),
                remaining=now.remaining,
                left=_duration(now.remaining / candles_s) if candles_s else "unknown",
                reached=now.where,
            )
        before = now


@attrs.frozen
class Display:
    """Draws on a terminal."""

    console: Console

    async def draw(self, vitals: Vitals, book: Book) -> None:
        """Draws until cancelled."""
        whole = Column(no_wrap=True)
        columns = (
            BarColumn(bar_width=10),
            TextColumn("{task.fields[numbers]}", table_column=whole),
            TimeRemainingColumn(compact=True, table_column=whole),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        )
        seen = [glimpse(vitals, book)]
        with Progress(*columns, console=self.console, transient=True, refresh_per_second=4) as progress:
            bar = progress.add_task("starting", total=None, numbers="")
            while True:
                await trio.sleep(_DRAW_EVERY_S)
                seen.append(glimpse(vitals, book))
                seen = [each for each in seen if each.at_s >= seen[-1].at_s - _RATE_OVER_S]
                self._update(progress, bar, seen)

    def _update(self, progress: Progress, bar: TaskID, seen: list[Glimpse]) -> None:
        now = seen[-1]
        candles_s, requests_s = now.rates(seen[0])
        progress.update(
            bar,
            completed=now.candles,
            total=now.candles + now.remaining,
            numbers=f"{now.candles:,}/{now.candles + now.remaining:,} candles {candles_s:,.0f}/s"
            f" · {now.requests:,} requests {requests_s:,.0f}/s",
            description=now.where,
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
