"""A storm of equal lines becomes one with a count, on its way to where lines are shown and kept."""

import logging
from collections.abc import Hashable, Sequence

from collector.core.text import counted
from collector.logs.throttle import LogThrottle
from collector.machine.clock import LocalClock

NEVER_THROTTLED = ("settings are wrong, going on with the old ones", "settings that need a restart")


class ThrottlingHandler(logging.Handler):
    """Passes on what is said, and counts what is said again and again.

    Counted are troubles: what is a warning or worse, and everything that says why. Each line of the rest is a fact of
    its own, such as a candle that was revised, or an answer to somebody who has asked.
    """

    def __init__(self, handlers: Sequence[logging.Handler], clock: LocalClock) -> None:
        super().__init__()
        self._handlers = handlers
        self._clock = clock
        self._throttle = LogThrottle()
        self._last: dict[Hashable, logging.LogRecord] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.tell()
        kind = _kind(record)
        if kind is None or self._throttle.passes(kind, record.getMessage(), self._clock.elapsed_s()):
            self._pass_on(record)
        else:
            self._last[kind] = record

    def tell(self, *, all_of_them: bool = False) -> None:
        """Says what was counted, if it is time; not in the middle of a line that a thread says."""
        self.acquire()
        try:
            self._tell(all_of_them)
        finally:
            self.release()

    def _tell(self, all_of_them: bool) -> None:
        for kind, times, seconds in self._throttle.flush(self._clock.elapsed_s(), all_of_them=all_of_them):
            last, now_s = self._last.pop(kind), self._clock.now_ms() / 1000
            again = f"{counted(times, 'time')} in {seconds:.0f} s"
            facts = getattr(last, "facts", {}) | {"again": again}
            count = {"facts": facts, "msg": f"{last.getMessage()} again={again!r}", "args": (), "exc_info": None}
            told = {"created": now_s, "msecs": now_s % 1 * 1000}  # or it would stand behind lines of a later time
            self._pass_on(logging.makeLogRecord(last.__dict__ | count | told))

    def _pass_on(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            if record.levelno >= handler.level:
                handler.handle(record)

    def close(self) -> None:
        self.tell(all_of_them=True)
        for handler in self._handlers:
            handler.close()
        super().close()


def _kind(record: logging.LogRecord) -> Hashable:
    """What makes lines equal to one another; None for what is always said."""
    event, why = getattr(record, "event", record.msg), getattr(record, "facts", {}).get("why")
    if event in NEVER_THROTTLED or (record.levelno < logging.WARNING and why is None):
        return None
    return record.name, record.levelno, event, str(why)
