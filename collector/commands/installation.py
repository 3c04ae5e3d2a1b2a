"""The command `systemd-unit`: a unit for this interpreter, code, settings and user.

It only reads.
"""

import os
import pwd
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, run
from typing import Annotated

import typer

from collector.commands.console import print_verbatim, say
from collector.commands.options import EVERY, Options, with_options
from collector.commands.systemd_unit import Installation, unit_text
from collector.core.errors import SettingsError
from collector.core.redaction import API_KEYS, DATABASE, DATABASE_PASSWORD, WEBHOOK, masked, secrets_in
from collector.machine.own_files import OWN
from collector.settings.settings import Settings
from collector.settings.sources import is_variable

_USER = "collector"  # instead of root, whose rights a service does without
_PACKAGE = Path(__file__).parent.parent
_CODE = (Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable), _PACKAGE)
_FIND = "import collector; print(collector.__file__)"


@with_options(*(name for name in EVERY if name != "end"))
def systemd_unit(
    options: Options,
    *,
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who it runs as; by default the owner of the data directory, or you."),
    ] = None,
) -> None:
    """Print a systemd unit that runs this installation as a service, with the options given here.

    What is to be done before it starts is said on stderr.

    Examples:
      # look at it
      collector systemd-unit
      # install it (in /etc/systemd/system)
      collector systemd-unit --user collector | sudo tee collector.service
      # with options for the service
      collector systemd-unit --data-dir /srv/candles --log-level warning
    """
    if options.dates and options.dates.end_ms is not None:
        raise SettingsError(["--end: a service goes on with what closes; use fetch for history up to a date"])
    text, to_do = unit_of_this(options.settings, options.words, os.environ, user)
    print_verbatim(text)
    for command in to_do:
        say(f"before it is started: {command}", whole=True)


def unit_of_this(
    settings: Settings, words: Sequence[str], environment: Mapping[str, str], user: str | None = None
) -> tuple[str, list[str]]:
    """Return the unit of this installation, and the commands to run before it starts.

    Args:
        settings: name the directories it writes.
        words: options of the command line, passed on to the service.
        environment: its settings go into the unit; secrets and module paths stay out.
        user: the service's user; by default the owner of the data directory, or the caller.

    Raises:
        SettingsError: a path is invalid in a unit, or the user is unknown.
    """
    here, secrets = Path.cwd(), secrets_in(environment)
    data_dir, logs_dir = here / settings.data_dir, here / settings.logs_dir
    name = user or _owner(data_dir)
    writes = [data_dir, logs_dir, *_behind_links(data_dir, data_dir / OWN, logs_dir)]
    installation = Installation(
        [sys.executable, "-I", "-m", "collector", "run", *words],
        name,
        str(here),
        [*map(str, writes)],
        f"{settings.category} at {settings.exchange}",
        [str(path.resolve()) for path in (*_CODE, here, data_dir, logs_dir, *map(Path, words))],
        {
            key: value
            for key, value in environment.items()
            if is_variable(key) and key != DATABASE and masked(value, secrets) == value
        },
    )
    try:
        return unit_text(installation), [*_to_install(), *_to_do(name, data_dir, logs_dir), *_to_set(environment)]
    except ValueError as error:
        raise SettingsError([str(error)]) from error


def _behind_links(*directories: Path) -> set[Path]:
    """Return the directories that links lead to; a candle file is written beside its target."""
    links: list[Path] = []
    for directory in directories:
        with suppress(OSError):  # missing or unreadable
            links += [each for each in directory.iterdir() if each.is_symlink()]
    targets = [link.resolve().parent if link.suffix == ".csv" else link.resolve() for link in links]
    return {target for target in targets if target.is_dir()}


def _to_install() -> list[str]:
    """Return the command that installs this code, unless it is installed."""
    found = run([sys.executable, "-I", "-c", _FIND], stdout=PIPE, stderr=DEVNULL, text=True, check=False).stdout.strip()
    if Path(found).resolve() == _PACKAGE.resolve() / "__init__.py":
        return []
    return [f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(str(_PACKAGE.parent))}"]


def _to_set(environment: Mapping[str, str]) -> list[str]:
    """Return the commands that give the service the secrets that are set here, which the unit leaves out."""
    names = [name for name in (WEBHOOK, DATABASE, DATABASE_PASSWORD, *API_KEYS) if environment.get(name)]
    return [f"systemctl edit collector (for Environment={name}=…; a unit is no place for it)" for name in names]


def _owner(data_dir: Path) -> str:
    """Return the owner of the directory; the caller while it is missing."""
    number = data_dir.stat().st_uid if data_dir.exists() else os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name if number else _USER
    except KeyError:
        return str(number)


def _to_do(user: str, *directories: Path) -> list[str]:
    """Return the commands that create the user and the directories."""
    commands = []
    quoted = shlex.quote(user)
    try:
        number = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        number = -1
        commands.append(f"useradd --system {quoted}")
    for directory in directories:
        path = shlex.quote(str(directory))
        if not directory.is_dir():
            commands.append(f"install -d -o {quoted} {path}")
        elif directory.stat().st_uid != number:
            commands.append(f"chown -R {quoted} {path}")
    return commands
