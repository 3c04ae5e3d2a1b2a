"""Work on all processors at once, in threads: for what leaves the interpreter's lock, such as reading with polars."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread
from typing import TypeVar

import attrs

T = TypeVar("T")


def processors() -> int:
    """The processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@attrs.frozen
class _End:
    """The end of a part, with the error that ended it."""

    error: BaseException | None = None


@attrs.frozen
class Workers:
    """Threads for parts of one piece of work; `at_once=1` works inline."""

    at_once: int = attrs.field(factory=processors)

    def chained(self, parts: Sequence[Iterable[T]]) -> Generator[T, None, None]:
        """The items of all parts, in order; several parts are worked on at once.

        Closing the iterator ends the work after the items in progress.

        Raises:
            Exception: the first, in the order of the parts, that a part raised.
        """
        if self.at_once == 1 or len(parts) < 2:
            for part in parts:
                yield from part
            return
        made: list[SimpleQueue[T | _End]] = [SimpleQueue() for _ in parts]
        waiting, stopped = iter(list(zip(parts, made, strict=True))), Event()
        threads = _started(min(self.at_once, len(parts)), lambda: _work(waiting, stopped))
        if not threads:
            _work(waiting, stopped)
        try:
            for items in made:
                while not isinstance(item := items.get(), _End):
                    yield item
                if item.error:
                    raise item.error
        finally:
            stopped.set()
            for thread in threads:
                thread.join()


def _started(count: int, work: Callable[[], None]) -> list[Thread]:
    started = []
    with suppress(RuntimeError):  # no more threads can be had
        for _ in range(count):
            thread = Thread(target=work, name="worker")
            thread.start()
            started.append(thread)
    return started


def _work(waiting: Iterator[tuple[Iterable[T], "SimpleQueue[T | _End]"]], stopped: Event) -> None:
    """Makes the items of one part after another."""
    for part, made in waiting:
        try:
            for item in part:
                made.put(item)
                if stopped.is_set():
                    return
        except BaseException as error:  # the caller raises it; a panic of polars is no Exception
            made.put(_End(error))
        else:
            made.put(_End())


INLINE = Workers(at_once=1)
