"""Keeps the guides true: every file, folder and test that they name exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDES = ("docs/architecture.md", "CONTRIBUTING.md")


@pytest.mark.parametrize("guide", GUIDES)
def test_every_file_that_a_guide_names_exists(guide: str) -> None:
    named = re.findall(r"`((?:collector|tests)/[\w/]+(?:\.\w+)?/?)(?:::\w+)?`", (ROOT / guide).read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_test_that_holds_an_invariant_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/architecture.md").read_text())
    assert len(named) > 10
    for path, test in named:
        functions = {getattr(node, "name", "") for node in ast.walk(ast.parse((ROOT / path).read_text()))}
        assert test in functions, path


def test_every_folder_is_on_the_page() -> None:
    folders = {path.parent.name for path in (ROOT / "collector").glob("*/__init__.py")}
    page = (ROOT / "docs/architecture.md").read_text()
    assert [name for name in sorted(folders) if f"`{name}/`" not in page] == []


def test_the_ways_of_a_candle_are_short_and_enter_each_file_once() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    for way, most in (("over REST", 8), ("over the stream", 7)):
        section = page.split(f"## The way of a candle {way}\n")[1].split("\n## ")[0]
        files = re.findall(r"^\d\. `([\w/.]+)`", section, re.MULTILINE)
        assert len(files) == len(set(files)) <= most


def test_classes_and_functions_are_read_at_a_glance() -> None:
    most = {ast.ClassDef: 200, ast.FunctionDef: 40, ast.AsyncFunctionDef: 40}  # lines
    nodes = [
        (path, node) for path in (ROOT / "collector").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
    ]
    assert [
        f"{path.name}: {node.name} has {lines} lines"
        for path, node in nodes
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > most[type(node)]
    ] == []
