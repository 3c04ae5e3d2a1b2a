"""The page of log events, held against the code: what an operator is told, with what it means.

A new warning or error gets its row in docs/reference/log-events.md.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.logs.throttling import NEVER_THROTTLED

ROOT = Path(__file__).parents[2]
PAGE = "docs/reference/log-events.md"
TABLE = (ROOT / PAGE).read_text().partition("## Warnings and errors")[2].partition("\n## ")[0]


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
def test_the_page_says_what_a_warning_means(event: str) -> None:
    assert f"`{event}`" in TABLE, f"a row for it belongs into {PAGE}"


def test_what_is_never_only_counted_is_said_somewhere() -> None:
    assert set(NEVER_THROTTLED) <= set(EVENTS)


def test_the_page_explains_no_warning_that_is_not_given() -> None:
    first_cells = [line.split("|")[1] for line in TABLE.splitlines() if line.startswith("| `")]
    assert sorted(text for cell in first_cells for text in cell.split("`")[1::2]) == EVENTS
