"""Blocking work: several at once, and what happens where no thread can be had or one of them fails."""

from threading import Barrier, Thread

import pytest

from collector.machine.threads import Threads


def test_work_is_done_on_several_items_at_once() -> None:
    together = Barrier(4, timeout=5)  # it breaks unless four wait at it together

    def meet(_: int) -> None:
        together.wait()

    Threads().run_on_each(meet, range(8), 4)


def test_every_item_is_worked_on_once() -> None:
    done: list[int] = []
    Threads().run_on_each(done.append, range(100), 8)
    assert sorted(done) == list(range(100))


def test_the_first_error_is_raised_and_nothing_is_begun_after_it() -> None:
    begun: list[int] = []

    def fail(item: int) -> None:
        begun.append(item)
        raise OSError(f"item {item}")

    with pytest.raises(OSError, match="item 0"):
        Threads().run_on_each(fail, range(100), 1)
    assert begun == [0]


def test_without_a_thread_to_start_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    done: list[int] = []
    Threads().run_on_each(done.append, range(10), 4)
    assert done == list(range(10))
