"""The command `gaps`: every missing span, its state, and why."""

from typing import Annotated

import typer

from collector.commands.console import AsJson, print_json, say, show
from collector.commands.options import Options, with_options
from collector.core.missing import State
from collector.core.text import span_texts
from collector.integrity.gaps import find_gaps, gaps_summary
from collector.machine.disk import THIS_DISK
from collector.storage.stored import is_any_stored


@with_options
def gaps(
    options: Options,
    *,
    as_json: AsJson = False,
    state: Annotated[list[State] | None, typer.Option(help="Only gaps in this state; may be repeated.")] = None,
) -> None:
    """Show every candle that is wanted and not held, with its state, and why.

    Times are UTC, ends are exclusive.
    """
    found = [
        gap
        for gap in find_gaps(options.settings.data_dir, options.settings.category, options.demand)
        if options.are_about(gap.series) and (not state or gap.missing.state in state)
    ]
    if as_json:
        print_json([gap.record() for gap in found])
        return
    rows = [
        (
            str(gap.series),
            gap.missing.state,
            *span_texts(gap.missing.span).values(),
            f"{gap.candles:,}",
            str(gap.missing.tries),
            gap.asked,
            gap.missing.why,
        )
        for gap in found
    ]
    settings = options.settings
    is_stored = is_any_stored(THIS_DISK, settings.data_dir, settings.category, options.are_about)
    if not is_stored:
        say(f"{options.selection} is stored in {settings.data_dir.absolute()}")
    if rows:
        show(("series", "state", "from", "to", "candles", "tries", "last asked", "why"), rows, prose=True)
    if found or is_stored:
        say(gaps_summary(found) if found or not state else f"nothing is {' or '.join(state)}")
