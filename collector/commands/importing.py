"""The command `import`: candles that files of other tools have, fetched anew from the exchange."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import attrs
import typer

from collector.commands.console import print_line, say
from collector.commands.exits import INTERRUPTED, exit_unless_complete, print_outcome
from collector.commands.logged_run import run_logged
from collector.commands.options import OUTPUT, PLACE, SERIES, Options, with_logged_options
from collector.commands.work_progress import Advance, open_progress
from collector.core.candle import Series
from collector.core.errors import CollectorError, SettingsError
from collector.core.missing import State
from collector.core.request_windows import NEWEST
from collector.core.request_windows import windows as request_windows
from collector.core.rows import candles_in
from collector.core.spans import Spans
from collector.core.text import counted, moment_text
from collector.importing.comparison import Agreement, Comparison, last_rows
from collector.importing.foreign import foreign_lines
from collector.importing.gathering import Gathered, gather
from collector.importing.places import Place, find_places
from collector.importing.recognition import Given
from collector.importing.refusal import Refusal
from collector.importing.report import Lack, is_kept, report_lines
from collector.integrity.gaps import held_in_file
from collector.integrity.repair import OwnedDirectory
from collector.machine.disk import THIS_DISK
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import Import, ServeOptions, fetch_imported
from collector.storage.data_directory import refuse_another_category
from collector.storage.ledger_reading import read_ledger

_NO_LONGER = (State.ABSENT, State.BEFORE_LISTING, State.DELISTED)


@with_logged_options(*PLACE, "logs_dir", "rest_url", *SERIES, "start", "end", "no_limit", *OUTPUT, stored=True)
def import_files(
    options: Options,
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files, folders, patterns or archives.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is recognised, and fetch nothing.")] = False,
    keep_foreign: Annotated[
        bool, typer.Option("--keep-foreign", help="Keep rows of the files where the exchange has no candle any more.")
    ] = False,
) -> None:
    """Fetch the candles that files of other tools have, and compare.

    Read are CSV with any usual header or none, JSON, Feather and Parquet, also packed (gz, zip, bz2, xz). They say
    which symbols, timeframes and spans are wanted; what is stored is the exchange's text. --symbols and --timeframes
    name what a file does not tell, and choose among files that tell. The files stay as they are.

    Exit status 1: a file was left out, or something wanted could not be fetched. 2: no file holds candles.

    Examples:
      # what is in these files?
      collector import old/*.csv --dry-run
      # fetch what they have, and compare
      collector import old/ dumps/BTCUSDT-1m-2024-01.zip --no-limit
      # a file that does not say whose candles it has
      collector import mine.csv --symbols BTCUSDT --timeframes 60 --no-limit
    """
    if not all(map(str.strip, files)):
        raise SettingsError(["FILE: a name is empty; give files, folders, patterns or archives"])
    work = _Work(options, keep_foreign)
    work.gather(files)
    if dry_run:
        options.say_warnings()
        for line in work.plan_lines():
            print_line(line)
    else:
        work.fetch()
        work.compare()
    if work.gathered.refused:
        sys.exit(1)


@attrs.define
class _Work:
    """One import, step by step."""

    options: Options
    keeps: bool
    gathered: Gathered = attrs.field(factory=Gathered)
    spans: dict[Series, Spans] = attrs.field(factory=dict)
    outcome: Outcome | None = None

    def gather(self, files: list[str]) -> None:
        """Reads the files, and says what is in them.

        Raises:
            SettingsError: nothing is.
        """
        options, settings = self.options, self.options.settings
        given = Given(options.only_symbols, options.only_timeframes, inverse=settings.category == "inverse")
        places = list(find_places(THIS_DISK, files))
        with self._progress("reading", len(places)) as on_rows:
            self.gathered = gather(THIS_DISK, places, given, settings.data_dir, on_rows)
        self.spans = self.gathered.spans(options.are_about, options.dates)
        for line in self._recognised() if not options.quiet else ():
            print_line(line)
        for sentence in self.gathered.refused:
            say(sentence, priority=3)
        if not self.spans:
            what = "no candles of the chosen series and span" if self.gathered.tables else "no candles"
            raise SettingsError([f"nothing to import: the files hold {what}"])

    def _recognised(self) -> Iterator[str]:
        for table in self.gathered.tables:
            yield from table.lines()
            if others := [each for each in table.extents if each not in self.spans]:
                yield f"  left out, as --symbols, --timeframes, --start or --end say: {', '.join(map(str, others))}"
        for (_, series), open_ms in last_rows(self.gathered.tables).items():
            yield f"{series}: the last row, {moment_text(open_ms)} UTC, may have been open when it was written"
        yield from self.gathered.others

    def plan_lines(self) -> Iterator[str]:
        """What is to be fetched, as far as files and ledger tell; nobody is asked."""
        settings = self.options.settings
        saved = read_ledger(settings.data_dir, settings.category, disk=THIS_DISK)
        candles = requests = stored = 0
        for series, spans in self.spans.items():
            path = settings.data_dir / series.file_name
            file = held_in_file(THIS_DISK, path, series, saved.checkpoints.get(series))
            if file.alone:
                yield f"{series.file_name}: {file.alone}"
                continue
            held = file.held
            candles += candles_in(series.timeframe, spans - held)
            stored += candles_in(series.timeframe, spans & held)
            requests += sum(1 for _ in request_windows(series.timeframe, spans - held))
        if settings.newest_only:
            option = settings.without_limit
            yield f"only the {NEWEST} newest candles are wanted (limit_to_50_entries, mode): add {option} to import"
        yield (
            f"to fetch: {counted(candles, 'candle')} of {counted(len(self.spans), 'series')}, about "
            f"{counted(requests, 'request')}; stored already: {counted(stored, 'candle')}"
        )

    def fetch(self) -> None:
        """Fetches the spans; ends the command if that was stopped.

        Raises:
            SettingsError: the limit would take away again what is fetched.
        """
        settings = self.options.settings
        if settings.newest_only:
            raise SettingsError(
                [
                    f"[collection] limit_to_50_entries or mode: only the {NEWEST} newest candles are wanted, and an "
                    f"import is about what the files have; add {settings.without_limit}"
                ]
            )
        refuse_another_category(THIS_DISK, settings.data_dir, settings.category)
        outcome = self._serve(Import(self.spans, asks_unlisted=self.keeps))
        print_outcome(self.options, outcome)
        if outcome.unknown and not self.keeps:
            say("if they were traded once: --keep-foreign keeps the rows that the files have of them")
        if outcome.stopped:
            sys.exit(INTERRUPTED)
        self.outcome = outcome

    def _serve(self, imports: Import) -> Outcome:
        async def work(**until: Any) -> Outcome:
            return await fetch_imported(self.options.settings, imports, options=ServeOptions(**until))

        return run_logged(self.options, work)

    def compare(self) -> None:
        """Compares the files with what is stored now, and keeps foreign rows if that is asked for.

        Raises:
            CollectorError: a file has changed meanwhile.
        """
        settings = self.options.settings
        try:
            with self._progress("comparing", len(self.gathered.tables)) as on_rows:
                comparison = Comparison(THIS_DISK, settings.data_dir, self.gathered.tables, self.spans)
                agreements = comparison.run(on_rows)
            lacks = self._lacks(agreements)
            for line in report_lines(agreements, lacks, keeps=self.keeps):
                print_line(line)
            chosen = {each.series: each for each in agreements if is_kept(each, keeps=self.keeps)}
            foreign = {series: lacks[series].absent for series in chosen if lacks[series].absent}
            if foreign:
                self._keep(foreign_lines(THIS_DISK, self.gathered.tables, foreign, chosen))
        except Refusal as refusal:
            raise CollectorError(f"a file has changed while it was imported: {refusal}") from refusal
        assert self.outcome
        exit_unless_complete(self.outcome)

    def _lacks(self, agreements: list[Agreement]) -> dict[Series, Lack]:
        """What the files have and the exchange, as it answered, does not."""
        assert self.outcome
        settings, missing, unknown = self.options.settings, self.outcome.missing, self.outcome.unknown
        coverage = read_ledger(settings.data_dir, settings.category, disk=THIS_DISK).coverage
        gaps = {each.series: coverage[each.series].gaps for each in agreements}
        return {
            each.series: Lack(
                each.lacking & Spans.of(*(gap.span for gap in gaps[each.series] if gap.state in _NO_LONGER)),
                Spans.of(*(gap.span for series, gap in missing if series == each.series)),
                each.series.symbol not in unknown,
            )
            for each in agreements
        }

    def _keep(self, lines: dict[Series, bytes]) -> None:
        """Has foreign rows put into the files, by the one writer there is."""
        records = {}

        def prepare(owned: OwnedDirectory) -> None:
            for series, text in lines.items():
                records[series] = owned.store.keep_imported(series, text)

        wanted = {series: self.spans[series] for series in lines}
        if self._serve(Import(wanted, asks_unlisted=True, prepare=prepare)).stopped:
            sys.exit(INTERRUPTED)  # the next start puts them in
        for series, record in records.items():
            rows = lines[series].count(b"\n") - 1
            print_line(f"{series}: {counted(rows, 'foreign row')} kept; {record.name} says which")

    @contextmanager
    def _progress(self, title: str, files: int) -> Iterator[Callable[[Place, int], None]]:
        rows, last = 0, None

        def on_rows(place: Place, number: int) -> None:
            nonlocal rows, last
            rows += number
            if last not in (None, place):
                progress.advance(1, str(last))
            last = place
            progress.within(f"{counted(rows, 'row')}, in {place}")

        advance = Advance(title, files, files, "file")
        with open_progress(advance, quiet=self.options.quiet) as progress:
            yield on_rows
