"""Writes the parts of the reference that are made from the code: `python -m tests.documentation`."""

from tests.documentation.generated import DOCS, PARTS, with_part

for name, (page, part) in PARTS.items():
    path = DOCS / page
    path.write_text(with_part(path.read_text(), name, part()))
