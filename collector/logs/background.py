"""A handler that writes in a thread, so that a frozen disk or a stopped terminal (Ctrl-S) delays no caller.

A caller waits briefly for its line to be written, which keeps lines in step with other output. While the thread hangs
no caller waits. Records beyond the queue's limit are dropped and counted. (The standard `QueueHandler` and
`QueueListener` neither wait nor count.)
"""

import logging
from contextlib import suppress
from queue import Full, Queue
from threading import Thread

_WAIT_S = 0.2  # a line takes some microseconds, on a busy machine some milliseconds
_QUEUE_LIMIT = 10_000  # records while the thread hangs: hours of a normal run, some 10 MB
_CLOSING_S = 3.0


class Background(logging.Handler):
    """Passes records to a handler in a daemon thread, which ends with `close`."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__(handler.level)
        self._handler = handler
        self._records: Queue[logging.LogRecord | None] = Queue(_QUEUE_LIMIT)
        self._dropped = 0
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        hangs = self._records.unfinished_tasks > 0
        try:
            self._records.put_nowait(record)
        except Full:
            self._dropped += 1
            return
        if not hangs:
            self._wait(_WAIT_S)

    def close(self) -> None:
        """Wait a limited time for the queue to be written."""
        with suppress(Full):  # the thread hangs, and ends with the process
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
            if self._dropped and self._records.empty():
                self._pass_on(self._count(record))
            last = record
            self._records.task_done()
        if self._dropped and last:
            self._pass_on(self._count(last))
        self._handler.close()

    def _pass_on(self, record: logging.LogRecord) -> None:
        try:
            self._handler.handle(record)
        except Exception:  # one bad record must not end the thread
            self._handler.handleError(record)

    def _count(self, last: logging.LogRecord) -> logging.LogRecord:
        """Build the record that counts the dropped ones, shaped like the last."""
        count, self._dropped = self._dropped, 0
        said = {"levelno": logging.WARNING, "levelname": "WARNING", "msg": f"log lines left out count={count}"}
        facts = {"event": "log lines left out", "facts": {"count": count}, "args": (), "exc_info": None}
        return logging.makeLogRecord(last.__dict__ | said | facts)
