"""The local clocks.

Whether a candle has closed is the exchange's time to say.
"""

import time
from pathlib import Path


class LocalClock:
    """Wall clock, monotonic clock, and the clock since boot."""

    def now_ms(self) -> int:
        """Wall clock in epoch milliseconds.

        It can be set at any moment.
        """
        return self.now_ns() // 1_000_000

    def now_ns(self) -> int:
        """Wall clock in epoch nanoseconds, as in file times."""
        return time.time_ns()

    def elapsed_s(self) -> float:
        """Monotonic clock in seconds, from an arbitrary start."""
        return self.elapsed_ns() / 1e9

    def elapsed_ns(self) -> int:
        """Monotonic clock in nanoseconds."""
        return time.monotonic_ns()

    def since_boot_s(self) -> float:
        """Seconds since boot, the same in every process.

        Time asleep counts where the system can tell.
        """
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def boot_id(self) -> str:
        """Identifier of this boot; empty where the system has none."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""

    def pause(self, seconds: float) -> None:
        """Blocks this thread."""
        time.sleep(seconds)


THIS_CLOCK = LocalClock()
