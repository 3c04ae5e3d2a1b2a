"""Other users of the machine, for tests that root runs."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@contextmanager
def open_place() -> Iterator[Path]:
    """A temporary directory that everybody can read."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


@contextmanager
def as_user(number: int) -> Iterator[None]:
    """What the system asks about files, it asks about this user."""
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
