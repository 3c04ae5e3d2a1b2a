"""The pages of the documentation, as text: their fenced blocks, their links, their headings."""

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
PAGES = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)
_FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^(?P<fence>```|~~~)(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


@attrs.frozen
class Block:
    """A fenced block: its language, its text, and what the comment above it says.

    `not run: REASON` keeps it from being run, `ends with N` is the exit status of its last command.
    """

    language: str
    text: str
    note: str

    @property
    def is_run(self) -> bool:
        return self.language in ("sh", "python") and not self.note.startswith("not run: ")

    @property
    def status(self) -> int:
        return int(self.note.removeprefix("ends with ")) if self.note.startswith("ends with ") else 0


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks, in order."""
    found = _FENCE.finditer(text_of(page))
    return [Block(each["language"], each["text"], each["note"] or "") for each in found]


def prose_of(page: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text_of(page))


def links_of(page: str) -> Iterator[str]:
    """Where links and pictures lead, those to other sites left out."""
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose_of(page))):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors_of(page: str) -> set[str]:
    """What a link into the page may name after #: its headings, as mkdocs and GitHub spell them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[\s]+", "-", heading) for heading in plain}
