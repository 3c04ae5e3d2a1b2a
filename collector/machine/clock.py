"""The clocks of the machine. None of them decides whether a candle is closed: the exchange's time does."""

import time


class LocalClock:
    """Three clocks: one that people read, one that only runs forward, and one that all processes share."""

    def now_ms(self) -> int:
        """What the clock on the wall says, in epoch milliseconds. Somebody may set it to anything at any moment."""
        return time.time_ns() // 1_000_000

    def elapsed_s(self) -> float:
        """Seconds since some moment, the same for the life of the process."""
        return time.monotonic()

    def since_boot_s(self) -> float:
        """Seconds since the machine was started, with sleep where the system can tell: the same in every process."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
