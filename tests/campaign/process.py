"""The real collector as a process of its own, and the settings it is started with."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import trio

from collector.settings.settings import Settings


def variables(settings: Settings) -> dict[str, str]:
    """The environment in which a collector has these settings and no others."""
    given = {
        f"COLLECTOR_{field.name.upper()}": _text(getattr(settings, field.name)) for field in attrs.fields(Settings)
    }
    return clean_environment() | given


def clean_environment() -> dict[str, str]:
    """The environment without any settings of a collector; what a start compiles is kept for the next one."""
    not_given = ("COLLECTOR_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(not_given)}


def _hear_signals() -> None:
    """In the child: signals mean what they mean at a terminal, also where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def command(*arguments: str, module: str = "collector") -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def opened(
    arguments: Sequence[str], environment: Mapping[str, str], **how: Any
) -> AbstractAsyncContextManager[trio.Process]:
    """A command of ours that runs while this is entered, and is killed if it still does on leaving."""
    return _opened(command(*arguments), environment, **how)


@asynccontextmanager
async def _opened(command: Sequence[str], environment: Mapping[str, str], **how: Any) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        command, env=environment, stdin=subprocess.DEVNULL, preexec_fn=_hear_signals, **how
    )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
            for pipe in filter(None, (process.stdout, process.stderr)):
                await trio.aclose_forcefully(pipe)


@asynccontextmanager
async def open_collector(settings: Settings, *arguments: str, module: str = "collector") -> AsyncIterator[trio.Process]:
    """A collector with these settings.

    What it says goes to a pipe; read it with `heard`, or it may stand still when the pipe is full.
    """
    async with _opened(command(*arguments, module=module), variables(settings), stderr=subprocess.PIPE) as process:
        yield process


async def heard(process: trio.Process, words: str = "") -> str:
    """What the process says until it says these words, or (without words) until it ends."""
    assert process.stderr is not None
    said = ""
    async for part in process.stderr:
        said += part.decode()
        if words and words in said:
            break
    return said


async def cancel_at_end_of(process: trio.Process, scope: trio.CancelScope) -> None:
    """Hears the process to its end: whoever waits for its moment to be killed need not wait any longer."""
    await heard(process)
    scope.cancel()


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
