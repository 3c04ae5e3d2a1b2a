"""The options of the command line follow from the table of settings."""

from typing import Any

import pytest
import typer

from collector.commands.app import command_line
from collector.settings.keys import KEYS, Option

OPTIONS: dict[str, Option] = {
    key: field.metadata["option"] for key, field in KEYS.items() if field.metadata["option"] is not None
}


@pytest.mark.parametrize("key", OPTIONS)
def test_the_command_line_has_every_option_of_the_table(key: str) -> None:
    group: Any = typer.main.get_command(command_line())
    declared = {parameter.name: parameter for parameter in group.commands["run"].params}
    option, parameter = OPTIONS[key], declared[OPTIONS[key].name or key]
    assert parameter.opts == [f"--{(option.name or key).replace('_', '-')}"]
    assert parameter.secondary_opts == []
    assert parameter.is_flag == option.switch
    assert parameter.help.startswith(option.help or KEYS[key].metadata["doc"])
