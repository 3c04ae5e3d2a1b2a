"""Blocking work in threads; without a free thread, in the caller's."""

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
    """Worker threads; the simulated ones run work inline."""

    async def run(
        self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None, *, abandon: bool = False
    ) -> T:
        """Runs work in a thread, or inline if none can be started.

        Cancelling waits for the work; with `abandon` it leaves the work behind. A shortage of threads or memory may
        pass: until then everything else waits for the disk, and every candle is kept.
        """
        try:
            return await trio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=abandon)
        except RuntimeError as error:
            if _NONE_LEFT not in str(error):
                raise
        log.warning("no thread can be started, all else waits for the disk")
        return work()

    def run_on_each(self, work: Callable[[T], None], items: Sequence[T], at_once: int) -> None:
        """Runs blocking work on every item, `at_once` in parallel, the caller's thread included.

        Raises:
            Exception: the first that the work raised; items after it are left.
        """
        waiting, errors = iter(items), list[BaseException]()

        def run() -> None:
            for item in waiting:
                if errors:
                    return
                try:
                    work(item)
                except BaseException as error:  # the caller raises it
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
