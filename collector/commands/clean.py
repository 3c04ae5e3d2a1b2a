"""The command `clean`: lists and removes what was set aside."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from collector.commands.console import ask, complain, say, show
from collector.commands.options import PLACE, SERIES, Options, with_options
from collector.core.errors import SettingsError
from collector.core.text import counted, moment_text
from collector.machine.disk import THIS_DISK
from collector.storage.data_directory import lock_directory, refuse_another_category, refuse_if_absent
from collector.storage.leftovers import Leftover, Removal, find_leftovers, remove_leftovers

_WHAT = {
    "cut": "what followed a bad row; its sound rows are stored again",
    "set-aside": "a file that was not the collector's; its sound rows are stored again",
    "removed": "rows that were no candles, stood there twice, or had yet to close",
}


@with_options(*PLACE, *SERIES, stored=True)
def clean(
    options: Options,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List, and remove nothing.")] = False,
) -> None:
    """List what was set aside beside the candle files, and remove it.

    Pieces whose rows are still to be stored (.pending) stay, as every other file does. While a collector runs, nothing
    is removed (exit status 4). A stored row that the exchange has no more and that came back from such a piece is named
    by `check --against-exchange` once the piece is gone.

    Exit status 1: the system did not let a file go; the others are removed.

    Examples:
      # what is there?
      collector clean --dry-run
      # remove it, after a question
      collector clean
      # of one symbol, without a question
      collector clean --symbols BTCUSDT --yes
    """
    settings = options.settings
    refuse_if_absent(settings.data_dir)
    refuse_another_category(THIS_DISK, settings.data_dir, settings.category)
    found = [each for each in find_leftovers(THIS_DISK, settings.data_dir) if options.are_about(each.series)]
    used_up = [each for each in found if not each.waits]
    _show(options, used_up, waiting=len(found) - len(used_up))
    if not used_up or dry_run:
        return
    if not (yes or sys.stdin.isatty()):
        raise SettingsError(["nothing was removed, as nobody can be asked here: give --yes"])
    if not (yes or ask(f"remove {counted(len(used_up), 'file')} for good?")):
        say("nothing was removed")
        return
    with lock_directory(THIS_DISK, settings.data_dir):
        removal = remove_leftovers(THIS_DISK, used_up)
    _tell(removal, changed=len(used_up) - len(removal.removed) - len(removal.refused))


def _show(options: Options, used_up: Sequence[Leftover], *, waiting: int) -> None:
    if used_up:
        rows = [
            (each.path.name, f"{each.size:,}", moment_text(each.changed_ns // 1_000_000)[:10], _WHAT[each.kind])
            for each in used_up
        ]
        show(("file", "bytes", "since", ""), rows, prose=True)
        say(_amount(used_up))
    else:
        say(f"nothing is set aside in {options.settings.data_dir.absolute()}")
    if waiting:
        say(f"{counted(waiting, 'piece')} with rows that are still to be stored (.pending): not touched")


def _tell(removal: Removal, *, changed: int) -> None:
    """Say what is gone, and end with status 1 if the system refused any."""
    say(f"{_amount(removal.removed)} removed")
    if changed:
        say(f"{counted(changed, 'file')} changed meanwhile and left alone")
    if removal.refused:
        complain(f"{path} could not be removed ({why})" for path, why in removal.refused.items())
        sys.exit(1)


def _amount(pieces: Sequence[Leftover]) -> str:
    return f"{counted(len(pieces), 'file')} with {counted(sum(each.size for each in pieces), 'byte')}"
