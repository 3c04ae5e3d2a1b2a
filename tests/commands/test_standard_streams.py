"""Standard streams that are closed, full, or read by nobody."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from collector.core.rows import HEADER
from collector.settings.settings import Settings
from tests.campaign.process import command, variables
from tests.commands.command_line import Command, complaints, report_of
from tests.support.market import settings_for


def with_a_torn_file(tmp_path: Path) -> Settings:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(b"torn")
    return settings


def piped(settings: Settings, shell: str, **others: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of it, with `$collector` for the command line."""
    script = f'collector() {{ {shlex.join(command())} "$@"; }}; {shell}'
    environment = variables(settings) | others
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        ("check", ""),
        ("check --json", "1"),
        ("symbols --help", "1"),
        *(
            pytest.param(arguments, unbuffered, marks=pytest.mark.slow)  # the same ways out, crosswise
            for arguments, unbuffered in (("check", "1"), ("check --json", ""), ("symbols --help", ""))
        ),
    ],
)
def test_a_stdout_that_cannot_be_written_is_no_traceback(tmp_path: Path, arguments: str, unbuffered: str) -> None:
    ended = piped(with_a_torn_file(tmp_path), f"collector {arguments} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert ended.returncode == 1
    assert complaints(ended.stderr)[-1] == "stdout cannot be written: No space left on device"
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


@pytest.mark.parametrize(("quiet", "told"), [([], 4), (["--quiet"], 1)])
def test_a_check_whose_report_cannot_be_written_says_so_and_what_it_found(
    say: Command, tmp_path: Path, quiet: list[str], told: int
) -> None:
    settings = with_a_torn_file(tmp_path)
    (tmp_path / "file").write_text("not a directory")
    status, out, err = say(settings, "check", *quiet, logs_dir=str(tmp_path / "file" / "below"))
    assert (status, out) == (
        1,
        "BTCUSDT_60.csv:1: this collector would not have written it: its first line is not our header\n",
    )
    assert complaints(err)[0].startswith("the report was not written: [storage] logs_dir: ")
    assert len(complaints(err)) == told
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    assert say(settings, "check", *quiet, logs_dir=str(tmp_path / "file" / "below"))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "first"),
    [("list", "series "), ("gaps", "series "), ("check", "BTCUSDT_60.csv:"), ("clean --dry-run", "file ")],
)
def test_in_one_pipe_what_was_asked_for_comes_before_what_is_said_of_it(
    tmp_path: Path, arguments: str, first: str
) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, symbols=["BTCUSDT"])
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    (settings.data_dir / "BTCUSDT_60.csv.cut-1").write_bytes(HEADER)
    ended = piped(settings, f"collector {arguments} 2>&1", PYTHONUNBUFFERED="")
    assert ended.stdout.startswith(first)
    assert len(ended.stdout.splitlines()) > 2


def test_the_report_of_a_check_is_kept_also_when_nobody_reads_what_it_found(tmp_path: Path) -> None:
    ended = piped(with_a_torn_file(tmp_path), "collector check --quiet | true")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert report_of(tmp_path)["files_with_issues"] == 1


def test_what_is_for_a_person_never_comes_out_among_what_is_for_the_machine(tmp_path: Path) -> None:
    settings = with_a_torn_file(tmp_path)
    ended = piped(settings, "collector check --json 2>&-")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["files_with_issues"] == 1
    assert "1 with issues" in piped(settings, "collector check >&-").stderr
