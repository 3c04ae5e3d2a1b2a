"""Handlers that show lines to a person or hand them to the journal."""

import logging
import sys
from contextlib import suppress

from rich.console import Console
from rich.text import Text

from collector.core.text import wrapped

_PRIORITIES = ((50, 2), (40, 3), (30, 4), (20, 6), (0, 7))  # from a logging level on: syslog's priority
_HEAD = 17  # columns of time and level; what is wrapped goes on below the event
_NARROW = 60  # columns of a terminal too narrow for that
_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red"}


class ConsoleHandler(logging.Handler):
    """Prints through rich, which decides about colour and keeps lines above a progress display.

    On a terminal a line is broken at words; elsewhere it is one line, for grep.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        """Take the console of the progress display, if there is one; quiet shows warnings and errors alone."""
        super().__init__("WARNING" if quiet else "NOTSET")
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text, *trace = self.format(record).split("\n")
        width = self._console.width
        broken = wrapped(text, width, _HEAD if width >= _NARROW else 2) if self._console.is_terminal else [text]
        line = Text("\n".join([*broken, *trace]))
        line.stylize("dim", 0, 8)
        line.stylize(_STYLES.get(record.levelname.lower(), ""), 9, 16)
        self._console.print(line, soft_wrap=True)


class JournalHandler(logging.Handler):
    """Writes lines with their priority: https://man7.org/linux/man-pages/man3/sd-daemon.3.html"""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__("WARNING" if quiet else "NOTSET")

    def emit(self, record: logging.LogRecord) -> None:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        lines = [f"<{priority}>{line}\n" for line in self.format(record).splitlines()]
        with suppress(OSError):  # the journal is being restarted
            sys.stderr.write("".join(lines))
            sys.stderr.flush()
