"""What stands behind stderr: a terminal, the journal, or nobody any more."""

import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

from collector.core.redaction import masked, printable, secrets_in


def reopen_closed_streams() -> None:
    """Lets nobody stand behind the standard streams that were closed when we were started.

    What is opened next would get their numbers, and a candle file that is number 2 gets the last words of a library.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


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


def install_excepthook() -> None:
    """From now on a traceback holds no secret and steers no terminal; in the journal its lines have their priority."""
    sys.excepthook = _write_crash


def _write_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    lines = "".join(traceback.format_exception(kind, error, trace)).splitlines()
    before, secrets = "<3>" if is_journal(os.environ) else "", secrets_in(os.environ)
    with suppress(OSError):
        sys.stderr.write("".join(f"{before}{printable(masked(line, secrets))}\n" for line in lines))


def ignoring_write_errors(stream: TextIO) -> TextIO:
    """The stream, but what cannot be written to it any more, because nobody reads it, is dropped."""
    return cast(TextIO, _IgnoringWriteErrors(stream))


class _IgnoringWriteErrors:
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
