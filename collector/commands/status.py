"""The command `status`: the running collector's report, once or every second.

With `--json` stdout is always JSON: the report, or an object with the error.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any

import trio
import typer
from rich.live import Live

from collector.commands.console import can_draw, drawing, print_line, print_table, sanitized, stdout_console
from collector.commands.exits import error_record
from collector.commands.options import PLACE, Options, with_options
from collector.commands.status_client import fetch_status
from collector.commands.status_table import status_table
from collector.core.errors import NoStatus, NotRunning, SettingsError
from collector.machine import THIS_MACHINE
from collector.machine.clock import THIS_CLOCK
from collector.machine.disk import THIS_DISK
from collector.machine.terminal import erase_echo
from collector.monitoring.alerts import NotSent, named, post_alert, trial
from collector.settings.addresses import host_of
from collector.settings.settings import Settings

_EVERY_S = 1.0
_RUNNING: dict[type, bool] = {NotRunning: False, NoStatus: True}  # other errors leave it open


def status_error_record(error: Exception) -> dict[str, Any]:
    """An error as an object: whether a collector is running, if that is known, and why there is no report."""
    return {"running": _RUNNING.get(type(error)), **error_record(error)}


@with_options(*PLACE)
def status(
    options: Options,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="For the machine: JSON whatever happens, /status where a collector runs.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second, until Ctrl-C.")] = False,
    try_alert: Annotated[
        bool,
        typer.Option("--try-alert", help="Instead post a trial message to alert_webhook, and say what comes of it."),
    ] = False,
) -> None:
    """Show what the running collector is doing, and whether it is well.

    Exit status 3: none is running. With --try-alert, which needs none, 1: the message was not accepted.

    Examples:
      # how is it?
      collector status
      # do alerts arrive?
      collector status --try-alert
      # for a script
      collector status --json --data-dir /srv/candles
    """
    if try_alert:
        _try_alert(options.settings, as_json)
    elif as_json:
        _print_json(options, watch)
    elif watch:
        _watch(options)
    else:
        print_table(status_table(fetch_status(THIS_DISK, options.settings.data_dir)[0]))


def _try_alert(settings: Settings, as_json: bool) -> None:
    if not settings.alert_webhook:
        raise SettingsError(
            ["[alerts] alert_webhook: it is empty; set it in settings.ini or as COLLECTOR_ALERT_WEBHOOK"]
        )
    host, batch = host_of(settings.alert_webhook), trial(THIS_CLOCK.now_ms())
    try:
        trio.run(post_alert, settings.alert_webhook, batch, THIS_MACHINE.network, named(settings))
    except NotSent as error:
        raise NotSent(f"{host} did not accept the trial message: {error}") from error
    if as_json:
        _write(json.dumps({"alert_sent_to": host}) + "\n")
    else:
        print_line(f"{host} accepted the trial message")


def _print_json(options: Options, watch: bool) -> None:
    with _until_interrupted():
        while True:
            _write(fetch_status(THIS_DISK, options.settings.data_dir)[1].decode())
            if not watch:
                return
            THIS_CLOCK.pause(_EVERY_S)


def _write(text: str) -> None:
    sys.stdout.write("\n".join(map(sanitized, text.split("\n"))))
    sys.stdout.flush()


@contextmanager
def _until_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        erase_echo()


def _watch(options: Options) -> None:
    """Redraw the table on a terminal; print one after another into a pipe."""
    console, table = stdout_console(), status_table(fetch_status(THIS_DISK, options.settings.data_dir)[0])
    redraws = can_draw(console)
    place = drawing(Live(table, console=console, auto_refresh=False)) if redraws else nullcontext()
    with _until_interrupted(), place as live:
        while True:
            if live:
                live.update(table, refresh=True)
            else:
                print_table(table, "")
            THIS_CLOCK.pause(_EVERY_S)
            table = status_table(fetch_status(THIS_DISK, options.settings.data_dir)[0])
