"""The options that all commands share, and how they become settings.

A command takes one `Options`; the decorator gives it the command line's options in its place, so that each is described
once.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from collector.commands.console import say
from collector.core.candle import DAY_MS, Series, Timeframe
from collector.core.planning import NEWEST
from collector.integrity.demand import Demand
from collector.integrity.samples import ALL
from collector.machine.chance import THIS_CHANCE
from collector.settings.settings import Settings, file_to_read, unknown_variables

_WHERE, _WHAT, _HOW = "Where", "What to collect", "Output"


def _one_of(words: str, text: str, panel: str) -> Any:
    """An option with a few values, which a shell can complete; whether it has one of them is the settings' business."""
    return typer.Option(
        help=text,
        autocompletion=lambda incomplete: [word for word in words.split() if word.startswith(incomplete)],
        rich_help_panel=panel,
    )


def _directory(text: str) -> Any:
    """An option for a path, as it was written: an empty one is not the working directory.

    Whether it may be read is not asked here: the command says so itself, with its owner, and in JSON if that is wanted.
    """
    return Annotated[Path | None, typer.Option(path_type=str, readable=False, help=text, rich_help_panel=_WHERE)]


def _stretches(given: object) -> float:
    """How many stretches are meant; the default comes as a number."""
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
        parser=_stretches,
        help="Read N random stretches of up to 1000 candles, or all, again and compare.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Draw the same stretches again.")]


def drawn_seed() -> int:
    """The seed where none was given; short enough to be typed."""
    return THIS_CHANCE.below(10**6)


# Option name -> its declaration; those named like a setting override it.
_SHARED: dict[str, Any] = {
    "settings": Annotated[
        Path | None,
        typer.Option(
            readable=False, help="The settings file; settings.ini by default, if there is one.", rich_help_panel=_WHERE
        ),
    ],
    "data_dir": _directory("Where the candle files are kept."),
    "logs_dir": _directory("Where the log is written."),
    "rest_url": Annotated[str | None, typer.Option(help="Where history is asked for.", rich_help_panel=_WHERE)],
    "ws_url": Annotated[str | None, typer.Option(help="Where live candles come from.", rich_help_panel=_WHERE)],
    "category": Annotated[
        str | None,
        _one_of("linear spot inverse", "linear, spot or inverse.", _WHAT),
    ],
    "symbols": Annotated[
        str | None, typer.Option(metavar="A,B", help="Collect these symbols and no others.", rich_help_panel=_WHAT)
    ],
    "timeframes": Annotated[
        str | None,
        typer.Option(metavar="1,5", help="1 3 5 15 30 60 120 240 360 720 D W M.", rich_help_panel=_WHAT),
    ],
    "days": Annotated[str | None, typer.Option(metavar="N", help="How many days of history.", rich_help_panel=_WHAT)],
    "mode": Annotated[
        str | None,
        _one_of("full recent live", "full, recent (the 50 newest) or live (no history).", _WHAT),
    ],
    "no_limit": Annotated[
        bool, typer.Option("--no-limit", help="Keep every row, not only the 50 newest.", rich_help_panel=_WHAT)
    ],
    "no_websocket": Annotated[
        bool,
        typer.Option(
            "--no-websocket", help="Without the stream: candles are asked for as they close.", rich_help_panel=_WHAT
        ),
    ],
    "log_level": Annotated[
        str | None,
        _one_of("debug info warning error", "debug, info, warning or error.", _HOW),
    ],
    "quiet": Annotated[bool, typer.Option("--quiet", help="Warnings and errors only.", rich_help_panel=_HOW)],
}
_DEFAULTS = {"no_limit": False, "no_websocket": False, "quiet": False}
_SETTING_OF = {"days": "days_to_fetch"}
_NOT_SETTINGS = ("settings", "no_limit", "no_websocket", "quiet")
_PATHS = ("settings", "data_dir", "logs_dir")


