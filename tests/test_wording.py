"""Numbers in sentences agree with their nouns."""

import ast
import re
from pathlib import Path

PRODUCT = Path(__file__).parent.parent / "collector"
NOUNS = "candle row file symbol span request topic connection byte message error column value ban answer time more"


def test_no_sentence_has_a_number_before_a_plural_that_is_written_out() -> None:
    """A number is a placeholder that is grouped or counted; constants that are never one are named here."""
    never_one = {"_RATE", "_DAYS", "PAGE", "tries", "longest", "rate"}
    written = re.compile(rf"^ (?:more )?(?:{'|'.join(NOUNS.split())})s\b(?!/)")
    found: list[str] = []
    for path in sorted(PRODUCT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for placed, text in (
                zip(node.values, node.values[1:], strict=False) if isinstance(node, ast.JoinedStr) else ()
            ):
                if isinstance(placed, ast.FormattedValue) and isinstance(text, ast.Constant):
                    name = ast.unparse(placed.value)
                    if written.match(str(text.value)) and name not in never_one:
                        found.append(f"{path.relative_to(PRODUCT)}: {name}{text.value!s}")
    assert not found, "\n".join(found)
