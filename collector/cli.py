"""The command line: what each command does, what it says at its end, and its exit status.

    0 done · 1 something wanted could not be fetched · 2 usage or settings
    3 the exchange cannot be reached or refuses us · 4 another collector owns the data directory

Nothing is collected here; commands translate between a person and the service.
"""

import faulthandler
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random, randrange
from typing import Annotated, Any, NoReturn, TypeVar

import attrs
import trio
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from collector.audit import audit
from collector.coverage import moment_text, span_texts
from collector.demo import demonstrate
from collector.errors import CollectorError, SettingsError, cause_of
from collector.findings import totals
from collector.gaps import find_gaps, gaps_summary
from collector.installation import unit_of_this
from collector.integrity import DataIntegrityChecker, series_of
from collector.logs import get_logger, open_logs, set_level, without_passwords
from collector.missing import State
from collector.notify import Notify
from collector.options import Options, with_options
from collector.progress import Display, log_progress
from collector.repair import show_plans
from collector.reports import write_report
from collector.rereading import Rereading
from collector.samples import Difference, audit_record, draw_samples
from collector.sandbox.command import sandbox
from collector.selection import Selection
from collector.service import repair as mend
from collector.service import serve
from collector.settings import Settings
from collector.signals import until_signal
from collector.status_command import status
from collector.stderr import is_journal, lasting
from collector.summary import Outcome, summary_lines
from collector.symbols import list_symbols
from collector.verdict import TITLES, difference_lines, finding_lines, summary, table_rows

log = get_logger(__name__)
T = TypeVar("T")

_HELP = """A trustworthy local store of Bybit candles: one plain CSV file per symbol and timeframe.

Try it without the exchange: collector demo. Settings come from settings.ini, from COLLECTOR_<KEY> variables, and from
the options below, the later winning over the earlier. Ctrl-C is safe at any moment: what was received is written, and
the next start goes on where this one stopped.

Exit status: 0 done; 1 something wanted could not be fetched; 2 usage or settings; 3 the exchange cannot be reached or
refuses us; 4 another collector owns the data directory."""

app = typer.Typer(help=_HELP, no_args_is_help=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


_OF_NO_COMMAND = ("--help", "--install-completion", "--show-completion")


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in _OF_NO_COMMAND):
        arguments = ["run", *arguments]
    # Pages are thousands of small objects that reference counting frees; looking through them for cycles is a waste.
    gc.set_threshold(50_000, 20, 50)
    try:
        app(arguments, prog_name="collector")
    except SettingsError as error:
        _fail(error, [*error.problems])
    except CollectorError as error:
        _fail(error, [str(error)])
    except KeyboardInterrupt:
        _stopped()
    except BaseExceptionGroup as group:  # what comes out of a nursery comes as a group
        cause = cause_of(group, KeyboardInterrupt)
        if cause is not None:
            _fail(cause, [str(cause)])
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        _stopped()


_Json = Annotated[bool, typer.Option("--json", help="For the machine.")]
_AllowTrim = Annotated[bool, typer.Option("--allow-trim", help="Let limit_to_50_entries cut longer files.")]


@app.command()
@with_options
def run(
    options: Options,
    *,
    allow_trim: _AllowTrim = False,
) -> None:
    """Collect history, then live candles, until stopped with Ctrl-C or SIGTERM."""
    outcome = _collect(options, once=False, allow_trim=allow_trim)
    _summarize(options, outcome)


@app.command()
@with_options
def fetch(
    options: Options,
    *,
    allow_trim: _AllowTrim = False,
) -> None:
    """Collect history only, then exit."""
    outcome = _collect(options, once=True, allow_trim=allow_trim)
    _summarize(options, outcome)
    if not outcome.complete:
        sys.exit(1)


