"""The command `report`: the page as one file."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from collector.commands.check_summary import summary
from collector.commands.console import say
from collector.commands.dates import refuse_future
from collector.commands.options import HISTORY, PLACE, SERIES, Options, with_options
from collector.core.errors import CollectorError, SettingsError, StorageError
from collector.core.redaction import hidden, secrets_in
from collector.core.text import counted, size_text
from collector.integrity.reports import last_report
from collector.machine import THIS_MACHINE
from collector.machine.own_files import NotAFile, expect_own, not_written, replace_own
from collector.monitoring.status import collector_version
from collector.page.report_data import check_record, gather
from collector.page.report_file import report_file
from collector.settings.settings import Settings
from collector.storage.stored import refuse_if_nothing_stored

Out = Annotated[Path, typer.Option(metavar="FILE", help="Where to write it; a file that is there is replaced.")]


@with_options(*PLACE, "logs_dir", *SERIES, *HISTORY, "quiet", stored=True)
def report(options: Options, *, out: Out = Path("report.html")) -> None:
    """Write the page as one file: map, table, worst gaps, last check.

    The file has everything in it, at most 3 MB: it opens from the disk, in a mail or on a web server, and contacts
    nobody. Data are only read. With dates, it is about the candles that open in them.

    Examples:
      # everything, into report.html
      collector report
      # the last year of a symbol
      collector report --symbols BTCUSDT --days 365 --no-limit --out btc.html
    """
    settings, disk = options.settings, THIS_MACHINE.disk
    refuse_future(options.dates, settings)
    asked = settings.category, options.are_about, options.selection, options.only_symbols
    refuse_if_nothing_stored(disk, settings.data_dir, *asked)
    now_ms = THIS_MACHINE.clock.now_ms()
    contents = gather(disk, settings.data_dir, settings.category, options.demand, options.are_about, now_ms)
    about = {
        "made_ms": now_ms,
        "version": collector_version(),
        "category": settings.category,
        "check": _check(settings),
    }
    made = report_file(contents, hidden(about, secrets_in(os.environ)))
    _write(out, made)
    if not options.quiet:
        say(f"{out} has {counted(len(contents.series), 'series')}, {size_text(len(made))}")


def _check(settings: Settings) -> dict[str, Any] | None:
    """The last check, if there is one that this version understands."""
    found = last_report(THIS_MACHINE.disk, settings.logs_dir)
    try:
        return check_record(found, summary(found)) if found else None
    except (KeyError, TypeError, AttributeError):  # another version's, or nobody's
        return None


def _write(out: Path, made: bytes) -> None:
    try:
        expect_own(out)
        replace_own(THIS_MACHINE.disk, out, made)
    except FileNotFoundError as error:
        raise SettingsError([f"--out: there is no directory {out.parent}"]) from error
    except OSError as error:
        raise _refused(out, error) from error


def _refused(out: Path, error: OSError) -> CollectorError:
    text = str(not_written("out", out, error)).replace("[storage] out:", "--out:", 1)
    return SettingsError([text]) if isinstance(error, NotADirectoryError | NotAFile) else StorageError(text)
