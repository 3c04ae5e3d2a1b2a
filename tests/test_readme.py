"""The README: short, its first two blocks run and test, and one table has what was tried of each promise."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_it_is_one_page() -> None:
    assert len(README.splitlines()) <= 150


def test_its_first_two_blocks_run_and_test() -> None:
    run, test = BLOCKS[:2]
    assert run.splitlines()[-1] == ".venv/bin/python -m collector demo"
    assert test.splitlines()[-1] == ".venv/bin/python -m pytest"


def test_every_promise_has_a_row_with_its_command_cases_and_failures() -> None:
    promises = ["Whole rows only", "Nothing is skipped in silence", "It heals itself", "Source-true"]
    promises += ["A good citizen", "One writer", "It says so"]
    table = README.partition("| promise | command that tries it | cases tried | failures |")[2]
    for promise in promises:
        (row,) = re.findall(rf"^\| {promise} \| (.+) \| (.+) \| (\d+) \|$", table, re.MULTILINE)
        assert row[0] == "the same" or "python -m tests." in row[0]
        assert re.search(r"\d", row[1])
