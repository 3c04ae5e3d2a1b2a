"""The options that commands share, and how they become settings.

They follow from the table of settings. A command is written with one parameter `options: Options`; a decorator gives
it a typer signature with all shared options in its place.
"""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, get_args

import attrs
import typer

from collector.commands.console import say
from collector.commands.dates import parse_dates, refuse_future
from collector.core.candle import DAY_MS, Series, Timeframe
from collector.core.date_range import DateRange
from collector.core.errors import SettingsError
from collector.core.request_windows import NEWEST
from collector.feeder.timestamps import span_ms
from collector.integrity.demand import Demand
from collector.integrity.samples import ALL, Draw
from collector.machine.chance import THIS_CHANCE
from collector.machine.clock import THIS_CLOCK
from collector.machine.disk import THIS_DISK
from collector.settings.keys import KEYS, Option, Panel
from collector.settings.settings import Settings
from collector.settings.sources import DEFAULT_FILE, file_to_read, unknown_variables
from collector.storage.data_directory import refuse_another_shard

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _stretches(given: object) -> float:
    """Parse the number of stretches; typer passes the default as a number."""
    text = str(given)
    if text == "all":
        return ALL
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a number of stretches nor 'all'")
    return int(text)


AgainstExchange = Annotated[
    float,
    typer.Option(
        metavar="N|all",
        show_default=False,
        parser=_stretches,
        help="Read N random stretches of up to 1000 candles, or all, again and compare.",
    ),
]
Seed = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="Draw the stretches of this number; the same ones each time.")
]


def draw_of(against_exchange: float, seed: int | None) -> Draw | None:
    """The stretches that are read again, if any are; a seed that is drawn is short enough to be typed.

    Raises:
        SettingsError: a seed is given, and nothing is read again.
    """
    if against_exchange:
        return Draw(against_exchange, THIS_CHANCE.below(10**6) if seed is None else seed)
    if seed is not None:
        raise SettingsError(["--seed goes with --against-exchange: it says which stretches are read again"])
    return None


def _declaration(name: str, default: str = "") -> Any:
    """Declare the option of a setting to typer; its value is validated with the other settings.

    Args:
        default: what its help says instead of the setting's default.
    """
    key, option = _OPTIONS[name]
    if option.switch:
        return _switch(name, option.help, option.panel)
    help_text = option.help or KEYS[key].metadata["doc"]
    help_text += _default_text(default or option.default or _text(KEYS[key].default))
    if KEYS[key].type is Path:
        return _path(help_text, option.panel, option.value)

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in option.choices if choice.startswith(incomplete)]

    kind: Any = list[str] if "," in option.value else str
    return Annotated[
        kind | None,
        typer.Option(
            help=help_text,
            metavar=option.value,
            rich_help_panel=option.panel,
            autocompletion=complete if option.choices else None,
        ),
    ]


def _switch(name: str, help_text: str, panel: Panel) -> Any:
    """Declare an option without a value; the explicit name keeps typer from adding a --no- variant."""
    return Annotated[bool, typer.Option(f"--{name.replace('_', '-')}", help=help_text, rich_help_panel=panel)]


def _date(help_text: str) -> Any:
    return Annotated[str | None, typer.Option(help=help_text, metavar="DATE", rich_help_panel="Which candles")]


def _path(help_text: str, panel: Panel, value: str) -> Any:
    """Declare an option for a path.

    The text stays as it was written, because typer would turn an empty path into the working directory. Access is
    checked by the command, which reports the owner, and answers in JSON where that was asked for.
    """
    declared = typer.Option(path_type=str, readable=False, help=help_text, metavar=value, rich_help_panel=panel)
    return Annotated[Path | None, declared]


def _default_text(default: str) -> str:
    """Say a default as typer does, for options that leave it to the settings."""
    return f" [dim]\\[default: {default}][/dim]"


def _text(default: object) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


