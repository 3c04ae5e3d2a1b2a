"""The progress watchdog: tells an idle writer from a stuck one.

With the exchange down, a silent stream or delayed history the writer is idle, and a restart would gain nothing. It is
stuck when work waits while none is done. Pure: numbers in, time out.
"""

import attrs

from collector.core.counters import Work


@attrs.frozen
class ProgressWatchdog:
    """The work last observed, and since when the writer makes no progress."""

    work: Work
    since_s: float

    def observe(self, work: Work, now_s: float) -> "ProgressWatchdog":
        """The watchdog after another observation."""
        gets_on = work.done != self.work.done or not work.waiting or not self.work.waiting
        return ProgressWatchdog(work, now_s if gets_on else self.since_s)

    def stuck_s(self, now_s: float) -> float:
        """How long work has waited while none was done.

        0 when idle.
        """
        return now_s - self.since_s if self.work.waiting else 0.0

    @property
    def waiting_on(self) -> str:
        """The writer's current step, or else the amount of waiting work."""
        return self.work.at or f"{self.work.waiting} wait, none was done"
