"""The systemd unit of an installation: systemd itself reads it as it was meant, and finds nothing wrong with it."""

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import collector
from collector.commands import app
from collector.commands.installation import unit_of_this
from collector.commands.systemd_unit import Installation, unit_text
from collector.core.errors import SettingsError
from collector.settings.settings import Settings
from tests.campaign.process import variables
from tests.support.market import market, served, settings_for

PLAIN = Installation(
    [sys.executable, "-m", "collector", "run"],
    "collector",
    "/srv/collector",
    ["/srv/collector/data", "/srv/collector/logs"],
    "linear at bybit",
)
STRANGE = "my 100% \"data\" 'ü' \\ $HOME;#"

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_MDWE, PR_GET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 66, 1

needs_mdwe = pytest.mark.skipif(
    not hasattr(LIBC, "prctl") or LIBC.prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0, reason="the kernel has no PR_SET_MDWE"
)
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


def values_of(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def value_of(text: str, key: str) -> str:
    (value,) = values_of(text, key)
    return value


def words_of(text: str, key: str) -> list[str]:
    """The words of a line as systemd reads them; within double quotes its rules are the shell's."""
    return [word.replace("%%", "%") for word in shlex.split(value_of(text, key))]


def analyzed(unit: str, directory: Path, *command: str) -> tuple[int, str]:
    """Exit status and everything said by systemd-analyze about a unit."""
    file = directory / "collector.pipeline.service"
    file.write_text(unit)
    ended = subprocess.run(
        ["systemd-analyze", *command, str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `systemd-unit` prints in an empty working directory with a strange name."""
    (tmp_path / STRANGE).mkdir()
    monkeypatch.chdir(tmp_path / STRANGE)

    def called(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["collector", "systemd-unit", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert not ended.value.code
        return capsys.readouterr().out

    return called


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit_of_this_installation(
    printed: Callable[..., str], tmp_path: Path
) -> None:
    assert analyzed(printed(), tmp_path, "verify") == (0, "")


@needs_systemd
@pytest.mark.parametrize("directory", ["/srv/collector", "/home/somebody/candles", "/tmp/candles"])
def test_the_service_is_exposed_to_little(tmp_path: Path, directory: str) -> None:
    unit = unit_text(attrs.evolve(PLAIN, writes=[directory]))
    status, said = analyzed(unit, tmp_path, "security", "--offline=yes", "--threshold=20")
    assert status == 0, said


def interpreter(directory: Path) -> Path:
    python = directory / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return python


@needs_systemd
def test_an_interpreter_with_a_strange_path_is_found_by_systemd(tmp_path: Path) -> None:
    python = interpreter(tmp_path / "my 100% ü $HOME;#")
    unit = unit_text(attrs.evolve(PLAIN, command=[str(python), STRANGE]))
    assert analyzed(unit, tmp_path, "verify") == (0, "")
    python.unlink()
    assert str(python) in analyzed(unit, tmp_path, "verify")[1]


@needs_systemd
def test_an_interpreter_whose_path_systemd_takes_for_no_program_s_is_started_all_the_same(tmp_path: Path) -> None:
    python = interpreter(tmp_path / STRANGE)
    unit = unit_text(attrs.evolve(PLAIN, command=[str(python), "-m", "collector"]))
    assert analyzed(unit, tmp_path, "verify") == (0, "")
    assert words_of(unit, "ExecStart") == [":/usr/bin/env", str(python), "-m", "collector"]


@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" ")), min_size=1))
def test_every_word_is_read_as_it_was_meant(words: list[str]) -> None:
    unit = unit_text(attrs.evolve(PLAIN, command=["/usr/bin/python", *words], writes=["/" + words[0]]))
    assert words_of(unit, "ExecStart") == [":/usr/bin/python", *words]
    assert "/" + words[0] in words_of(unit, "ReadWritePaths")


def test_directories_in_homes_and_temporary_places_can_be_reached() -> None:
    closed, home, scratch = (
        unit_text(attrs.evolve(PLAIN, working_dir=path)) for path in ("/srv/x", "/home/me/x", "/tmp/x")
    )
    assert (value_of(closed, "ProtectHome"), value_of(closed, "PrivateTmp")) == ("yes", "yes")
    assert value_of(home, "ProtectHome") == "read-only"
    assert value_of(scratch, "PrivateTmp") == "no"


@pytest.mark.parametrize("change", [{"working_dir": "/a\nExecStartPre=/x"}, {"user": "a b"}, {"writes": ["/\x1b"]}])
def test_what_cannot_stand_in_a_unit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cannot stand in a unit|not the name of a user"):
        unit_text(attrs.evolve(PLAIN, **change))


def test_the_options_given_are_given_to_the_service_with_paths_that_hold_everywhere(
    printed: Callable[..., str], tmp_path: Path
) -> None:
    unit = printed("--data-dir", "new", "--symbols", "A,B", "--no-limit", "--days", "7")
    data_dir = str(tmp_path / STRANGE / "new")
    options = ["--symbols", "A,B", "--days", "7", "--no-limit", "--data-dir", data_dir]
    assert words_of(unit, "ExecStart") == [f":{sys.executable}", "-I", "-m", "collector", "run", *options]
    assert words_of(unit, "ReadWritePaths") == sorted([str(tmp_path / STRANGE / "logs"), data_dir])
    assert value_of(unit, "WorkingDirectory") == str(tmp_path / STRANGE).replace("%", "%%")


def test_the_address_of_alerts_stays_out_of_the_unit_and_where_it_belongs_is_said(tmp_path: Path) -> None:
    environment = {"COLLECTOR_ALERT_WEBHOOK": "https://hooks.example/secret"}
    unit, to_do = unit_of_this(Settings(data_dir=tmp_path), [], environment)
    assert "secret" not in unit + str(to_do)
    assert any("systemctl edit collector (for Environment=COLLECTOR_ALERT_WEBHOOK=" in each for each in to_do)


@pytest.mark.parametrize("user", ["me:secret@", "me:s@", "me@", ""])
def test_the_database_stays_out_of_the_unit_and_where_it_belongs_is_said(tmp_path: Path, user: str) -> None:
    environment = {"COLLECTOR_DATABASE_URL": f"postgresql://{user}db.example/market", "PGPASSWORD": "secret"}
    unit, to_do = unit_of_this(Settings(data_dir=tmp_path), [], environment)
    assert "db.example" not in unit
    assert "secret" not in unit + str(to_do)
    for name in environment:
        assert any(f"systemctl edit collector (for Environment={name}=" in each for each in to_do)


def test_settings_of_the_environment_go_with_it_and_secrets_do_not(tmp_path: Path) -> None:
    environment = {"COLLECTOR_DAYS_TO_FETCH": "9", "COLLECTOR_NOSUCH": "1", "BYBIT_API_SECRET": "hush", "HOME": "/x"}
    unit, _ = unit_of_this(Settings(data_dir=tmp_path), [], environment)
    assert values_of(unit, "Environment") == ["COLLECTOR_DAYS_TO_FETCH=9", "POLARS_SKIP_CPU_CHECK=1"]
    assert "hush" not in unit


def deny_memory_that_is_written_and_executed() -> None:
    """What `MemoryDenyWriteExecute=yes` does to a process, here to a child between fork and exec."""
    if LIBC.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_MDWE")


@needs_mdwe
def test_the_service_collects_under_the_unit_s_memory_restriction(tmp_path: Path) -> None:
    with served(market()) as box:
        settings = settings_for(box.url, tmp_path, days_to_fetch=2)
        unit, _ = unit_of_this(settings, [], variables(settings))
        assert value_of(unit, "MemoryDenyWriteExecute") == "yes"
        command = words_of(unit, "ExecStart")
        ended = subprocess.run(
            [command[0].removeprefix(":"), *command[1:-1], "fetch"],
            env=dict(word.split("=", 1) for line in values_of(unit, "Environment") for word in shlex.split(line)),
            preexec_fn=deny_memory_that_is_written_and_executed,  # noqa: PLW1509, RUF100
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ended.returncode, (settings.data_dir / "BTCUSDT_60.csv").exists()) == (0, True), ended.stderr


def test_modules_of_the_working_directory_or_pythonpath_are_not_run(printed: Callable[..., str]) -> None:
    command, here = words_of(printed(), "ExecStart"), Path.cwd()
    (here / "collector").mkdir()
    for module in ("polars.py", "json.py", "collector/__init__.py"):
        (here / module).write_text("raise SystemExit('planted')")
    environment = {"PYTHONPATH": str(here), "PYTHONHOME": "/nowhere"}
    words = [command[0].removeprefix(":"), *command[1:], "--help"]
    ended = subprocess.run(words, cwd=here, env=environment, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_where_modules_are_looked_for_is_not_taken_along(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": "/somewhere", "PYTHONSTARTUP": "/x", "PYTHONUSERBASE": "/y", "PYTHONHOME": "/z"}
    unit, _ = unit_of_this(Settings(data_dir=tmp_path), [], environment)
    assert "PYTHON" not in "".join(values_of(unit, "Environment"))


def test_code_that_is_not_installed_is_to_be_installed_first(tmp_path: Path) -> None:
    """It was found in the working directory, where the service does not look; any other is left as it is."""
    assert not any("pip" in command for command in unit_of_this(Settings(data_dir=tmp_path), [], {})[1])
    copied = tmp_path / "my checkout"
    shutil.copytree(Path(collector.__file__).parent, copied / "collector", ignore=shutil.ignore_patterns("__pycache__"))
    ended = subprocess.run(
        [sys.executable, "-m", "collector", "systemd-unit"], cwd=copied, capture_output=True, text=True, check=False
    )
    assert f"before it is started: {sys.executable} -m pip install '{copied}'" in ended.stderr


def test_directories_behind_links_can_be_written_too(tmp_path: Path) -> None:
    data_dir, big = tmp_path / "data", tmp_path / "big"
    for directory in (data_dir, big, tmp_path / "logs"):
        directory.mkdir()
    (data_dir / "BTCUSDT_1.csv").symlink_to("../big/BTCUSDT_1.csv")  # there is no such file yet
    (data_dir / ".collector").symlink_to(big)
    (tmp_path / "logs" / "collector.log").symlink_to("/etc/passwd")  # a file of ours is no link
    unit, _ = unit_of_this(Settings(data_dir=data_dir, logs_dir=tmp_path / "logs"), [], {})
    assert words_of(unit, "ReadWritePaths") == sorted(map(str, [big, data_dir, tmp_path / "logs"]))


def test_another_collector_is_waited_for_and_wrong_settings_are_not() -> None:
    assert value_of(unit_text(PLAIN), "RestartPreventExitStatus") == "2 3"


CRASH = """
import sys
from collector.__main__ import main

sys.modules["collector.commands.app"] = None  # importing it fails
main()
"""


def test_every_line_of_a_crash_at_the_start_has_its_priority(tmp_path: Path) -> None:
    assert value_of(unit_text(PLAIN), "SyslogLevel") == "err"  # what the interpreter says before any code of ours runs
    with (tmp_path / "journal").open("w+") as journal:
        there = os.fstat(journal.fileno())
        environment = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
        subprocess.run([sys.executable, "-c", CRASH], stderr=journal, env=environment, check=False)
        journal.seek(0)
        lines = journal.readlines()
    assert lines[0] == "<3>Traceback (most recent call last):\n"
    assert all(line.startswith("<3>") for line in lines)


def test_what_is_missing_for_the_start_is_said(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "my data", logs_dir=tmp_path)
    _, to_do = unit_of_this(settings, [], {}, "no-such-user")
    assert to_do == [
        "useradd --system no-such-user",
        f"install -d -o no-such-user '{tmp_path}/my data'",
        f"chown -R no-such-user {tmp_path}",
    ]


def test_root_does_not_run_it_unless_told_to(tmp_path: Path) -> None:
    unit, _ = unit_of_this(Settings(data_dir=tmp_path / "new"), [], {})
    assert value_of(unit, "User") != "root"


def test_a_name_that_is_no_user_s_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        unit_of_this(Settings(data_dir=tmp_path), [], {}, "a\nb")
