"""Work on all processors at once, in threads: for what leaves the interpreter's lock, such as reading with polars."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")
Item = TypeVar("Item")


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

    def each(self, work: Callable[[Item], T], items: Iterable[Item]) -> Generator[T, None, None]:
        """What work makes of each item, in order; several are worked on at once, and one more is taken before its turn.

        A single item is worked on inline. Closing the iterator ends the work after the items in progress.

        Raises:
            Exception: the first, in the order of the items, that the work raised; or one of the items'.
        """
        todo: SimpleQueue[_Task[T] | None] = SimpleQueue()
        under_way, threads = deque[_Task[T]](), list[Thread]()
        try:
            for item in items:
                under_way.append(_Task(partial(work, item)))
                del item  # it may be large
                todo.put(under_way[-1])
                if len(under_way) == 2 and not threads and self.at_once > 1:
                    threads = _started(self.at_once, partial(_serve, todo))
                if len(under_way) > self.at_once:
                    yield under_way.popleft().result(inline=not threads)
            while under_way:
                yield under_way.popleft().result(inline=not threads)
        finally:
            for _ in threads:
                todo.put(None)
            for thread in threads:
                thread.join()


@attrs.define(eq=False)
class _Task(Generic[T]):
    """Work on one item, and what it made or raised."""

    _work: Callable[[], T] | None
    _made: SimpleQueue[tuple[T] | BaseException] = attrs.field(factory=SimpleQueue)

    def run(self) -> None:
        assert self._work
        try:
            made: tuple[T] | BaseException = (self._work(),)
        except BaseException as error:  # the caller raises it; a panic of polars is no Exception
            made = error
        self._work = None  # nor is the item needed any more
        self._made.put(made)

    def result(self, *, inline: bool) -> T:
        if inline:
            self.run()
        made = self._made.get()
        if isinstance(made, BaseException):
            raise made
        return made[0]


def _serve(todo: "SimpleQueue[_Task[T] | None]") -> None:
    while task := todo.get():
        task.run()


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
# For what polars divides among all processors by itself: it leaves them idle at both ends of that.
PAIR = Workers(min(2, processors()))
