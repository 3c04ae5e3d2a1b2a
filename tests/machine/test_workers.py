"""Work on several processors: its order, its errors, and its end."""

from collections.abc import Iterator
from itertools import count
from threading import Barrier, Thread, current_thread, main_thread
from threading import enumerate as enumerate_threads

import pytest
from polars.exceptions import PanicException

from collector.machine.workers import Workers


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_items_come_in_the_order_of_the_parts(at_once: int) -> None:
    parts = [[1, 2], [], [3], [4, 5, 6]]
    assert list(Workers(at_once).chained(parts)) == [1, 2, 3, 4, 5, 6]


def test_parts_are_worked_on_at_once() -> None:
    both = Barrier(2, timeout=10)

    def part() -> Iterator[bool]:
        both.wait()  # broken unless the other part is being worked on too
        yield current_thread() is main_thread()

    assert list(Workers(2).chained([part(), part()])) == [False, False]


@pytest.mark.parametrize("at_once", [1, 2])
def test_first_error_comes_behind_what_was_made_before_it(at_once: int) -> None:
    def fails(what: str) -> Iterator[int]:
        yield 2
        raise ValueError(what)

    items = Workers(at_once).chained([[1], fails("first"), fails("second")])
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="first"):
        next(items)


@pytest.mark.parametrize("at_once", [1, 2])
def test_panic_of_a_library_is_raised_like_an_error(at_once: int) -> None:
    def panics() -> Iterator[int]:
        yield 1
        raise PanicException("called `unwrap` on nothing")

    with pytest.raises(PanicException, match="unwrap"):
        list(Workers(at_once).chained([panics(), [2]]))


def test_closing_ends_the_work() -> None:
    items = Workers(2).chained([count(), count()])
    assert next(items) == 0
    items.close()
    assert not any(thread.name == "worker" for thread in enumerate_threads())


def test_work_is_done_inline_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", no_more)
    assert list(Workers(4).chained([[1], [2, 3]])) == [1, 2, 3]
