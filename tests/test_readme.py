"""The README's words for the operator, held against the code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.logs.throttling import NEVER_THROTTLED

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "README.md").read_text().partition("### What the log says")[2].partition("\n## ")[0]


def warnings_of(path: Path) -> Iterator[str]:
    """The events of a module that an operator is to be told of."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(
                ast.Attribute(ast.Name("log"), "warning" | "error" | "exception"), [ast.Constant(str(event)), *_]
            ):
                yield event


EVENTS = sorted({event for path in (ROOT / "collector").rglob("*.py") for event in warnings_of(path)})


@pytest.mark.parametrize("event", EVENTS)
def test_the_readme_says_what_a_warning_means(event: str) -> None:
    assert f"`{event}`" in TABLE


def test_what_is_never_only_counted_is_said_somewhere() -> None:
    assert set(NEVER_THROTTLED) <= set(EVENTS)


def test_the_readme_explains_no_warning_that_is_not_given() -> None:
    first_cells = [line.split("|")[1] for line in TABLE.splitlines() if line.startswith("| `")]
    assert sorted(text for cell in first_cells for text in cell.split("`")[1::2]) == EVENTS
