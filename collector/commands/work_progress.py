"""The progress of work whose size is known: a display on a terminal, otherwise sentences at growing pauses.

What is shown is a pure value, `Advance`; drawing and saying only read it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from rich.console import Console
from rich.constrain import Constrain
from rich.live import Live

from collector.commands.console import can_draw, drawing, say
from collector.commands.display import Line
from collector.commands.progress import ECHO, picture
from collector.core.text import counted, duration_text
from collector.machine.clock import THIS_CLOCK, LocalClock

_SAY_FIRST_S = 10.0
_SAY_EVERY_S = 300.0  # at the most; the pause doubles with each sentence


@attrs.frozen
class Advance:
    """How far the work is.

    Attributes:
        total: its size, in any unit; `done` is of it.
        parts: files or stretches, by their `noun`; `parts_done` is of them.
        where: the part dealt with last, and the date it reaches.
    """

    title: str
    total: float
    parts: int
    noun: str
    done: float = 0
    parts_done: int = 0
    where: str = ""

    def by(self, size: float, where: str) -> "Advance":
        """The work once another part is done."""
        return attrs.evolve(self, done=self.done + size, parts_done=self.parts_done + 1, where=where)

    def lines(self, spent_s: float) -> list[Line]:
        """Percent, parts and the time left at the pace so far; then the place."""
        share = min(1.0, self.done / self.total) if self.total else 1.0
        left_s = spent_s * max(0.0, self.total - self.done) / self.done if self.done else 0.0
        left = f"{duration_text(left_s)} left" if share else "time left unknown"
        parts = f"{self.parts_done:,} of {counted(self.parts, self.noun)}"
        lines = [Line(self.title, f"{int(100 * share)} % · {parts} · {left}", share)]
        return [*lines, Line("", self.where)] if self.where else lines


@attrs.define(eq=False)
class WorkProgress:
    """An advance that is told part by part."""

    _now: Advance
    _says: bool
    _clock: LocalClock
    _began_s: float = attrs.field(init=False)
    _due_s: float = attrs.field(init=False)
    _pause_s: float = _SAY_FIRST_S

    def __attrs_post_init__(self) -> None:
        self._began_s = self._clock.elapsed_s()
        self._due_s = self._began_s + self._pause_s

    def advance(self, size: float, where: str) -> None:
        """Another part is done."""
        self._now = self._now.by(size, where)
        self._tell()

    def within(self, where: str, size: float = 0) -> None:
        """A part goes on; so much of it is done since."""
        self._now = attrs.evolve(self._now, done=self._now.done + size, where=where)
        self._tell()

    def _tell(self) -> None:
        if self._says and self._clock.elapsed_s() >= self._due_s:
            self._pause_s = min(2 * self._pause_s, _SAY_EVERY_S)
            self._due_s = self._clock.elapsed_s() + self._pause_s
            say(f"{self._now.title} {' · '.join(line.text for line in self.lines)}")

    @property
    def lines(self) -> list[Line]:
        """What is shown now."""
        return self._now.lines(self._clock.elapsed_s() - self._began_s)


@contextmanager
def open_progress(
    work: Advance, *, quiet: bool, console: Console | None = None, clock: LocalClock = THIS_CLOCK
) -> Iterator[WorkProgress]:
    """Show work on stderr while it is entered."""
    console = console or Console(stderr=True)
    draws = can_draw(console) and not quiet
    progress = WorkProgress(work, not draws and not quiet, clock)
    if not draws:
        yield progress
        return
    live = Live(
        get_renderable=lambda: Constrain(picture(progress.lines), console.width - ECHO),
        console=console,
        transient=True,
        refresh_per_second=4,
    )
    with drawing(live):
        yield progress
