"""The logs of a command: opened, distributed, throttled and closed in one place."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console

from collector.core.redaction import secrets_in
from collector.logs.background import Background
from collector.logs.file import LogFile
from collector.logs.formatting import json_formatter, line_formatter, message_formatter
from collector.logs.handlers import ConsoleHandler, JournalHandler
from collector.logs.logger import TREE
from collector.logs.throttling import ThrottlingHandler
from collector.machine.clock import THIS_CLOCK, LocalClock


@contextmanager
def open_logs(
    file: LogFile | None,
    output: ConsoleHandler | JournalHandler | None = None,
    *,
    level: str = "info",
    secrets: Iterable[str] | None = None,
    clock: LocalClock = THIS_CLOCK,
) -> Iterator[None]:
    """Show events on an output and keep them in a file until the context is left.

    Args:
        file: only the owner of the data directory may name one: two processes would rotate it under each other.
        output: a console on stderr by default.
        level: events below it are dropped.
        secrets: masked wherever they appear, as are passwords in URLs; by default those of the environment.
        clock: times the intervals of repeated events.

    Raises:
        SettingsError: the file's directory cannot be one.
        StorageError: the file cannot be written, and is required.
    """
    hidden = secrets_in(os.environ) if secrets is None else tuple(secret for secret in secrets if secret.strip())
    output = output or ConsoleHandler(Console(stderr=True))
    output.setFormatter(message_formatter(hidden) if isinstance(output, JournalHandler) else line_formatter(hidden))
    outputs: list[logging.Handler] = [output]
    if file is not None:
        file.open_first()
        file.setFormatter(json_formatter(hidden))
        outputs.append(file)
    throttling, level_before = ThrottlingHandler([*map(Background, outputs)], clock), TREE.level
    set_level(level)
    TREE.addHandler(throttling)
    try:
        yield
    finally:
        TREE.removeHandler(throttling)
        throttling.close()
        TREE.setLevel(level_before)


def flush_suppressed() -> None:
    """Log the counts of repeated events whose interval is over; call it regularly."""
    for handler in TREE.handlers:
        if isinstance(handler, ThrottlingHandler):
            handler.flush_due()


def set_level(level: str) -> None:
    """Drop events below this level from now on."""
    TREE.setLevel(level.upper())
