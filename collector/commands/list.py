"""The command `list`: what is stored."""

from collector.commands.console import AsJson, print_json, say, show
from collector.commands.options import HISTORY, PLACE, SERIES, Options, with_options
from collector.core.text import moment_text, size_text
from collector.integrity.inventory import StoredSeries, find_stored, stored_summary
from collector.machine.disk import THIS_DISK
from collector.storage.stored import refuse_if_nothing_stored

_TITLES = ("series", "first", "last", "rows", "holes", "%", "size")


@with_options(*PLACE, *SERIES, *HISTORY, stored=True)
def list_stored(options: Options, *, as_json: AsJson = False) -> None:
    """Show what is stored: each series with its span, rows, holes and size.

    Times are those of the first candle and the last, UTC. Holes are the places without a candle between them. The
    percentage is of what is wanted and the exchange has; `collector gaps` says what is missing, and why. With dates,
    all but the size is about the candles that open in them.

    Examples:
      # everything
      collector list
      # how much is there of a month?
      collector list --start 2024-01-01 --end 2024-01-31
      # for a script; how much is there of a year?
      collector list --symbols BTCUSDT --days 365 --no-limit --json
    """
    settings, demand = options.settings, options.demand
    asked = settings.category, options.are_about, options.selection, options.only_symbols
    refuse_if_nothing_stored(THIS_DISK, settings.data_dir, *asked)
    stored = [
        each for each in find_stored(settings.data_dir, settings.category, demand) if options.are_about(each.series)
    ]
    if as_json:
        print_json([each.record() for each in stored])
        return
    show(_TITLES, map(_row, stored))
    for each in stored:
        if each.problem:
            say(f"{each.series.file_name}: {each.problem}")
    say(stored_summary(stored))


def _row(each: StoredSeries) -> tuple[str, ...]:
    """A row that fits a terminal of 80 columns: the first candle by its day, the last to the minute."""
    first, last = ("" if ms is None else moment_text(ms) for ms in (each.first_ms, each.last_ms))
    numbers = f"{each.rows:,}", f"{each.holes:,}", f"{each.percent:.1f}", size_text(each.size)
    return (str(each.series), first[:10], last[:16], *numbers)