@app.command()
@with_options
def symbols(
    options: Options,
    *,
    as_json: _Json = False,
    names: Annotated[bool, typer.Option("--names", help="Names only, a line each, for other programs.")] = False,
    quote: Annotated[list[str] | None, typer.Option(help="Quoted in this coin; may be repeated.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Of this kind, such as perpetual; may be repeated.")] = None,
    match: Annotated[list[str] | None, typer.Option(help="Like this, such as '1000*'; may be repeated.")] = None,
    new_since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Launched on this day or later.")
    ] = None,
) -> None:
    """Show what the exchange lists in the category."""
    since_ms = int(new_since.replace(tzinfo=UTC).timestamp() * 1000) if new_since else 0
    wanted = Selection(options.only_symbols, tuple(quote or ()), tuple(kind or ()), tuple(match or ()), since_ms)
    listed = trio.run(list_symbols, options.settings)
    found = [each for each in listed if wanted.has(each)]
    if as_json:
        print(json.dumps([each.symbol if names else attrs.asdict(each) for each in found], indent=1))  # noqa: T201
        return
    if names:
        print("".join(f"{each.symbol}\n" for each in found), end="")  # noqa: T201
        return
    rows: list[tuple[str, ...]] = []
    for each in found:
        launched, delivery = (moment_text(ms) if ms else "" for ms in (each.launch_ms, each.delivery_ms))
        rows.append((each.symbol, each.status, each.kind, each.base, each.quote, each.settle, launched, delivery))
    _show(("symbol", "status", "kind", "base", "quote", "settles in", "launched", "delivery"), rows)
    of_all = "" if wanted == Selection() else f" of {len(listed)}"
    _say(f"{len(found)}{of_all} symbols trade in {options.settings.category}")


@app.command()
@with_options
def gaps(
    options: Options,
    *,
    as_json: _Json = False,
    state: Annotated[list[State] | None, typer.Option(help="Only gaps in this state; may be repeated.")] = None,
) -> None:
    """Show every candle that is wanted and not held, with its state, and why. Times are UTC, ends are exclusive."""
    found = [
        gap
        for gap in find_gaps(options.settings.data_dir)
        if options.are_about(gap.series) and (not state or gap.missing.state in state)
    ]
    if as_json:
        print(json.dumps([gap.record() for gap in found], indent=1))  # noqa: T201
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
    if rows:
        _show(("series", "state", "from", "to", "candles", "tries", "last asked", "why"), rows)
    _say(gaps_summary(found))


@app.command()
@with_options
def check(
    options: Options,
    *,
    as_json: _Json = False,
    against_exchange: Annotated[
        int, typer.Option(min=0, metavar="N", help="Read N random stretches of up to 1000 candles again and compare.")
    ] = 0,
    seed: Annotated[int | None, typer.Option(help="Draw the same stretches again.")] = None,
) -> None:
    """Check every file: is it complete, and is it right? Nothing is changed; a report is written to the logs."""
    settings, checker = options.settings, DataIntegrityChecker(options.settings)
    paths = [path for path in checker.files() if _is_chosen(options, path)]
    checked = list(_watched(options, checker.check_each(paths), len(paths)))
    record = totals(checked)
    differences: list[Difference] = []
    if against_exchange:
        seed = seed if seed is not None else randrange(10**6)
        stored = [(each.series, each.examination.held) for each in checked if each.series]
        samples = draw_samples(stored, against_exchange, Random(seed))
        with open_logs(None, level=settings.log_level, quiet=options.quiet, console=Console(stderr=True)):
            differences = trio.run(audit, settings, samples, checker.rows_in)
        record["against_exchange"] = audit_record(seed, samples, differences)
    if as_json:
        print(json.dumps(record, indent=1))  # noqa: T201
    else:
        if sys.stdout.isatty() and (rows := list(table_rows(checked))):
            _show(TITLES, rows)
        for line in (*finding_lines(checked), *difference_lines(differences)):
            print(_printable(line))  # noqa: T201
    report = write_report(settings.logs_dir, record, datetime.now(UTC), settings.keep_reports)
    if not options.quiet:
        _say(summary(record) if paths else f"there is no candle file to check in {settings.data_dir}")
        _say(f"the report is {report}")
    if record["files_with_issues"] or differences:
        sys.exit(1)


@app.command()
@with_options
def repair(
    options: Options,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
) -> None:
    """Mend every file and fetch what is missing in it. What is removed is kept beside the file."""
    if dry_run:
        plans = list(show_plans(options.settings, options.are_about))
        for plan in plans:
            print(plan)  # noqa: T201
        _say(_repaired(len({plan.series for plan in plans}), would_be=True))
        return
    work = partial(mend, options.settings, options.are_about)
    plans, outcome = _logged(options, work)
    _summarize(options, outcome)
    _say(_repaired(len({plan.series for plan in plans})))
    if not outcome.complete:
        sys.exit(1)


