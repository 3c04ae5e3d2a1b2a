"""The plan of `fetch --dry-run`, printed."""

import sys
from functools import partial

import trio
from rich.console import Console

from collector.commands.console import print_json, print_line, say
from collector.commands.options import Options
from collector.logs import ConsoleHandler, open_logs
from collector.machine import THIS_MACHINE
from collector.pipeline.fetch_planning import plan_fetch


def show_plan(options: Options, *, as_json: bool, allow_shard: bool) -> None:
    """Print what a fetch would do; exit status 1 if it could not do all of it."""
    options.say_warnings()
    with open_logs(None, ConsoleHandler(Console(stderr=True), quiet=True), level=options.settings.log_level):
        planning = partial(plan_fetch, options.settings, options.dates, THIS_MACHINE, allow_shard=allow_shard)
        plan = trio.run(planning)
    if as_json:
        print_json(plan.record())
    else:
        for title, text in plan.lines():
            print_line(f"{title:<9} {text}")
    if not plan.fits:
        say(plan.refusal, priority=3)
    for why in plan.skipped:
        say(why, priority=3)
    if plan.unknown or plan.skipped or not plan.fits:
        sys.exit(1)
