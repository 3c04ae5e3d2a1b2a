"""The command line as a test calls it: in this process where that shows the same, else in one of its own.

Every complaint is made of sentences on stderr, each on its own line, and never a traceback.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.commands import app
from collector.sandbox import Sandbox
from collector.settings.settings import Settings
from tests.campaign.process import variables
from tests.support.market import market, served

ROOT = Path(__file__).parents[2]
NOBODY = 65534
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d (debug|info|warning|error|critical) ")
PATIENCE_S = 20  # for something that takes a second; only a defect waits so long
Said = tuple[int, str, str]
"""Exit status, stdout, stderr."""
Command = Callable[..., Said]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with served(market()) as box:
        yield box


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line with settings and arguments, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def called(settings: Settings | None, *arguments: str, **changes: str) -> Said:
        with monkeypatch.context() as here:
            for name, value in (variables(settings) if settings else {}).items():
                here.setenv(name, value)
            for key, value in changes.items():
                here.setenv(f"COLLECTOR_{key.upper()}", value)
            here.setattr("sys.argv", ["collector", *arguments])
            with pytest.raises(SystemExit) as ended:
                app.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), said.out, said.err

    return called


def complaints(err: str) -> list[str]:
    """The sentences of the command itself, without the log lines before them."""
    return [line.removeprefix("collector: ") for line in err.splitlines() if not LOG_LINE.match(line)]


def report_of(directory: Path) -> dict[str, object]:
    newest = max((directory / "logs" / "integrity_reports").iterdir())
    report: dict[str, object] = json.loads(newest.read_text())
    return report
