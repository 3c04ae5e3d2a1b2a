"""The parts of the reference that are made from the code, and their places in the pages.

A part stands between two comments in its page. `python -m tests.documentation` writes all of them anew; a test says
when one is out of date.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import attrs
import msgspec
import typer
from prometheus_client.parser import text_string_to_metric_families

import collector
from collector.commands.app import command_line
from collector.monitoring.prometheus import metrics_text
from collector.monitoring.report import Report
from collector.settings.keys import KEYS
from tests.documentation.docstrings import markdown_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GROUP: Any = typer.main.get_command(command_line())
_RELOAD = {
    "restart": "A change needs a restart",
    "apply": "A reload applies it",
    "extend": "A reload adds; to take away needs a restart",
}
_SEAMS = {"machine", "disk", "memory", "clock", "now_ms", "demand"}  # of tests and simulations


def commands() -> str:
    """Every command with its options, but those of the sandbox."""
    return "\n".join(line for name, each in sorted(GROUP.commands.items()) for line in _command(name, each))


def sandbox() -> str:
    """The options of the sandbox, by the panels of its help."""
    return "\n".join(_tables(GROUP.commands["sandbox"]))


def settings() -> str:
    """Every key of settings.ini, with what the file says of it."""
    lines: list[str] = []
    for section, key, comment in _settings_of((ROOT / "settings.ini").read_text()):
        if section not in lines:
            lines += [section, ""]
        lines += [f"### {key}", "", _facts(key), "", comment, ""]
    return "\n".join(lines)


def metrics() -> str:
    """Every metric with its labels."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in text_string_to_metric_families(metrics_text(example_report()).decode()):
        names = sorted({label for sample in family.samples for label in sample.labels})
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in names)
        rows.append(f"| `{name}` | {family.type} | {labels} | {_cell(family.documentation)} |")
    return "\n".join([*rows, ""])


def library() -> str:
    """Every public name with its signature and its docstring."""
    return "\n".join(line for name in sorted(collector.__all__, key=_names_first) for line in _public(name))


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "commands": ("reference/commands.md", commands),
    "sandbox": ("reference/sandbox.md", sandbox),
    "settings": ("reference/settings.md", settings),
    "metrics": ("reference/metrics.md", metrics),
    "library": ("reference/library.md", library),
}


def with_part(page: str, name: str, text: str) -> str:
    """The page with this text between the comments of the part."""
    begin, end = f"<!-- generated: {name} -->\n", "<!-- end of what is generated -->"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def options_of(command: Any) -> Iterator[Any]:
    """The options that the help of a command shows."""
    return (each for each in command.params if not each.hidden and each.name != "help")


def example_report() -> Report:
    """A report in which everything is, once."""
    return msgspec.convert(_example(Report), Report)


def _command(name: str, command: Any) -> Iterator[str]:
    prose = command.help.replace("\\[", "[")
    yield from (f"## collector {name}", "", prose, "", "```text", *_examples(command), "```", "")
    if name == "sandbox":
        yield from ("Its options have [a page of their own](sandbox.md).", "")
    else:
        yield from _tables(command)


def _examples(command: Any) -> list[str]:
    return [line.strip() for line in command.epilog.splitlines()[1:]]


def _tables(command: Any) -> Iterator[str]:
    panels: dict[str, list[Any]] = {}
    for each in options_of(command):
        panels.setdefault(each.rich_help_panel or "Its own", []).append(each)
    for panel, options in panels.items():
        yield from (f"**{panel}**", "", "| option | default | meaning |", "|---|---|---|")
        yield from map(_option, options)
        yield ""


def _option(option: Any) -> str:
    help_text, _, said = option.help.partition(" [dim]\\[default: ")
    if option.param_type_name == "argument":
        return f"| `{_cell(option.metavar)}` | | {_cell(help_text)} |"
    value = f" {option.metavar}" if option.metavar else ""
    shown = option.show_default and not option.is_flag and option.default not in (None, "")
    default = said.removesuffix("][/dim]") or (str(option.default) if shown else "")
    return f"| `{option.opts[0]}{_cell(value)}` | {f'`{default}`' if default else ''} | {_cell(help_text)} |"


