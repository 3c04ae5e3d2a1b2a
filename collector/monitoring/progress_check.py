"""Whether the writer gets on: the difference between having nothing to do and being stuck.

An exchange that is down, a stream that is silent and a history that does not come leave nothing to be written, and that
is no fault of this process: starting it again would not help. Work that waits while none is done is. Pure: numbers in,
a verdict out.
"""

import attrs

from collector.core.counters import Work


@attrs.frozen
class Pulse:
    """Since when the writer has not been seen to get on."""

    work: Work
    since_s: float

    def felt(self, work: Work, now_s: float) -> "Pulse":
        """The pulse after another look."""
        gets_on = work.done != self.work.done or not work.waiting or not self.work.waiting
        return Pulse(work, now_s if gets_on else self.since_s)

    def stuck_s(self, now_s: float) -> float:
        """How long work has been waiting while none was done; 0 while nothing waits."""
        return now_s - self.since_s if self.work.waiting else 0.0

    @property
    def words(self) -> str:
        """What it stands at, or else what waits."""
        return self.work.at or f"{self.work.waiting} wait, none was done"
