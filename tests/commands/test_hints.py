"""Commands that a person is told to type: they are called as this one was."""

from pathlib import Path

import pytest

from collector.commands.hints import to_type


@pytest.mark.parametrize(
    ("argv", "orig_argv", "typed"),
    [
        (["collector", "check"], ["collector", "check"], "collector"),
        (["/x/collector/__main__.py"], [".venv/bin/python", "-m", "collector"], ".venv/bin/python -m collector"),
        (["/x/collector/__main__.py"], ["/my env/bin/python", "-m", "collector"], "'/my env/bin/python' -m collector"),
        (["BIN/collector"], ["/usr/bin/python3", "BIN/collector"], "BIN/collector"),
        (["/x/pytest"], ["/usr/bin/python3", "/x/pytest"], "collector"),
    ],
)
def test_a_command_is_called_as_this_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], orig_argv: list[str], typed: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.argv", [each.replace("BIN", str(tmp_path)) for each in argv])
    monkeypatch.setattr("sys.orig_argv", [each.replace("BIN", str(tmp_path)) for each in orig_argv])
    assert to_type("list", "--data-dir", "a b") == f"{typed.replace('BIN', str(tmp_path))} list --data-dir 'a b'"


def test_a_command_of_the_path_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "collector"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [str(program)])
    assert to_type("check") == "collector check"
