"""The command `gaps`: every missing span, its state, and why."""

from typing import Annotated

import typer

from collector.commands.console import AsJson, print_json, say, show
from collector.commands.options import HISTORY, PLACE, SERIES, Options, with_options
from collector.core.missing import State
from collector.core.text import span_texts
from collector.integrity.gaps import SeriesGap, find_gaps, gaps_summary
from collector.machine.disk import THIS_DISK
from collector.storage.stored import is_any_stored, nothing_stored

_STATES = f"Only gaps in this state: {', '.join(State)}; may be repeated."


@with_options(*PLACE, *SERIES, *HISTORY, stored=True)
def gaps(
    options: Options,
    *,
    as_json: AsJson = False,
    state: Annotated[list[State] | None, typer.Option(metavar="STATE", help=_STATES)] = None,
) -> None:
    """Show every candle that is wanted and not held, with its state, and why.

    Times are UTC, ends are exclusive.

    Examples:
      # everything that is missing
      collector gaps
      # what may still come of a month
      collector gaps --state pending --start 2024-01-01 --end 2024-01-31
      # what is missing of a year of one symbol, for a script
      collector gaps --symbols BTCUSDT --timeframes 60 --days 365 --no-limit --json
    """
    found = [
        gap
        for gap in find_gaps(options.settings.data_dir, options.settings.category, options.demand)
        if options.are_about(gap.series) and (not state or gap.missing.state in state)
    ]
    if as_json:
        print_json([gap.record() for gap in found])
        return
    rows = list(map(_row, found))
    settings = options.settings
    is_stored = is_any_stored(THIS_DISK, settings.data_dir, settings.category, options.are_about)
    if not is_stored:
        say(nothing_stored(THIS_DISK, settings.data_dir, options.selection, options.only_symbols))
    if rows:
        show(("series", "state", "from", "to", "candles", "tries", "last asked", "why"), rows, prose=True)
    if found or is_stored:
        say(gaps_summary(found) if found or not state else f"nothing is {' or '.join(state)}")


def _row(gap: SeriesGap) -> tuple[str, ...]:
    missing = gap.missing
    span, candles = span_texts(missing.span).values(), f"{gap.candles:,}"
    return str(gap.series), missing.state, *span, candles, str(missing.tries), gap.asked, missing.why
