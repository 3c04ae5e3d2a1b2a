"""Runs a command's work with logs, progress and signals."""

import os
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import trio
from rich.console import Console

from collector.commands.console import can_draw
from collector.commands.options import (
    Options,
)
from collector.commands.progress import Display, log_progress
from collector.commands.refused_start import leaving_nothing
from collector.commands.signals import until_signal
from collector.commands.standard_streams import ignoring_write_errors, is_journal
from collector.logs import ConsoleHandler, JournalHandler, LogFile, get_logger, open_logs
from collector.logs.formatting import words
from collector.machine.disk import THIS_DISK
from collector.monitoring.status import collector_version

log = get_logger(__name__)
T = TypeVar("T")


def run_logged(
    options: Options, work: Callable[..., Coroutine[Any, Any, T]], on_hangup: Callable[[], None] | None = None
) -> T:
    """Run work until it ends or a signal stops it, with progress on a terminal.

    Args:
        on_hangup: handles SIGHUP; only a service has it, and a service waits for its disk.
    """
    console = Console(file=ignoring_write_errors(sys.stderr))
    is_service = on_hangup is not None
    file = LogFile(options.settings.logs_dir, required=not is_service)
    quiet = options.quiet
    output = JournalHandler(quiet=quiet) if is_journal(os.environ) else ConsoleHandler(console, quiet=quiet)
    made = leaving_nothing(THIS_DISK, options.settings.data_dir, options.settings.logs_dir)
    with made, open_logs(file, output, level=options.settings.log_level):
        where = _locations(options)
        sentence = " ".join([f"collector {collector_version()} started", *words(where)])
        log.info("started", version=collector_version(), **where, sentence=sentence)
        for warning in options.warnings:
            log.warning("unknown variable", what=warning)
        if options.cut_days:
            log.warning("more days than limit_to_50_entries keeps", days=options.cut_days, remedy="--no-limit")
        display = Display(console).draw if can_draw(console) and not options.quiet else log_progress
        return trio.run(partial(until_signal, partial(work, display=display), on_hangup))


def _locations(options: Options) -> dict[str, str]:
    """Return where the command reads and writes; a settings.ini of the working directory decides it silently."""
    settings = options.settings
    file = str(options.file.absolute()) if options.file else "none"
    return {
        "settings": file,
        "data_dir": str(settings.data_dir.absolute()),
        "logs_dir": str(settings.logs_dir.absolute()),
    }
