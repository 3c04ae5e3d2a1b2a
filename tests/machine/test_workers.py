"""Work on several processors: its order, its errors, and its end."""

from collections.abc import Iterator
from itertools import count
from threading import Barrier, Thread, current_thread, main_thread
from threading import enumerate as enumerate_threads

import pytest
from polars.exceptions import PanicException

from collector.machine.workers import Workers


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more threads can be had."""

    def no_more(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", no_more)


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


@pytest.mark.usefixtures("no_threads")
def test_work_is_done_inline_without_threads() -> None:
    assert list(Workers(4).chained([[1], [2, 3]])) == [1, 2, 3]


@pytest.mark.parametrize("at_once", [1, 2, 7])
@pytest.mark.parametrize("many", [0, 1, 2, 3, 20])
def test_what_comes_of_each_item_comes_in_their_order(at_once: int, many: int) -> None:
    assert list(Workers(at_once).each(lambda item: -item, range(many))) == [-item for item in range(many)]


def test_several_items_are_worked_on_at_once_and_few_are_taken_ahead() -> None:
    both, taken = Barrier(2, timeout=10), list[int]()

    def items() -> Iterator[int]:
        for item in range(10):
            taken.append(item)
            yield item

    def work(item: int) -> bool:
        both.wait()  # broken unless another item is being worked on too
        return current_thread() is main_thread()

    made = Workers(2).each(work, items())
    assert next(made) is False
    assert taken == [0, 1, 2]
    assert list(made) == [False] * 9


def test_a_single_item_is_worked_on_inline() -> None:
    assert list(Workers(2).each(lambda _: current_thread() is main_thread(), ["one"])) == [True]


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_first_error_comes_behind_what_came_of_the_items_before_it(at_once: int) -> None:
    def work(item: int) -> float:
        if item == 4:
            raise PanicException("called `unwrap` on nothing")
        return 12 / (item - 3)

    made = Workers(at_once).each(work, range(6))
    assert [next(made), next(made), next(made)] == [-4, -6, -12]
    with pytest.raises(ZeroDivisionError):
        next(made)
    with pytest.raises(PanicException):
        list(Workers(at_once).each(work, range(4, 6)))
    assert not any(thread.name == "worker" for thread in enumerate_threads())


def test_who_stops_asking_ends_the_work_on_items() -> None:
    made = Workers(2).each(lambda item: item, count())
    assert next(made) == 0
    made.close()
    assert not any(thread.name == "worker" for thread in enumerate_threads())


@pytest.mark.usefixtures("no_threads")
def test_each_item_is_worked_on_inline_without_threads() -> None:
    assert list(Workers(2).each(lambda _: current_thread() is main_thread(), range(5))) == [True] * 5
