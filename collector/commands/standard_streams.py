"""The standard streams: closed ones, the journal, crashes, and readers that are gone."""

import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

from collector.core.redaction import masked, printable, secrets_in


def reopen_closed_streams() -> None:
    """Reopen closed descriptors 0-2 on /dev/null.

    Otherwise the next file opened would become one of them, and a candle file with descriptor 2 would receive the
    error messages of libraries.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def is_journal(environment: Mapping[str, str]) -> bool:
    """Whether stderr is the stream that the journal named by device and inode."""
    named = environment.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        ours = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{ours.st_dev}:{ours.st_ino}"


def install_excepthook() -> None:
    """Print tracebacks with secrets masked, without control characters, with the journal's priority."""
    sys.excepthook = _write_crash


def _write_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    lines = "".join(traceback.format_exception(kind, error, trace)).splitlines()
    before, secrets = "<3>" if is_journal(os.environ) else "", secrets_in(os.environ)
    with suppress(OSError):
        sys.stderr.write("".join(f"{before}{printable(masked(line, secrets))}\n" for line in lines))


def ignoring_write_errors(stream: TextIO) -> TextIO:
    """Wrap a stream whose reader may go away: what cannot be written is dropped."""
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
