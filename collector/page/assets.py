"""The files of the page, from the package."""

import pkgutil
from functools import cache
from importlib.resources import files as package_files

from collector.page.pages import Page

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


@cache
def asset(name: str) -> bytes:
    """The bytes of a file in `static/`.

    Raises:
        FileNotFoundError: there is none of this name.
    """
    found = pkgutil.get_data("collector.page", f"static/{name}")
    if found is None:
        raise FileNotFoundError(name)
    return found


@cache
def files() -> tuple[str, ...]:
    """The names of all files."""
    found = package_files("collector.page").joinpath("static")
    return tuple(sorted(each.name for each in found.iterdir() if each.name.rpartition(".")[2] in TYPES))


def page_of(name: str) -> Page:
    """A file as it is served."""
    return Page(asset(name), TYPES[name.rpartition(".")[2]])
