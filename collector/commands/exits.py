"""How a command ends: its last words on stderr, and its exit status.

0 done · 1 the check found something, or something wanted could not be fetched · 2 usage or settings
3 the exchange cannot be reached or refuses us, or none is running · 4 another collector owns the data directory
130 interrupted
"""

import os
import sys
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EPIPE
from typing import NoReturn

from collector.commands.console import complain, say
from collector.commands.options import (
    Options,
)
from collector.commands.summary import left_lines, summary_lines
from collector.core.errors import CollectorError
from collector.pipeline.outcome import Outcome

INTERRUPTED = 130  # what a shell gives for SIGINT, and typer for a command that Ctrl-C ends
STDOUT_ERRORS = (EPIPE, ENOSPC, EDQUOT, EFBIG, EIO)  # of stdout alone: errors of our files are mapped


def print_outcome(options: Options, outcome: Outcome) -> None:
    for line in left_lines(outcome) if options.quiet else summary_lines(outcome):
        say(line)


def exit_unless_complete(outcome: Outcome) -> None:
    if not outcome.complete:
        sys.exit(INTERRUPTED if outcome.stopped else 1)


def fail(error: CollectorError, problems: list[str]) -> None:
    complain(problems)
    sys.exit(error.exit_status)


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
    say("stopped")
    sys.exit(INTERRUPTED)
