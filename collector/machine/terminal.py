"""The terminal of a command, and what it shows by itself. It never reads."""

import os
from contextlib import suppress

_STREAMS = 2, 1  # stderr, stdout: their descriptors, because a display that is redrawn takes the place of the streams
_ERASE_LINE = b"\r\x1b[K"


def erase_echo() -> None:
    """Erase the `^C` that a terminal shows for the key, so that what follows begins a line.

    A display that is redrawn there stays where it was: the cursor is moved within its line alone.
    """
    with suppress(OSError):
        terminal = next(filter(os.isatty, _STREAMS), None)
        if terminal is not None:
            os.write(terminal, b"\n" if os.environ.get("TERM", "dumb") == "dumb" else _ERASE_LINE)
