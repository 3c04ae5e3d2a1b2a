"""The progress of an export: a line that is redrawn on a terminal, otherwise a sentence every ten seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import attrs
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from collector.commands.console import can_draw, say
from collector.core.candle import Series
from collector.core.text import counted, duration_text
from collector.export.results import Result
from collector.machine.clock import THIS_CLOCK, LocalClock

_SAY_EVERY_S = 10.0


class ExportProgress(Protocol):
    """Whoever is told how far an export is."""

    def advance(self, series: Series, result: Result) -> None: ...


@attrs.define
class Sentences:
    """Says every few seconds how much is done, and how long the rest takes at that pace."""

    total: int
    quiet: bool
    clock: LocalClock = THIS_CLOCK
    _done: int = 0
    _rows: int = 0
    _start_s: float = attrs.field(init=False)
    _said_s: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._start_s = self._said_s = self.clock.elapsed_s()

    def advance(self, series: Series, result: Result) -> None:
        self._done += result.size
        self._rows += result.rows
        now_s = self.clock.elapsed_s()
        if self.quiet or now_s - self._said_s < _SAY_EVERY_S:
            return
        self._said_s = now_s
        spent_s = now_s - self._start_s
        left = duration_text(spent_s * (self.total - self._done) / self._done) if 0 < self._done < self.total else "0 s"
        percent = 100 * self._done / max(1, self.total)
        say(f"{percent:.0f} %, {counted(self._rows, 'row')}, {self._rows / spent_s:,.0f}/s, {left} left, at {series}")


@attrs.frozen
class Bar:
    """Draws a bar with the time that is left."""

    _progress: Progress
    _task: TaskID

    def advance(self, series: Series, result: Result) -> None:
        self._progress.update(self._task, advance=result.size, description=str(series))


@contextmanager
def open_progress(total: int, quiet: bool) -> Iterator[ExportProgress]:
    """Shows progress over so many bytes of text while it is entered."""
    console = Console(stderr=True)
    if quiet or not can_draw(console):
        yield Sentences(total, quiet)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, progress.add_task("exporting", total=total))
