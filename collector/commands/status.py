"""The command `status`: what the collector on the data directory is doing, once or every second, as a table or JSON."""

import sys
from contextlib import nullcontext, suppress
from time import sleep
from typing import Annotated

import typer
from rich.live import Live

from collector.commands.inquiry import ask
from collector.commands.options import Options, with_options
from collector.commands.status_table import status_table
from collector.commands.terminal import can_draw, stdout_console

_EVERY_S = 1.0


@with_options
def status(
    options: Options,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For the machine: /status as it is.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second, until Ctrl-C.")] = False,
) -> None:
    """Show what the running collector is doing, and whether it is well. Exit status 3: none is running."""
    if as_json:
        _print_json(options, watch)
    elif watch:
        _watch(options)
    else:
        stdout_console().print(status_table(ask(options.settings.data_dir)[0]))


def _print_json(options: Options, watch: bool) -> None:
    with suppress(KeyboardInterrupt):
        while True:
            sys.stdout.write(ask(options.settings.data_dir)[1].decode())
            sys.stdout.flush()
            if not watch:
                return
            sleep(_EVERY_S)


def _watch(options: Options) -> None:
    """In its place on a terminal that can do that; one after the other where somebody reads from a pipe."""
    console, table = stdout_console(), status_table(ask(options.settings.data_dir)[0])
    redraws = can_draw(console)
    place = Live(table, console=console, auto_refresh=False) if redraws else nullcontext()
    with suppress(KeyboardInterrupt), place as live:
        while True:
            if live:
                live.update(table, refresh=True)
            else:
                console.print(table, "")
            sleep(_EVERY_S)
            table = status_table(ask(options.settings.data_dir)[0])
