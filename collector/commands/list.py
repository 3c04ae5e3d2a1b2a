"""The command `list`: what is stored."""

from collector.commands.console import AsJson, print_json, say, show
from collector.commands.options import HISTORY, PLACE, SERIES, Options, with_options
from collector.core.text import moment_text
from collector.integrity.inventory import find_stored, stored_summary
from collector.machine.disk import THIS_DISK
from collector.storage.stored import refuse_if_nothing_stored

_TITLES = ("series", "first", "last", "rows", "holes", "percent", "bytes", "")


@with_options(*PLACE, *SERIES, *HISTORY)
def list_stored(options: Options, *, as_json: AsJson = False) -> None:
    """Show what is stored: each series with its span, rows, holes and bytes.

    Times are those of the first and the last candle, UTC. Holes are the places without a candle between them. The
    percentage is of what is wanted and the exchange has; `collector gaps` says what is missing, and why.

    Examples:
      # everything
      collector list
      # one timeframe
      collector list --timeframes D
      # for a script; how much is there of a year?
      collector list --symbols BTCUSDT --days 365 --no-limit --json
    """
    settings = options.settings
    asked = settings.category, options.are_about, options.selection, options.only_symbols
    refuse_if_nothing_stored(THIS_DISK, settings.data_dir, *asked)
    stored = [
        each
        for each in find_stored(settings.data_dir, settings.category, options.demand)
        if options.are_about(each.series)
    ]
    if as_json:
        print_json([each.record() for each in stored])
        return
    rows = [
        (
            str(each.series),
            *("" if ms is None else moment_text(ms) for ms in (each.first_ms, each.last_ms)),
            f"{each.rows:,}",
            f"{each.holes:,}",
            f"{each.percent:.1f}",
            f"{each.size:,}",
            each.problem,
        )
        for each in stored
    ]
    show(_TITLES, rows, prose=True)
    say(stored_summary(stored))
