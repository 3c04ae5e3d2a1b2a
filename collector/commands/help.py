"""A command on the command line: its help, made from its docstring, and what is refused before it begins.

A docstring's paragraphs are prose, which the terminal wraps. What follows `Examples:` is kept line by line.
"""

import inspect
from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from collector.core.text import wrapped

FLAG = ""  # the word for the type of an option without a value
_EXAMPLES = "\n\nExamples:\n"
_NARROW = 72  # columns: in fewer, names of options do not stand beside their meaning


class Command(TyperCommand):
    """A command whose arguments, and options without a value, name no type, and whose epilog is kept line by line.

    An option of one value that is given twice is refused: typer would take the last one and say nothing.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            _, _, order = self.make_parser(ctx).parse_args([*args])
        except typer.TyperException as error:
            self._suggest_shown(ctx, error)
            raise
        for each, times in Counter[Any](order).items():
            if times > 1 and each.param_type_name == "option" and not (each.multiple or each.is_flag):
                ctx.fail(f"Option {each.opts[0]!r} is given more than once; give it once.")
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_type_of_flags(super().get_params(ctx))

    def _suggest_shown(self, ctx: Any, error: Any) -> None:
        """Have the error of an unknown option name those alike that the help shows; typer names hidden ones too."""
        if getattr(error, "possibilities", None):
            shown = [name for each in self.get_params(ctx) if not getattr(each, "hidden", False) for name in each.opts]
            error.possibilities = get_close_matches(error.option_name, shown)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _print_help(self, ctx, partial(super().format_help, ctx, formatter))


class Group(TyperGroup):
    """All commands, with the same in their help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_type_of_flags(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _print_help(self, ctx, partial(super().format_help, ctx, formatter))


def prose(docstring: str | None) -> str:
    """Return the paragraphs of a docstring, a line each."""
    text = inspect.cleandoc(docstring or "").partition(_EXAMPLES)[0]
    return escape("\n\n".join(paragraph.replace("\n", " ") for paragraph in text.split("\n\n")))


def examples(docstring: str | None) -> str:
    """Return the examples of a docstring: commands, each below a line that says what for."""
    text = inspect.cleandoc(docstring or "").partition(_EXAMPLES)[2]
    return f"Examples:\n{text}" if text else ""


def _print_help(command: Any, ctx: Any, print_wide: Callable[[], None]) -> None:
    """Print what the width allows, and the examples line by line; typer joins their lines."""
    said, command.epilog = command.epilog, None
    width = Console().width
    if width < _NARROW:
        _print_narrow(command, ctx, width)
    else:
        print_wide()
    command.epilog = said
    _print_examples(said)


def _print_narrow(command: Any, ctx: Any, width: int) -> None:
    """Print a help whose names stand above what they mean; typer's tables would cut names, and break words."""
    _print_paragraph(f"Usage: {ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}", width)
    for paragraph in Text.from_markup(command.help or "").plain.split("\n\n"):
        typer.echo()
        _print_paragraph(paragraph, width)
    panels: dict[str, list[tuple[str, str]]] = {}
    for each in command.get_params(ctx):
        if not getattr(each, "hidden", False):
            panels.setdefault(getattr(each, "rich_help_panel", None) or "Options", []).append(_entry(each))
    for name, each in getattr(command, "commands", {}).items():
        panels.setdefault(each.rich_help_panel, []).append((name, (each.help or "").partition("\n")[0]))
    for title, entries in panels.items():
        typer.secho(f"\n{title}", bold=True)
        for name, meaning in entries:
            typer.echo(f" {name}")
            _print_paragraph(f"     {Text.from_markup(meaning).plain}", width)
    typer.echo()


def _entry(parameter: Any) -> tuple[str, str]:
    """The names of an option, with the word for its value, and what it means."""
    names = ", ".join(parameter.opts) if parameter.param_type_name == "option" else ""
    told = parameter.default is not False and parameter.default not in (None, "")
    default = escape(f" [default: {parameter.default}]") if told and getattr(parameter, "show_default", False) else ""
    return f"{names} {parameter.metavar or ''}".strip(), f"{parameter.help or ''}{default}"


def _print_paragraph(text: str, width: int) -> None:
    typer.echo("\n".join(wrapped(text, width, 0)))


def _print_examples(said: str | None) -> None:
    for line in (said or "").splitlines():
        typer.secho(f" {line}", dim=line.lstrip().startswith("#"))


def _without_type_of_flags(parameters: list[Any]) -> list[Any]:
    for each in parameters:
        if each.metavar is None and getattr(each, "is_flag", False):
            each.metavar = FLAG
        if each.param_type_name == "argument":
            each.display_type_rich = lambda ctx: FLAG  # `<list[str]>` is no word
    return parameters
