"""The files of the page, from the package."""

import pkgutil
from functools import cache

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
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
