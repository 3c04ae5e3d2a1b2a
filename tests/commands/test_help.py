"""What each command says of itself: examples that work, its own options, types in words."""

import inspect
import re
import shlex
from typing import Any, get_args

import pytest
import typer

from collector.commands import app as command_line
from collector.commands.options import SERIES
from collector.sandbox.command import sandbox
from collector.settings.settings import Settings
from tests.commands.command_line import Command

GROUP: Any = typer.main.get_command(command_line.command_line())
COMMANDS = [*GROUP.commands]


def help_of(say: Command, monkeypatch: pytest.MonkeyPatch, *arguments: str, columns: int = 80) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out, _ = say(None, *arguments)
    assert status == 0
    return out


def examples_of(command: Any) -> list[str]:
    return [line for line in (command.epilog or "").splitlines() if line.strip().startswith("collector ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_two_or_three_examples_that_are_understood(name: str) -> None:
    found = examples_of(GROUP.commands[name])
    assert 2 <= len(found) <= 3
    for example in found:
        program, said, *arguments = shlex.split(example.partition(" | ")[0])
        assert (program, said) == ("collector", name)
        given = GROUP.commands[name].make_context(name, arguments).params
        Settings.load(overrides={key: given.get(key) or None for key in (*SERIES, "mode", "log_level", "data_dir")})


def test_the_examples_of_the_main_help_are_understood() -> None:
    for example in examples_of(GROUP):
        _, name, *arguments = shlex.split(example)
        GROUP.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_example_is_wider_than_a_terminal_of_80_columns(
    say: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lines = help_of(say, monkeypatch, name, "--help").splitlines()
    shown = [line for line in lines[lines.index(" Examples:") + 1 :] if line]
    assert [each.strip() for each in shown if "#" not in each] == [*map(str.strip, examples_of(GROUP.commands[name]))]
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_types_of_options_are_words(say: Command, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    told = help_of(say, monkeypatch, *name.split(), "--help", columns=160)
    assert not re.search(r"<\w+|\[dim\]", told.replace("<KEY>", "KEY"))


@pytest.mark.parametrize("arguments", [["-h"], ["status", "-h"], ["--help"], ["sandbox", "--help"]])
def test_help_has_a_short_name_everywhere(say: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    assert "Usage: collector" in help_of(say, monkeypatch, *arguments)


@pytest.mark.parametrize(
    ("name", "own", "others"),
    [
        ("status", ["--data-dir", "--watch"], ["--ws-url", "--symbols", "--days", "--quiet", "--rest-url"]),
        ("fetch", ["--rest-url", "--days", "--quiet"], ["--ws-url", "--no-websocket"]),
        ("gaps", ["--symbols", "--days"], ["--rest-url", "--logs-dir", "--log-level"]),
        ("symbols", ["--rest-url", "--category"], ["--days", "--logs-dir"]),
        ("view", ["--category", "--port"], ["--symbols", "--logs-dir"]),
        ("systemd-unit", ["--start", "--user"], ["--end "]),
        ("run", ["--ws-url", "--no-websocket", "--quiet"], []),
    ],
)
def test_a_command_shows_the_options_that_mean_something_to_it(
    say: Command, monkeypatch: pytest.MonkeyPatch, name: str, own: list[str], others: list[str]
) -> None:
    told = help_of(say, monkeypatch, name, "--help")
    assert [option for option in own if option not in told] == []
    assert [option for option in others if option in told] == []


def test_settings_are_shown_with_their_defaults(say: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    told = help_of(say, monkeypatch, "run", "--help", columns=160)
    for default in ("linear", "https://api.bybit.com", "data", "200", "1,5,15,60,120,240", "all", "info"):
        assert f"[default: {default}]" in told


@pytest.mark.parametrize("name", ["check", "list", "gaps", "report", "repair"])
def test_a_command_about_what_is_stored_does_not_go_by_the_settings_timeframes(
    say: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told = help_of(say, monkeypatch, name, "--help", columns=160)
    assert "[default: 1,5,15" not in told
    assert told.count("[default: as wanted so far]") == 2


@pytest.mark.parametrize("name", ["export", "import"])
def test_without_days_a_start_is_not_said_to_replace_them(
    say: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told = help_of(say, monkeypatch, name, "--help", columns=160)
    assert "--start" in told
    assert "--days" not in told


def test_every_number_of_the_sandbox_is_called_so() -> None:
    declared = {each.name: get_args(each.annotation) for each in inspect.signature(sandbox).parameters.values()}
    numbers = {name: option for name, (kind, option) in declared.items() if {int, float} & {kind, *get_args(kind)}}
    assert len(numbers) > 50
    assert [name for name, option in numbers.items() if option.metavar != "NUMBER"] == []


@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_on_a_narrow_terminal_no_name_of_an_option_is_cut(
    say: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lines = help_of(say, monkeypatch, *name.split(), "--help", columns=40).splitlines()
    told = lines[: lines.index(" Examples:")]
    shown = (GROUP.commands[name] if name else GROUP).params
    names = [each.opts[0] for each in shown if each.param_type_name == "option" and not each.hidden]
    assert [each for each in names if not any(line.split()[:1] == [each] for line in told)] == []
    assert [line for line in told if len(line) > 40 and len(line.split()) > 1] == []


def test_on_a_narrow_terminal_defaults_are_shown(say: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    told = help_of(say, monkeypatch, "view", "--help", columns=40)
    assert "free. [default: 0]" in told
    assert "[default:\n     linear]" in told


def test_the_main_help_groups_the_commands(say: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    told = help_of(say, monkeypatch, "--help")
    assert re.findall(r"─ (\w+) ─", told) == ["Options", "Collect", "Inspect", "Use", "Operate"]


def test_the_version_is_printed(say: Command) -> None:
    status, out, _ = say(None, "--version")
    assert status == 0
    assert re.fullmatch(r"collector (\d+\.\d+\.\d+|unknown)\n", out)
