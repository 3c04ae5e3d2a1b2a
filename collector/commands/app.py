"""The command line: all commands, and what becomes of the errors that end one.

Each command has a module of its own. Commands translate between a person and the service; collecting is the service's.
"""

import sys

import typer

from collector.commands.check import check
from collector.commands.demo import demo
from collector.commands.exits import INTERRUPTED, STDOUT_ERRORS, fail, flush_stdout, stdout_not_written, stopped
from collector.commands.gaps import gaps
from collector.commands.installation import systemd_unit
from collector.commands.options import (
    takes_value,
)
from collector.commands.repair import repair
from collector.commands.run import fetch, run
from collector.commands.status import status
from collector.commands.symbols import symbols
from collector.errors import CollectorError, SettingsError, cause_of
from collector.sandbox.command import sandbox

_HELP = """A trustworthy local store of Bybit candles: one plain CSV file per symbol and timeframe.

Try it without the exchange: collector demo. Settings come from settings.ini, from COLLECTOR_<KEY> variables, and from
options, the later winning over the earlier. Ctrl-C is safe at any moment: what was received is written, and the next
start goes on where this one stopped.

Exit status: 0 done; 1 the check found something, or something wanted could not be fetched; 2 usage or settings; 3 the
exchange cannot be reached or refuses us, or no collector is running; 4 another collector owns the data directory;
130 interrupted before it was done."""

app = typer.Typer(help=_HELP, no_args_is_help=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
_NO_COMMAND = ("--help", "--install-completion", "--show-completion")

for command in (run, fetch, repair, systemd_unit, demo, symbols, gaps, check, status, sandbox):
    app.command()(command)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    try:
        app(_command_first(sys.argv[1:]), prog_name="collector")
    except SystemExit as end:
        flush_stdout()
        if end.code == INTERRUPTED:
            stopped()
        raise
    except OSError as error:
        if error.errno not in STDOUT_ERRORS or error.filename is not None:
            raise
        stdout_not_written(error)
    except SettingsError as error:
        fail(error, [*error.problems])
    except CollectorError as error:
        fail(error, [str(error)])
    except KeyboardInterrupt:
        stopped()
    except BaseExceptionGroup as group:  # nurseries raise groups
        cause = cause_of(group, KeyboardInterrupt)
        if cause is not None:
            fail(cause, [str(cause)])
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        stopped()


def _command_first(arguments: list[str]) -> list[str]:
    """Move the command before its options; without a command add `run`."""
    if arguments and (not arguments[0].startswith("-") or arguments[0] in _NO_COMMAND):
        return arguments
    commands = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    for place, word in enumerate(arguments):
        if word in commands and not takes_value(arguments[place - 1]):
            return [word, *arguments[:place], *arguments[place + 1 :]]
    return ["run", *arguments]