@app.command()
@with_options
def systemd_unit(
    options: Options,
    *,
    user: Annotated[
        str | None, typer.Option(help="Who it runs as; by default the owner of the data directory, or you.")
    ] = None,
) -> None:
    """Print a systemd unit that runs this installation as a service, with the options given here."""
    text, to_do = unit_of_this(options.settings, options.words, os.environ, user)
    print(text, end="")  # noqa: T201
    for command in to_do:
        _say(f"before it is started: {command}")


@app.command()
def demo(
    *,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where to collect to; a new directory in the temporary one by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another market, with other faults.")] = 1,
) -> None:
    """Watch it work in under a minute: the sandbox with faults, a collector, and a comparison of every file."""
    console = Console(stderr=True)
    directory = data_dir or Path(tempfile.mkdtemp(prefix="collector-demo-"))
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise SettingsError([f"--data-dir: {directory} is not an empty directory, and the demo's exchange is made up"])
    with open_logs(None, quiet=console.is_terminal, console=console):
        watch = Display(console).draw if console.is_terminal else log_progress
        equal = trio.run(demonstrate, directory, seed, _say, watch)
    _say(f"the files stay in {directory}; look at one: head {directory}/BTCUSDT_60.csv")
    if not equal:
        sys.exit(1)


app.command()(status)
app.command()(sandbox)


def _is_chosen(options: Options, path: Path) -> bool:
    """Whether a file is to be looked at; one that is no series' only if nothing was named."""
    series = series_of(path)
    return options.are_about(series) if series else not (options.only_symbols or options.only_timeframes)


def _watched(options: Options, work: Iterable[T], total: int) -> Iterable[T]:
    """The same, with a bar on a terminal."""
    console = Console(stderr=True)
    if options.quiet or not console.is_terminal:
        return work
    return track(work, "checking", total, console=console, transient=True)


def _collect(options: Options, *, once: bool, allow_trim: bool) -> Outcome:
    rereading = None if once else Rereading(partial(_read_again, options))
    notify = Notify.of(os.environ)
    if notify.address:
        faulthandler.enable()  # a watchdog that is not fed ends us with SIGABRT: say where we were
    work = partial(
        serve, options.settings, once=once, allow_trim=allow_trim, status=not once, notify=notify, rereading=rereading
    )
    return _logged(options, work, rereading.ask if rereading else None)


def _logged(
    options: Options, work: Callable[..., Coroutine[Any, Any, T]], on_hangup: Callable[[], None] | None = None
) -> T:
    """Runs work until it is done or a signal stops it, with logs, and with progress on a terminal."""
    console = Console(file=lasting(sys.stderr))
    with open_logs(
        options.settings.logs_dir,
        level=options.settings.log_level,
        quiet=options.quiet,
        console=console,
        journal=is_journal(os.environ),
        secrets=[os.environ.get(name, "") for name in ("BYBIT_API_KEY", "BYBIT_API_SECRET")],
    ):
        for warning in options.warnings:
            log.warning("unknown variable", what=warning)
        watch = Display(console).draw if console.is_terminal and not options.quiet else log_progress
        return trio.run(partial(until_signal, partial(work, watch=watch), on_hangup))


def _read_again(options: Options) -> Settings:
    settings = options.load()
    set_level(settings.log_level)
    return settings


def _summarize(options: Options, outcome: Outcome) -> None:
    if not options.quiet:
        for line in summary_lines(outcome):
            _say(line)


def _show(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; as wide as it needs to be where no person's terminal limits it."""
    table = Table(box=None, header_style="bold")
    for title in titles:
        table.add_column(title)
    for row in rows:
        table.add_row(*map(Text, row))  # not markup, whatever the exchange sends
    (Console() if sys.stdout.isatty() else Console(width=200)).print(table)


def _repaired(files: int, *, would_be: bool = False) -> str:
    if not files:
        return "nothing to repair"
    noun, verb = ("file", "was") if files == 1 else ("files", "were")
    return f"{files} {noun} {'would be' if would_be else verb} mended or completed"


def _fail(error: CollectorError, problems: list[str]) -> None:
    for problem in problems:
        _say(problem, "<3>" if is_journal(os.environ) else "")
    sys.exit(error.exit_status)


def _stopped() -> NoReturn:
    _say("stopped")
    sys.exit(1)


def _say(text: str, priority: str = "") -> None:
    """To the person; what the exchange said may be quoted in it, and must not steer the terminal."""
    with suppress(OSError):  # nobody reads it
        print(f"{priority}collector: {_printable(without_passwords(text))}", file=sys.stderr)  # noqa: T201


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
