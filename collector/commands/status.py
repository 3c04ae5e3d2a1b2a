"""The command `status`: the running collector's report, once or every second.

With `--json` stdout is always JSON: the report, or an object with the error.
"""

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import wraps
from typing import Annotated, Any

import typer
from rich.live import Live

from collector.commands.console import can_draw, sanitized, stdout_console
from collector.commands.options import PLACE, Options, with_options
from collector.commands.status_client import fetch_status
from collector.commands.status_table import status_table
from collector.errors import CollectorError, NoStatus, NotRunning
from collector.machine.clock import THIS_CLOCK
from collector.machine.disk import THIS_DISK

_EVERY_S = 1.0
_RUNNING = {NotRunning: False, NoStatus: True}  # other errors leave it open


def _errors_as_json(command: Callable[..., None]) -> Callable[..., None]:
    """Print the error that ends a command as JSON too, with `--json`."""

    @wraps(command)
    def wrapped(*, as_json: bool, **given: Any) -> None:
        try:
            command(as_json=as_json, **given)
        except CollectorError as error:
            if as_json:
                _write(json.dumps({"running": _RUNNING.get(type(error)), "error": str(error)}) + "\n")
            raise

    return wrapped


@_errors_as_json
@with_options(*PLACE)
def status(
    options: Options,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="For the machine: JSON whatever happens, /status where a collector runs.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second, until Ctrl-C.")] = False,
) -> None:
    """Show what the running collector is doing, and whether it is well.

    Exit status 3: none is running.

    Examples:
      # how is it?
      collector status
      # watch it, until Ctrl-C
      collector status --watch
      # for a script
      collector status --json --data-dir /srv/candles
    """
    if as_json:
        _print_json(options, watch)
    elif watch:
        _watch(options)
    else:
        stdout_console().print(status_table(fetch_status(THIS_DISK, options.settings.data_dir)[0]))


def _print_json(options: Options, watch: bool) -> None:
    with suppress(KeyboardInterrupt):
        while True:
            _write(fetch_status(THIS_DISK, options.settings.data_dir)[1].decode())
            if not watch:
                return
            THIS_CLOCK.pause(_EVERY_S)


def _write(text: str) -> None:
    sys.stdout.write("\n".join(map(sanitized, text.split("\n"))))
    sys.stdout.flush()


def _watch(options: Options) -> None:
    """Redraw the table on a terminal; print one after another into a pipe."""
    console, table = stdout_console(), status_table(fetch_status(THIS_DISK, options.settings.data_dir)[0])
    redraws = can_draw(console)
    place = Live(table, console=console, auto_refresh=False) if redraws else nullcontext()
    with suppress(KeyboardInterrupt), place as live:
        while True:
            if live:
                live.update(table, refresh=True)
            else:
                console.print(table, "")
            THIS_CLOCK.pause(_EVERY_S)
            table = status_table(fetch_status(THIS_DISK, options.settings.data_dir)[0])
