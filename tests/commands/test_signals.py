"""Signals to a command at work: when a hangup means new settings, when the end, and when nothing."""

import os
import signal
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from collector.commands import signals
from collector.commands.signals import until_signal
from collector.core.counters import Counters
from collector.pipeline.outcome import Outcome

DONE = Outcome(Counters(), 0, 0, missing=(), absent=(), unknown=(), looked=True, stopped=True)


@pytest.fixture(autouse=True)
def _no_nohup() -> Iterator[None]:
    """A hangup is heard, also where the tests themselves were started under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def _nohup() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


def has_terminal(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(signals, "has_terminal", lambda: has)


async def test_a_hangup_without_a_terminal_asks_for_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    has_terminal(monkeypatch, False)
    asked = trio.Event()

    async def work(*, stop: trio.Event) -> Outcome:
        os.kill(os.getpid(), signal.SIGHUP)
        with trio.fail_after(20):
            await asked.wait()
        assert not stop.is_set()
        return DONE

    assert await until_signal(work, asked.set) is DONE


async def hang_up(*, stop: trio.Event) -> Outcome:
    os.kill(os.getpid(), signal.SIGHUP)
    with trio.fail_after(20):
        await stop.wait()
    return DONE


async def test_a_hangup_of_the_terminal_lets_the_work_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    has_terminal(monkeypatch, True)
    asked = trio.Event()
    assert await until_signal(hang_up, asked.set) is DONE
    assert not asked.is_set()


async def test_a_hangup_ends_work_that_cannot_be_told_anything_new(monkeypatch: pytest.MonkeyPatch) -> None:
    has_terminal(monkeypatch, False)
    assert await until_signal(hang_up) is DONE


@pytest.mark.parametrize("second", [signal.SIGHUP, signal.SIGTERM])
async def test_only_a_second_demand_to_stop_ends_the_work_at_once_and_a_hangup_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, second: signal.Signals
) -> None:
    """A session that ends sends both, and which of them comes first is not certain."""
    caplog.set_level("INFO", "collector")
    has_terminal(monkeypatch, True)
    drained = False

    async def work(*, stop: trio.Event) -> Outcome:
        nonlocal drained
        os.kill(os.getpid(), signal.SIGHUP)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked(0.01)
        os.kill(os.getpid(), second)
        await trio.testing.wait_all_tasks_blocked(0.01)
        drained = True
        return DONE

    if second == signal.SIGHUP:
        assert await until_signal(work) is DONE
    else:
        with pytest.raises(KeyboardInterrupt):
            await until_signal(work)
    assert drained == (second == signal.SIGHUP)
    first_words = [record.getMessage().partition(",")[0] for record in caplog.records]
    assert first_words == ["stopping", "stopping", "stopping" if drained else "stopping at once"]


@pytest.mark.usefixtures("_nohup")
async def test_a_hangup_that_is_ignored_from_the_start_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    has_terminal(monkeypatch, True)

    async def work(*, stop: trio.Event) -> Outcome:
        os.kill(os.getpid(), signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not stop.is_set()
        return DONE

    assert await until_signal(work) is DONE
