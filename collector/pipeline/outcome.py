"""What a collection came to, in numbers."""

import attrs

from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.missing import Gap
from collector.integrity.repair import RepairResult


@attrs.frozen
class Outcome:
    """What a collection came to.

    Args:
        seconds: how long it took.
        series: how many there are.
        missing: wanted candles that may still come.
        absent: candles that the exchange lacks, asked for more than once.
        invalid: candles whose row at the exchange is invalid.
        unknown: symbols asked for that the exchange does not list.
        looked: whether it came as far as finding out what is missing.
        stopped: whether it was told to stop.
        left_alone: why files were left alone, a sentence each.
        mended: what a repair did.
        connections: to the stream, all of them wanted at once.
        complete_after_s: how long it took to complete the history that was missing at the start; None if it was not.
    """

    counters: Counters
    seconds: float
    series: int
    missing: tuple[tuple[Series, Gap], ...]
    absent: tuple[tuple[Series, Gap], ...]
    unknown: tuple[str, ...]
    looked: bool
    stopped: bool
    invalid: tuple[tuple[Series, Gap], ...] = ()
    left_alone: tuple[str, ...] = ()
    mended: RepairResult = attrs.field(factory=RepairResult)
    connections: int = 0
    complete_after_s: float | None = None

    @property
    def vitals(self) -> Counters:
        """The former name of `counters`."""
        return self.counters

    @property
    def complete(self) -> bool:
        return self.looked and not self.missing and not self.unknown and not self.left_alone
