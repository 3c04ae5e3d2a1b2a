"""What stands behind stderr: a terminal, the journal, or nobody any more."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO, cast


def is_journal(environment: Mapping[str, str]) -> bool:
    """Whether stderr goes to the journal, which names the stream it gave us by device and inode."""
    named = environment.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        ours = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{ours.st_dev}:{ours.st_ino}"


def lasting(stream: TextIO) -> TextIO:
    """The stream, but what cannot be written to it any more, because nobody reads it, is dropped."""
    return cast(TextIO, _Lasting(stream))


class _Lasting:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
