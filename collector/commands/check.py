"""The command `check`: examines, compares and reports; it only reads."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import trio
from rich.console import Console
from rich.progress import track

from collector.commands.check_summary import TITLES, difference_lines, finding_lines, ledger_lines, summary, table_rows
from collector.commands.console import AsJson, can_draw, print_json, print_line, say, show
from collector.commands.options import (
    HISTORY,
    OUTPUT,
    PLACE,
    SERIES,
    AgainstExchange,
    Options,
    Seed,
    drawn_seed,
    with_options,
)
from collector.core.candle import Series
from collector.core.redaction import hidden, secrets_in
from collector.errors import SettingsError, StorageError
from collector.integrity.audit import audit
from collector.integrity.checker import DataIntegrityChecker
from collector.integrity.findings import FileReport, totals
from collector.integrity.reports import write_report
from collector.integrity.samples import Difference, Draw, Sample, Uncompared, audit_record, draw_samples
from collector.logs import ConsoleHandler, open_logs
from collector.machine import THIS_MACHINE
from collector.storage.stored import refuse_if_nothing_stored

T = TypeVar("T")


@with_options(*PLACE, "logs_dir", "rest_url", *SERIES, *HISTORY, *OUTPUT)
def check(
    options: Options,
    *,
    as_json: AsJson = False,
    against_exchange: AgainstExchange = 0,
    seed: Seed = None,
) -> None:
    """Check every file: is it complete, and is it right?

    Nothing is changed; a report is written to the logs. Exit status 1: something is wrong.

    Examples:
      # every file
      collector check
      # one symbol, for a script
      collector check --symbols BTCUSDT --json
      # and compare twenty random stretches with the exchange
      collector check --against-exchange 20
    """
    settings, checker = options.settings, DataIntegrityChecker(options.settings, demand=options.demand)
    paths = [path for path in checker.files() if _is_chosen(options, path)]
    if not any(map(os.path.lexists, paths)):
        asked = settings.category, options.are_about, options.selection, options.only_symbols
        refuse_if_nothing_stored(THIS_MACHINE.disk, settings.data_dir, *asked)
    checked = list(_with_progress(options, checker.check_each(paths), len(paths)))
    record = totals(checked, checker.ledger_problem)
    differences: list[Difference | Uncompared] = []
    try:
        if against_exchange:
            seed = seed if seed is not None else drawn_seed()
            stored = [(each.series, each.examination.held) for each in checked if each.series]
            samples = draw_samples(stored, Draw(against_exchange, seed))
            differences = _run_audit(options, samples, checker)
            record["against_exchange"] = audit_record(seed, samples, differences)
    finally:  # report the files also when the exchange cannot be reached
        _print_result(options, checked, record, differences, as_json=as_json)
    if record["files_with_issues"] or record["ledger_problem"] or differences:
        sys.exit(1)


def show_differences(options: Options, draw: Draw) -> set[Series]:
    """Print where samples of the chosen files differ from the exchange; return the series."""
    checker = DataIntegrityChecker(options.settings, demand=options.demand)
    checked = checker.check_each([path for path in checker.files() if _is_chosen(options, path)])
    samples = draw_samples([(each.series, each.examination.held) for each in checked if each.series], draw)
    found = _run_audit(options, samples, checker)
    for line in difference_lines(found):
        print_line(line)
    return {each.series for each in found}


def _run_audit(
    options: Options, samples: Sequence[Sample], checker: DataIntegrityChecker
) -> list[Difference | Uncompared]:
    output = ConsoleHandler(Console(stderr=True), quiet=options.quiet)
    with open_logs(None, output, level=options.settings.log_level):
        return trio.run(audit, options.settings, samples, checker.rows_in, THIS_MACHINE)


def _is_chosen(options: Options, path: Path) -> bool:
    """Whether to check a file; foreign files belong to the check of everything."""
    series = Series.of_file(path.name)
    return options.are_about(series) if series else not (options.only_symbols or options.only_timeframes)


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


def _with_progress(options: Options, work: Iterable[T], total: int) -> Iterable[T]:
    """Add a progress bar on a terminal."""
    console = Console(stderr=True)
    if options.quiet or not can_draw(console):
        return work
    return track(work, "checking", total, console=console, transient=True)