@attrs.frozen
class Options:
    """What was said on the command line, and the settings that follow from it and everything else."""

    settings: Settings
    load: Callable[[], Settings]  # the same settings, read again
    file: Path | None  # where some of them come from
    quiet: bool
    words: tuple[str, ...] = ()  # the command line again, to be used from anywhere
    warnings: tuple[str, ...] = ()
    only_symbols: tuple[str, ...] = ()
    only_timeframes: tuple[Timeframe, ...] = ()
    names_days: bool = False  # whether the options say how much history is wanted
    cut_days: int = 0  # those asked for on the command line, if the limit of 50 rows leaves less of any timeframe

    def say_warnings(self) -> None:
        """For commands without a log."""
        for warning in self.warnings:
            say(warning)

    @property
    def demand(self) -> Demand:
        """What is wanted to be stored, for commands that look at what is."""
        return Demand(self.settings, self.only_symbols, self.only_timeframes, self.names_days)

    @property
    def selection(self) -> str:
        """What was chosen, with a negation before it."""
        parts = {"symbols": self.only_symbols, "timeframes": self.only_timeframes}
        chosen = "; ".join(f"{name} {', '.join(map(str, each))}" for name, each in parts.items() if each)
        return f"nothing of {chosen}" if chosen else "no candle file"

    def are_about(self, series: Series) -> bool:
        """Whether a command that looks at what is stored is to look at this series: at all, unless some were named."""
        return (not self.only_symbols or series.symbol in self.only_symbols) and (
            not self.only_timeframes or series.timeframe in self.only_timeframes
        )


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Lets a command that takes `options: Options` first be called with the shared options instead."""

    def warned(options: Options, **given: Any) -> None:
        options.say_warnings()
        command(options, **given)

    return _called_with_shared(command, warned)


def with_logged_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same for a command that has a log for the warnings."""
    return _called_with_shared(command, command)


def _called_with_shared(command: Callable[..., None], called: Callable[..., None]) -> Callable[..., None]:
    own = list(inspect.signature(command).parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name), annotation=declared)
        for name, declared in _SHARED.items()
    ]

    @wraps(command)
    def wrapped(**given: Any) -> None:
        called(_read({name: given.pop(name) for name in _SHARED}), **given)

    wrapped.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + shared
    )
    return wrapped


def takes_value(word: str) -> bool:
    """Whether what follows this word on a command line is its value."""
    name = word.removeprefix("--").replace("-", "_")
    return word.startswith("--") and name in _SHARED and name not in _DEFAULTS


def _words(given: dict[str, Any]) -> Iterator[str]:
    for name, value in given.items():
        if value is not None and value is not False:
            yield f"--{name.replace('_', '-')}"
            if value is not True:
                yield str(Path(value).expanduser().absolute() if name in _PATHS else value)


def _read(given: dict[str, Any]) -> Options:
    overrides = {_SETTING_OF.get(name, name): value for name, value in given.items() if name not in _NOT_SETTINGS}
    if given["no_limit"]:
        overrides["limit_to_50_entries"] = False
    if given["no_websocket"]:
        overrides["enable_websocket"] = False
    file = file_to_read(given["settings"])  # once: should it be gone when it is read again, defaults are no answer
    load = partial(Settings.load, file, os.environ, overrides)
    settings = load()
    return Options(
        settings,
        load,
        file,
        given["quiet"],
        tuple(_words(given)),
        tuple(unknown_variables(os.environ)),
        only_symbols=tuple(settings.symbols) if given["symbols"] else (),
        only_timeframes=tuple(settings.timeframes) if given["timeframes"] else (),
        names_days=any(given[name] for name in ("days", "no_limit", "mode")),
        cut_days=settings.days_to_fetch if given["days"] and _cuts(settings) else 0,
    )


def _cuts(settings: Settings) -> bool:
    """Whether there are more candles in the days wanted than the limit leaves."""
    span_ms = settings.days_to_fetch * DAY_MS
    limited = settings.mode == "full" and settings.limit_to_50_entries
    return limited and any(frame.count(0, span_ms) > NEWEST for frame in settings.timeframes)
