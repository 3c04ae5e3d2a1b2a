"""The command `repair`: shows or does what makes every file complete and right."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from collector.commands.check import show_differences
from collector.commands.console import print_line, say
from collector.commands.exits import INTERRUPTED, exit_unless_complete, print_outcome
from collector.commands.logged_run import run_logged
from collector.commands.options import (
    HISTORY,
    OUTPUT,
    PLACE,
    SERIES,
    AgainstExchange,
    Options,
    Seed,
    draw_of,
    with_logged_options,
)
from collector.commands.run import AllowReplace
from collector.core.text import counted
from collector.integrity.recheck import Refetch
from collector.integrity.repair import RepairResult, show_plans
from collector.integrity.repair_plan import Plan
from collector.integrity.samples import Draw
from collector.machine.disk import THIS_DISK
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import ServeOptions
from collector.pipeline.service import repair as mend
from collector.storage.stored import refuse_if_nothing_stored


@with_logged_options(*PLACE, "logs_dir", "rest_url", *SERIES, *HISTORY, *OUTPUT, stored=True)
def repair(
    options: Options,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    against_exchange: AgainstExchange = 0,
    seed: Seed = None,
    allow_replace: AllowReplace = False,
) -> None:
    """Mend every file and fetch what is missing in it.

    What is removed is kept beside the file.

    Examples:
      # what would be done?
      collector repair --dry-run
      # do it
      collector repair
      # the last year of one symbol, whatever was wanted before
      collector repair --symbols BTCUSDT --timeframes 1,60 --days 365 --no-limit
    """
    settings, demand = options.settings, options.demand
    draw = draw_of(against_exchange, seed)
    if dry_run:
        options.say_warnings()
    asked = settings.category, options.are_about, options.selection, options.only_symbols
    refuse_if_nothing_stored(THIS_DISK, settings.data_dir, *asked)
    if dry_run:
        _show(options, draw, allow_replace=allow_replace)
        return

    async def work(**until: Any) -> tuple[list[Plan | Refetch], Outcome]:
        how = ServeOptions(allow_replace=allow_replace, **until)
        return await mend(settings, options.are_about, demand, draw, options=how)

    plans, outcome = run_logged(options, work)
    print_outcome(options, outcome)
    _say_result(outcome, planned=bool(plans) or not outcome.complete)
    if outcome.stopped:  # files are complete, but the rereading was interrupted
        sys.exit(INTERRUPTED)
    exit_unless_complete(outcome)


def _show(options: Options, draw: Draw | None, *, allow_replace: bool) -> None:
    """Print what a repair would do."""
    plans = list(show_plans(options.settings, options.are_about, options.demand))
    for plan in plans:
        print_line(str(plan))
    differing = show_differences(options, draw) if draw else set()
    alone = {plan.series for plan in plans if isinstance(plan, Plan) and plan.skipped and not allow_replace}
    files = len({plan.series for plan in plans} - alone | differing)
    nothing = "no file would be changed" if plans else "nothing to repair"
    say(f"{counted(files, 'file')} would be mended, completed or read again" if files else nothing)


def _say_result(outcome: Outcome, *, planned: bool) -> None:
    for line in _result_lines(outcome.mended, planned=planned) if outcome.looked else ():
        say(line)


def _result_lines(mended: RepairResult, *, planned: bool) -> Iterator[str]:
    if mended.settled:
        yield (
            f"on {counted(mended.settled, 'candle')} the exchange's own timeframes disagree, as both were read again; "
            "that is on record now, and no issue"
        )
    if mended.unmatched:
        yield f"{counted(mended.unmatched, 'stored candle')} came in no answer of the exchange; the log says which"
    if mended.files:
        yield f"{counted(mended.files, 'file')} {'was' if mended.files == 1 else 'were'} mended or completed"
    else:
        yield "no file was changed" if planned else "nothing to repair"
