"""A warning that shows the line of the script that it concerns, however deep in here it arises."""

import sys
import warnings

from collector.core.errors import DataWarning

_PACKAGE = __name__.partition(".")[0]


def warn(text: str) -> None:
    """Warns through Python's `warnings`, on behalf of the first caller outside of this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, DataWarning, stacklevel=level)
