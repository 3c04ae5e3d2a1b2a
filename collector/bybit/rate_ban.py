"""The rate ban: a span in which nothing is asked, kept across restarts in `.collector/ban` of the data directory.

`ban_file.py` reads and writes it.
"""

from collections.abc import Callable
from math import ceil, inf

import attrs
import trio

from collector.logs import get_logger

log = get_logger(__name__)


@attrs.define
class RateBan:
    """A rate ban of this address and the record of its end.

    A record can only be in local time, which may be set to anything at any moment, so a ban that has begun is timed by
    the monotonic clock. `recorded` reads the record again: another command may have been banned.
    """

    until_ms: int
    record: Callable[[int], None]
    now_ms: Callable[[], int]  # local time
    recorded: Callable[[], int] | None = None
    _until_s: float = -inf
    _longest_s: float = inf

    @property
    def left_s(self) -> float:
        """Seconds until the ban ends; 0 without one."""
        if self.recorded and (recorded_ms := self.recorded()) != self.until_ms:
            self.until_ms = recorded_ms
            self._adopt()
        return max(0.0, self._until_s - trio.current_time())

    def begin(self, wait_s: float) -> None:
        """Begins a ban and records its end."""
        self._until_s = trio.current_time() + wait_s
        self._save(self.now_ms() + ceil(wait_s * 1000) + 1)  # the clock's millisecond may be nearly over

    def cap(self, wait_s: float) -> None:
        """Shortens what is on record to at most so many seconds from now.

        Otherwise a clock that was set back would turn ten minutes into years, again at every start.
        """
        self._longest_s = wait_s
        latest_ms = self.now_ms() + ceil(wait_s * 1000) + 1
        if self.until_ms > latest_ms:
            self._save(latest_ms)
        self._adopt()

    def _adopt(self) -> None:
        left_s = min((self.until_ms - self.now_ms()) / 1000, self._longest_s)
        self._until_s = max(self._until_s, trio.current_time() + left_s)

    def _save(self, until_ms: int) -> None:
        self.until_ms = until_ms
        try:
            self.record(until_ms)
        except OSError as error:  # to end on a full disk would mean to ask again at the next start
            self.recorded = None
            log.warning("the end of the rate ban could not be written down", why=str(error))
