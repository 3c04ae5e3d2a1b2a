"""Completion in a shell."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.campaign.process import clean_environment, command
from tests.commands.command_line import Command


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("sy", ["symbols", "systemd-unit"]), ("run --da", ["--data-dir", "--days"]), ("fetch --mode r", ["recent"])],
)
def test_commands_options_and_values_are_completed(
    say: Command, monkeypatch: pytest.MonkeyPatch, typed: str, completed: list[str]
) -> None:
    monkeypatch.setenv("_COLLECTOR_COMPLETE", "complete_bash")  # as the script that bash is given asks
    monkeypatch.setenv("COMP_WORDS", f"collector {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    status, out, _ = say(None)
    assert (status, sorted(word.split(":")[0] for word in out.split())) == (0, completed)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_script_that_it_is_given(tmp_path: Path) -> None:
    program = tmp_path / "collector"
    program.write_text("#!/bin/sh\nexec " + shlex.join(command()) + ' "$@"\n')
    program.chmod(0o755)
    script = """eval "$(collector --show-completion bash)"
        COMP_WORDS=(collector fetch --mode r); COMP_CWORD=3
        $(complete -p collector | sed 's/.*-F \\([^ ]*\\).*/\\1/') collector
        printf '%s\\n' "${COMPREPLY[@]}" """
    environment = clean_environment() | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["recent"]
