"""The command line: all commands, and what becomes of the errors that end one.

Each command has a module of its own, and only the one that is asked for is loaded: all together take half a second
more. Commands translate between a person and the service; collecting is the service's. CONTRIBUTING.md has the steps to
a new one.
"""

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from collector.commands.console import print_line
from collector.commands.early_signals import release_signals
from collector.commands.exits import (
    INTERRUPTED,
    STDOUT_ERRORS,
    Record,
    end,
    error_record,
    flush_stdout,
    stdout_not_written,
    stopped,
)
from collector.commands.first_start import explain_start, is_unconfigured
from collector.commands.help import Command, Group, examples, prose
from collector.commands.options import takes_value

_HELP = """A trustworthy local store of Bybit candles: one plain CSV file per symbol and timeframe.

Settings come from settings.ini, from COLLECTOR_<KEY> variables, and from options, the later winning over the earlier.
Ctrl-C is safe at any moment: what was received is written, and the next start goes on where this one stopped.

Exit status: 0 done; 1 the check found something, or something wanted could not be fetched; 2 usage or settings; 3 the
exchange cannot be reached or refuses us, or no collector is running; 4 another collector owns the data directory;
130 interrupted before it was done.

Examples:
  # see it work without the exchange, in under a minute
  collector demo
  # the last month of a symbol, every candle of it
  collector fetch --symbols BTCUSDT --timeframes 1,60 --days 30 --no-limit
  # is what is stored complete and right?
  collector check"""

# By the group in which the help shows them; of each the module, and the function in it.
_COMMANDS = {
    "Collect": {
        "run": ("commands.run", "run"),
        "fetch": ("commands.run", "fetch"),
        "repair": ("commands.repair", "repair"),
    },
    "Inspect": {
        "list": ("commands.list", "list_stored"),
        "check": ("commands.check", "check"),
        "gaps": ("commands.gaps", "gaps"),
        "status": ("commands.status", "status"),
        "cluster": ("commands.cluster", "cluster"),
        "symbols": ("commands.symbols", "symbols"),
        "view": ("commands.view", "view"),
        "report": ("commands.report", "report"),
    },
    "Use": {
        "export": ("commands.export", "export"),
        "import": ("commands.importing", "import_files"),
        "demo": ("commands.demo", "demo"),
        "sandbox": ("sandbox.command", "sandbox"),
    },
    "Operate": {
        "clean": ("commands.clean", "clean"),
        "systemd-unit": ("commands.installation", "systemd_unit"),
    },
}
_NAMES = frozenset(name for commands in _COMMANDS.values() for name in commands)
_RUN = "run"
_COMPLETING = "_COLLECTOR_COMPLETE"  # set by the shell that asks how a line may go on
_NO_COMMAND = ("--help", "-h", "--version", "--install-completion", "--show-completion")


def load(arguments: list[str]) -> typer.Typer:
    """Return the command line with the command that the arguments name; with all commands where they name none."""
    name = _command_first(arguments)[0]
    return command_line(frozenset({name}) if name in _NAMES and _COMPLETING not in os.environ else _NAMES)


def command_line(names: frozenset[str] = _NAMES) -> typer.Typer:
    """Return the command line with these commands."""
    app = typer.Typer(
        cls=Group,
        help=prose(_HELP),
        epilog=examples(_HELP),
        context_settings={"help_option_names": ["--help", "-h"]},
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_collector)
    for panel, commands in _COMMANDS.items():
        for name, (module, function) in commands.items():
            if name in names:
                command = getattr(import_module(f"collector.{module}"), function)
                told = command.__doc__
                app.command(name, cls=Command, help=prose(told), epilog=examples(told), rich_help_panel=panel)(command)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        from collector.monitoring.status import collector_version

        print_line(f"collector {collector_version()}")
        raise typer.Exit


def _collector(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options of the whole command line."""
    if context.invoked_subcommand != _RUN:
        release_signals()


def main(app: typer.Typer | None = None) -> None:
    """Run the command line, loaded unless it is given, and end the process with its exit status."""
    arguments = sys.argv[1:]
    try:
        if not arguments and _COMPLETING not in os.environ and is_unconfigured(os.environ):
            explain_start(os.environ)
        app = app or load(arguments)
        sys.exit(app(_command_first(arguments), prog_name="collector", standalone_mode=False))
    except SystemExit as ended:
        flush_stdout()
        if ended.code == INTERRUPTED:
            stopped()
        raise
    except OSError as error:
        if error.errno not in STDOUT_ERRORS or error.filename is not None:
            raise
        stdout_not_written(error)
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
        end(error, _record(arguments))


def _record(arguments: list[str]) -> Record | None:
    """What makes JSON of an error, where the command line asks for JSON."""
    if "--json" not in arguments:
        return None
    if _command_first(arguments)[0] != "status":
        return error_record
    from collector.commands.status import status_error_record

    return status_error_record


def _command_first(arguments: list[str]) -> list[str]:
    """Move the command before its options; without a command add `run`."""
    if arguments and (not arguments[0].startswith("-") or arguments[0] in _NO_COMMAND):
        return arguments
    for place, word in enumerate(arguments):
        if word in _NAMES and not takes_value(arguments[place - 1]):
            return [word, *arguments[:place], *arguments[place + 1 :]]
    return [_RUN, *arguments]
