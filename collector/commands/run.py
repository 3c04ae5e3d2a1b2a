"""The commands `run` and `fetch`: collect until stopped, or until the history is complete."""

import faulthandler
import os
from functools import partial
from typing import Annotated, Any

import attrs
import typer

from collector.commands.dry_run import show_plan
from collector.commands.exits import exit_unless_complete, print_outcome
from collector.commands.logged_run import run_logged
from collector.commands.options import EVERY, HISTORY, OUTPUT, PLACE, SERIES, Options, with_logged_options
from collector.logs import set_level
from collector.machine.open_limit import raise_open_limit
from collector.monitoring.sd_notify import NotifySocket
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import ServeOptions, serve
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings

AllowReplace = Annotated[
    bool, typer.Option("--allow-replace", help="Set aside also a file whose rows cannot be read, and begin it anew.")
]
AllowTrim = Annotated[bool, typer.Option("--allow-trim", help="Let limit_to_50_entries cut longer files.")]

AllowShard = Annotated[
    bool, typer.Option("--allow-shard", help="Make the data directory this shard's, whatever part it has held.")
]


@with_logged_options(*(name for name in EVERY if name != "end"))
def run(
    options: Options,
    *,
    allow_trim: AllowTrim = False,
    allow_replace: AllowReplace = False,
    allow_shard: AllowShard = False,
) -> None:
    """Collect history, then live candles, until stopped with Ctrl-C or SIGTERM.

    Examples:
      # what settings.ini says
      collector run
      # two symbols, every candle of the last month and all that follow
      collector run --symbols BTCUSDT,ETHUSDT --days 30 --no-limit
      # no history, elsewhere
      collector run --mode live --data-dir /srv/candles
    """
    raise_open_limit()
    allowed = ServeOptions(allow_trim=allow_trim, allow_replace=allow_replace, allow_shard=allow_shard)
    outcome = _collect(options, allowed, once=False)
    print_outcome(options, outcome)


@with_logged_options(*PLACE, "logs_dir", "rest_url", *SERIES, *HISTORY, *OUTPUT)
def fetch(
    options: Options,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and fetch nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For the machine; with --dry-run.")] = False,
    allow_trim: AllowTrim = False,
    allow_replace: AllowReplace = False,
    allow_shard: AllowShard = False,
) -> None:
    """Collect history only, then exit.

    Dates begin with --start and end before --end; a date without a time as an end means that whole day. They add to
    what the data directory wants, and change nothing of it.

    Exit status 1: something wanted could not be fetched, or what is wanted does not fit on the disk.

    Examples:
      # a year of two symbols
      collector fetch --symbols BTCUSDT,ETHUSDT --days 365 --no-limit
      # how many requests, how long, how much room?
      collector fetch --symbols BTCUSDT,ETHUSDT --days 365 --no-limit --dry-run
      # a month of every symbol
      collector fetch --start 2024-01-01 --end 2024-01-31 --no-limit
    """
    if dry_run:
        show_plan(options, as_json=as_json, allow_shard=allow_shard)
        return
    if as_json:
        raise typer.BadParameter("it goes with --dry-run", param_hint="--json")
    allowed = ServeOptions(allow_trim=allow_trim, allow_replace=allow_replace, allow_shard=allow_shard)
    outcome = _collect(options, allowed, once=True)
    print_outcome(options, outcome)
    exit_unless_complete(outcome)


def _collect(options: Options, allowed: ServeOptions, *, once: bool) -> Outcome:
    reload_request = None if once else ReloadRequest(partial(_reload, options))
    notify = NotifySocket.of(os.environ)
    if notify.address:
        faulthandler.enable()  # the watchdog ends a hanging process with SIGABRT: print where it hangs

    async def work(**until: Any) -> Outcome:
        how = attrs.evolve(
            allowed,
            status=not once,
            notify=notify,
            reload_request=reload_request,
            dates=options.dates,
            **until,
        )
        return await serve(options.settings, once=once, options=how)

    return run_logged(options, work, reload_request.request if reload_request else None)


def _reload(options: Options) -> Settings:
    settings = options.load()
    set_level(settings.log_level)
    return settings
