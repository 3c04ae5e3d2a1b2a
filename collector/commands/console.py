"""Output for a person: sentences on stderr, tables on stdout, without control characters.

What goes to stdout goes out at once, so that both are in order where they end in one place.
"""

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from select import select
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from collector.commands.adaptive_table import AdaptiveTable
from collector.commands.standard_streams import is_journal
from collector.core.redaction import hidden, masked, printable, secrets_in
from collector.core.text import wrapped

_NO_LIMIT = 10_000  # columns
AsJson = Annotated[bool, typer.Option("--json", help="For the machine.")]


def can_draw(console: Console) -> bool:
    """Whether a console is a terminal that can redraw."""
    return console.is_terminal and not console.is_dumb_terminal


@contextmanager
def drawing(live: Live) -> Iterator[Live]:
    """Draw while entered; a Ctrl-C waits while that begins and ends, so that nothing goes on drawing behind it."""
    interrupt = {signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupt)
    try:
        with live:
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                yield live
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, interrupt)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def say(text: str, priority: int = 6, *, whole: bool = False) -> None:
    """Print a sanitized sentence on stderr, broken at words on a terminal.

    Args:
        priority: syslog's, for the journal: 3 is an error, 4 a warning, 6 information.
        whole: whether it stays one line, such as a command, which is copied and typed.
    """
    before, sentence = f"<{priority}>" if is_journal(os.environ) else "", sanitized(text)
    with suppress(OSError, ValueError):  # stderr is closed
        lines = wrapped(sentence, Console(stderr=True).width) if sys.stderr.isatty() and not whole else [sentence]
        print(*(f"{before}{line}" for line in lines), sep="\n", file=sys.stderr)  # noqa: T201


def complain(sentences: Iterable[str]) -> None:
    """Print why a command ends; the program's name stands before the first sentence alone."""
    name = "" if is_journal(os.environ) else "collector: "
    for sentence in sentences:
        say(f"{name}{sentence}", priority=3)
        name = ""


def ask(question: str) -> bool:
    """Ask on stderr; whether the answer on stdin is yes."""
    say(f"{question} [y/N]")
    with suppress(OSError, ValueError):  # stdin is no descriptor
        select([sys.stdin], (), ())  # Ctrl-C ends it; polars' handler of SIGINT has the system go on with a read
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def sanitized(text: str) -> str:
    """Mask secrets and replace control characters."""
    return printable(masked(text, secrets_in(os.environ)))


def print_line(text: str) -> None:
    """Print a sanitized line on stdout."""
    print(sanitized(text), flush=True)  # noqa: T201


def print_verbatim(text: str) -> None:
    """Print our own text on stdout exactly as it is."""
    print(text, end="", flush=True)  # noqa: T201


def print_json(record: object) -> None:
    """Print JSON on stdout, in ASCII and with secrets masked."""
    print(json.dumps(hidden(record, secrets_in(os.environ)), indent=1), flush=True)  # noqa: T201


def show(titles: Sequence[str], rows: Iterable[Sequence[str]], *, prose: bool = False) -> None:
    """Print a table on stdout; if the last column is `prose`, it may be wrapped."""
    print_table(AdaptiveTable(titles, [[*map(sanitized, row)] for row in rows], prose))


def print_table(*tables: RenderableType) -> None:
    """Print tables on stdout; in a pipe, without the blanks behind a short line."""
    console = stdout_console()
    if console.is_terminal:
        console.print(*tables)
        sys.stdout.flush()
        return
    with console.capture() as captured:
        console.print(*tables)
    print("\n".join(line.rstrip(" ") for line in captured.get().split("\n")), end="", flush=True)  # noqa: T201


def stdout_console() -> Console:
    """A console as wide as the terminal; in a pipe each row is one line."""
    return Console() if sys.stdout.isatty() else Console(width=_NO_LIMIT)
