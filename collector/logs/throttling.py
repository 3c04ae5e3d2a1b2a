"""A handler that counts repeated records instead of repeating them."""

import logging
from collections.abc import Hashable, Sequence

from collector.core.text import counted
from collector.logs.throttle import LogThrottle
from collector.machine.clock import LocalClock

NEVER_THROTTLED = ("settings are wrong, going on with the old ones", "settings that need a restart")


class ThrottlingHandler(logging.Handler):
    """Passes records on, and counts repeated ones.

    Throttled are warnings and errors, and every record with a `why`. Other records are facts of their own, such as a
    revised candle, and always pass; so do the answers to a reload.
    """

    def __init__(self, handlers: Sequence[logging.Handler], clock: LocalClock) -> None:
        super().__init__()
        self._handlers = handlers
        self._clock = clock
        self._throttle = LogThrottle()
        self._last: dict[Hashable, logging.LogRecord] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.flush_due()
        kind = _kind(record)
        if kind is None or self._throttle.passes(kind, record.getMessage(), self._clock.elapsed_s()):
            self._pass_on(record)
        else:
            self._last[kind] = record

    def flush_due(self, *, all_of_them: bool = False) -> None:
        """Log the counts that are due, after any record that another thread is just emitting."""
        self.acquire()
        try:
            self._flush(all_of_them)
        finally:
            self.release()

    def _flush(self, all_of_them: bool) -> None:
        for kind, times, seconds in self._throttle.flush(self._clock.elapsed_s(), all_of_them=all_of_them):
            last, now_s = self._last.pop(kind), self._clock.now_ms() / 1000
            again = f"{counted(times, 'time')} in {seconds:.0f} s"
            facts = getattr(last, "facts", {}) | {"again": again}
            count = {"facts": facts, "msg": f"{last.getMessage()} again={again!r}", "args": (), "exc_info": None}
            now = {"created": now_s, "msecs": now_s % 1 * 1000}  # keeps the lines in the order of their times
            self._pass_on(logging.makeLogRecord(last.__dict__ | count | now))

    def _pass_on(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            if record.levelno >= handler.level:
                handler.handle(record)

    def close(self) -> None:
        self.flush_due(all_of_them=True)
        for handler in self._handlers:
            handler.close()
        super().close()


def _kind(record: logging.LogRecord) -> Hashable:
    """Return what repeated records have in common; None for a record that always passes."""
    event, why = getattr(record, "event", record.msg), getattr(record, "facts", {}).get("why")
    if event in NEVER_THROTTLED or (record.levelno < logging.WARNING and why is None):
        return None
    return record.name, record.levelno, event, str(why)
