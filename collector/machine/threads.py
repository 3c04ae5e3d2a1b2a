"""Blocking work in a thread, and what is done where the system has run out of threads."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import TypeVar

import trio

log = logging.getLogger(__name__)
T = TypeVar("T")

_NONE_LEFT = "can't start new thread"  # how Python says it, in a RuntimeError like any other


class Threads:
    """Threads for work that blocks. A simulated one does the work at once."""

    async def run(
        self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None, *, abandon: bool = False
    ) -> T:
        """Runs work in a thread; without one, here and now. It is waited for also when that is cancelled, or abandoned.

        A limit on threads or memory may pass. Until then all else waits for the disk, and no candle is lost.
        """
        try:
            return await trio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=abandon)
        except RuntimeError as error:
            if _NONE_LEFT not in str(error):
                raise
        log.warning("no thread can be started, all else waits for the disk")
        return work()

    def run_on_each(self, work: Callable[[T], None], items: Sequence[T], at_once: int) -> None:
        """Does blocking work on every item, on several at once; the caller's thread takes part, and is enough.

        Raises:
            Exception: the first that the work raised; no item is begun after it.
        """
        waiting, errors = iter(items), list[Exception]()

        def run() -> None:
            for item in waiting:
                if errors:
                    return
                try:
                    work(item)
                except Exception as error:  # the caller raises it
                    errors.append(error)

        threads = [Thread(target=run, name="disk") for _ in range(min(at_once, len(items)) - 1)]
        started = []
        with suppress(RuntimeError):  # no more threads can be had
            for thread in threads:
                thread.start()
                started.append(thread)
        run()
        for thread in started:
            thread.join()
        if errors:
            raise errors[0]
