"""Processes: a fork for each piece of work, and pytest within it."""

import gc
import importlib
import multiprocessing
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
from hypothesis import Phase, settings

T = TypeVar("T")

# Imported once and for all: nothing of the project, which each fork imports with its own fault in it.
_ELSEWHERE = (
    "attrs h11 httpx msgspec polars prometheus_client psutil pytest_trio rich structlog trio trio_websocket typer"
)
_MEMORY = 4 * 1024**3  # that a mutant may use more than it has at its beginning

_RAISED = 78
_IDLE_S = 15.0  # that a fork may be altogether: tests have clocks of their own
_LOOK_S = 0.5
IDLE, BUSY = signal.SIGALRM, signal.SIGPROF  # what ends a process that takes too long
LIMITS = IDLE, BUSY


def import_what_others_wrote() -> None:
    for name in _ELSEWHERE.split():
        importlib.import_module(name)


def run_tests(root: Path, tests: Iterable[str], plugin: object, *options: str) -> int:
    """Runs pytest here, without a word, with the tests in the given order; its exit status."""
    os.chdir(root)
    sys.path[:0] = [str(root)]
    args = ["-n", "0", "-p", "no:cacheprovider", "--assert=plain", "--tb=no", *options, *tests]
    return int(pytest.main(args, plugins=[plugin]))


def quick(session: pytest.Session) -> None:
    """Has property tests end with the first example that fails, however large that is."""
    for item in session.items:
        test: Any = getattr(item, "obj", None)
        if hasattr(test, "hypothesis"):
            own = getattr(test, "_hypothesis_internal_use_settings", None) or settings.default
            test._hypothesis_internal_use_settings = settings(own, phases=[Phase.explicit, Phase.generate])


def in_fork(work: Callable[[], int], idle_s: float = _IDLE_S) -> int:
    """Does work in a fork, in silence; what it returns, or the signal that ended it, as a negative number.

    It is ended once it has been idle for so long. To wait for a processor that others use is not to be idle: how long a
    fork takes on a busy machine says nothing of it.

    Raises:
        RuntimeError: the work raised something; that is printed.
    """
    child = os.fork()
    if child:
        _end_if_idle(child, idle_s)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == _RAISED:
            raise RuntimeError("the work in a fork did not end well")
        return status
    status, stderr = _RAISED, os.dup(2)
    try:
        gc.freeze()  # or pytest, which collects garbage at its end, looks for it in all that the parent has
        _be_silent(0, 1, 2)
        for limit in LIMITS:
            signal.signal(limit, signal.SIG_DFL)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
        status = work()
    except Exception:
        os.write(stderr, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _end_if_idle(child: int, idle_s: float) -> None:
    """Returns when a process has ended, at the latest after it has been idle for so long."""
    ended = select.poll()
    process = os.pidfd_open(child)
    ended.register(process, select.POLLIN)
    looked_s, seen, left_s = time.monotonic(), _seen(child), idle_s
    while not ended.poll(min(_LOOK_S, idle_s / 4) * 1000):
        before_s, before = looked_s, seen
        looked_s, seen = time.monotonic(), _seen(child)
        if seen == before and "R" not in seen.states:
            left_s -= looked_s - before_s
        if left_s < 0:
            os.kill(child, IDLE)
            break
    os.close(process)


@attrs.frozen
class _Seen:
    """The threads of a process at one moment: their states, and for how long they have worked and waited to work.

    A thread that waits for a processor is runnable, R, and what it has waited is counted once it has one.
    """

    states: tuple[str, ...]
    times: tuple[str, ...]


def _seen(child: int) -> _Seen:
    states, times = [], []
    for thread in sorted(Path(f"/proc/{child}/task").glob("*")):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            states.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
            times.append((thread / "schedstat").read_text())
    return _Seen(tuple(states), tuple(times))


def limit_s(busy_s: float) -> None:
    """Ends this process once it has worked for so long, unless this is called again in time."""
    signal.setitimer(signal.ITIMER_PROF, busy_s)


def result_of(work: Callable[[], T]) -> T:
    """What work in a fork returns."""
    (result,) = results_of([work])
    return result


def results_of(works: Iterable[Callable[[], T]]) -> list[T]:
    """What several pieces of work return that are done at the same time, each in a fork.

    Raises:
        RuntimeError: a fork has ended without a result.
    """
    context = multiprocessing.get_context("fork")
    running = []
    for work in works:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_send, args=(work, theirs))
        process.start()
        theirs.close()
        running.append((process, ours))
    results: list[T] = []
    for process, pipe in running:
        try:
            results.append(pipe.recv())
        except EOFError:
            process.join()
            raise RuntimeError(f"a fork ended without a result, with status {process.exitcode}") from None
        process.join()
    return results


def _send(work: Callable[[], T], pipe: Connection) -> None:
    try:
        _be_silent(0, 1)
        pipe.send(work())
    except BaseException:
        traceback.print_exc()
        raise


def _be_silent(*streams: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        os.dup2(nothing, stream)
    os.close(nothing)
