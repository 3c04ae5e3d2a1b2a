"""Blocking work in a thread, and what is done where the system has no thread left to give."""

from collections.abc import Callable
from typing import TypeVar

import trio

from collector.logs import get_logger

log = get_logger(__name__)
T = TypeVar("T")

_NONE_LEFT = "can't start new thread"  # how Python says it, in a RuntimeError like any other


async def run_in_thread(work: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
    """Runs work in a thread that is not abandoned; without one, here and now.

    A limit on threads or memory may pass. Until then all else waits for the disk, and no candle is lost.
    """
    try:
        return await trio.to_thread.run_sync(work, limiter=limiter)
    except RuntimeError as error:
        if _NONE_LEFT not in str(error):
            raise
    log.warning("no thread can be started, all else waits for the disk")
    return work()
