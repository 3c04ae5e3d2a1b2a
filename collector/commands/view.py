"""The command `view`: the page over stored files."""

from functools import partial
from typing import Annotated

import trio
import typer

from collector.commands.console import print_line, say
from collector.commands.exits import flush_stdout
from collector.commands.options import PLACE, Options, with_options
from collector.commands.signals import until_signal
from collector.machine import THIS_MACHINE
from collector.page.endpoint import serve_stored
from collector.page.source import StoredSource
from collector.storage.data_directory import refuse_if_absent
from collector.storage.ledger_reading import read_ledger

Port = Annotated[int, typer.Option(metavar="NUMBER", min=0, max=65535, help="Serve at this port; 0: any that is free.")]


@with_options(*PLACE, "category")
def view(options: Options, *, port: Port = 0) -> None:
    """Serve the page over stored files, without a running collector.

    A map of what is complete, charts, and the API below /api/. Only programs on this machine can ask. Files are only
    read, and what changes in them is shown; Ctrl-C ends it. A running collector serves the same page at `listen`.

    Examples:
      # at any free port; the address is printed
      collector view
      # of another directory, at a port of your choice
      collector view --data-dir /srv/candles --port 8790
    """
    settings = options.settings
    refuse_if_absent(settings.data_dir)
    read_ledger(settings.data_dir, settings.category)  # what cannot be read is said now
    source = StoredSource(settings.data_dir, settings.category, THIS_MACHINE)
    trio.run(until_signal, partial(_serve, source, port))


async def _serve(source: StoredSource, port: int, *, stop: trio.Event) -> bool:
    """Serves until stopped, which is a good end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stored, source, THIS_MACHINE, port, print_address)
        await stop.wait()
        nursery.cancel_scope.cancel()
    return True


def print_address(url: str) -> None:
    """Print where the page is, at once: whoever started it reads a pipe. How it ends is for a person."""
    print_line(url)
    flush_stdout()
    say("the page is served there until Ctrl-C")
