"""The messages in Troubleshooting are those that the code says."""

import ast
import re
from functools import cache

import pytest

from tests.documentation.pages import ROOT, text_of

PAGE = "docs/troubleshooting.md"
MESSAGES = re.findall(r"^\| `([^`]+)`", text_of(PAGE), re.MULTILINE)
ERRORS = [message for message in MESSAGES if re.fullmatch(r"[A-Z]\w+", message)]


@cache
def texts() -> str:
    """Every text in the product, those between placeholders too, and the names of classes."""
    found: list[str] = []
    for path in (ROOT / "collector").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(str(text)) | ast.ClassDef(name=text):
                    found.append(text)
    return "\n".join(found)


@pytest.mark.parametrize("message", [message for message in MESSAGES if not message.startswith("[")])
def test_a_message_is_one_that_is_said(message: str) -> None:
    parts = [part.strip() for part in message.split("…") if part.strip()]
    assert parts
    assert [part for part in parts if part not in texts()] == []


def test_the_errors_are_those_that_scripts_may_import() -> None:
    import collector

    assert {*ERRORS} <= {*collector.__all__}
