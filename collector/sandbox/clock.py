"""The exchange's clock, with a start time and a rate of our choice.

All times of the box come from it. It runs on monotonic time, which is an argument, so that a test can move it by hand.
Only rate limits and bans count real seconds instead.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from collector.machine.clock import THIS_CLOCK

FASTEST = 1e6  # eleven days in a second; much faster, and it is soon past all dates
LATEST_MS = 253_402_214_400_000  # 9999-12-31; a date after that cannot be written


class Clock:
    """Exchange time: from `start_ms`, at `rate` times monotonic time.

    A rate of 0 stands still; then `advance` moves it.
    """

    def __init__(
        self, start_ms: int | None = None, rate: float = 1, monotonic_ns: Callable[[], int] = THIS_CLOCK.elapsed_ns
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._rate = _checked(rate)
        self._base_ns = THIS_CLOCK.now_ns() if start_ms is None else start_ms * 1_000_000
        self._since_ns = monotonic_ns()
        self.watchers: list[Callable[[], None]] = []  # told when it jumps or changes its rate

    def now_ns(self) -> int:
        return self._base_ns + int((self._monotonic_ns() - self._since_ns) * self._rate)

    def now_ms(self) -> int:
        return self.now_ns() // 1_000_000

    @property
    def rate(self) -> float:
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        rate = _checked(rate)
        self._rebase(self.now_ns())
        self._rate = rate
        self._notify_watchers()

    def advance(self, ms: int) -> None:
        """Jumps forward by so much time."""
        if ms < 0:
            raise ValueError("the exchange's clock does not run backwards")
        if self.now_ms() + ms > LATEST_MS:
            raise ValueError("the exchange's clock does not go beyond the year 9999")
        self._rebase(self.now_ns() + ms * 1_000_000)
        self._notify_watchers()

    def seconds_until(self, ms: int) -> float:
        """The real seconds until the clock shows the instant.

        0 if it has passed, infinite while the clock stands.
        """
        left_ns = ms * 1_000_000 - self.now_ns()
        if left_ns <= 0:
            return 0.0
        return left_ns / 1e9 / self._rate if self._rate else math.inf

    def _rebase(self, now_ns: int) -> None:
        self._base_ns, self._since_ns = now_ns, self._monotonic_ns()

    def _notify_watchers(self) -> None:
        for watcher in self.watchers:
            watcher()


def _checked(rate: float) -> float:
    if not 0 <= rate <= FASTEST:
        raise ValueError(f"a clock cannot run at {rate} times the real speed")
    return rate


def instant_ms(text: str) -> int:
    """An instant from epoch milliseconds or ISO text, UTC by default.

    Raises:
        ValueError: the text is neither.
    """
    if text.strip().lstrip("-").isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no instant: epoch milliseconds or 2024-05-01T12:30") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