def _settings_of(text: str) -> Iterator[tuple[str, str, str]]:
    section, comment = "", [""]
    for line in text.splitlines():
        if line.startswith("["):
            section, comment = f"## {line}", []
        elif line.startswith(";"):
            comment.append(line.removeprefix(";").strip())
        elif not line:
            comment = []
        else:
            yield section, line.partition(" =")[0], _escaped("\n".join(comment))


def _facts(key: str) -> str:
    field = KEYS[key]
    default = field.default
    text = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    text = text.lower() if isinstance(default, bool) else text.removesuffix(".0")
    option = field.metadata["option"]
    names = [f"variable `COLLECTOR_{key.upper()}`"]
    if option:
        names.append(f"option `--{(option.name or key).replace('_', '-')}`")
    said = f"Default: `{text}`" if text else "Default: empty"
    return f"{said} · {' · '.join(names)} · {_RELOAD[field.metadata['on_reload']]}"


def _names_first(name: str) -> tuple[int, str]:
    thing = getattr(collector, name)
    return (2 if isinstance(thing, type) and issubclass(thing, BaseException) else 1, name)


def _public(name: str) -> Iterator[str]:
    thing = getattr(collector, name)
    if isinstance(thing, type) and issubclass(thing, BaseException):
        status = getattr(thing, "exit_status", None)
        ends = f" A command ends with {status}." if status is not None else ""
        yield from (f"## {name}", "", f"{markdown_of(thing.__doc__, _SEAMS)}{ends}", "")
        return
    if is_typeddict(thing):
        keys = [f"| `{key}` | `{_written(kind)}` |" for key, kind in get_type_hints(thing).items()]
        yield from (f"## {name}", "", markdown_of(thing.__doc__, _SEAMS), "", "| key | type |", "|---|---|", *keys, "")
        return
    yield from (f"## {name}", "", "```text", f"{name}{_signature(thing)}", "```", "")
    if name == "Settings":
        yield from ("Each key is an argument: see [settings](settings.md).", "")
    else:
        yield from (markdown_of(thing.__doc__, _SEAMS), "")
    if isinstance(thing, type):
        for member in sorted(dir(thing)):
            if not member.startswith("_"):
                yield from _member(name, member, inspect.getattr_static(thing, member))


def _member(owner: str, name: str, thing: Any) -> Iterator[str]:
    if isinstance(thing, classmethod):
        thing = thing.__func__
    if isinstance(thing, property):
        thing, signature = thing.fget, ""
    elif inspect.isfunction(thing):
        signature = _signature(thing)
    else:
        return
    if thing.__doc__:
        yield from (
            f"### {owner}.{name}",
            "",
            "```text",
            f"{name}{signature}",
            "```",
            "",
            markdown_of(thing.__doc__, _SEAMS),
            "",
        )


def _written(kind: Any) -> str:
    """A type as it is written in the source, without modules; a table takes no bare stroke."""
    text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return re.sub(r"[a-z_.]+\.(?=[A-Z])", "", text).replace("|", "or")


def _signature(thing: Any) -> str:
    if isinstance(thing, type) and issubclass(thing, collector.Settings):
        return "(*, key=value, …)"
    whole = inspect.signature(thing)
    kept = [
        each.replace(annotation=inspect.Parameter.empty)
        for each in whole.parameters.values()
        if each.name not in _SEAMS | {"self", "cls"}
    ]
    while kept and kept[-1].kind is inspect.Parameter.VAR_KEYWORD and len(kept) == 1:
        kept.pop()
    return str(inspect.Signature(kept)).replace("=NOTHING", "=…")


def _example(type_: Any) -> Any:
    """A value of this type, and of all in it."""
    if attrs.has(type_):
        hints = get_type_hints(type_)
        return {field.name: _example(hints[field.name]) for field in attrs.fields(type_)}
    arguments: Iterable[Any] = get_args(type_)
    match get_origin(type_) or type_:
        case made if made is tuple:
            return [_example(next(iter(arguments)))]
        case made if made is dict:
            return {"ok": _example([*arguments][1])}
        case made if made is bool:
            return True
        case made if made in (int, float):
            return 1
        case made if made is str:
            return "x"
        case made if made is UnionType:
            return _example(next(iter(arguments)))
    return next(iter(arguments))  # of a Literal


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|").replace("\n", " ")


def _escaped(text: str) -> str:
    return re.sub(r"(?<!`)<(\w+)>", r"`<\1>`", text)
