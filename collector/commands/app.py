"""The command line: what each command does, what it says at its end, and its exit status.

    0 done · 1 the check found something, or something wanted could not be fetched · 2 usage or settings
    3 the exchange cannot be reached or refuses us, or none is running · 4 another collector owns the data directory
    130 interrupted

Nothing is collected here; commands translate between a person and the service. Those that only look are in modules of
their own in `commands/`.
"""

import faulthandler
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EPIPE
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import trio
import typer
from rich.console import Console

from collector.commands.check import check, show_differences
from collector.commands.console import can_draw, print_line, say
from collector.commands.demo import demonstrate
from collector.commands.gaps import gaps
from collector.commands.installation import unit_of_this
from collector.commands.options import (
    AgainstExchange,
    Options,
    Seed,
    drawn_seed,
    takes_value,
    with_logged_options,
    with_options,
)
from collector.commands.progress import Display, log_progress
from collector.commands.signals import until_signal
from collector.commands.standard_streams import ignoring_write_errors, is_journal
from collector.commands.status import status
from collector.commands.summary import left_lines, summary_lines
from collector.commands.symbols import symbols
from collector.core.text import counted
from collector.errors import CollectorError, SettingsError, cause_of
from collector.integrity.plan import Plan
from collector.integrity.recheck import Refetch
from collector.integrity.repair import RepairResult, show_plans
from collector.integrity.samples import Draw
from collector.logs import ConsoleHandler, JournalHandler, LogFile, get_logger, open_logs, set_level
from collector.machine.disk import THIS_DISK
from collector.monitoring.sd_notify import NotifySocket
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import ServeOptions, serve
from collector.pipeline.service import repair as mend
from collector.sandbox.command import sandbox
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings
from collector.storage.stored import refuse_if_nothing_stored

log = get_logger(__name__)
T = TypeVar("T")

_HELP = """A trustworthy local store of Bybit candles: one plain CSV file per symbol and timeframe.

Try it without the exchange: collector demo. Settings come from settings.ini, from COLLECTOR_<KEY> variables, and from
options, the later winning over the earlier. Ctrl-C is safe at any moment: what was received is written, and the next
start goes on where this one stopped.

Exit status: 0 done; 1 the check found something, or something wanted could not be fetched; 2 usage or settings; 3 the
exchange cannot be reached or refuses us, or no collector is running; 4 another collector owns the data directory;
130 interrupted before it was done."""

