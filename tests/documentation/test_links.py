"""Links between the pages lead somewhere, their anchors too; mkdocs says the same of the pages it builds."""

import posixpath

import pytest

from tests.documentation.pages import PAGES, ROOT, anchors_of, links_of


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    broken: list[str] = []
    for target in links_of(page):
        path, _, anchor = target.partition("#")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
        if not (ROOT / there).exists() or (anchor and anchor not in anchors_of(there)):
            broken.append(target)
    assert broken == []
