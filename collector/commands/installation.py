"""This installation as a service sees it: interpreter, working directory, settings, user. It only looks."""

import os
import pwd
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from collector.commands.unit import Installation, unit_text
from collector.errors import SettingsError
from collector.settings import Settings, is_variable

_USER = "collector"  # who it is when root asks: a service needs no rights of root


_CODE = (Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable), Path(__file__))


def unit_of_this(
    settings: Settings, words: Sequence[str], environment: Mapping[str, str], user: str | None = None
) -> tuple[str, list[str]]:
    """The unit of this installation, and what has to be done before it can be started.

    Args:
        settings: where it will write to.
        words: the options of the command line, to be given to the service too.
        environment: the settings in it, and where modules are looked for, go into the unit; a secret never does.
        user: who it will run as; by default the owner of the data directory, or whoever asks.

    Raises:
        SettingsError: a path cannot stand in a unit, or the user does not exist.
    """
    here = Path.cwd()
    data_dir, logs_dir = here / settings.data_dir, here / settings.logs_dir
    name = user or _owner(data_dir)
    installation = Installation(
        [sys.executable, "-m", "collector", "run", *words],
        name,
        str(here),
        str(data_dir),
        str(logs_dir),
        f"{settings.category} at {settings.exchange}",
        [str(path.resolve()) for path in (*_CODE, here, data_dir, logs_dir, *map(Path, words))],
        {key: value for key, value in environment.items() if is_variable(key) or key == "PYTHONPATH"},
    )
    try:
        return unit_text(installation), [*_to_do(name, data_dir, logs_dir)]
    except ValueError as error:
        raise SettingsError([str(error)]) from error


def _owner(data_dir: Path) -> str:
    """Who owns the directory, or whoever asks while it does not exist."""
    number = data_dir.stat().st_uid if data_dir.exists() else os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name if number else _USER
    except KeyError:
        return str(number)


def _to_do(user: str, *directories: Path) -> list[str]:
    """The commands that make what is missing."""
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
