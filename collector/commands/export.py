"""The command `export`: copies of the candle files for other tools."""

import sys
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Annotated

import attrs
import typer

from collector.commands.console import print_line, say
from collector.commands.dates import refuse_future
from collector.commands.options import PLACE, SERIES, Options, with_options
from collector.commands.work_progress import Advance, WorkProgress, open_progress
from collector.core.candle import Series
from collector.core.errors import NotReadable, SettingsError
from collector.core.text import counted
from collector.export.address import parse_address
from collector.export.exporting import Source
from collector.export.results import Result
from collector.export.targets import open_target
from collector.feeder.dataset import month_text
from collector.feeder.source import stored_files
from collector.machine.disk import THIS_DISK
from collector.storage.data_directory import lock_holder, refuse_another_category
from collector.storage.stored import nothing_stored, refuse_if_nothing_stored


@attrs.define
class Tally:
    """What came of an export so far."""

    series: set[Series] = attrs.field(factory=set)
    rows: int = 0
    changed: int = 0
    damaged: int = 0  # months of the copy that cannot be read
    unreadable: int = 0
    newer: int = 0  # rows that a collector has written since the copy was made

    def add(self, series: Series, result: Result) -> None:
        self.series.add(series)
        self.rows += result.rows
        self.changed += result.changed
        self.damaged += result.is_damaged

    @property
    def amount(self) -> str:
        return f"{counted(self.rows, 'row')} of {counted(len(self.series), 'series')}"


_PLACES = "A directory, s3://bucket/prefix or postgresql://host/database."
_To = Annotated[str, typer.Option(metavar="PLACE", help=_PLACES)]
_VERIFY = "Compare every row with the files; write nothing; exit 1 if any differs but newer ones beside a collector."


@with_options(*PLACE, *SERIES, "start", "end", "quiet", stored=True)
def export(
    options: Options,
    *,
    to: _To,
    verify: Annotated[bool, typer.Option("--verify", help=_VERIFY)] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
) -> None:
    """Copy candles into Parquet files, an object store or PostgreSQL, and keep the copy up to date.

    The copy becomes equal to the files within the span that is chosen; what is equal already stays untouched. It may
    run beside a collector and may be stopped at any moment: the next export goes on from there. Credentials come from
    the environment (AWS_ACCESS_KEY_ID, PGPASSWORD and the like).

    Examples:
      # Parquet for DuckDB, polars and Spark
      collector export --to /srv/candles --timeframes 1
      # PostgreSQL, with the password in PGPASSWORD
      collector export --to postgresql://me@db.example/market
      # is every row of the copy as in the files?
      collector export --to s3://candles/bybit --verify
    """
    if verify and dry_run:
        raise SettingsError(["--verify and --dry-run exclude each other: both write nothing"])
    refuse_future(options.dates, options.settings)
    address, source = parse_address(to), _source(options)
    with open_target(THIS_DISK, address, options.settings.category, writing=not (verify or dry_run)) as target:
        action = target.compare if verify else target.plan if dry_run else target.write
        tally, collecting = Tally(), verify and lock_holder(THIS_DISK, options.settings.data_dir) is not None
        work = Advance("exporting", source.size(), len(source.series), "series")
        with open_progress(work, quiet=options.quiet) as progress:
            for series, result in _counted(source.run(target, action), tally, progress, collecting=collecting):
                if (verify or dry_run) and result.differs:
                    print_line(f"{series} {result}" if verify else f"{series} {result.planned}")
        if not (tally.series or tally.unreadable):
            raise SettingsError(
                [f"[storage] data_dir: no candle of the chosen span is stored in {source.directory.absolute()}"]
            )
        _say_result(options, tally, target.place, "compare" if verify else "plan" if dry_run else "write")
    if tally.unreadable or (verify and (tally.changed or tally.damaged)):
        sys.exit(1)


def _source(options: Options) -> Source:
    """The chosen files.

    Raises:
        SettingsError: there are none.
    """
    settings = options.settings
    asked = settings.category, options.are_about, options.selection, options.only_symbols
    refuse_if_nothing_stored(THIS_DISK, settings.data_dir, *asked)
    refuse_another_category(THIS_DISK, settings.data_dir, settings.category)
    series = sorted(filter(options.are_about, stored_files(THIS_DISK, settings.data_dir)))
    if not series:  # the ledger knows it, and there is no file yet
        nothing = nothing_stored(THIS_DISK, settings.data_dir, options.selection, options.only_symbols)
        raise SettingsError([f"[storage] data_dir: {nothing}"])
    return Source(THIS_DISK, settings.data_dir, series, options.stored_span)


def _counted(
    results: Iterator[tuple[Series, Result | NotReadable]], tally: Tally, progress: WorkProgress, *, collecting: bool
) -> Iterator[tuple[Series, Result]]:
    """What was done or found; beside a collector, newer rows are counted and are no difference."""
    for series, months in groupby(results, key=itemgetter(0)):
        for _, found in months:
            if isinstance(found, NotReadable):
                tally.unreadable += 1
                say(str(found), priority=3)
            else:
                result = found.without_newer if collecting else found
                tally.newer += found.newer if collecting else 0
                tally.add(series, result)
                progress.within(f"{series} of {month_text(result.month_ms)}", result.size)
                yield series, result
        progress.advance(0, str(series))


def _say_result(options: Options, tally: Tally, place: str, what: str) -> None:
    if options.quiet or not tally.series:
        return
    if what == "compare":
        found = [f"{counted(tally.changed, 'row')} differ{'s' if tally.changed == 1 else ''}"] if tally.changed else []
        found += [f"{counted(tally.damaged, 'partition')} cannot be read"] if tally.damaged else []
        since = (
            f"; {counted(tally.newer, 'newer row')} of the collector at work, for the next export"
            if tally.newer
            else ""
        )
        say(f"{tally.amount} compared with {place}: {', '.join(found) or 'equal'}{since}")
    else:
        done = "would be written" if what == "plan" else "written"
        rest = ", the rest is there already" if tally.changed < tally.rows else ""
        say(f"{tally.amount}: {counted(tally.changed, 'row')} {done} to {place}{rest}")
