"""How a command ends: its last words on stderr, and its exit status.

0 done · 1 the check found something, or something wanted could not be fetched · 2 usage or settings
3 the exchange cannot be reached or refuses us, or none is running · 4 another collector owns the data directory
130 interrupted
"""

import os
import sys
from collections.abc import Callable
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EPIPE
from typing import Any, NoReturn, cast

import typer
from typer.rich_utils import rich_format_error

from collector.commands.console import complain, print_json, say
from collector.commands.options import (
    Options,
)
from collector.commands.summary import left_lines, summary_lines
from collector.core.errors import CollectorError, SettingsError, cause_of
from collector.machine.terminal import erase_echo
from collector.pipeline.outcome import Outcome

Record = Callable[[Exception], dict[str, Any]]
INTERRUPTED = 130  # what a shell gives for SIGINT, and typer for a command that Ctrl-C ends
_OF_VALIDATION = "Value error, "  # what typer's validation puts before a sentence
STDOUT_ERRORS = (EPIPE, ENOSPC, EDQUOT, EFBIG, EIO)  # of stdout alone: errors of our files are mapped


def print_outcome(options: Options, outcome: Outcome) -> None:
    for line in left_lines(outcome) if options.quiet else summary_lines(outcome):
        say(line)


def exit_unless_complete(outcome: Outcome) -> None:
    if not outcome.complete:
        sys.exit(INTERRUPTED if outcome.stopped else 1)


def end(error: BaseException, record: Record | None = None) -> NoReturn:
    """End the process as an error demands; what is no error of ours is raised again.

    Args:
        record: makes an object of an error, which is printed on stdout as JSON.
    """
    if isinstance(error, BaseExceptionGroup):  # nurseries raise groups
        error = cause_of(error, KeyboardInterrupt) or _interrupt(error) or error
    if isinstance(error, KeyboardInterrupt):
        stopped()
    if not isinstance(error, CollectorError | typer.TyperException):
        raise error
    if isinstance(error, typer.TyperException):
        error.message = error.message.removeprefix(_OF_VALIDATION)
    if record:
        print_json(record(error))
        flush_stdout()
    if isinstance(error, CollectorError):
        complain(error.problems if isinstance(error, SettingsError) else [str(error)])
        sys.exit(error.exit_status)
    rich_format_error(cast(Any, error))
    sys.exit(error.exit_code)


def error_record(error: Exception) -> dict[str, Any]:
    """An error as an object, for stdout with --json."""
    return {"error": error.format_message() if isinstance(error, typer.TyperException) else str(error)}


def _interrupt(group: BaseExceptionGroup[BaseException]) -> KeyboardInterrupt | None:
    """The interrupt that a group is made of, if it has nothing else in it."""
    return KeyboardInterrupt() if group.split(KeyboardInterrupt)[1] is None else None


def flush_stdout() -> None:
    """Flush stdout while a failure can still be reported."""
    try:
        sys.stdout.flush()
    except OSError as error:
        stdout_not_written(error)


def stdout_not_written(error: OSError) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # keeps the interpreter from flushing again at exit
    if error.errno != EPIPE:
        complain([f"stdout cannot be written: {error.strerror}"])
    sys.exit(1)


def stopped() -> NoReturn:
    erase_echo()
    say("stopped")
    sys.exit(INTERRUPTED)
