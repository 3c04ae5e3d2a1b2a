"""The command `check`: examines, compares and reports; it only reads."""

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio
from rich.console import Console

from collector.commands.check_summary import TITLES, difference_lines, finding_lines, ledger_lines, summary, table_rows
from collector.commands.console import AsJson, print_json, print_line, say, show
from collector.commands.exits import end
from collector.commands.hints import to_type
from collector.commands.options import (
    HISTORY,
    OUTPUT,
    PLACE,
    SERIES,
    AgainstExchange,
    Options,
    Seed,
    draw_of,
    with_options,
)
from collector.commands.work_progress import Advance, open_progress
from collector.core.candle import Series
from collector.core.errors import SettingsError, StorageError
from collector.core.redaction import hidden, secrets_in
from collector.core.text import moment_text
from collector.integrity.audit import audit
from collector.integrity.checker import DataIntegrityChecker
from collector.integrity.findings import FileReport, totals
from collector.integrity.reports import write_report
from collector.integrity.samples import Difference, Draw, Sample, Uncompared, audit_record, draw_samples
from collector.logs import ConsoleHandler, open_logs
from collector.machine import THIS_MACHINE
from collector.storage.stored import refuse_if_nothing_stored


@with_options(*PLACE, "logs_dir", "rest_url", *SERIES, *HISTORY, *OUTPUT, stored=True)
def check(
    options: Options,
    *,
    as_json: AsJson = False,
    against_exchange: AgainstExchange = 0,
    seed: Seed = None,
) -> None:
    """Check every file: is it complete, and is it right?

    Nothing is changed; a report is written to the logs. With dates, it is about the candles that open in them.

    Exit status 1: something is wrong.

    Examples:
      # every file
      collector check
      # one symbol, for a script
      collector check --symbols BTCUSDT --json
      # and compare twenty random stretches with the exchange
      collector check --against-exchange 20
    """
    draw = draw_of(against_exchange, seed)
    checker = DataIntegrityChecker(options.settings, demand=options.demand)
    checked = _check_files(options, checker, _chosen_paths(options, checker))
    record: dict[str, Any] = {**totals(checked, checker.ledger_problem), **_dates(options)}
    differences: list[Difference | Uncompared] = []
    try:
        if draw:
            samples = _samples(options, checked, draw)
            differences = _run_audit(options, samples, checker)
            record["against_exchange"] = audit_record(draw.seed, samples, differences)
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # the files are told of all the same
        _print_result(options, checked, record, differences, as_json=as_json)
        _say_what_mends(options, record, None)
        end(error)
    _print_result(options, checked, record, differences, as_json=as_json)
    _say_what_mends(options, record, draw if differences else None)
    if record["files_with_issues"] or record["ledger_problem"] or differences:
        sys.exit(1)


def show_differences(options: Options, draw: Draw) -> set[Series]:
    """Print where samples of the chosen files differ from the exchange; return the series."""
    checker = DataIntegrityChecker(options.settings, demand=options.demand)
    checked = _check_files(options, checker, _chosen_paths(options, checker))
    found = _run_audit(options, _samples(options, checked, draw), checker)
    for line in difference_lines(found):
        print_line(line)
    return {each.series for each in found}


def _samples(options: Options, checked: Sequence[FileReport], draw: Draw) -> list[Sample]:
    stored = [(each.series, each.examination.held) for each in checked if each.series]
    return draw_samples(stored, draw, options.demand.chosen)


def _run_audit(
    options: Options, samples: Sequence[Sample], checker: DataIntegrityChecker
) -> list[Difference | Uncompared]:
    console = Console(stderr=True)
    output = ConsoleHandler(console, quiet=options.quiet)
    work = Advance("comparing", len(samples), len(samples), "stretch")
    with (
        open_logs(None, output, level=options.settings.log_level),
        open_progress(work, quiet=options.quiet, console=console) as progress,
    ):

        def on_read(sample: Sample) -> None:
            progress.advance(1, f"{sample.series} up to {moment_text(sample.span.end_ms)[:16]}")

        return trio.run(audit, options.settings, samples, checker.rows_in, THIS_MACHINE, on_read)


def _chosen_paths(options: Options, checker: DataIntegrityChecker) -> list[Path]:
    """The files to check.

    Raises:
        SettingsError: nothing is stored of what was chosen.
    """
    paths = [path for path in checker.files() if _is_chosen(options, path)]
    if not any(map(os.path.lexists, paths)):
        asked = options.settings.category, options.are_about, options.selection, options.only_symbols
        refuse_if_nothing_stored(THIS_MACHINE.disk, options.settings.data_dir, *asked)
    return paths


def _is_chosen(options: Options, path: Path) -> bool:
    """Whether to check a file; foreign files belong to the check of everything."""
    series = Series.of_file(path.name)
    return options.are_about(series) if series else not (options.only_symbols or options.only_timeframes)


def _dates(options: Options) -> dict[str, int | None]:
    """The dates of the options, which a whole check is without."""
    dates = options.dates
    return {"start_ms": dates.start_ms, "end_ms": dates.end_ms} if dates else {}


def _print_result(
    options: Options,
    checked: Sequence[FileReport],
    record: Mapping[str, Any],
    differences: Sequence[Difference | Uncompared],
    *,
    as_json: bool,
) -> None:
    try:
        if as_json:
            print_json(record)
        else:
            if sys.stdout.isatty() and (rows := list(table_rows(checked))):
                show(TITLES, rows, prose=True)
            for line in (*ledger_lines(record), *finding_lines(checked), *difference_lines(differences)):
                print_line(line)
    finally:  # also when stdout is closed
        report = _write_report(options, record)
    if not options.quiet:
        say(summary(record))
        if report:
            say(f"the report is {report}")


def _say_what_mends(options: Options, record: Mapping[str, Any], draw: Draw | None) -> None:
    """Name the command that mends what was found; with `draw`, also what differs from the exchange."""
    if options.quiet or not (record["files_with_issues"] or draw):
        return
    drawn = ["--against-exchange", draw.amount, "--seed", str(draw.seed)] if draw else []
    say("this command says how to mend it, and does it without --dry-run:")
    say(f"  {to_type('repair', *options.words, *drawn, '--dry-run')}", whole=True)


def _write_report(options: Options, record: Mapping[str, Any]) -> Path | None:
    """Write the report; a failure is reported and leaves the result as it is."""
    settings = options.settings
    try:
        record = hidden(record, secrets_in(os.environ))
        return write_report(
            THIS_MACHINE.disk,
            settings.logs_dir,
            record,
            datetime.fromtimestamp(THIS_MACHINE.clock.now_ms() / 1000, UTC),
            settings.keep_reports,
        )
    except (SettingsError, StorageError) as error:
        say(f"the report was not written: {error}")
        return None


def _check_files(options: Options, checker: DataIntegrityChecker, paths: Sequence[Path]) -> list[FileReport]:
    """Check files one after another, with progress by their bytes."""
    sizes = {path.name: _size(path) for path in paths}
    checked: list[FileReport] = []
    work = Advance("checking", sum(sizes.values()), len(paths), "file")
    with open_progress(work, quiet=options.quiet) as progress:
        for report in checker.check_each(paths):
            checked.append(report)
            held = report.examination.held
            reached = f" up to {moment_text(held.bounds.end_ms)[:16]}" if held else ""
            progress.advance(sizes.get(report.file, 1), f"{report.file}{reached}")
    return checked


def _size(path: Path) -> int:
    """The bytes of a file, and one for its opening."""
    try:
        return 1 + path.stat().st_size
    except OSError:
        return 1