# By the name of the option: the settings that have one, and the key of each.
_OPTIONS: dict[str, tuple[str, Option]] = {
    field.metadata["option"].name or key: (key, field.metadata["option"])
    for key, field in KEYS.items()
    if field.metadata["option"]
}
_SWITCHES = {name for name, (_, option) in _OPTIONS.items() if option.switch} | {"quiet"}
_PATHS = {name for name, (key, _) in _OPTIONS.items() if KEYS[key].type is Path} | {"settings"}
_FROM = "Only candles that open on this date, or at this time (UTC), or later"
_SHARED: dict[str, Any] = {
    "settings": Annotated[
        Path | None,
        typer.Option(
            readable=False,
            help=f"The settings file.{_default_text(f'{DEFAULT_FILE}, if there is one')}",
            metavar="FILE",
            rich_help_panel="Where",
        ),
    ],
    **{name: _declaration(name) for name in _OPTIONS},
    "start": _date(f"{_FROM}; instead of --days."),
    "end": _date("Only candles that open before the end of this date, or before this time (UTC)."),
    "quiet": _switch("quiet", "Warnings and errors only.", "Output"),
}
# What commands have in common. A command accepts every option, so that one set of them can be given to all of them, and
# shows those that mean something to it.
EVERY = tuple(_SHARED)
PLACE = ("settings", "data_dir")
SERIES = ("category", "symbols", "shard", "timeframes")
HISTORY = ("mode", "days", "start", "end", "no_limit")
OUTPUT = ("log_level", "quiet")
# Where a command is about what is stored, or in files: what it does without these options.
_STORED = {"symbols": "all", "timeframes": "all", "days": "as wanted so far", "mode": "as wanted so far"}


@attrs.frozen
class Options:
    """The shared options of one command, and the settings that result."""

    settings: Settings
    load: Callable[[], Settings]  # reads the settings again
    file: Path | None  # the settings file in use
    quiet: bool
    words: tuple[str, ...] = ()  # the options again, with absolute paths
    warnings: tuple[str, ...] = ()
    only_symbols: tuple[str, ...] = ()
    only_timeframes: tuple[Timeframe, ...] = ()
    names_days: bool = False  # whether an option sets the amount of history
    cut_days: int = 0  # those of --days, if the limit of 50 rows cuts them
    dates: DateRange | None = None  # those of --start and --end
    from_first: bool = True  # whether no option sets the start

    def say_warnings(self) -> None:
        """Print the warnings, for commands without a log."""
        for warning in self.warnings:
            say(warning)

    @property
    def demand(self) -> Demand:
        """What should be stored, for commands that look at what is.

        Raises:
            SettingsError: the dates lie in the future, or the data directory is another shard's.
        """
        refuse_another_shard(THIS_DISK, self.settings.data_dir, self.settings.shard)
        refuse_future(self.dates, self.settings)
        return Demand(self.settings, self.only_symbols, self.only_timeframes, self.names_days, self.dates)

    @property
    def stored_span(self) -> tuple[int, int]:
        """The span of the dates, for commands that take all that is stored where no date says less."""
        first_ms, behind_ms = span_ms(None, None)
        if self.dates is None:
            return first_ms, behind_ms
        return first_ms if self.from_first else self.dates.start_ms, self.dates.end_ms or behind_ms

    @property
    def selection(self) -> str:
        """Describe an empty selection, for messages such as "nothing of ... is stored"."""
        shard = filter(None, [str(self.settings.shard)])
        parts = {"symbols": self.only_symbols, "shard": (*shard,), "timeframes": self.only_timeframes}
        chosen = "; ".join(f"{name} {', '.join(map(str, each))}" for name, each in parts.items() if each)
        return f"nothing of {chosen}" if chosen else "no candle file"

    def are_about(self, series: Series) -> bool:
        """Whether a series is selected; without a selection every series is."""
        chosen = not self.only_symbols or series.symbol in self.only_symbols
        chosen = chosen and (not self.only_timeframes or series.timeframe in self.only_timeframes)
        return chosen and self.settings.shard.takes(series.symbol)


