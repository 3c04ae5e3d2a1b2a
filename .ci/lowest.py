"""Prints the lowest version of everything that a pyproject.toml allows, as constraints for pip."""

import re
import sys
import tomllib
from pathlib import Path

_PROJECT = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
_EXTRAS = _PROJECT["optional-dependencies"]

for requirement in (*_PROJECT["dependencies"], *_EXTRAS["test"], *_EXTRAS["sandbox-tls"]):
    if lowest := re.fullmatch(r"([\w-]+)(\[\w+\])?>=([\d.]+)", requirement):
        print(f"{lowest[1]}=={lowest[3]}")  # noqa: T201
