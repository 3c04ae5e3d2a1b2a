"""How commands speak to a person: sentences on stderr, tables on stdout, and nothing that could steer a terminal."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console

from collector.commands.adaptive_table import AdaptiveTable
from collector.commands.standard_streams import is_journal
from collector.core.redaction import hidden, masked, printable, secrets_in

_NO_LIMIT = 10_000  # columns
AsJson = Annotated[bool, typer.Option("--json", help="For the machine.")]


def can_draw(console: Console) -> bool:
    """Whether it is a terminal on which something can be drawn again; others are told in lines."""
    return console.is_terminal and not console.is_dumb_terminal


def say(text: str, priority: int = 6) -> None:
    """To the person; what the exchange said may be quoted in it, and must not steer the terminal.

    `priority` is syslog's, for the journal: 3 is an error, 6 says how it goes.
    """
    before = f"<{priority}>" if is_journal(os.environ) else ""
    with suppress(OSError):  # nobody reads it
        print(f"{before}collector: {sanitized(text)}", file=sys.stderr)  # noqa: T201


def sanitized(text: str) -> str:
    """The text as a person may see it."""
    return printable(masked(text, secrets_in(os.environ)))


def print_line(text: str) -> None:
    """A line on stdout, whatever is quoted in it."""
    print(sanitized(text))  # noqa: T201


def print_json(record: object) -> None:
    """JSON on stdout, which escapes what is not ASCII."""
    print(json.dumps(hidden(record, secrets_in(os.environ)), indent=1))  # noqa: T201


def show(titles: Sequence[str], rows: Iterable[Sequence[str]], *, prose: bool = False) -> None:
    """Rows on stdout, in a table if that fits; the last column may be `prose`, which can be broken between words."""
    stdout_console().print(AdaptiveTable(titles, [[*map(sanitized, row)] for row in rows], prose))


def stdout_console() -> Console:
    """As wide as a person's terminal; where there is none nothing limits a row, so that each is a line."""
    return Console() if sys.stdout.isatty() else Console(width=_NO_LIMIT)
