"""A log with a thread of its own to write the lines, so that those who speak go on.

A disk may be frozen and a terminal stopped (Ctrl-S). Whoever says something waits a moment for the thread, so that
lines are where they belong when all is well; while the thread stands nobody waits for it. What it has no room for is
left out, and counted.
"""

import logging
from contextlib import suppress
from queue import Full, Queue
from threading import Thread

_PATIENCE_S = 0.2  # to write a line takes some microseconds, on a busy machine some milliseconds
_WAITING = 10_000  # lines of a thread that stands: hours of a normal run, some 10 MB
_CLOSING_S = 3.0


class Background(logging.Handler):
    """Passes records on to a handler in a thread. The thread ends with `close`, or with the process."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__(handler.level)
        self._handler = handler
        self._records: Queue[logging.LogRecord | None] = Queue(_WAITING)
        self._left_out = 0
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        stands = self._records.unfinished_tasks > 0
        try:
            self._records.put_nowait(record)
        except Full:
            self._left_out += 1
            return
        if not stands:
            self._wait(_PATIENCE_S)

    def close(self) -> None:
        """Waits for what was said to be written, for a limited time."""
        with suppress(Full):  # the thread stands, and ends with the process
            self._records.put(None, timeout=_CLOSING_S)
            self._thread.join(_CLOSING_S)
        super().close()

    def _wait(self, seconds: float) -> None:
        with self._records.all_tasks_done:
            self._records.all_tasks_done.wait_for(lambda: not self._records.unfinished_tasks, seconds)

    def _run(self) -> None:
        last: logging.LogRecord | None = None
        while (record := self._records.get()) is not None:
            self._pass_on(record)
            if self._left_out and self._records.empty():
                self._pass_on(self._count(record))
            last = record
            self._records.task_done()
        if self._left_out and last:
            self._pass_on(self._count(last))
        self._handler.close()

    def _pass_on(self, record: logging.LogRecord) -> None:
        try:
            self._handler.handle(record)
        except Exception:  # a line that cannot be shown must not end all that come after it
            self._handler.handleError(record)

    def _count(self, last: logging.LogRecord) -> logging.LogRecord:
        """A line that says how many were left out, as the last one's neighbour."""
        count, self._left_out = self._left_out, 0
        said = {"levelno": logging.WARNING, "levelname": "WARNING", "msg": f"log lines left out count={count}"}
        facts = {"event": "log lines left out", "facts": {"count": count}, "args": (), "exc_info": None}
        return logging.makeLogRecord(last.__dict__ | said | facts)