def with_options(*shown: str, stored: bool = False) -> Decorator:
    """Give a command the shared options in place of `options: Options`; its help shows these.

    Args:
        stored: whether it is about what is stored, or in files, rather than about what the settings want.
    """

    def decorator(command: Callable[..., None]) -> Callable[..., None]:
        def warned(options: Options, **given: Any) -> None:
            options.say_warnings()
            command(options, **given)

        return _called_with_shared(command, warned, _declared(shown, stored=stored))

    return decorator


def with_logged_options(*shown: str, stored: bool = False) -> Decorator:
    """Do the same for a command that logs the warnings itself."""
    return lambda command: _called_with_shared(command, command, _declared(shown, stored=stored))


def _declared(shown: Sequence[str], *, stored: bool) -> dict[str, Any]:
    """The options that a command's help shows, with what they mean to it."""
    declared = {name: _SHARED[name] for name in shown}
    if stored:
        told = {name: default for name, default in _STORED.items() if name in shown}
        declared |= {name: _declaration(name, default) for name, default in told.items()}
    if "start" in shown and "days" not in shown:
        declared["start"] = _date(f"{_FROM}.")
    return declared


def _called_with_shared(
    command: Callable[..., None], called: Callable[..., None], declared: Mapping[str, Any]
) -> Callable[..., None]:
    own = list(inspect.signature(command).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(name),
            annotation=declared.get(name) or _hidden(_SHARED[name]),
        )
        for name in _SHARED
    ]

    @wraps(command)
    def wrapped(**given: Any) -> None:
        called(_read({name: _joined(given.pop(name)) for name in _SHARED}), **given)

    wrapped.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + shared
    )
    return wrapped


def _joined(value: Any) -> Any:
    """The value of an option; a list that was given in several parts is one."""
    return ",".join(value) if isinstance(value, list) else value


def _hidden(declared: Any) -> Any:
    kind, option = get_args(declared)
    hidden = copy(option)
    hidden.hidden = True
    return Annotated[kind, hidden]


def takes_value(word: str) -> bool:
    """Whether this option of the command line is followed by a value."""
    name = word.removeprefix("--").replace("-", "_")
    return word.startswith("--") and name in _SHARED and name not in _SWITCHES


def _words(given: dict[str, Any]) -> Iterator[str]:
    for name, value in given.items():
        if value is not None and value is not False:
            yield f"--{name.replace('_', '-')}"
            if value is not True:
                yield str(Path(value).expanduser().absolute() if name in _PATHS else value)


def _read(given: dict[str, Any]) -> Options:
    overrides = {key: _override(given[name], option) for name, (key, option) in _OPTIONS.items()}
    file = file_to_read(given["settings"])  # decided once: a file missing at a reload is an error
    load = partial(Settings.load, file, os.environ, overrides)
    settings = load()
    dates = parse_dates(given, settings.days_to_fetch)
    return Options(
        settings,
        load,
        file,
        given["quiet"],
        tuple(_words(given)),
        tuple(unknown_variables(os.environ)),
        only_symbols=tuple(settings.symbols) if given["symbols"] else (),
        only_timeframes=tuple(settings.timeframes) if given["timeframes"] else (),
        names_days=bool(dates) or any(given[name] for name in ("days", "no_limit", "mode")),
        cut_days=_cut_days(settings, dates) if given["days"] or dates else 0,
        dates=dates,
        from_first=given["start"] is None,
    )


def _default(name: str) -> object:
    return False if name in _SWITCHES else None


def _override(value: object, option: Option) -> object:
    """Convert an option to the value of its key; None if it was left out."""
    if option.switch:
        return False if value else None
    return value


def _cut_days(settings: Settings, dates: DateRange | None) -> int:
    """The wanted days, if the limit of 50 rows keeps less; else 0."""
    now_ms = THIS_CLOCK.now_ms()
    days = settings.days_to_fetch if dates is None else -(-(now_ms - dates.start_ms) // DAY_MS)
    limited = settings.mode == "full" and settings.limit_to_50_entries
    return days if limited and any(frame.count(0, days * DAY_MS) > NEWEST for frame in settings.timeframes) else 0
