"""Runs as they end: what is printed of each, what they come to, and how far it has got."""

import json
import sys
import time

import attrs

from tests.simulation.life import Life
from tests.simulation.report import Report


@attrs.define
class Tally:
    """All runs so far. `hours` is how many are wanted, `runs` how many runs there will be, as far as that is known."""

    processes: int
    hours: float | None = None
    runs: int | None = None
    trace: bool = False
    quiet: bool = False
    total: Report = attrs.field(factory=Report)
    broken: list[tuple[Life, Report]] = attrs.field(factory=list)
    began_s: float = attrs.field(factory=time.monotonic)

    def take(self, life: Life, report: Report) -> bool:
        """Adds a run, and says when there are enough."""
        self.total.add(report)
        if report.wrong:
            self.broken.append((life, report))
            self.say(*(f"seed {life.seed}: {each}" for each in report.wrong), f"  again: {life.command()}")
        if self.trace:
            self.say(f"seed {life.seed}: trace {' '.join(report.traces)}")
        self._show_progress()
        return self._enough()

    def _enough(self) -> bool:
        if self.hours is None:
            return False
        return self.total.counted_hours >= self.hours or self.total.hours >= 3 * self.hours  # hardly one counts

    def say(self, *lines: str) -> None:
        if not self.quiet:
            self.clear_progress()
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()

    def clear_progress(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")

    def _show_progress(self) -> None:
        if not sys.stderr.isatty():
            return
        passed_s = time.monotonic() - self.began_s
        done = max(self._part_done(), 1e-9)
        left_min = passed_s * max(0.0, 1 / done - 1) / 60
        hours = f"{self.total.counted_hours:,.0f} hours, {self.times_the_clock:,.0f} times as fast as the clock"
        sys.stderr.write(f"\r\033[K{hours}, {left_min:,.0f} min left, {len(self.broken)} runs broke a promise ")
        sys.stderr.flush()

    def _part_done(self) -> float:
        parts = [self.total.runs / self.runs] if self.runs else []
        return max([*parts, *([self.total.counted_hours / self.hours] if self.hours else [])], default=0.0)

    @property
    def times_the_clock(self) -> float:
        """How much faster than the clock all processes are together."""
        return self.total.hours * 3600 / (time.monotonic() - self.began_s)

    def lines(self) -> list[str]:
        return [
            *self.total.lines(),
            f"all together {self.times_the_clock:,.0f} times as fast as the clock, with {self.processes} at once",
        ]

    def json(self) -> str:
        """One object for programs: the sums, and each run that broke a promise with the command that repeats it."""
        broken = [{"seed": life.seed, "again": life.command(), "wrong": report.wrong} for life, report in self.broken]
        return json.dumps(self.total.record() | {"processes": self.processes, "broken": broken}, indent=2)
