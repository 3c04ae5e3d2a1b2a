"""The command line: what each command does, what it says at its end, and its exit status.

    0 done · 1 something wanted could not be fetched · 2 usage or settings
    3 the exchange cannot be reached or refuses us · 4 another collector owns the data directory

Nothing is collected here; commands translate between a person and the service.
"""

import gc
import json
import os
import signal
import sys
import tempfile
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import attrs
import trio
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collector.coverage import moment_text, span_texts
from collector.demo import demonstrate
from collector.errors import CollectorError, SettingsError, cause_of
from collector.gaps import find_gaps, gaps_summary
from collector.logs import get_logger, open_logs
from collector.missing import State
from collector.options import Options, with_options
from collector.progress import Display, log_progress
from collector.sandbox.command import sandbox
from collector.service import serve
from collector.status_command import status
from collector.summary import Outcome, summary_lines
from collector.symbols import list_symbols

log = get_logger(__name__)

_HELP = """A trustworthy local store of Bybit candles: one plain CSV file per symbol and timeframe.

Try it without the exchange: collector demo. Settings come from settings.ini, from COLLECTOR_<KEY> variables, and from
the options below, the later winning over the earlier. Ctrl-C is safe at any moment: what was received is written, and
the next start goes on where this one stopped.

Exit status: 0 done; 1 something wanted could not be fetched; 2 usage or settings; 3 the exchange cannot be reached or
refuses us; 4 another collector owns the data directory."""

app = typer.Typer(
    help=_HELP, add_completion=False, no_args_is_help=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
)


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] != "--help"):
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
) -> None:
    """Show what the exchange lists in the category."""
    found = trio.run(list_symbols, options.settings)
    if as_json:
        print(json.dumps([attrs.asdict(each) for each in found], indent=1))  # noqa: T201
        return
    rows: list[tuple[str, ...]] = []
    for each in found:
        launched, delivery = (moment_text(ms) if ms else "" for ms in (each.launch_ms, each.delivery_ms))
        rows.append((each.symbol, each.status, each.kind, each.base, each.quote, each.settle, launched, delivery))
    _show(("symbol", "status", "kind", "base", "quote", "settles in", "launched", "delivery"), rows)
    _say(f"{len(found)} symbols trade in {options.settings.category}")


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


def _collect(options: Options, *, once: bool, allow_trim: bool) -> Outcome:
    console = Console(stderr=True)
    with open_logs(
        options.settings.logs_dir,
        level=options.log_level,
        quiet=options.quiet,
        console=console,
        secrets=[os.environ.get(name, "") for name in ("BYBIT_API_KEY", "BYBIT_API_SECRET")],
    ):
        for warning in options.warnings:
            log.warning("unknown variable", what=warning)
        watch = Display(console).draw if console.is_terminal and not options.quiet else log_progress
        work = partial(serve, options.settings, once=once, watch=watch, allow_trim=allow_trim, status=not once)
        return trio.run(_until_signal, work)


async def _until_signal(work: "partial[Coroutine[Any, Any, Outcome]]") -> Outcome:
    """The first SIGINT or SIGTERM lets the work drain, the second ends it at once."""
    stop = trio.Event()
    result: Outcome | CollectorError | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_listen, stop, nursery.cancel_scope)
        try:
            result = await work(stop=stop)
        except CollectorError as error:
            result = error
        nursery.cancel_scope.cancel()
    if result is None:
        raise KeyboardInterrupt
    if isinstance(result, CollectorError):
        raise result
    return result


async def _listen(
    stop: trio.Event, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if stop.is_set():
                scope.cancel()
            log.info("stopping, what was received is written first")
            stop.set()


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


def _fail(error: CollectorError, problems: list[str]) -> None:
    for problem in problems:
        _say(problem)
    sys.exit(error.exit_status)


def _stopped() -> NoReturn:
    _say("stopped")
    sys.exit(1)


def _say(text: str) -> None:
    """To the person; what the exchange said may be quoted in it, and must not steer the terminal."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    print(f"collector: {text}", file=sys.stderr)  # noqa: T201
