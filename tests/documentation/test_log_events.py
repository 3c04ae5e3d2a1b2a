"""The page of log events, held against the code: every event that is logged, with what it means.

A new warning or error gets its row in the first table of docs/reference/log-events.md, any other event in the second.
"""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from collector.logs.throttling import NEVER_THROTTLED

ROOT = Path(__file__).parents[2]
PAGE = "docs/reference/log-events.md"
TABLE = (ROOT / PAGE).read_text().partition("## Warnings and errors")[2].partition("\n## ")[0]
MILESTONES = (ROOT / PAGE).read_text().partition("## Milestones")[2].partition("\n## ")[0]
OTHERS = (ROOT / PAGE).read_text().partition("## Other events")[2]
SERIOUS = ("warning", "error", "exception")


def logged(*levels: str) -> set[str]:
    """The events of these levels, in all modules."""
    return {event for path in (ROOT / "collector").rglob("*.py") for event in logged_in(path, levels)}


def logged_in(path: Path, levels: Collection[str]) -> Iterator[str]:
    text = path.read_text()
    if not any(f"log.{level}(" in text for level in levels):  # most say nothing, and to parse them all takes a second
        return
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(ast.Attribute(ast.Name("log"), level), [ast.Constant(str(event)), *_]) if level in levels:
                yield event


def in_first_cells(table: str) -> list[str]:
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return sorted(text for cell in first_cells for text in cell.split("`")[1::2])


EVENTS = sorted(logged(*SERIOUS))


@pytest.mark.parametrize("event", EVENTS)
def test_the_page_says_what_a_warning_means(event: str) -> None:
    assert f"`{event}`" in TABLE, f"a row for it belongs into {PAGE}"


def test_what_is_never_only_counted_is_said_somewhere() -> None:
    assert set(NEVER_THROTTLED) <= set(EVENTS)


def test_the_page_explains_no_warning_that_is_not_given() -> None:
    assert in_first_cells(TABLE) == EVENTS


def test_the_page_names_every_milestone() -> None:
    source = ast.parse((ROOT / "collector" / "monitoring" / "milestones.py").read_text())
    built = {
        call.args[0].value
        for call in ast.walk(source)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in ("Milestone", "self._fetched")
        and isinstance(call.args[0], ast.Constant)
    }
    assert in_first_cells(MILESTONES) == sorted(map(str, built)), f"a row belongs into {PAGE}"


def test_the_page_names_every_other_event() -> None:
    assert in_first_cells(OTHERS) == sorted(logged("info", "debug") - {*EVENTS}), f"a row belongs into {PAGE}"
