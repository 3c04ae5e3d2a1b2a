"""The clocks of the machine. None of them decides whether a candle is closed: the exchange's time does."""

import time
from pathlib import Path


class LocalClock:
    """Three clocks: one that people read, one that only runs forward, and one that all processes share."""

    def now_ms(self) -> int:
        """What the clock on the wall says, in epoch milliseconds. Somebody may set it to anything at any moment."""
        return self.now_ns() // 1_000_000

    def now_ns(self) -> int:
        """The same to the nanosecond, as file systems note it."""
        return time.time_ns()

    def elapsed_s(self) -> float:
        """Seconds since some moment, the same for the life of the process."""
        return self.elapsed_ns() / 1e9

    def elapsed_ns(self) -> int:
        """The same in nanoseconds."""
        return time.monotonic_ns()

    def since_boot_s(self) -> float:
        """Seconds since the machine was started, with sleep where the system can tell: the same in every process."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def boot_id(self) -> str:
        """What tells one start of the machine from the next, where the system says so."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""

    def pause(self, seconds: float) -> None:
        """Holds this thread up for a moment."""
        time.sleep(seconds)


THIS_CLOCK = LocalClock()
