"""Commands that a person is told to type."""

import shlex
import shutil
import sys
from pathlib import Path

_NAME = "collector"


def to_type(*words: str) -> str:
    """A command that works here as it is printed: called as this one was."""
    return f"{_called()} {shlex.join(words)}"


def _called() -> str:
    """How this command was called: by its name, by its path, or as a module of an interpreter."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        interpreter = next(iter(sys.orig_argv), "python3")
        return f"{shlex.quote(interpreter)} -m {_NAME}"
    found = shutil.which(_NAME)
    if program.name != _NAME or not program.is_absolute() or (found and Path(found).resolve() == program.resolve()):
        return _NAME
    return shlex.quote(sys.argv[0])
