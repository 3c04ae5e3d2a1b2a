"""A range of dates: the candles that open from one instant on and before another.

Pure: the time comes in from outside.
"""

import attrs

from collector.core.candle import DAY_MS, Timeframe
from collector.core.rows import LATEST_MS
from collector.core.spans import Spans
from collector.core.text import moment_text


@attrs.frozen
class DateRange:
    """The instants from `start_ms` up to but excluding `end_ms`.

    Without an end, up to now.
    """

    start_ms: int
    end_ms: int | None = None

    def wanted(self, timeframe: Timeframe, now_ms: int) -> Spans:
        """The candles that open in the range and have closed by now."""
        return self.candles(timeframe).within(0, timeframe.floor(now_ms))

    def candles(self, timeframe: Timeframe) -> Spans:
        """All candles that open in the range."""
        end_ms = LATEST_MS if self.end_ms is None else self.end_ms
        return Spans.between(timeframe.ceil(self.start_ms), timeframe.ceil(end_ms))

    def problem(self, now_ms: int) -> str | None:
        """What of the range is in the future; None: nothing.

        The end of the day that is running is no mistake: a bare date means a whole day.
        """
        if self.start_ms >= now_ms:
            return f"--start: {moment_text(self.start_ms)} is in the future; it is {moment_text(now_ms)} UTC now"
        if self.end_ms is not None and self.end_ms > now_ms - now_ms % DAY_MS + DAY_MS:
            return (
                f"--end: {moment_text(self.end_ms)} is in the future; it is {moment_text(now_ms)} UTC now, and without "
                "--end everything up to now is meant"
            )
        return None
