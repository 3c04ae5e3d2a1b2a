"""Code blocks run as they stand, page by page and in order, against the sandbox.

Lines of `collector` run in this process. Any other line is run by bash, where `collector` is this
one.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from collector.core.candle import TIMEFRAMES
from collector.sandbox import Sandbox
from tests.commands.command_line import Command
from tests.documentation import pages
from tests.documentation.pages import Block, blocks_of
from tests.support.candles import content, rows

LANGUAGES = ("sh", "python", "text", "ini", "json", "sql", "yaml")
# Its first two blocks install it and run all tests: .ci/run does so in a clean clone.
PAGES = [page for page in pages.PAGES if not page.startswith("docs/recipes/")]  # test_recipes.py runs these
RUN = {page: blocks_of(page)[2 if page == "README.md" else 0 :] for page in PAGES}
_SIMPLE = re.compile(r"(?:export \w+=|(?:\w+=\S+ )*collector )[^|<>$;]*")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_its_language_and_why_it_is_not_run(page: str) -> None:
    assert {each.language for each in blocks_of(page)} <= {*LANGUAGES}
    assert [
        each.note for each in blocks_of(page) if each.note and not re.match(r"not run: \w|ends with \d", each.note)
    ] == []


@pytest.mark.parametrize("page", [page for page, blocks in RUN.items() if any(each.is_run for each in blocks)])
def test_blocks_run_as_they_stand(
    page: str, say: Command, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_REST_URL", box.url)
    monkeypatch.setenv("PATH", f"{_shim(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    for name in ("demo-data", *([] if _fetches(page) else ["data"])):
        _store(tmp_path / name)
    names: dict[str, object] = {}
    for block in filter(lambda each: each.is_run, RUN[page]):
        text = block.text.replace("8890", str(box.port))
        if block.language == "python":
            exec(compile(text, page, "exec"), names)
        else:
            assert _ended(block, text, say, monkeypatch) == block.status, text


def _ended(block: Block, text: str, say: Command, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of the last command; all before it ended well."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    status = 0
    for line in [text] if re.search(r"^(case|for|if|while) ", text, re.MULTILINE) else lines:
        assert status == 0, f"before {line}"
        status = _run(line, say, monkeypatch) if _SIMPLE.fullmatch(line) else _bash(line)
    return status


def _run(line: str, say: Command, monkeypatch: pytest.MonkeyPatch) -> int:
    words = shlex.split(line, comments=True)
    if words[0] == "export":
        monkeypatch.setenv(*words[1].split("=", 1))
        return 0
    if words[-1] == "&":  # the sandbox, in whose place that of the tests stands
        assert words[1] == "sandbox"
        return 0
    place = words.index("collector")
    with monkeypatch.context() as here:
        for word in words[:place]:
            here.setenv(*word.split("=", 1))
        return say(None, *words[place + 1 :])[0]


def _bash(text: str) -> int:
    return subprocess.run(["bash", "-e", "-c", text], capture_output=True, check=False).returncode


def _fetches(page: str) -> bool:
    return any("collector fetch" in each.text for each in RUN[page] if each.is_run)


def _shim(tmp_path: Path) -> Path:
    """A directory with a `collector` that is this one."""
    directory = tmp_path / "bin"
    directory.mkdir()
    shim = directory / "collector"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m collector "$@"\n')
    shim.chmod(0o755)
    return directory


def _store(data_dir: Path) -> None:
    """Files like those of the demo."""
    data_dir.mkdir()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for name, count in (("5", 1200), ("60", 100), ("D", 5)):
            text = content(rows(0, count, frame=TIMEFRAMES[name]))
            (data_dir / f"{symbol}_{name}.csv").write_bytes(text)
