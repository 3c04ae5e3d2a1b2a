"""Disagreements of the exchange with itself.

A coarse candle and the finer ones under it, as the exchange serves them, may differ in sum. Its history before 2022 is
full of this. A disagreement is on record once both sides were read again and still disagree. The record holds while
both sides say what they said then; they are read again after a day, then ever more rarely. Pure.
"""

from collections.abc import Mapping

import attrs

from collector.core.candle import DAY_MS

_LONGEST_DAYS = 64


@attrs.frozen
class KnownDisagreement:
    """One candle's disagreement on record.

    `digest` is of the rows of both sides, `times` is how often reading them again has confirmed it.
    """

    digest: bytes
    confirmed_ms: int
    times: int

    @property
    def due_ms(self) -> int:
        """When to read both sides again."""
        return self.confirmed_ms + min(1 << min(self.times - 1, 10), _LONGEST_DAYS) * DAY_MS


# By the open time of the coarser candle, for one coarser and one finer series.
KnownDisagreements = Mapping[int, KnownDisagreement]


def confirmed(before: KnownDisagreement | None, digest: bytes, now_ms: int) -> KnownDisagreement:
    """The record after rereading both sides confirmed the disagreement."""
    times = before.times + 1 if before and before.digest == digest else 1
    return KnownDisagreement(digest, now_ms, times)