app = typer.Typer(help=_HELP, no_args_is_help=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


_NOT_WRITTEN = (EPIPE, ENOSPC, EDQUOT, EFBIG, EIO)  # to stdout: our files have errors of their own
_INTERRUPTED = 130  # what a shell gives for SIGINT, and typer for a command that Ctrl-C ends
_OF_NO_COMMAND = ("--help", "--install-completion", "--show-completion")


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    try:
        app(_command_first(sys.argv[1:]), prog_name="collector")
    except SystemExit as end:
        _flush()
        if end.code == _INTERRUPTED:
            _stopped()
        raise
    except OSError as error:
        if error.errno not in _NOT_WRITTEN or error.filename is not None:
            raise
        _not_written(error)
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


_AllowReplace = Annotated[
    bool, typer.Option("--allow-replace", help="Set aside also a file whose rows cannot be read, and begin it anew.")
]
_AllowTrim = Annotated[bool, typer.Option("--allow-trim", help="Let limit_to_50_entries cut longer files.")]


@app.command()
@with_logged_options
def run(
    options: Options,
    *,
    allow_trim: _AllowTrim = False,
    allow_replace: _AllowReplace = False,
) -> None:
    """Collect history, then live candles, until stopped with Ctrl-C or SIGTERM."""
    outcome = _collect(options, once=False, allow_trim=allow_trim, allow_replace=allow_replace)
    _summarize(options, outcome)


@app.command()
@with_logged_options
def fetch(
    options: Options,
    *,
    allow_trim: _AllowTrim = False,
    allow_replace: _AllowReplace = False,
) -> None:
    """Collect history only, then exit."""
    outcome = _collect(options, once=True, allow_trim=allow_trim, allow_replace=allow_replace)
    _summarize(options, outcome)
    _end_unless_complete(outcome)


@app.command()
@with_logged_options
def repair(
    options: Options,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    against_exchange: AgainstExchange = 0,
    seed: Seed = None,
    allow_replace: _AllowReplace = False,
) -> None:
    """Mend every file and fetch what is missing in it. What is removed is kept beside the file."""
    settings = options.settings
    if dry_run:
        options.say_warnings()
    refuse_if_nothing_stored(THIS_DISK, settings.data_dir, settings.category, options.are_about, options.selection)
    draw = Draw(against_exchange, drawn_seed() if seed is None else seed) if against_exchange else None
    if dry_run:
        plans = list(show_plans(settings, options.are_about, options.demand))
        for plan in plans:
            print_line(str(plan))
        differing = show_differences(options, draw) if draw else set()
        alone = {plan.series for plan in plans if isinstance(plan, Plan) and plan.left_alone and not allow_replace}
        files = len({plan.series for plan in plans} - alone | differing)
        nothing = "no file would be changed" if plans else "nothing to repair"
        say(f"{counted(files, 'file')} would be mended, completed or read again" if files else nothing)
        return

    async def work(**until: Any) -> tuple[list[Plan | Refetch], Outcome]:
        how = ServeOptions(allow_replace=allow_replace, **until)
        return await mend(settings, options.are_about, options.demand, draw, options=how)

    plans, outcome = _logged(options, work)
    _summarize(options, outcome)
    for line in _repaired(outcome.mended, planned=bool(plans) or not outcome.complete) if outcome.looked else ():
        say(line)
    if outcome.stopped:  # what was to be read again was not, though nothing is missing
        sys.exit(_INTERRUPTED)
    _end_unless_complete(outcome)


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
        say(f"before it is started: {command}")


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
    with open_logs(None, ConsoleHandler(console, quiet=can_draw(console))):
        watch = Display(console).draw if can_draw(console) else log_progress
        equal = trio.run(demonstrate, directory, seed, say, watch)
    say(f"the files stay in {directory}; look at one: head {directory}/BTCUSDT_60.csv")
    if not equal:
        sys.exit(1)


app.command()(symbols)
app.command()(gaps)
app.command()(check)
app.command()(status)
app.command()(sandbox)


def _collect(options: Options, *, once: bool, allow_trim: bool, allow_replace: bool) -> Outcome:
    reload_request = None if once else ReloadRequest(partial(_read_again, options))
    notify = NotifySocket.of(os.environ)
    if notify.address:
        faulthandler.enable()  # a watchdog that is not fed ends us with SIGABRT: say where we were

    async def work(**until: Any) -> Outcome:
        how = ServeOptions(
            allow_trim=allow_trim,
            allow_replace=allow_replace,
            status=not once,
            notify=notify,
            reload_request=reload_request,
            **until,
        )
        return await serve(options.settings, once=once, options=how)

    return _logged(options, work, reload_request.request if reload_request else None)


def _logged(
    options: Options, work: Callable[..., Coroutine[Any, Any, T]], on_hangup: Callable[[], None] | None = None
) -> T:
    """Runs work until it is done or a signal stops it, with logs, and with progress on a terminal."""
    console = Console(file=ignoring_write_errors(sys.stderr))
    is_service = on_hangup is not None  # which waits for its disk
    file = LogFile(options.settings.logs_dir, required=not is_service)
    quiet = options.quiet
    output = JournalHandler(quiet=quiet) if is_journal(os.environ) else ConsoleHandler(console, quiet=quiet)
    with open_logs(file, output, level=options.settings.log_level):
        log.info("started", **_places(options))
        for warning in options.warnings:
            log.warning("unknown variable", what=warning)
        if options.cut_days:
            log.warning("more days than limit_to_50_entries keeps", days=options.cut_days, remedy="--no-limit")
        watch = Display(console).draw if can_draw(console) and not options.quiet else log_progress
        return trio.run(partial(until_signal, partial(work, watch=watch), on_hangup))


def _places(options: Options) -> dict[str, str]:
    """What decides where is written, also where nobody has named it: a settings.ini of the working directory does."""
    settings = options.settings
    file = str(options.file.absolute()) if options.file else "none"
    return {
        "settings": file,
        "data_dir": str(settings.data_dir.absolute()),
        "logs_dir": str(settings.logs_dir.absolute()),
    }


def _read_again(options: Options) -> Settings:
    settings = options.load()
    set_level(settings.log_level)
    return settings


def _command_first(arguments: list[str]) -> list[str]:
    """The command before its options, also where it was written behind some; without a command it is `run`."""
    if arguments and (not arguments[0].startswith("-") or arguments[0] in _OF_NO_COMMAND):
        return arguments
    commands = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    for place, word in enumerate(arguments):
        if word in commands and not takes_value(arguments[place - 1]):
            return [word, *arguments[:place], *arguments[place + 1 :]]
    return ["run", *arguments]


def _summarize(options: Options, outcome: Outcome) -> None:
    for line in left_lines(outcome) if options.quiet else summary_lines(outcome):
        say(line)


def _end_unless_complete(outcome: Outcome) -> None:
    if not outcome.complete:
        sys.exit(_INTERRUPTED if outcome.stopped else 1)


def _repaired(mended: RepairResult, *, planned: bool) -> Iterator[str]:
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


def _fail(error: CollectorError, problems: list[str]) -> None:
    for problem in problems:
        say(problem, priority=3)
    sys.exit(error.exit_status)


def _flush() -> None:
    """Writes what waits to be written to stdout, while it can still be said that it cannot."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _not_written(error)


def _not_written(error: OSError) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or it would be tried again at the very end
    if error.errno != EPIPE:
        say(f"stdout cannot be written: {error.strerror}", priority=3)
    sys.exit(1)


def _stopped() -> NoReturn:
    say("stopped")
    sys.exit(_INTERRUPTED)
