"""Hooks of mkdocs: the pages beside docs/, links that lead out of it, and a * in the navigation."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
SOURCE = {page: source for source, page in BESIDE.items()}
LINK = re.compile(r"^(?:```|~~~).*?^(?:```|~~~)|\[([^][]*)\]\(([^)\s]+)\)", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """A page with a * in its path stands for all pages of its folder that are named nowhere."""
    named = set(_named(config["nav"]))
    config["nav"] = _expanded(config["nav"], named)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie beside docs/."""
    for source, page in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to where pages are in the site; what is in the repository alone keeps its text, without a link."""
    here = page.file.src_uri
    source = SOURCE.get(here, f"docs/{here}")

    def led(link: re.Match[str]) -> str:
        text, target = link.groups()
        if target is None or re.match(r"[a-z]+:|#", target):
            return link[0]
        path, hash_, anchor = target.partition("#")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        to = BESIDE.get(there, there.removeprefix("docs/") if there.startswith("docs/") else None)
        if to is None:
            return text if (ROOT / there).exists() else link[0]
        return f"[{text}]({posixpath.relpath(to, posixpath.dirname(here) or '.')}{hash_}{anchor})"

    return LINK.sub(led, markdown)


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [path for part in (nav.values() if isinstance(nav, dict) else nav) for path in _named(part)]


def _expanded(nav: list[Any], named: set[str]) -> list[Any]:
    made: list[Any] = []
    for part in nav:
        match part:
            case str() if "*" in part:
                made += _pages(part, named)
            case dict():
                ((title, inside),) = part.items()
                pages = _expanded(inside if isinstance(inside, list) else [inside], named)
                single = pages[0] if len(pages) == 1 and isinstance(inside, str) and "*" not in inside else pages
                made += [{title: single}] if pages else []
            case _:
                made.append(part)
    return made


def _pages(pattern: str, named: set[str]) -> list[str]:
    docs = ROOT / "docs"
    found = sorted(path.relative_to(docs).as_posix() for path in docs.glob(pattern) if path.suffix == ".md")
    return [path for path in found if path not in named]
