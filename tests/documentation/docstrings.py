"""Docstrings as Markdown: paragraphs stay, the sections of Google's style become lists."""

import inspect
import re
from collections.abc import Container, Iterator

_SECTION = re.compile(r"(Args|Returns|Raises):$")


def markdown_of(docstring: str | None, without: Container[str] = ()) -> str:
    """The text of a docstring, with a list for each section, without these arguments."""
    text = inspect.cleandoc(docstring or "")
    for name in re.findall(r"^    (\w+): ", text, re.MULTILINE):
        if name in without:
            text = re.sub(rf"^    {name}: .*\n?(     .*\n?)*", "", text, flags=re.MULTILINE)
    return "\n".join(_lines(text)).strip()


def _lines(text: str) -> Iterator[str]:
    inside = ""
    for line in text.splitlines():
        section = _SECTION.match(line)
        if section:
            inside = section[1]
            yield from (f"*{inside}*", "")
        elif not line.startswith(" "):
            inside = inside if not line else ""
            yield line
        else:
            yield _of_section(line, inside)


def _of_section(line: str, section: str) -> str:
    """A line of a section: the beginning of an entry, or more of it."""
    entry = re.match(r"    ([\w`][\w`, ]*): (.*)", line)
    if entry and (section != "Returns" or entry[1].startswith("`")):
        names = ", ".join(f"`{name.strip('` ')}`" for name in entry[1].split(","))
        return f"- {names}: {entry[2]}"
    if section == "Returns" and not line.startswith("     "):
        return line.strip()
    return f"  {line.strip()}"
